"""Supervisors that are killed, told much at once, or told to end at the wrong moment; reloads that cannot be."""

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.faults.drive import APP, PATIENCE, Server, children_of, state_of, until

pytestmark = [pytest.mark.slow, pytest.mark.needs("wrk")]

Start = Callable[..., Server]
Figure = Callable[[str], None]

CONNECTIONS = 16
SLOW_TO_LOAD = "import time\ntime.sleep(60)\n" + APP


def test_a_supervisor_is_killed(start: Start, figure: Figure) -> None:
    """Its workers answer what they have been asked, and end; the port is free for a new start."""
    server = start("--workers", "2")
    workers = server.workers()
    clients = [socket.create_connection(server.place, timeout=PATIENCE) for _ in range(CONNECTIONS)]
    for client in clients:
        client.sendall(b"GET /wait/0.7 HTTP/1.1\r\nHost: x\r\n\r\n")
    server.get()
    time.sleep(0.2)
    server.process.kill()
    killed = time.monotonic()
    attempts, again = bind_again(start, server)
    served = time.monotonic() - killed
    lost = sum(not client.recv(65536).startswith(b"HTTP/1.1 200") for client in clients)
    for client in clients:
        client.close()
    until(lambda: not any(map(state_of, workers)))
    gone = time.monotonic() - killed
    figure(
        f"{lost} of {CONNECTIONS} running requests lost; started again at attempt {attempts}, "
        f"serving {served:.1f} s after the kill; no old worker left after {gone:.1f} s"
    )
    assert lost == 0
    assert gone < 10
    assert again.get()
    assert again.stop() == 0


def bind_again(start: Start, server: Server) -> tuple[int, Server]:
    """Start on the same port, as a service manager would."""
    host, port = server.place
    for attempt in range(1, 10):
        again = start("--workers", "2", bind=f"{host}:{port}", ready=False)
        until(lambda again=again: again.lines or again.process.poll() is not None)  # type: ignore[misc]
        if "serving" in again.text:
            again.place = server.place
            return attempt, again
    raise AssertionError(again.text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_during_the_start(start: Start, figure: Figure, number: int) -> None:
    server = start("--workers", "2", text=SLOW_TO_LOAD, ready=False)
    until(lambda: len(server.workers()) == 2)
    told = time.monotonic()
    status = server.stop(number)
    took = time.monotonic() - told
    figure(f"ended after {took:.2f} s with status {status}, while its workers load for 60 s")
    assert status == 0
    assert took < 5
    assert not any(map(state_of, server.ever))


def test_a_broken_version_is_not_taken_under_load(start: Start, figure: Figure) -> None:
    server = start("--workers", "2")
    load = server.load(3, CONNECTIONS)
    server.replace("raise OSError('no database')")
    told = server.send(signal.SIGHUP)
    refused = server.when("no reload, the former workers go on")
    server.replace("this is no Python")
    mark = len(server.lines)
    server.send(signal.SIGHUP)
    server.said("no reload, the former workers go on", mark)
    assert server.who()[1] == 1
    result = load.result()
    figure(f"{result} in two reloads that failed, {refused - told:.1f} s each")
    assert result.failed == 0
    server.write(3)
    server.send(signal.SIGHUP)
    until(lambda: server.who()[1] == 3)
    assert server.stop() == 0


def test_reloads_during_a_reload(start: Start, figure: Figure) -> None:
    """Each new one has the last word: what serves at the end is the version of the last."""
    server = start("--workers", "2")
    load = server.load(6, CONNECTIONS)
    for version in range(2, 12):
        server.write(version)
        told = server.send(signal.SIGHUP)
        time.sleep(0.12)
    until(lambda: "generation 11" in server.text)
    until(lambda: len(server.workers()) == 2 and {server.who()[1] for _ in range(6)} == {11})
    took = time.monotonic() - told
    result = load.result()
    figure(f"{result} in ten reloads within {10 * 0.12:.1f} s; all new {took:.1f} s after the last")
    assert result.failed == 0
    assert "ERROR" not in server.text
    assert server.stop() == 0


def test_more_and_fewer_workers_under_load(start: Start, figure: Figure) -> None:
    server = start("--workers", "1")
    load = server.load(7, CONNECTIONS)
    for number, workers in [
        (signal.SIGTTIN, 2),
        (signal.SIGTTIN, 3),
        (signal.SIGTTOU, 2),
        (signal.SIGTTOU, 1),
    ]:
        server.send(number)
        until(lambda workers=workers: len(server.workers()) == workers)  # type: ignore[misc]
        time.sleep(0.4)
    for number in [signal.SIGTTIN, signal.SIGTTOU] * 4:
        server.send(number)
        time.sleep(0.1)
    server.send(signal.SIGTTOU)  # one is the least
    result = load.result()
    until(lambda: len(server.workers()) == 1)
    figure(f"{result} while there were 1, 2, 3, 2, 1 workers, and four times another within 0.8 s")
    assert result.failed == 0
    assert server.stop() == 0


def test_an_upgrade_under_load(start: Start, figure: Figure) -> None:
    server = start("--workers", "2")
    old = set(server.workers())
    load = server.load(6, CONNECTIONS)
    server.write(2)
    told = server.send(signal.SIGUSR2)
    pid = int(server.said(r"a new supervisor is started beside this one: process (\d+)")[1])
    try:
        until(lambda: server.who()[1] == 2)
        both = time.monotonic() - told
        server.send(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        gone = time.monotonic() - told
        assert not any(map(state_of, old))
        result = load.result()
        server.ever.update(children_of(pid))
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not state_of(pid))
    figure(f"{result}; the new one answered {both:.1f} s after USR2, the old one was gone after {gone:.1f} s")
    assert result.failed == 0


def test_clients_that_hold_their_connections(start: Start, figure: Figure) -> None:
    """A graceful end takes as long as it may, and no longer: one reads nothing, one sends half, one is idle."""
    server = start("--workers", "2", "--graceful-timeout", "2")
    half, slow, idle = (socket.create_connection(server.place) for _ in range(3))
    half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    slow.sendall(b"GET /wait/30 HTTP/1.1\r\nHost: x\r\n\r\n")
    idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(65536)
    time.sleep(0.2)
    told = time.monotonic()
    status = server.stop()
    took = time.monotonic() - told
    for client in (half, slow, idle):
        client.close()
    figure(f"ended after {took:.1f} s with status {status} (--graceful-timeout 2)")
    assert status == 0
    assert 1.5 < took < 8
    assert "connections cut that were busy after 2 seconds" in server.text


def test_everything_at_once(start: Start, figure: Figure) -> None:
    """Signals from all sides while the tree starts: what it says is what it does, and TERM ends it."""
    server = start("--workers", "2", ready=False)
    until(server.workers)
    for number in [signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1, signal.SIGHUP, signal.SIGTTOU] * 5:
        server.send(number)
    server.said("serving")
    host, port = server.said(r"http://([\d.]+):(\d+)").groups()
    server.place = (host, int(port))
    until(lambda: len(server.workers()) == 2)
    until(lambda: server.who()[1] == 1)
    assert server.stop() == 0
    assert not any(map(state_of, server.ever))
    figure(f"{len(server.ever)} processes came and went")
