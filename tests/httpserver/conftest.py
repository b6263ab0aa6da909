"""A server on a fake wire: bytes in, bytes out, and time that passes when told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.httpserver.http1 import ServerConnection
from webfw.ioloop import deadlines
from webfw.testing.fakes import FakeClock, FakeWire


class _Timer:
    def __init__(self, when: float, run: Callable[[], object]) -> None:
        self.when, self.run, self.cancelled = when, run, False

    def cancel(self) -> None:
        self.cancelled = True


class _Loop:
    """The running loop, but with a clock and timers of our own."""

    def __init__(self, clock: FakeClock) -> None:
        self.time = clock
        self.timers: list[_Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> _Timer:
        self.timers.append(_Timer(when, lambda: callback(*args)))
        return self.timers[-1]

    def is_closed(self) -> bool:
        return False

    def run_timers(self) -> None:
        due = [timer for timer in self.timers if timer.when <= self.time.now]
        self.timers = [timer for timer in self.timers if timer.when > self.time.now]
        for timer in due:
            if not timer.cancelled:
                timer.run()


class Talk:
    """One client's conversation with a server."""

    def __init__(self, callback: Any, *, wire: dict[str, Any] | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.server = HTTPServer(callback, **settings)
        self.wire = FakeWire(_Loop(self.clock), **(wire or {}))
        self.conn: ServerConnection = self.server._serve(self.wire)  # type: ignore[arg-type]

    def send(self, data: bytes) -> bytes:
        """Let the client send; what the server has answered since the last time."""
        self.wire.feed(data)
        return self.wire.take()

    def pass_time(self, seconds: float) -> bytes:
        """Let time pass, and with it the sweeps of the deadlines."""
        while seconds > 0:
            self.clock.advance(min(seconds, 0.5))
            seconds -= 0.5
            self.wire.loop.run_timers()
        return self.wire.take()

    async def settle(self) -> bytes:
        """Let the loop turn until nothing moves any more; what the server has answered."""
        for _ in range(10):
            await asyncio.sleep(0)
        return self.wire.take()


@pytest.fixture
def talk() -> Any:
    made: list[Talk] = []

    def make(callback: Any, **settings: Any) -> Talk:
        made.append(Talk(callback, **settings))
        return made[-1]

    yield make
    for one in made:
        one.wire.lose()
        deadlines._sweepers.pop(one.wire.loop, None)
