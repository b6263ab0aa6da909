"""A Starlette application that uses much of what Starlette has: what the tests of this directory ask."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

#: What the application did beside answering, for the tests to look at.
Events = list[str]

TEXT = "Lorem ipsum dolor sit amet. " * 400


# --- requests ---


async def home(request: Request) -> Response:
    return PlainTextResponse("home")


async def item(request: Request) -> Response:
    return JSONResponse(
        {
            "number": request.path_params["number"],
            "url": str(request.url_for("item", number=7)),
            "root": root(request),
        }
    )


async def said(request: Request) -> Response:
    """Everything a request says of itself."""
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.query_params.multi_items(),
            "headers": [[name, value] for name, value in request.headers.items() if name.startswith("x-")],
            "cookies": request.cookies,
            "body": body.decode("latin-1"),
            "client": request.client is not None and request.client.host,
            "version": request.scope["http_version"],
        }
    )


def root(request: Request) -> str:
    return request.scope.get("root_path", "")


class Verbs:
    """An application that is a class, without Starlette's routing."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await PlainTextResponse(request.method, headers={"x-verb": request.method})(scope, receive, send)


async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def unwanted(request: Request) -> Response:
    """Answers without a look at the body."""
    return PlainTextResponse("no, thanks", 413)


# --- bodies both ways ---


async def stream_in(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def stream_out(request: Request) -> Response:
    count, size = int(request.query_params["count"]), int(request.query_params["size"])

    async def parts() -> AsyncIterator[bytes]:
        for n in range(count):
            yield bytes([n % 256]) * size

    return StreamingResponse(parts(), media_type="application/octet-stream")


async def stream_both(request: Request) -> Response:
    """Answers each piece when it comes, before the next."""

    async def parts() -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            yield chunk.upper()

    return StreamingResponse(parts(), media_type="text/plain")


async def upload(request: Request) -> Response:
    async with request.form() as form:
        found = []
        for name, value in form.multi_items():
            if isinstance(value, str):
                found.append([name, value])
            else:
                content = await value.read()
                digest = hashlib.sha256(content).hexdigest()
                found.append([name, value.filename, value.content_type, len(content), digest])
    return JSONResponse(found)


async def echo_json(request: Request) -> Response:
    try:
        return JSONResponse({"got": await request.json()})
    except json.JSONDecodeError:
        raise HTTPException(400, "no JSON") from None


# --- things that last ---


async def background(request: Request) -> Response:
    events: Events = request.app.state.events
    word = request.query_params["word"]

    async def work() -> None:
        await asyncio.sleep(0.01)
        events.append(f"background {word}")

    return PlainTextResponse("begun", 202, background=BackgroundTask(work))


async def server_events(request: Request) -> Response:
    """Server-sent events until the client has gone, which the application is told of, or feels."""
    events: Events = request.app.state.events
    name = request.query_params["name"]

    async def told() -> AsyncIterator[str]:
        n = 0
        try:
            while True:
                yield f"id: {n}\ndata: event {n}\n\n"
                n += 1
                await asyncio.sleep(0.005)
        finally:
            events.append(f"events of {name} have ended")

    return StreamingResponse(told(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def wait(request: Request) -> Response:
    """Long polling: waits until the client has gone."""
    events: Events = request.app.state.events
    name = request.query_params["name"]
    events.append(f"{name} waits")
    while not await request.is_disconnected():
        await asyncio.sleep(0.005)
    events.append(f"{name} has gone")
    return PlainTextResponse("nobody reads this")


async def half(request: Request) -> Response:
    """Reads a body of which only a part comes."""
    events: Events = request.app.state.events
    try:
        await request.body()
    except ClientDisconnect:
        events.append("gone in the body")
    return PlainTextResponse("nobody reads this")


# --- files, cookies, sessions, state ---


async def download(request: Request) -> Response:
    return FileResponse(request.app.state.directory / "big.bin", filename="größe.bin")


async def remember(request: Request) -> Response:
    response = RedirectResponse("/said", 303)
    response.set_cookie("plain", "a b", max_age=60, samesite="lax")
    response.set_cookie("secret", "x", httponly=True, path="/cookies")
    return response


async def forget(request: Request) -> Response:
    response = PlainTextResponse("forgotten")
    response.delete_cookie("plain")
    return response


async def visits(request: Request) -> Response:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(request.session)


async def state(request: Request) -> Response:
    """The lifespan's state: what it holds is shared, the names in it are each request's own."""
    seen = hasattr(request.state, "mine")
    request.state.mine = True
    request.state.counter["requests"] += 1
    return JSONResponse({"seen": seen, "greeting": request.state.greeting, **request.state.counter})


# --- what goes wrong ---


class Unlucky(Exception):
    """An exception with a handler of its own."""


async def unlucky(request: Request) -> Response:
    raise Unlucky("thirteen")


async def on_unlucky(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"unlucky: {error}", 418)


async def on_missing(request: Request, error: Exception) -> Response:
    return JSONResponse({"missing": request.url.path}, 404)


async def broken(request: Request) -> Response:
    raise RuntimeError("broken on purpose")


async def broken_late(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x" * 100
        await asyncio.sleep(0)
        raise RuntimeError("broken in the middle")

    return StreamingResponse(
        parts(), headers={"Content-Length": "200"} if "length" in request.query_params else None
    )


# --- WebSockets ---


async def echo(socket: WebSocket) -> None:
    """Sends back what comes, text as text and bytes as bytes; tells how it ended."""
    events: Events = socket.app.state.events
    await socket.accept()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            events.append(f"echo ended with {message['code']} {message.get('reason') or '-'}")
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


async def echo_objects(socket: WebSocket) -> None:
    await socket.accept()
    try:
        async for value in socket.iter_json():
            await socket.send_json({"got": value, "root": socket.state.greeting})
    except json.JSONDecodeError:
        raise WebSocketException(1007, "no JSON") from None


async def negotiate(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    choice = "v2.chat" if "v2.chat" in offered else None
    await socket.accept(subprotocol=choice, headers=[(b"x-room", b"lobby"), (b"set-cookie", b"a=1")])
    await socket.send_json({"offered": offered, "cookies": socket.cookies, "query": str(socket.query_params)})
    await socket.close()


async def close(socket: WebSocket) -> None:
    await socket.accept()
    code = socket.path_params["code"]
    await socket.close(code, socket.query_params.get("reason"))


async def deny(socket: WebSocket) -> None:
    await socket.close()


async def deny_in_words(socket: WebSocket) -> None:
    await socket.send_denial_response(JSONResponse({"error": "members only"}, 401, {"x-why": "members"}))


async def socket_broken(socket: WebSocket) -> None:
    if "late" in socket.query_params:
        await socket.accept()
        await socket.receive_text()
    raise RuntimeError("broken on purpose")


async def leaves(socket: WebSocket) -> None:
    """Returns without a close."""
    await socket.accept()
    await socket.send_text("bye")


async def talk(socket: WebSocket) -> None:
    """Sends and receives at the same time."""
    events: Events = socket.app.state.events
    await socket.accept()

    async def tick() -> None:
        n = 0
        while True:
            await socket.send_text(f"tick {n}")
            n += 1
            await asyncio.sleep(0.002)

    ticking = asyncio.create_task(tick())
    try:
        async for text in socket.iter_text():
            await socket.send_text(f"heard {text}")
    finally:
        ticking.cancel()
        try:
            await ticking
        except (asyncio.CancelledError, WebSocketDisconnect):
            events.append("talk ended")


# --- all together ---


def make_app(directory: Path, events: Events) -> Starlette:
    """Build it; ``directory`` has ``static/`` and ``big.bin``."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        events.append("startup")
        yield {"greeting": "hello", "counter": {"requests": 0}}
        events.append("shutdown")

    def behind(kind: Any, **options: Any) -> Starlette:
        """A small application behind one middleware."""

        async def text(request: Request) -> Response:
            return PlainTextResponse(TEXT)

        async def many(request: Request) -> Response:
            async def parts() -> AsyncIterator[str]:
                for _ in range(5):
                    yield TEXT

            return StreamingResponse(parts(), media_type="text/plain")

        routes = [Route("/", text), Route("/many", many), Route("/visits", visits)]
        return Starlette(routes=routes, middleware=[Middleware(kind, **options)])

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/items/{number:int}", item, name="item"),
            Route("/said", said, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/said/{rest:path}", said),
            Mount("/verbs", Verbs()),
            Route("/nothing", nothing, methods=["GET", "DELETE"]),
            Route("/unwanted", unwanted, methods=["POST"]),
            Route("/stream/in", stream_in, methods=["POST"]),
            Route("/stream/out", stream_out),
            Route("/stream/both", stream_both, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/json", echo_json, methods=["POST"]),
            Route("/background", background),
            Route("/events", server_events),
            Route("/wait", wait),
            Route("/half", half, methods=["POST"]),
            Route("/download", download),
            Route("/cookies/set", remember, methods=["POST"]),
            Route("/cookies/delete", forget, methods=["POST"]),
            Route("/state", state),
            Route("/unlucky", unlucky),
            Route("/broken", broken),
            Route("/broken/late", broken_late),
            WebSocketRoute("/ws/echo", echo),
            WebSocketRoute("/ws/objects", echo_objects),
            WebSocketRoute("/ws/negotiate", negotiate),
            WebSocketRoute("/ws/close/{code:int}", close),
            WebSocketRoute("/ws/deny", deny),
            WebSocketRoute("/ws/members", deny_in_words),
            WebSocketRoute("/ws/broken", socket_broken),
            WebSocketRoute("/ws/leaves", leaves),
            WebSocketRoute("/ws/talk", talk),
            Mount("/static", StaticFiles(directory=directory / "static", html=True), name="static"),
            Mount(
                "/sub",
                routes=[
                    Route("/items/{number:int}", item, name="item"),
                    Mount("/deeper", routes=[Route("/said", said)]),
                ],
            ),
            Mount(
                "/cors",
                behind(
                    CORSMiddleware,
                    allow_origins=["https://example.com"],
                    allow_methods=["PUT"],
                    allow_headers=["x-token"],
                    expose_headers=["x-total"],
                    allow_credentials=True,
                ),
            ),
            Mount("/gzip", behind(GZipMiddleware, minimum_size=500)),
            Mount("/session", behind(SessionMiddleware, secret_key="not so secret")),
            Mount("/trusted", behind(TrustedHostMiddleware, allowed_hosts=["example.com", "*.example.org"])),
            Mount("/https", behind(HTTPSRedirectMiddleware)),
        ],
        exception_handlers={Unlucky: on_unlucky, 404: on_missing},
        lifespan=lifespan,
    )
    app.state.events = events
    app.state.directory = directory
    return app
