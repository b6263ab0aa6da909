"""Tests of webfw.ioloop.loop."""

import asyncio
import concurrent.futures
import contextvars
import datetime
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from webfw.ioloop import IOLoop, TimeoutError, backend

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(params=["asyncio", "uvloop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("WEBFW_LOOP", request.param)
    return str(request.param)


@pytest.fixture
def loop(kind: str) -> Iterator[IOLoop]:
    loop = IOLoop(make_current=False)
    yield loop
    loop.close(all_fds=True)


@pytest.fixture
def no_current_loop() -> Iterator[None]:
    asyncio.set_event_loop(None)
    yield
    asyncio.set_event_loop(None)


def run(loop: IOLoop, seconds: float = 5.0) -> None:
    """Run the loop until something stops it."""
    guard = loop.call_later(seconds, loop.stop)
    begin = time.monotonic()
    loop.start()
    loop.remove_timeout(guard)
    assert time.monotonic() - begin < seconds, "nothing stopped the loop"


# --- which loop ---


async def test_current_is_the_one_of_the_running_loop() -> None:
    loop = IOLoop.current()
    assert loop.asyncio_loop is asyncio.get_running_loop()
    assert IOLoop.current() is loop
    assert IOLoop.instance() is loop
    assert IOLoop._ioloop_for_asyncio[asyncio.get_running_loop()] is loop


async def test_current_without_instance_makes_none() -> None:
    assert IOLoop.current(instance=False) is None


async def test_a_running_loop_can_be_wrapped_by_hand_once() -> None:
    loop = IOLoop(asyncio_loop=asyncio.get_running_loop(), make_current=False)
    assert IOLoop.current() is loop
    with pytest.raises(RuntimeError, match="has an IOLoop already"):
        IOLoop(asyncio_loop=asyncio.get_running_loop())


async def test_a_running_loop_cannot_be_closed() -> None:
    with pytest.raises(RuntimeError, match="running IOLoop"):
        IOLoop.current().close()


def test_a_plain_script_gets_a_loop(kind: str, no_current_loop: None) -> None:
    assert IOLoop.current(instance=False) is None
    loop = IOLoop.current()
    assert type(loop.asyncio_loop).__module__.startswith(kind)
    assert IOLoop.current() is loop
    assert backend.thread_event_loop() is loop.asyncio_loop
    loop.close()
    assert IOLoop.current(instance=False) is None


def test_a_closed_loop_is_no_longer_current(no_current_loop: None) -> None:
    closed = asyncio.new_event_loop()
    asyncio.set_event_loop(closed)
    closed.close()
    assert IOLoop.current(instance=False) is None


def test_make_current_and_back(no_current_loop: None) -> None:
    first = IOLoop()
    second = IOLoop(make_current=False)
    assert IOLoop.current() is first
    second.install()
    assert IOLoop.current() is second
    second.make_current()
    IOLoop.clear_instance()
    assert IOLoop.current() is first
    second.make_current()
    second.close()
    assert IOLoop.current() is first
    first.close()
    IOLoop.clear_current()
    assert IOLoop.current(instance=False) is None


def test_wrapping_a_loop_makes_it_current(no_current_loop: None) -> None:
    plain = asyncio.new_event_loop()
    loop = IOLoop(asyncio_loop=plain)
    assert IOLoop.current() is loop
    loop.close()


def test_an_unknown_argument_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected arguments: speed"):
        IOLoop(speed=3)


def test_each_thread_has_its_own() -> None:
    loops: list[Any] = []

    def work() -> None:
        loops.append(IOLoop.current(instance=False))
        loop = IOLoop.current()
        loops.append(loop.run_sync(lambda: IOLoop.current() is loop))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert loops == [None, True]


def test_loops_that_were_closed_elsewhere_are_forgotten() -> None:
    plain = asyncio.new_event_loop()
    IOLoop(asyncio_loop=plain, make_current=False)
    plain.close()
    other = IOLoop(make_current=False)
    assert plain not in IOLoop._ioloop_for_asyncio
    other.close()


class OwnLoop(IOLoop):
    pass


def test_another_class_can_be_configured(no_current_loop: None) -> None:
    saved = IOLoop._save_configuration()
    try:
        IOLoop.configure(OwnLoop)
        loop = IOLoop.current()
        assert type(loop) is OwnLoop
        loop.close()
        with pytest.raises(ValueError, match="Invalid subclass"):
            IOLoop.configure(dict)  # type: ignore[arg-type]
    finally:
        IOLoop._restore_configuration(saved)


def test_importing_creates_no_loop() -> None:
    code = (
        "import asyncio, webfw.ioloop, webfw.iostream, webfw.netutil, webfw.tcpserver\n"
        "from webfw.ioloop import IOLoop, backend\n"
        "assert backend.thread_event_loop() is None and IOLoop.current(instance=False) is None\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)


# --- its life ---


def test_stop_before_start_returns_at_once(loop: IOLoop) -> None:
    ran: list[int] = []
    loop.stop()
    loop.add_callback(ran.append, 1)
    run(loop)
    loop.add_callback(loop.stop)
    loop.add_callback(ran.append, 2)
    run(loop)
    assert ran == [1, 2]


def test_run_sync_returns_what_the_function_does(loop: IOLoop) -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        assert IOLoop.current() is loop
        return 42

    assert loop.run_sync(answer) == 42
    assert loop.run_sync(lambda: None) is None
    assert loop.run_sync(lambda: 7) == 7
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert loop.run_sync(lambda: pool.submit(lambda: 8)) == 8


def test_run_sync_raises_what_the_function_raises(loop: IOLoop) -> None:
    async def fail() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        loop.run_sync(fail)
    with pytest.raises(ZeroDivisionError):
        loop.run_sync(lambda: 1 / 0)


def test_run_sync_gives_up_in_time_and_cancels(loop: IOLoop) -> None:
    cancelled: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(TimeoutError, match=r"timed out after 0\.3 seconds"):
        loop.run_sync(forever, timeout=0.3)
    assert cancelled == [True]
    assert loop.run_sync(lambda: asyncio.sleep(0, "next"), timeout=5) == "next"


def test_run_sync_leaves_a_future_that_cannot_be_cancelled(loop: IOLoop) -> None:
    class Stubborn(asyncio.Future):  # type: ignore[type-arg]
        def cancel(self, msg: Any = None) -> bool:
            return False

    with pytest.raises(TimeoutError):
        loop.run_sync(lambda: Stubborn(loop=loop.asyncio_loop), timeout=0.3)


def test_a_coroutine_that_ignores_the_cancellation_is_waited_for(loop: IOLoop) -> None:
    async def clean_up() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cleaned up"
        return "never"

    assert loop.run_sync(clean_up, timeout=0.3) == "cleaned up"


def test_run_sync_says_so_when_somebody_else_stops_the_loop(loop: IOLoop) -> None:
    async def stop() -> None:
        loop.stop()
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_sync(stop)
    for task in asyncio.all_tasks(loop.asyncio_loop):
        task.cancel()
    loop.run_sync(lambda: asyncio.sleep(0))


def test_closing_twice_is_harmless(kind: str) -> None:
    loop = IOLoop(make_current=False)
    loop.close()
    loop.close()
    assert loop.asyncio_loop.is_closed()


def test_closing_after_the_asyncio_loop_was_closed(kind: str) -> None:
    loop = IOLoop(make_current=False)
    loop.asyncio_loop.close()
    loop.close()


def test_close_can_close_what_is_registered(kind: str) -> None:
    class Thing:
        aborted = 0

        def abort(self) -> None:
            self.aborted += 1

    loop = IOLoop(make_current=False)
    reader, writer = socket.socketpair()
    other, fd = os.pipe()
    kept, forgotten = Thing(), Thing()
    loop.track(kept)
    loop.track(forgotten)
    loop.untrack(forgotten)
    loop.add_handler(reader, lambda *args: None, IOLoop.READ)
    loop.add_handler(other, lambda *args: None, IOLoop.READ)
    loop.close(all_fds=True)
    assert reader.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)
    assert (kept.aborted, forgotten.aborted) == (1, 0)
    loop.close_fd(other)  # closed already
    os.close(fd)
    writer.close()


def test_close_leaves_descriptors_alone_by_default(kind: str) -> None:
    loop = IOLoop(make_current=False)
    reader, writer = socket.socketpair()
    loop.add_handler(reader, lambda *args: None, IOLoop.READ)
    loop.close()
    assert reader.fileno() >= 0
    reader.close()
    writer.close()


# --- descriptors ---


def test_a_handler_sees_what_was_registered(loop: IOLoop) -> None:
    a, b = socket.socketpair()
    events: list[Any] = []

    def ready(fd: Any, event: int) -> None:
        events.append((fd, event))
        loop.remove_handler(fd)
        loop.stop()

    loop.add_handler(a, ready, IOLoop.READ)
    b.send(b"x")
    run(loop)
    loop.add_handler(a.fileno(), ready, IOLoop.READ | IOLoop.ERROR)
    run(loop)
    loop.add_handler(a, ready, IOLoop.WRITE)
    run(loop)
    assert events == [(a, IOLoop.READ), (a.fileno(), IOLoop.READ), (a, IOLoop.WRITE)]
    assert not loop.handlers
    assert not loop.readers
    assert not loop.writers
    a.close()
    b.close()


def test_the_events_of_a_handler_can_change(loop: IOLoop) -> None:
    a, b = socket.socketpair()
    events: list[int] = []

    def ready(fd: Any, event: int) -> None:
        events.append(event)
        loop.update_handler(fd, IOLoop.READ if event == IOLoop.WRITE else IOLoop.NONE)
        b.send(b"x")
        if len(events) == 2:
            loop.stop()

    loop.add_handler(a, ready, IOLoop.WRITE)
    run(loop)
    loop.add_callback(loop.stop)
    run(loop)
    assert events == [IOLoop.WRITE, IOLoop.READ]
    loop.remove_handler(a)
    a.close()
    b.close()


def test_a_handler_that_was_removed_in_the_same_turn_is_not_called(loop: IOLoop) -> None:
    a, b = socket.socketpair()
    calls: list[int] = []

    def ready(fd: Any, event: int) -> None:
        calls.append(event)
        loop.remove_handler(fd)
        loop.add_callback(loop.stop)

    loop.add_handler(a, ready, IOLoop.READ | IOLoop.WRITE)
    b.send(b"x")
    run(loop)
    assert len(calls) == 1
    loop._handle_event(a.fileno(), IOLoop.READ)
    assert len(calls) == 1
    a.close()
    b.close()


def test_wrong_uses_of_handlers(loop: IOLoop, tmp_path: Any) -> None:
    a, b = socket.socketpair()
    loop.add_handler(a, print, IOLoop.READ)
    with pytest.raises(ValueError, match=f"fd {a.fileno()} added twice"):
        loop.add_handler(a.fileno(), print, IOLoop.READ)
    with pytest.raises(KeyError, match="has no handler"):
        loop.update_handler(b, IOLoop.READ)
    loop.remove_handler(b)
    loop.remove_handler(a)
    a.close()
    b.close()


@pytest.mark.skipif(sys.platform != "linux", reason="epoll refuses ordinary files")
def test_a_descriptor_the_system_refuses_is_not_kept(tmp_path: Any) -> None:
    loop = IOLoop(make_current=False, asyncio_loop=asyncio.new_event_loop())
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(PermissionError):
            loop.add_handler(file, print, IOLoop.READ)
        assert not loop.handlers
    loop.close()


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors there cannot be asked")
@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("events", [IOLoop.READ, IOLoop.WRITE, IOLoop.READ | IOLoop.WRITE])
def test_whether_a_descriptor_waits_is_its_owners_affair(loop: IOLoop, events: int, blocking: bool) -> None:
    """What reads it may be another library, in a thread, or another process: uvloop would make it fail there."""
    a, b = socket.socketpair()
    a.setblocking(blocking)
    seen: list[bool] = []

    def ready(fd: Any, event: int) -> None:
        seen.append(os.get_blocking(a.fileno()))
        loop.update_handler(fd, IOLoop.READ | IOLoop.WRITE)
        seen.append(os.get_blocking(a.fileno()))
        loop.remove_handler(fd)
        loop.stop()

    loop.add_handler(a, ready, events)
    assert os.get_blocking(a.fileno()) is blocking
    b.send(b"x")
    run(loop)
    assert seen == [blocking, blocking]
    assert os.get_blocking(a.fileno()) is blocking
    a.close()
    b.close()


def test_a_handler_that_fails_is_logged(loop: IOLoop, expect_log: Any) -> None:
    a, b = socket.socketpair()

    def fail(fd: Any, event: int) -> None:
        loop.remove_handler(fd)
        loop.add_callback(loop.stop)
        raise ValueError("no")

    loop.add_handler(a, fail, IOLoop.WRITE)
    with expect_log("webfw.application", "Exception in callback .*fail", count=1):
        run(loop)
    a.close()
    b.close()


# --- timers ---


def test_time_is_the_wall_clock(loop: IOLoop) -> None:
    assert abs(loop.time() - time.time()) < 1


def test_timers_of_every_kind(loop: IOLoop) -> None:
    ran: list[Any] = []
    # In the order they are due: on a busy machine some time may pass from one line to the next.
    loop.call_later(-5, ran.append, "now")
    loop.call_at(loop.time() + 0.01, ran.append, "at")
    loop.call_later(0.02, ran.append, "later")
    loop.add_timeout(loop.time() + 0.03, ran.append, "deadline")
    loop.add_timeout(datetime.timedelta(milliseconds=40), lambda **kwargs: ran.append(kwargs), word="delta")
    cancelled = loop.call_later(0.01, ran.append, "cancelled")
    loop.remove_timeout(cancelled)
    loop.call_later(0.05, loop.stop)
    run(loop)
    loop.remove_timeout(cancelled)
    assert ran == ["now", "at", "later", "deadline", {"word": "delta"}]


@pytest.mark.parametrize("deadline", ["soon", None, datetime.datetime(2000, 1, 1)])
def test_a_deadline_of_another_type_is_an_error(loop: IOLoop, deadline: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported deadline"):
        loop.add_timeout(deadline, print)


def test_a_timer_that_fails_is_logged(loop: IOLoop, expect_log: Any) -> None:
    loop.call_later(0, lambda: 1 / 0)
    loop.call_later(0.01, loop.stop)
    with expect_log("webfw.application", "Exception in callback", count=1) as records:
        run(loop)
    assert records[0].exc_info[0] is ZeroDivisionError


# --- callbacks ---


def test_callbacks_run_in_order_and_later(loop: IOLoop) -> None:
    ran: list[Any] = []

    def first() -> None:
        loop.add_callback(ran.append, 3)
        ran.append(1)
        loop.add_callback(loop.stop)

    loop.add_callback(first)
    loop.spawn_callback(lambda number, *, word: ran.append((number, word)), 2, word="two")
    run(loop)
    assert ran == [1, (2, "two"), 3]


def test_a_callback_from_another_thread_wakes_the_loop(loop: IOLoop) -> None:
    threads: list[int] = []

    def callback() -> None:
        threads.append(threading.get_ident())
        loop.stop()

    timer = threading.Timer(0.01, loop.add_callback, (callback,))
    timer.start()
    run(loop)
    timer.join()
    assert threads == [threading.get_ident()]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_callback_from_a_signal_handler_wakes_the_loop(loop: IOLoop) -> None:
    ran: list[str] = []

    def ring() -> None:
        ran.append("signal")
        loop.stop()

    before = signal.signal(signal.SIGALRM, lambda *args: loop.add_callback_from_signal(ring))
    loop.add_callback_from_signal(lambda *, word: ran.append(word), word="direct")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        run(loop)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ran == ["direct", "signal"]


def test_after_close_callbacks_are_ignored(kind: str) -> None:
    loop = IOLoop(make_current=False)
    loop.close()
    loop.add_callback(print, "never")
    loop.add_callback_from_signal(print, "never")


def test_other_errors_of_the_loop_are_not_hidden(loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def call_soon_threadsafe(self, *args: Any) -> None:
            raise RuntimeError("broken")

        def is_closed(self) -> bool:
            return False

    with monkeypatch.context() as patch:
        patch.setattr(loop, "asyncio_loop", Broken())
        with pytest.raises(RuntimeError, match="broken"):
            loop.add_callback(print)
        with pytest.raises(RuntimeError, match="broken"):
            loop.add_callback_from_signal(print)


def test_a_coroutine_function_as_callback_is_run(loop: IOLoop, expect_log: Any) -> None:
    ran: list[str] = []

    async def work(word: str) -> None:
        await asyncio.sleep(0)
        ran.append(word)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    def cancelled_at_once() -> None:
        raise asyncio.CancelledError

    failed: concurrent.futures.Future[None] = concurrent.futures.Future()
    failed.set_exception(KeyError("thread"))
    loop.spawn_callback(work, "one")
    loop.spawn_callback(cancelled)
    loop.spawn_callback(cancelled_at_once)
    loop.add_callback(lambda: 42)
    loop.spawn_callback(fail)
    loop.add_callback(lambda: failed)
    loop.call_later(0.02, loop.stop)
    with expect_log("webfw.application", "Exception in callback", count=2) as records:
        run(loop)
    assert ran == ["one"]
    assert {record.exc_info[0] for record in records} == {ValueError, KeyError}
    assert not loop._pending


def test_a_callback_sees_the_context_it_was_added_in(loop: IOLoop) -> None:
    seen: list[str] = []
    token = variable.set("added")
    loop.add_callback(lambda: seen.append(variable.get()))
    variable.reset(token)
    loop.add_callback(loop.stop)
    run(loop)
    assert seen == ["added"]


async def test_add_future_calls_back_on_the_loop() -> None:
    loop = IOLoop.current()
    both: asyncio.Future[Any] = asyncio.Future()
    results: list[Any] = []

    def done(future: Any) -> None:
        results.append((future.result(), threading.get_ident()))
        if len(results) == 2:
            both.set_result(None)

    plain: asyncio.Future[int] = asyncio.Future()
    loop.add_future(plain, done)
    plain.set_result(1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loop.add_future(pool.submit(lambda: 2), done)
        await both
    assert sorted(results) == [(1, threading.get_ident()), (2, threading.get_ident())]
    with pytest.raises(TypeError, match="needs a Future"):
        loop.add_future(3, done)


async def test_a_future_callback_that_fails_is_logged(expect_log: Any) -> None:
    future: asyncio.Future[None] = asyncio.Future()
    IOLoop.current().add_future(future, lambda f: 1 / 0)
    with expect_log("webfw.application", "Exception in callback", count=1):
        future.set_result(None)
        await asyncio.sleep(0)


# --- threads ---


async def test_a_thread_sees_the_callers_context() -> None:
    loop = IOLoop.current()
    variable.set("mine")

    def work(argument: str) -> tuple[str, str]:
        variable.set("changed")
        return threading.current_thread().name, argument

    name, argument = await loop.run_in_executor(None, work, "argument")
    assert name != threading.current_thread().name
    assert argument == "argument"
    assert variable.get() == "mine"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert await loop.run_in_executor(pool, variable.get) == "mine"


async def test_another_executor_gets_the_bare_function() -> None:
    class Recorder(concurrent.futures.Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            future.set_result((fn, args))
            return future

    assert await IOLoop.current().run_in_executor(Recorder(), len, "abc") == (len, ("abc",))


async def test_the_default_executor_can_be_set() -> None:
    loop = IOLoop.current()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine"))
    name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
    assert name.startswith("mine")
