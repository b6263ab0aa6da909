"""Events of which there may be any number, and how often they are told."""

import asyncio
from typing import Any

import pytest

from webfw.httpserver import tally as tally_module
from webfw.httpserver.tally import Tally
from webfw.testing.fakes import FakeWire


class Told:
    def __init__(self) -> None:
        self.messages: list[tuple[int, str, str]] = []
        self.tally = Tally(lambda *message: self.messages.append(message))

    def add(self, peer: Any, about: str = "") -> None:
        wire: Any = FakeWire(asyncio.get_running_loop(), extra={"peername": peer})
        self.tally.add(wire, about)

    async def silent(self) -> None:
        async with asyncio.timeout(5):
            while self.tally._telling:
                await asyncio.sleep(0.001)


async def test_the_first_at_once_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "TELL_INTERVAL", 0.01)
    told = Told()
    told.add(("192.0.2.1", 5), "one")
    assert told.messages == [(1, "192.0.2.1", "one")]
    for number in range(3):
        told.add(("192.0.2.1", number), "more")
    told.add("", "last")
    assert len(told.messages) == 1
    await told.silent()
    assert told.messages[1:] == [(4, "a unix socket", "last")]


async def test_after_a_silence_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "TELL_INTERVAL", 0.01)
    told = Told()
    told.add(("::1", 5, 0, 0))
    await told.silent()
    told.add(("::1", 6, 0, 0))
    assert told.messages == [(1, "::1", "")] * 2
    await told.silent()
