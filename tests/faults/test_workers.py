"""Workers that are killed, stop, block, leak, crash or run out of descriptors: what of it clients notice."""

import os
import re
import resource
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.faults.drive import Server, state_of, until

pytestmark = [pytest.mark.slow, pytest.mark.needs("wrk")]

Start = Callable[..., Server]
Figure = Callable[[str], None]

CONNECTIONS = 16


def test_a_worker_is_killed_under_load(start: Start, figure: Figure) -> None:
    server = start("--workers", "2")
    load = server.load(6, CONNECTIONS)
    time.sleep(1)
    took = []
    for _ in range(3):
        before = set(server.workers())
        victim = min(before)
        mark = len(server.lines)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        took.append(server.when("is ready", mark) - killed)
        assert set(server.workers()) - before
        time.sleep(1)
    result = load.result()
    figure(f"{result} in 3 kills, {max(took):.2f} s until there were two workers again")
    # No more than one for each connection that a killed worker had.
    assert result.failed <= 3 * CONNECTIONS
    assert result.refused == result.bad == result.timeouts == 0
    assert server.stop() == 0


def test_a_worker_is_stopped(start: Start, figure: Figure) -> None:
    """SIGSTOP, as of a machine that swaps, or a debugger: the others go on, and it is replaced."""
    server = start("--workers", "2", "--timeout", "2")
    victim = server.workers()[0]
    stopped = time.monotonic()
    os.kill(victim, signal.SIGSTOP)
    load = server.load(7, CONNECTIONS)
    ready = server.when("worker 0 .*is ready")
    noticed = server.when(r"worker 0 .*no sign of life for \d\.\d seconds: it is replaced")
    result = load.result()
    figure(
        f"{result} that came after; noticed after {noticed - stopped:.1f} s (--timeout 2), "
        f"replaced after {ready - stopped:.1f} s"
    )
    assert state_of(victim) == ""
    assert result.failed == 0
    assert ready - stopped < 12
    assert server.stop() == 0


def test_a_worker_blocks_its_loop(start: Start, figure: Figure) -> None:
    server = start("--workers", "2", "--timeout", "2", "--blocked-after", "0.3")
    with socket.create_connection(server.place) as client:
        blocked = time.monotonic()
        client.sendall(b"GET /block/60 HTTP/1.1\r\nHost: x\r\n\r\n")
        said = server.when("the event loop has been blocked for 0.[3-9]")
        load = server.load(6, CONNECTIONS)
        ready = server.when(r"worker \d .*is ready")
        assert client.recv(100) == b""
    result = load.result()
    figure(
        f"{result} beside it; stack logged after {said - blocked:.1f} s, "
        f"worker replaced after {ready - blocked:.1f} s (--timeout 2)"
    )
    assert "time.sleep(float(seconds))" in server.text
    assert "Fatal Python error: Aborted" in server.text  # faulthandler, for what stands in C
    assert result.failed == 0
    assert ready - blocked < 12
    assert server.stop() == 0


def test_a_worker_leaks(start: Start, figure: Figure) -> None:
    """Worker 0 is full when it has had a few hundred of these; nobody notices that it is replaced."""
    server = start("--workers", "2", "--max-memory", "100MiB")
    load = server.load(14, 4, "/leak/4")
    replaced = server.said(r"worker \d \(process \d+\) is to be replaced: (\d+) MiB of memory")
    server.said("is ready")
    load.process.send_signal(signal.SIGINT)  # wrk's end before its time
    result = load.result()
    figure(f"{result}; first replaced at {replaced[1]} MiB (--max-memory 100MiB)")
    assert result.failed == 0
    assert int(replaced[1]) >= 100
    assert server.stop() == 0


def test_a_start_that_fails(start: Start, figure: Figure) -> None:
    begun = time.monotonic()
    failing = start("--workers", "2", text="raise OSError('no database')", ready=False)
    assert failing.end() == 3
    figure(f"exit status 3 after {time.monotonic() - begun:.1f} s")
    assert failing.text.count("OSError: no database") == 1
    assert "Traceback" not in failing.text


def test_workers_that_die_at_import_later(start: Start, figure: Figure) -> None:
    """The version on disk is broken when a worker has to be started again: patience, and no busy loop."""
    server = start("--workers", "2")
    server.replace("import os\nos._exit(5)")
    os.kill(server.workers()[0], signal.SIGKILL)
    attempts = r"ended with status 5.*: next attempt in ([\d.]+) seconds"
    server.said(r"next attempt in 2 seconds")
    delays = [float(delay) for delay in re.findall(attempts, server.text)]
    assert delays == [0.5, 1, 2]
    load = server.load(1, CONNECTIONS)
    assert load.result().failed == 0
    server.write(2)
    mended = time.monotonic()
    took = server.when("is ready") - mended
    figure(
        f"attempts after {', '.join(f'{d:g}' for d in [0.0, *delays])} s; {took:.1f} s from mended to ready"
    )
    assert server.stop() == 0


def test_crashes_in_a_row(start: Start, figure: Figure) -> None:
    """An application that crashes whenever it is asked is not started in a busy loop, and never given up."""
    server = start("--workers", "1")
    delays = []
    for _ in range(4):
        mark = len(server.lines)
        with socket.create_connection(server.place) as client:
            client.sendall(b"GET /die/11 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100) == b""
        found = server.said(r"was killed by SIGSEGV: it is started again(?: in ([\d.]+) seconds)?", mark)
        delays.append(float(found[1] or 0))
        server.said("is ready", mark)
    figure(f"started again after {', '.join(f'{delay:g}' for delay in delays)} s")
    assert delays == [0, 0.5, 1, 2]
    assert server.get()
    assert server.stop() == 0


def test_no_descriptors_are_left(start: Start, figure: Figure) -> None:
    """More connections than a worker may have open: those it has are served, the others when there is room."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    server = start("--workers", "1", before=few)
    clients = [socket.create_connection(server.place, timeout=20) for _ in range(100)]
    answered = 0
    for client in clients[:20]:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answered += client.recv(65536).startswith(b"HTTP/1.1 200")
    assert answered == 20
    for client in clients:
        client.close()
    freed = time.monotonic()
    until(lambda: served(server))
    took = time.monotonic() - freed
    figure(f"{answered} of 20 answered meanwhile; a new one {took:.2f} s after others left")
    assert took < 5
    assert len(server.lines) < 40
    assert server.stop() == 0


def served(server: Server) -> bool:
    """Whether a new connection is; libuv closes those that it has no descriptor for."""
    try:
        return bool(server.get())
    except OSError:
        return False


def test_a_worker_that_cannot_be_forked_for_want_of_descriptors(start: Start, figure: Figure) -> None:
    """The supervisor has none left for a line to a worker: it says so, lives, and tries again."""
    server = start("--workers", "1")
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors() - 1, 4096))
    os.kill(server.workers()[0], signal.SIGKILL)
    server.said("cannot be started: .*Too many open files")
    assert server.process.poll() is None
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (1024, 4096))
    freed = time.monotonic()
    assert server.get()
    figure(f"served again {time.monotonic() - freed:.1f} s after there was room")
    assert server.stop() == 0


STUCK = """
import os, threading

def app(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} 1".encode()]
"""


def test_a_thread_that_never_ends(start: Start, figure: Figure) -> None:
    """A WSGI request is stuck for good when workers are to drain: they have their time, and no more."""
    server = start("--workers", "1", "--graceful-timeout", "1", text=STUCK)
    before = server.workers()
    with socket.create_connection(server.place) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.who()[0] in before
        told = server.send(signal.SIGHUP)
        until(lambda: not set(before) & set(server.workers()))
        figure(f"the old worker was gone {time.monotonic() - told:.1f} s after HUP (--graceful-timeout 1)")
        assert client.recv(100) in (b"", b"HTTP/1.1 503")
    assert time.monotonic() - told < 12
    assert server.stop() == 0


def test_a_thread_that_never_ends_when_the_supervisor_is_killed(start: Start, figure: Figure) -> None:
    server = start("--workers", "1", "--graceful-timeout", "1", "--blocked-after", "0", text=STUCK)
    [worker] = server.workers()
    with socket.create_connection(server.place) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.who()[0] == worker
        server.process.kill()
        took = until(lambda: state_of(worker) == "")
    figure(f"gone after {took:.1f} s")
