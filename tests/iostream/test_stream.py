"""Tests of webfw.iostream.stream: what any stream does, on an engine that a test moves by hand."""

import asyncio
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.iostream import BaseIOStream, StreamBufferFullError, StreamClosedError, UnsatisfiableReadError


class HandEngine:
    """Keeps what is written until the test lets it go."""

    def __init__(self) -> None:
        self.sent = b""
        self.waiting = b""
        self.blocked = False
        self.closed = False
        self.updates = 0

    def update(self) -> None:
        self.updates += 1

    def write(self, data: bytes) -> bool:
        if self.blocked:
            self.waiting += data
            return False
        self.sent += data
        return True

    def unsent(self) -> int:
        return len(self.waiting)

    def close(self) -> None:
        self.closed = True


class HandStream(BaseIOStream):
    def _make_engine(self) -> Any:
        self.hand = HandEngine()
        return self.hand

    def feed(self, *chunks: bytes) -> "HandStream":
        for chunk in chunks:
            self._feed(chunk)
        return self


class Recorder:
    """A consumer that notes what it is told."""

    def __init__(self, keep_open: bool = False) -> None:
        self.events: list[Any] = []
        self.keep_open = keep_open

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(("lost", exc))

    def resume_writing(self) -> None:
        self.events.append("resume")


async def failure(future: "asyncio.Future[Any]") -> StreamClosedError:
    with pytest.raises(StreamClosedError) as info:
        await future
    return info.value


# --- reading ---


async def test_reads_of_every_kind_from_what_is_there() -> None:
    stream = HandStream().feed(b"one two", b" three\r\nfour5six seven")
    assert await stream.read_bytes(4) == b"one "
    assert await stream.read_until(b" ") == b"two "
    assert await stream.read_until_regex(rb"\r?\n") == b"three\r\n"
    assert await stream.read_until_regex(re.compile(rb"\d")) == b"four5"
    target = bytearray(3)
    assert await stream.read_into(target) == 3
    assert target == b"six"
    assert await stream.read_bytes(100, partial=True) == b" seven"
    assert await stream.read_bytes(0) == b""
    assert await stream.read_into(bytearray()) == 0
    assert stream.hand.updates == 0


async def test_a_read_waits_for_what_is_missing() -> None:
    stream = HandStream()
    future = stream.read_until(b"\r\n")
    assert stream.reading()
    assert stream.hand.updates == 1
    stream.feed(b"a", b"b\r")
    assert not future.done()
    stream.feed(b"\nnext")
    assert not stream.reading()
    assert await future == b"ab\r\n"
    into = stream.read_into(memoryview(bytearray(10)), partial=True)
    assert await into == 4
    partial = stream.read_bytes(10, partial=True)
    stream.feed(b"xyz")
    assert await partial == b"xyz"


@given(data=st.binary(max_size=100), cuts=st.lists(st.integers(1, 7)), reads=st.lists(st.integers(0, 30)))
async def test_however_bytes_arrive_reads_see_one_sequence(
    data: bytes, cuts: list[int], reads: list[int]
) -> None:
    stream = HandStream()
    arrivals = []
    position = 0
    for cut in [*cuts, 100]:
        arrivals.append(data[position : position + cut])
        position += cut
    seen = b""
    for size in reads:
        future = stream.read_bytes(size) if size % 3 else stream.read_until(b"\x00")
        while not future.done() and arrivals:
            stream.feed(arrivals.pop(0))
        if not future.done():
            future.cancel()
            break
        seen += future.result()
    last = stream.read_until_close()
    stream.feed(*arrivals)
    stream._ended(None)
    assert seen + await last == data


async def test_only_one_read_at_a_time() -> None:
    stream = HandStream()
    future = stream.read_bytes(1)
    for read in (
        lambda: stream.read_bytes(1),
        lambda: stream.read_until(b"x"),
        lambda: stream.read_until_close(),
        lambda: stream.set_consumer(Recorder()),
    ):
        with pytest.raises(AssertionError, match="Already reading"):
            read()
    stream.feed(b"x")
    assert await future == b"x"
    stream.close()


async def test_wrong_arguments() -> None:
    stream = HandStream()
    with pytest.raises(ValueError, match="not -1"):
        stream.read_bytes(-1)
    with pytest.raises(ValueError, match="not 'x'"):
        stream.read_bytes("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="delimiter must be bytes, not str"):
        stream.read_until("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs bytes, not str"):
        stream.write("x")  # type: ignore[arg-type]
    assert not stream.reading()


async def test_a_cancelled_read_leaves_its_bytes_for_the_next() -> None:
    stream = HandStream().feed(b"abc")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await stream.read_until(b"\n")
    assert not stream.reading()
    assert await stream.read_bytes(2) == b"ab"
    future = stream.read_into(bytearray(5))
    future.cancel()
    stream.feed(b"d\n")
    assert await stream.read_until(b"\n") == b"cd\n"


async def test_a_read_that_is_cancelled_as_the_end_comes() -> None:
    stream = HandStream()
    future = stream.read_into(bytearray(5))
    stream.feed(b"abc")
    future.cancel()
    stream._ended(None)
    assert not stream.closed()
    assert await stream.read_until_close() == b"abc"
    assert stream.closed()


async def test_too_long_for_max_bytes_closes_the_stream() -> None:
    stream = HandStream().feed(b"aaaaaa\n")
    error = await failure(stream.read_until(b"\n", max_bytes=5))
    assert isinstance(error.real_error, UnsatisfiableReadError)
    assert stream.error is error.real_error
    assert stream.hand.closed
    stream = HandStream()
    future = stream.read_until_regex(b"\n", max_bytes=5)
    stream.feed(b"aaa", b"aaa")
    assert isinstance((await failure(future)).real_error, UnsatisfiableReadError)


async def test_too_much_for_the_buffer_closes_the_stream(expect_log: Any) -> None:
    with expect_log("webfw.general", "Reached maximum read buffer size", count=2):
        stream = HandStream(max_buffer_size=10)
        future = stream.read_until(b"\n")
        stream.feed(b"x" * 10)
        assert not future.done()
        stream.feed(b"x")
        assert isinstance((await failure(future)).real_error, StreamBufferFullError)
        stream = HandStream(max_buffer_size=10)
        assert isinstance((await failure(stream.read_bytes(11))).real_error, StreamBufferFullError)
    assert stream.closed()
    assert HandStream(max_buffer_size=10).read_chunk_size == 5


async def test_what_nobody_waits_for_is_never_too_much() -> None:
    stream = HandStream(max_buffer_size=10).feed(b"x" * 20, b"\n")
    assert len(await stream.read_until(b"\n")) == 21
    assert not stream.read_bytes(100, partial=True).done()


# --- the peer's end ---


async def test_what_came_before_the_end_can_be_read() -> None:
    stream = HandStream().feed(b"one\ntwo\nrest")
    stream._ended(None)
    stream._ended(None)
    assert await stream.read_until(b"\n") == b"one\n"
    assert not stream.closed()
    assert await stream.read_until(b"\n") == b"two\n"
    assert (await failure(stream.read_until(b"\n"))).real_error is None
    assert stream.closed()
    assert await stream.read_bytes(1) == b"r"
    with pytest.raises(StreamClosedError):
        stream.read_until(b"\n")
    assert await stream.read_until_close() == b"est"
    assert await stream.read_until_close() == b""


async def test_a_waiting_read_fails_at_the_end_and_gives_its_bytes_back() -> None:
    stream = HandStream()
    future = stream.read_into(bytearray(10))
    stream.feed(b"abc")
    stream._ended(None)
    assert (await failure(future)).real_error is None
    assert await stream.read_bytes(3) == b"abc"
    stream = HandStream().feed(b"abc")
    stream._ended(None)
    await failure(stream.read_into(bytearray(10)))
    assert await stream.read_bytes(3) == b"abc"


async def test_after_the_end_an_answer_can_still_be_written() -> None:
    stream = HandStream().feed(b"question\n")
    stream._ended(None)
    assert await stream.read_until(b"\n") == b"question\n"
    await stream.write(b"answer")
    assert stream.hand.sent == b"answer"


async def test_an_error_closes_at_once() -> None:
    stream = HandStream().feed(b"abc")
    future = stream.read_bytes(5)
    reset = ConnectionResetError("reset")
    stream._ended(reset)
    assert (await failure(future)).real_error is reset
    assert await stream.read_bytes(3) == b"abc"
    with pytest.raises(StreamClosedError):
        stream.read_bytes(1)


async def test_an_error_fails_a_read_until_close() -> None:
    stream = HandStream()
    future = stream.read_until_close()
    stream.feed(b"half")
    stream._ended(ConnectionResetError("reset"))
    assert isinstance((await failure(future)).real_error, ConnectionResetError)


# --- writing ---


async def test_writes_are_done_when_they_have_gone() -> None:
    stream = HandStream()
    assert stream.write(b"a").done()
    assert stream.write(b"").done()
    assert await stream.write(memoryview(b"b")) is None
    stream.hand.blocked = True
    first, second = stream.write(bytearray(b"c")), stream.write(b"")
    assert stream.writing()
    first.cancel()
    assert not second.done()
    stream.hand.waiting = b""
    stream._drained()
    assert second.done()
    assert not stream.writing()


async def test_what_is_written_may_be_changed_afterwards() -> None:
    stream = HandStream()
    stream.hand.blocked = True
    data = bytearray(b"abc")
    stream.write(data)
    data[:] = b"xyz"
    assert stream.hand.waiting == b"abc"


async def test_too_much_to_write() -> None:
    stream = HandStream(max_write_buffer_size=10)
    stream.hand.blocked = True
    stream.write(b"x" * 10)
    with pytest.raises(StreamBufferFullError, match="maximum write buffer size"):
        stream.write(b"x")
    assert stream.hand.waiting == b"x" * 10
    assert not stream.closed()
    stream.close()


async def test_writes_fail_when_the_stream_closes() -> None:
    stream = HandStream()
    stream.hand.blocked = True
    cancelled, future = stream.write(b"a"), stream.write(b"b")
    cancelled.cancel()
    error = OSError("broken")
    stream.close(exc_info=error)
    assert (await failure(future)).real_error is error
    with pytest.raises(StreamClosedError) as info:
        stream.write(b"c")
    assert info.value.real_error is error
    assert not stream.writing()


async def test_a_write_that_finds_the_stream_broken() -> None:
    class Breaking(HandEngine):
        def write(self, data: bytes) -> bool:
            stream.close(exc_info=BrokenPipeError())
            return False

    stream = HandStream()
    stream._engine = Breaking()
    assert isinstance((await failure(stream.write(b"x"))).real_error, BrokenPipeError)


# --- closing ---


async def test_closing_yields_what_read_until_close_has() -> None:
    stream = HandStream()
    future = stream.read_until_close()
    stream.feed(b"abc")
    stream.close()
    stream.close()
    assert await future == b"abc"


async def test_reasons_to_close() -> None:
    error = ValueError("reason")
    for how in (error, (ValueError, error, None)):
        stream = HandStream()
        stream.close(exc_info=how)
        assert stream.error is error
    stream = HandStream()
    try:
        raise error
    except ValueError:
        stream.close(exc_info=True)
    assert stream.error is error
    stream = HandStream()
    stream.close(exc_info=sys.exc_info())
    assert stream.error is None


async def test_the_close_callback_runs_once_in_the_next_turn() -> None:
    stream = HandStream()
    calls: list[int] = []
    stream.set_close_callback(lambda: calls.append(1))
    stream.close()
    assert calls == []
    await asyncio.sleep(0)
    stream.close()
    await asyncio.sleep(0)
    assert calls == [1]
    stream.set_close_callback(lambda: calls.append(2))
    await asyncio.sleep(0)
    assert calls == [1, 2]


async def test_no_close_callback_any_more() -> None:
    stream = HandStream()
    stream.set_close_callback(lambda: pytest.fail("called"))
    stream.set_close_callback(None)
    stream.close()
    await asyncio.sleep(0)


async def test_the_close_callback_waits_until_all_has_been_read() -> None:
    stream = HandStream().feed(b"ab")
    closed = asyncio.Event()
    stream.set_close_callback(closed.set)
    stream._ended(None)
    await asyncio.sleep(0)
    assert await stream.read_bytes(1) == b"a"
    await asyncio.sleep(0)
    assert not stream.closed()
    assert await stream.read_bytes(1) == b"b"
    assert not stream.closed()
    await closed.wait()
    assert stream.closed()


async def test_a_close_that_is_due_is_called_off_when_nobody_cares_any_more() -> None:
    stream = HandStream()
    stream.set_close_callback(lambda: pytest.fail("called"))
    stream._ended(None)
    stream.set_close_callback(None)
    await asyncio.sleep(0)
    assert not stream.closed()


async def test_an_error_in_the_close_callback_is_logged(expect_log: Any) -> None:
    stream = HandStream()
    stream.set_close_callback(lambda: 1 / 0)
    stream.close()
    with expect_log("webfw.application", "Exception in callback", count=1):
        await asyncio.sleep(0)


# --- consumers ---


async def test_a_consumer_gets_all_bytes() -> None:
    stream, consumer = HandStream().feed(b"early"), Recorder()
    stream.set_consumer(consumer)
    stream.feed(b"later")
    stream._drained()
    with pytest.raises(AssertionError, match="has a consumer"):
        stream.read_bytes(1)
    stream._ended(None)
    assert stream.closed()
    assert consumer.events == [b"early", b"later", "resume", "eof", ("lost", None)]


async def test_a_consumer_may_keep_the_stream_open_after_the_end() -> None:
    stream, consumer = HandStream(), Recorder(keep_open=True)
    stream._ended(None)
    stream.set_consumer(consumer)
    assert not stream.closed()
    error = BaseException("odd")
    stream.close(exc_info=error)
    kind, exc = consumer.events[-1]
    assert kind == "lost"
    assert isinstance(exc, StreamClosedError)
    assert exc.real_error is error


async def test_a_consumer_of_a_closed_stream_gets_the_rest() -> None:
    stream, consumer = HandStream().feed(b"rest"), Recorder()
    error = ConnectionResetError()
    stream.close(exc_info=error)
    stream.set_consumer(consumer)
    assert consumer.events == [b"rest", ("lost", error)]
    with pytest.raises(StreamClosedError):
        stream.set_consumer(Recorder())


async def test_the_base_class_knows_no_descriptor() -> None:
    stream = BaseIOStream()
    for call in (
        stream.fileno,
        stream.close_fd,
        lambda: stream.read_from_fd(bytearray(1)),
        lambda: stream.write_to_fd(memoryview(b"x")),
    ):
        with pytest.raises(NotImplementedError):
            call()
    assert stream.get_fd_error() is None
    stream.set_nodelay(True)
