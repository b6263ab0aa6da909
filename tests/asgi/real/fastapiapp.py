"""A FastAPI application: what the tests of this directory ask."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, Field


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float = Field(gt=0)
    tags: list[str] = []


class Stored(Item):
    id: int


class OutOfStock(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


bearer = OAuth2PasswordBearer(tokenUrl="token")


def make_app(events: list[str]) -> FastAPI:
    """Build it; ``events`` gets what it does beside answering."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        events.append("startup")
        yield {"items": {}, "greeting": "hello"}
        events.append("shutdown")

    app = FastAPI(title="Shop", version="2", lifespan=lifespan)

    @app.middleware("http")
    async def timed(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["X-Seen"] = request.url.path
        return response

    @app.exception_handler(OutOfStock)
    async def out_of_stock(request: Request, error: OutOfStock) -> Response:
        return JSONResponse({"out of stock": error.name}, 410)

    # Dependencies.

    async def user(token: Annotated[str, Depends(bearer)]) -> str:
        if token != "ada":
            raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
        return token

    async def session() -> AsyncIterator[str]:
        events.append("session begins")
        try:
            yield "session"
        finally:
            events.append("session ends")

    def blocking() -> Iterator[str]:
        """Runs in a thread, as functions without ``async`` do."""
        yield threading.current_thread().name

    @app.get("/me")
    async def me(user: Annotated[str, Depends(user)]) -> dict[str, str]:
        return {"user": user}

    @app.get("/session")
    async def in_session(session: Annotated[str, Depends(session)]) -> dict[str, str]:
        events.append("session used")
        return {"in": session}

    @app.get("/thread")
    def in_thread(name: Annotated[str, Depends(blocking)]) -> dict[str, bool]:
        main = threading.main_thread().name
        return {"dependency": name != main, "here": threading.current_thread().name != main}

    # A router of its own, with validation both ways.

    items = APIRouter(prefix="/items", tags=["items"])

    @items.post("", status_code=201, response_model=Stored)
    async def add(item: Item, request: Request, response: Response) -> dict[str, Any]:
        stored = request.state.items
        number = len(stored) + 1
        stored[number] = {"id": number, **item.model_dump(), "not in the model": 1}
        response.headers["Location"] = str(request.url_for("one", number=number))
        return stored[number]

    @items.get("/{number}", response_model=Stored)
    async def one(number: Annotated[int, Path(ge=1)], request: Request) -> Any:
        if number not in request.state.items:
            raise HTTPException(404, {"no item": number})
        return request.state.items[number]

    @items.get("")
    async def several(
        limit: Annotated[int, Query(le=100)] = 10, tag: Annotated[list[str] | None, Query()] = None
    ) -> dict[str, Any]:
        return {"limit": limit, "tags": tag}

    @items.delete("/{number}", status_code=204)
    async def delete(number: int, request: Request) -> None:
        if request.state.items.pop(number, None) is None:
            raise OutOfStock(str(number))

    app.include_router(items)

    # Parameters of all kinds.

    @app.get("/said")
    async def said(
        user_agent: Annotated[str, Header()],
        x_list: Annotated[list[str], Header()],
        visits: Annotated[int, Cookie()] = 0,
    ) -> dict[str, Any]:
        return {"agent": user_agent, "list": x_list, "visits": visits}

    @app.post("/form")
    async def form(
        title: Annotated[str, Form()], files: list[UploadFile], small: Annotated[bytes | None, File()] = None
    ) -> dict[str, Any]:
        sizes = {file.filename: len(await file.read()) for file in files}
        return {"title": title, "sizes": sizes, "small": small and small.decode()}

    # Things that last.

    @app.get("/background", status_code=202)
    async def background(word: str, tasks: BackgroundTasks) -> dict[str, str]:
        def in_thread() -> None:
            events.append(f"thread {word}")

        async def on_loop() -> None:
            await asyncio.sleep(0.005)
            events.append(f"loop {word}")

        tasks.add_task(in_thread)
        tasks.add_task(on_loop)
        return {"begun": word}

    @app.get("/stream")
    async def stream(count: int) -> Response:
        async def lines() -> AsyncIterator[str]:
            for n in range(count):
                yield f"{n}\n"
                await asyncio.sleep(0)

        return StreamingResponse(lines(), media_type="text/plain")

    @app.get("/stream/thread")
    def stream_in_thread(count: int) -> Response:
        def lines() -> Iterator[str]:
            for n in range(count):
                yield f"{n}\n"

        return StreamingResponse(lines(), media_type="text/plain")

    @app.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return {"size": size}

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken on purpose")

    # WebSockets.

    async def member(socket: WebSocket, token: Annotated[str | None, Query()] = None) -> str:
        if token is None:
            raise WebSocketException(1008, "no token")
        return token

    @app.websocket("/ws/{room}")
    async def room(socket: WebSocket, room: str, token: Annotated[str, Depends(member)]) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_json({"room": room, "token": token, "text": await socket.receive_text()})
        except WebSocketDisconnect as gone:
            events.append(f"{room} left with {gone.code}")

    return app
