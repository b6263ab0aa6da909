"""The FastAPI application: dice, and numbers about the process that change all the time."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from demos.three_in_one.lines import LONGEST_NAME, one_line


@dataclass
class House:
    """What the application needs of the others.

    :ivar tell: tells the chat: who is meant, and what they did.
    :ivar counts: what the native application has counted.
    """

    tell: Callable[[str, str, str], Awaitable[None]]
    counts: Callable[[], Awaitable[dict[str, Any]]]


class Roll(BaseModel):
    """How many dice, of what kind."""

    name: str = Field("", max_length=200)
    count: int = Field(2, ge=1, le=10)
    sides: int = Field(6, ge=2, le=100)


class Rolled(BaseModel):
    """What they show."""

    dice: list[int]
    total: int


class Numbers(BaseModel):
    """The process at this moment.

    ``lag`` is the longest that the event loop was late in the last second, in milliseconds.
    """

    uptime: float
    lag: float
    people: int
    messages: int
    requests: dict[str, int]


class Lag:
    """How late the loop is, looked at twenty times a second."""

    INTERVAL = 0.05

    def __init__(self) -> None:
        self.seen: deque[float] = deque([0.0], maxlen=20)

    async def watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + self.INTERVAL
            await asyncio.sleep(self.INTERVAL)
            self.seen.append(max(0.0, clock() - due))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The lag is watched while the server runs."""
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    yield {"lag": lag, "began": time.monotonic()}
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def make_app() -> FastAPI:
    """Build the application; its ``state.house`` is a `House`."""
    # Its pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="Dice", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.post("/roll")
    async def roll(wanted: Roll) -> Rolled:
        dice = [1 + secrets.randbelow(wanted.sides) for _ in range(wanted.count)]
        rolled = Rolled(dice=dice, total=sum(dice))
        name = one_line(wanted.name, LONGEST_NAME) or "Somebody"
        shown = " + ".join(map(str, dice)) + (f" = {rolled.total}" if len(dice) > 1 else "")
        await app.state.house.tell("fastapi", name, f"rolls {wanted.count} d{wanted.sides}: {shown}")
        return rolled

    @app.get("/numbers")
    async def numbers(request: Request) -> Numbers:
        lag = max(request.state.lag.seen) * 1000
        uptime = time.monotonic() - request.state.began
        return Numbers(uptime=round(uptime, 1), lag=round(lag, 2), **await app.state.house.counts())

    return app
