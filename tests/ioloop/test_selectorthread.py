import asyncio
import contextvars
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from webfw.ioloop import IOLoop
from webfw.ioloop import loop as loop_module
from webfw.ioloop.selectorthread import AddThreadSelectorEventLoop, SelectorThread, with_readers

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    near.setblocking(False)
    yield near, far
    near.close()
    far.close()


async def test_callbacks_run_on_the_loop_in_the_context_they_were_given_in(pair: Pair) -> None:
    near, far = pair
    said: contextvars.ContextVar[str] = contextvars.ContextVar("said")
    selector = SelectorThread(asyncio.get_running_loop())
    got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def ready(word: str) -> None:
        got.set_result((word, near.recv(100), threading.current_thread(), said.get()))

    try:
        token = said.set("hello")
        selector.add_reader(near, ready, "ready")
        said.reset(token)
        far.send(b"abc")
        assert await got == ("ready", b"abc", threading.current_thread(), "hello")
    finally:
        selector.close()


async def test_what_is_not_read_is_told_again_but_does_not_spin(pair: Pair) -> None:
    near, far = pair
    selector = SelectorThread(asyncio.get_running_loop())
    calls = 0
    enough = asyncio.Event()

    def ready() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            near.recv(100)
            enough.set()

    try:
        selector.add_reader(near.fileno(), ready)
        far.send(b"abc")
        await enough.wait()
        # All is read: another call could only be a wrong one, and a write that is ready would come behind it.
        writable = asyncio.Event()
        selector.add_writer(near, writable.set)
        await writable.wait()
        assert calls == 3
    finally:
        selector.close()


async def test_both_directions_and_their_end(pair: Pair) -> None:
    near, far = pair
    selector = SelectorThread(asyncio.get_running_loop())
    writable, readable = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    def write() -> None:
        calls.append("w")
        assert selector.remove_writer(near)
        writable.set()

    def read() -> None:
        calls.append("r")
        near.recv(1)
        readable.set()

    try:
        assert not selector.remove_reader(near)
        selector.add_reader(near, read)
        selector.add_writer(near, write)
        await writable.wait()
        far.send(b"a")
        await readable.wait()
        assert sorted(calls) == ["r", "w"]
        assert selector.remove_reader(near)
        assert not selector.remove_reader(near)
        assert not selector.remove_writer(near)
    finally:
        selector.close()


async def test_a_callback_of_a_descriptor_that_was_removed_meanwhile_is_not_called(pair: Pair) -> None:
    near, far = pair
    other, another = socket.socketpair()
    loop = asyncio.get_running_loop()
    selector = SelectorThread(loop)
    done = asyncio.Event()

    def first() -> None:
        # Whichever of the two comes first removes both.
        selector.remove_reader(near)
        selector.remove_reader(other)
        calls.append(1)
        done.set()

    calls: list[int] = []
    try:
        far.send(b"a")
        another.send(b"a")
        selector.add_reader(near, first)
        selector.add_reader(other, first)
        await done.wait()
        writable = asyncio.Event()
        selector.add_writer(near, writable.set)
        await writable.wait()
        assert calls == [1]
    finally:
        selector.close()
        other.close()
        another.close()


async def test_a_number_that_is_closed_and_comes_again(pair: Pair) -> None:
    near, _far = pair
    selector = SelectorThread(asyncio.get_running_loop())
    try:
        selector.add_reader(near, lambda: None)
        selector.remove_reader(near)
        fresh, peer = socket.socketpair()
        with fresh, peer:
            number = near.fileno()
            os.dup2(fresh.fileno(), number)  # the same number, another file
            got = asyncio.Event()

            def ready() -> None:
                os.read(number, 10)
                got.set()

            selector.add_reader(number, ready)
            peer.send(b"again")
            await got.wait()
    finally:
        selector.close()


async def test_an_exception_goes_to_the_handler_of_the_loop_and_watching_goes_on(pair: Pair) -> None:
    near, far = pair
    loop = asyncio.get_running_loop()
    selector = SelectorThread(loop)
    told: list[Any] = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    again = asyncio.Event()

    def broken() -> None:
        near.recv(1)
        if told:
            again.set()
        raise ValueError("broken")

    try:
        selector.add_reader(near, broken)
        far.send(b"ab")
        await again.wait()
        while len(told) < 2:
            await asyncio.sleep(0)
        assert all(isinstance(context["exception"], ValueError) for context in told)
    finally:
        selector.close()
        loop.set_exception_handler(None)


async def test_close_ends_the_thread_and_may_be_repeated(pair: Pair) -> None:
    near, _ = pair
    selector = SelectorThread(asyncio.get_running_loop())
    before = threading.active_count()
    selector.add_reader(near, lambda: None)
    assert threading.active_count() == before + 1
    selector.close()
    selector.close()
    assert threading.active_count() == before
    assert not selector.remove_reader(near)
    with pytest.raises(RuntimeError, match="closed"):
        selector.add_reader(near, lambda: None)


async def test_close_while_something_is_ready(pair: Pair) -> None:
    """The thread rests until the loop has run its callbacks, which it will not."""
    near, far = pair
    far.send(b"a")
    selector = SelectorThread(asyncio.get_running_loop())
    selector.add_reader(near, lambda: None)
    while not selector._resting:
        pass  # without a turn of the loop
    selector.close()
    await asyncio.sleep(0)  # the hand-over arrives, and finds nothing


def test_a_loop_that_was_closed_behind_its_back(pair: Pair) -> None:
    near, far = pair
    loop = asyncio.new_event_loop()
    selector = SelectorThread(loop)
    selector.add_reader(near, lambda: None)
    thread = selector._thread
    assert thread is not None
    loop.close()
    far.send(b"a")
    thread.join(5)
    assert not thread.is_alive()
    selector.close()


async def test_many_changes_at_once() -> None:
    """More wake-ups than the pipe to the thread holds."""
    selector = SelectorThread(asyncio.get_running_loop())
    near, far = socket.socketpair()
    with near, far:
        try:
            for _ in range(5000):
                selector.add_reader(near, lambda: None)
            got = asyncio.Event()
            selector.add_writer(far, got.set)
            await got.wait()
        finally:
            selector.close()


# --- a loop with it added ---


class Deaf(asyncio.SelectorEventLoop):
    """A loop that can no more watch descriptors for others than the proactor's can."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        raise NotImplementedError

    add_writer = add_reader

    def remove_reader(self, fd: Any) -> bool:
        raise NotImplementedError

    remove_writer = remove_reader


def test_a_loop_gets_readers_and_keeps_all_else(pair: Pair) -> None:
    near, far = pair
    real = Deaf()
    loop = AddThreadSelectorEventLoop(real)
    assert isinstance(loop, asyncio.AbstractEventLoop)
    got: list[bytes] = []

    def ready() -> None:
        got.append(near.recv(10))
        loop.remove_reader(near)
        loop.add_writer(near, writable)

    def writable() -> None:
        assert loop.remove_writer(near)
        loop.stop()

    loop.add_reader(near, ready)
    far.send(b"abc")
    loop.run_forever()
    assert got == [b"abc"]
    assert loop.run_until_complete(asyncio.sleep(0, "result")) == "result"
    assert not loop.is_running()
    loop.close()
    assert real.is_closed()


def test_an_ioloop_watches_descriptors_where_its_asyncio_loop_cannot(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = pair
    real = Deaf()
    monkeypatch.setattr(loop_module, "with_readers", AddThreadSelectorEventLoop)
    io_loop = IOLoop(asyncio_loop=real, make_current=False)
    got: list[Any] = []

    def ready(sock: socket.socket, events: int) -> None:
        got.append((sock.recv(10), events))
        io_loop.remove_handler(sock)
        io_loop.stop()

    io_loop.add_handler(near, ready, IOLoop.READ)
    far.send(b"abc")
    io_loop.start()
    assert got == [(b"abc", IOLoop.READ)]
    io_loop.close()
    assert real.is_closed()


@pytest.mark.skipif(sys.platform == "win32", reason="of the others")
async def test_loops_that_can_watch_descriptors_are_left_alone() -> None:
    loop = asyncio.get_running_loop()
    assert with_readers(loop) is loop
    assert IOLoop.current().selector_loop is loop
