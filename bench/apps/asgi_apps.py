"""The ASGI applications that all servers of `bench http --shapes asgi` run: a bare one, Starlette, FastAPI.

Each is made when it is first named, so that the bare one needs neither package.
"""

from typing import Any

import pages

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/html; charset=UTF-8"), (b"content-length", b"12")],
}
END = {"type": "http.response.body", "body": pages.BODY}


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send(START)
        await send(END)
    elif scope["type"] == "lifespan":
        raise NotImplementedError("there is nothing to start")


def starlette_app() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    async def hello(request: Any) -> HTMLResponse:
        return HTMLResponse(pages.TEXT)

    return Starlette(routes=[Route("/", hello)])


def fastapi_app() -> Any:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    async def record() -> dict[str, Any]:
        return pages.RECORD

    return app


def __getattr__(name: str) -> Any:
    makers = {"starlette": starlette_app, "fastapi": fastapi_app}
    if name not in makers:
        raise AttributeError(name)
    globals()[name] = makers[name]()
    return globals()[name]
