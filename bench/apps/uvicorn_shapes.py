"""The pages of `bench http` on uvicorn, bare or in Starlette: ``uvicorn_shapes.py PORT SHAPE FOLDER``."""

import asyncio
import sys
from typing import Any
from urllib.parse import parse_qs

import pages
import uvicorn


async def answer(send: Any, body: bytes, kind: str = pages.HTML) -> None:
    fields = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def as_json(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, pages.encoded(), "application/json")


async def awaiting(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0)
    await answer(send, pages.BODY)


async def form(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await answer(send, parse_qs(body.decode())["city"][0].encode())


def starlette(shape: str, folder: str) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    async def item(request: Request) -> HTMLResponse:
        return HTMLResponse(request.path_params["item"])

    if shape == "static":
        return Starlette(routes=[Mount("/static", StaticFiles(directory=folder))])
    return Starlette(routes=[Route(f"/resource{number}/{{item}}", item) for number in pages.routes(shape)])


def application(shape: str, folder: str) -> Any:
    bare = {"json": as_json, "await": awaiting, "form": form}
    return bare[shape] if shape in bare else starlette(shape, folder)


if __name__ == "__main__":
    uvicorn.run(
        application(*sys.argv[2:4]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
