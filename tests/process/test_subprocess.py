"""Tests of webfw.process.subprocess: real children, their pipes, and their ends."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from webfw.ioloop import IOLoop
from webfw.ioloop.backend import new_event_loop
from webfw.iostream import PipeIOStream, StreamClosedError
from webfw.process import CalledProcessError, Subprocess
from webfw.process.subprocess import _open_pipe

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes cannot be waited for here")

STREAM = Subprocess.STREAM
COUNTED = os.path.isdir("/proc/self/fd")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if COUNTED else 0


def is_zombie_or_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(autouse=True, scope="module")
def _what_the_first_loop_keeps() -> None:
    new_event_loop().close()  # uvloop opens two descriptors for good


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    assert descriptors() == before


async def test_streams_and_the_end() -> None:
    child = Subprocess(["cat"], stdin=STREAM, stdout=STREAM)
    assert isinstance(child.stdin, PipeIOStream)
    assert isinstance(child.stdout, PipeIOStream)
    assert child.stderr is None
    assert child.returncode is None
    assert child.pid == child.proc.pid
    assert child.io_loop is IOLoop.current()
    await child.stdin.write(b"one\ntwo")
    assert await child.stdout.read_until(b"\n") == b"one\n"
    child.stdin.close()
    assert await child.stdout.read_until_close() == b"two"
    assert await child.wait_for_exit() == 0
    assert child.returncode == 0
    assert not is_zombie_or_there(child.pid)


async def test_stderr_apart_and_together() -> None:
    code = "echo out; echo err >&2"
    apart = Subprocess(["sh", "-c", code], stdout=STREAM, stderr=STREAM)
    assert await apart.stdout.read_until_close() == b"out\n"
    assert await apart.stderr.read_until_close() == b"err\n"
    await apart.wait_for_exit()
    together = Subprocess(code, shell=True, stdout=STREAM, stderr=subprocess.STDOUT)
    assert await together.stdout.read_until_close() == b"out\nerr\n"
    await together.wait_for_exit()


async def test_a_megabyte_both_ways() -> None:
    data = os.urandom(1 << 20)
    child = Subprocess(["cat"], stdin=STREAM, stdout=STREAM)

    async def feed() -> None:
        await child.stdin.write(data)
        child.stdin.close()

    _, echoed = await asyncio.gather(feed(), child.stdout.read_until_close())
    assert echoed == data
    assert await child.wait_for_exit() == 0


async def test_popen_arguments_are_passed_on(tmp_path: os.PathLike[str]) -> None:
    child = Subprocess(
        ["sh", "-c", 'pwd; echo "$WORD"'], stdout=STREAM, cwd=tmp_path, env={"WORD": "said"}, close_fds=True
    )
    assert (await child.stdout.read_until_close()).decode() == f"{os.path.realpath(tmp_path)}\nsaid\n"
    await child.wait_for_exit()


async def test_streams_may_be_positional_arguments() -> None:
    # args, bufsize, executable, stdin, stdout
    child = Subprocess(["cat"], -1, None, STREAM, STREAM)
    child.stdin.write(b"x")
    child.stdin.close()
    assert await child.stdout.read_until_close() == b"x"
    await child.wait_for_exit()


async def test_what_popen_opened_is_there_too() -> None:
    child = Subprocess(["cat"], stdin=subprocess.PIPE, stdout=STREAM, text=True)
    assert child.stdin is child.proc.stdin
    child.stdin.write("text")
    child.stdin.close()
    assert await child.stdout.read_until_close() == b"text"
    await child.wait_for_exit()


# --- the end ---


async def test_a_status_that_is_not_0_raises_unless_told_otherwise() -> None:
    args = ["sh", "-c", "exit 7"]
    child = Subprocess(args)
    with pytest.raises(CalledProcessError) as caught:
        await child.wait_for_exit()
    assert caught.value.returncode == 7
    assert caught.value.cmd == args
    # Asked again, after the end.
    assert await child.wait_for_exit(raise_error=False) == 7
    with pytest.raises(subprocess.CalledProcessError):
        await child.wait_for_exit()


async def test_a_signal_is_a_negative_status() -> None:
    child = Subprocess(["sleep", "60"])
    child.proc.send_signal(signal.SIGTERM)
    assert await child.wait_for_exit(raise_error=False) == -signal.SIGTERM


async def test_several_wait_beside_a_callback() -> None:
    child = Subprocess(["cat"], stdin=STREAM)
    got: list[int] = []
    child.set_exit_callback(got.append)
    futures = [child.wait_for_exit() for _ in range(3)]
    futures[0].cancel()
    child.stdin.close()
    assert await asyncio.gather(*futures[1:]) == [0, 0]
    await asyncio.sleep(0)
    assert got == [0]


async def test_the_last_callback_counts_and_runs_once() -> None:
    child = Subprocess(["true"])
    got: list[str] = []
    child.set_exit_callback(lambda status: got.append("first"))
    child.set_exit_callback(lambda status: got.append("second"))
    await child.wait_for_exit()
    await asyncio.sleep(0)
    assert got == ["second"]
    # Too late for the end, in time for the next turn.
    child.set_exit_callback(lambda status: got.append("third"))
    assert got == ["second"]
    await asyncio.sleep(0)
    assert got == ["second", "third"]


async def test_a_callback_set_long_after_the_end_runs() -> None:
    child = Subprocess(["sh", "-c", "exit 3"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and the loop has not looked
    done = asyncio.get_running_loop().create_future()
    child.set_exit_callback(done.set_result)
    assert await done == 3


async def test_a_callback_runs_in_the_context_of_its_caller() -> None:
    name = contextvars.ContextVar("name", default="nobody")
    child = Subprocess(["true"])
    done = asyncio.get_running_loop().create_future()

    def ask(who: str) -> None:
        name.set(who)
        child.set_exit_callback(lambda status: done.set_result(name.get()))

    contextvars.copy_context().run(ask, "me")
    assert await done == "me"
    assert name.get() == "nobody"


async def test_an_exception_in_a_callback_is_logged(expect_log) -> None:  # type: ignore[no-untyped-def]
    child = Subprocess(["true"])

    def fail(status: int) -> None:
        raise ValueError(status)

    with expect_log("webfw.application", "Exception in callback", count=1):
        child.set_exit_callback(fail)
        await child.wait_for_exit()
        await asyncio.sleep(0)


async def test_a_callback_may_be_a_coroutine_function() -> None:
    child = Subprocess(["true"])
    done = asyncio.get_running_loop().create_future()

    async def callback(status: int) -> None:
        await asyncio.sleep(0)
        done.set_result(status)

    child.set_exit_callback(callback)
    assert await done == 0


async def test_who_waits_for_the_child_elsewhere_takes_nothing_away() -> None:
    child = Subprocess(["sh", "-c", "exit 4"])
    assert child.proc.wait(10) == 4  # blocks the loop, as old programs do
    assert child.returncode == 4
    assert await child.wait_for_exit(raise_error=False) == 4


async def test_two_hundred_at_once() -> None:
    for _ in range(2):  # the second time with the same descriptors again
        children = [Subprocess(["sh", "-c", f"exit {n % 5}"], stdout=STREAM) for n in range(200)]
        statuses = await asyncio.gather(*[child.wait_for_exit(raise_error=False) for child in children])
        assert statuses == [n % 5 for n in range(200)]
        for child in children:
            assert await child.stdout.read_until_close() == b""
            assert not is_zombie_or_there(child.pid)


async def test_a_dropped_object_leaves_no_zombie_and_no_descriptor() -> None:
    before = descriptors()
    child = Subprocess(["cat"], stdin=STREAM, stdout=STREAM)
    pid, proc = child.pid, child.proc
    del child
    gc.collect()
    # Its standard input is closed, so it ends; and is reaped though nobody asks.
    while proc.returncode is None:
        await asyncio.sleep(0.001)
    assert proc.returncode == 0
    assert not is_zombie_or_there(pid)
    if COUNTED:
        assert descriptors() == before


async def test_a_stream_outlives_the_object() -> None:
    child = Subprocess(["sh", "-c", "echo still here"], stdout=STREAM)
    stream, proc = child.stdout, child.proc
    del child
    gc.collect()
    assert await stream.read_until_close() == b"still here\n"
    while proc.returncode is None:
        await asyncio.sleep(0.001)


async def test_the_parents_ends_are_not_inherited_by_the_next_child() -> None:
    first = Subprocess(["cat"], stdin=STREAM, stdout=STREAM)
    second = Subprocess(["cat"], stdin=STREAM, close_fds=False)
    first.stdin.close()
    # Would wait for ever if the second child held the writing end too.
    assert await first.stdout.read_until_close() == b""
    second.stdin.close()
    await asyncio.gather(first.wait_for_exit(), second.wait_for_exit())


async def test_a_write_to_a_child_that_has_ended_fails() -> None:
    child = Subprocess(["true"], stdin=STREAM)
    await child.wait_for_exit()
    with pytest.raises(StreamClosedError):
        await child.stdin.write(b"x")


# --- what cannot be started ---


@pytest.mark.skipif(not COUNTED, reason="descriptors cannot be counted here")
async def test_a_program_that_does_not_exist_leaves_nothing() -> None:
    IOLoop.current()
    before = descriptors()
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            Subprocess(["/no/such/program"], stdin=STREAM, stdout=STREAM, stderr=STREAM)
    with pytest.raises(TypeError):
        Subprocess(["true"], stdin=STREAM, nonsense=1)
    assert descriptors() == before


async def test_streams_are_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(RuntimeError, match="POSIX"):
        _open_pipe(False, [])


# --- loops ---


def test_before_the_loop_runs_and_in_another_thread() -> None:
    got: list[bytes] = []

    def thread() -> None:
        loop = IOLoop()
        child = Subprocess(["sh", "-c", "echo thread"], stdout=STREAM)

        async def work() -> None:
            got.append(await child.stdout.read_until_close())
            got.append(b"%d" % await child.wait_for_exit())

        try:
            loop.run_sync(work)
        finally:
            loop.close()

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join(20)
    assert got == [b"thread\n", b"0"]


def test_a_loop_that_is_closed_before_the_end() -> None:
    procs = []

    async def start() -> None:
        child = Subprocess(["cat"], stdin=STREAM)
        procs.append(child.proc)

    asyncio.run(start())
    asyncio.set_event_loop(None)
    IOLoop(make_current=False).close()  # forgets the closed one
    gc.collect()
    assert procs[0].wait(10) == 0


def test_a_loop_that_is_closed_before_it_has_looked() -> None:
    """The child has ended, so there is nothing to warn of when it is forgotten."""

    async def start() -> None:
        os.waitid(os.P_PID, Subprocess(["true"]).pid, os.WEXITED | os.WNOWAIT)

    asyncio.run(start())
    asyncio.set_event_loop(None)
    IOLoop(make_current=False).close()  # forgets the closed one
    gc.collect()  # a ResourceWarning would fail the test


async def test_initialize_and_uninitialize_do_nothing() -> None:
    if sys.platform != "win32":
        before = signal.getsignal(signal.SIGCHLD)
        Subprocess.initialize()
        assert signal.getsignal(signal.SIGCHLD) == before
        Subprocess.uninitialize()
