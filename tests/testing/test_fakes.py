"""The fakes behave as what they stand for."""

from typing import Any

import pytest

from webfw.testing import FakeClock, FakeWire


class Consumer:
    def __init__(self, keep_open: bool = False) -> None:
        self.heard: list[Any] = []
        self.keep_open = keep_open

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append(exc)

    def resume_writing(self) -> None:
        self.heard.append("resume")


def test_time_passes_when_told() -> None:
    clock = FakeClock(5.0)
    clock.advance(1.5)
    assert clock() == 6.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_bytes_go_both_ways() -> None:
    wire = FakeWire()
    wire.consumer = consumer = Consumer()
    wire.feed(b"in")
    wire.feed(b"")
    wire.write(b"out")
    wire.write(b"put")
    assert consumer.heard == [b"in"]
    assert wire.writes == [b"out", b"put"]
    assert wire.take() == b"output"
    assert wire.take() == b""
    assert wire.get_extra_info("peername") == ("127.0.0.1", 54321)
    assert FakeWire(extra={"peername": ""}).get_extra_info("peername") == ""
    assert wire.get_extra_info("nothing", 1) == 1


def test_back_pressure() -> None:
    wire = FakeWire(capacity=3)
    wire.consumer = consumer = Consumer()
    wire.write(b"abc")
    assert not wire.write_paused
    assert wire.write_buffer_size == 0
    wire.write(b"d")
    assert wire.write_paused
    assert wire.write_buffer_size == 4
    wire.drain()
    assert consumer.heard == ["resume"]
    wire.drain()
    assert consumer.heard == ["resume"]


def test_the_end() -> None:
    wire = FakeWire()
    wire.consumer = consumer = Consumer()
    wire.feed_eof()
    assert wire.closing
    assert wire.closed()
    assert wire.is_closing()
    wire.write(b"dropped")
    wire.feed(b"dropped")
    assert wire.sent == b""
    wire.lose()
    wire.lose()
    assert consumer.heard == ["eof", None]
    half = FakeWire()
    half.consumer = Consumer(keep_open=True)
    half.feed_eof()
    assert not half.closing
    half.write_eof()
    half.write(b"dropped")
    assert half.sent == b""
    half.abort()
    assert half.aborted


def test_reading_can_be_paused() -> None:
    wire = FakeWire()
    wire.pause_reading()
    assert not wire.reading
    wire.resume_reading()
    assert wire.reading
