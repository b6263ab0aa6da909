"""A minute of faults of all kinds under load: nothing is left of them in the supervisor."""

import faulthandler
import os
import random
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.faults.drive import Server, state_of, until

pytestmark = [pytest.mark.slow, pytest.mark.needs("wrk"), pytest.mark.timeout(180)]

SECONDS = 60
CONNECTIONS = 8


class Faults:
    """What is done to a server; each at random, and counted."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self.server = server
        self.chance = chance
        self.version = 1
        self.counts: dict[str, int] = {}
        self.clients: list[socket.socket] = []
        self.all = [self.kill, self.stop, self.reload, self.break_and_mend, self.resize, self.reopen]
        self.all += [self.block, self.crash, self.hold, self.upgrade_in_vain]

    def one(self) -> None:
        fault = self.chance.choice(self.all)
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        fault()

    def some_worker(self, number: int) -> None:
        workers = self.server.workers()
        if workers:
            try:
                os.kill(self.chance.choice(workers), number)
            except ProcessLookupError:
                pass

    def kill(self) -> None:
        self.some_worker(signal.SIGKILL)

    def stop(self) -> None:
        self.some_worker(signal.SIGSTOP)

    def reload(self) -> None:
        self.version += 1
        self.server.write(self.version)
        self.server.send(signal.SIGHUP)

    def break_and_mend(self) -> None:
        self.server.replace("raise OSError('no database')")
        self.server.send(signal.SIGHUP)
        time.sleep(0.4)
        self.server.write(self.version)

    def resize(self) -> None:
        self.server.send(signal.SIGTTIN)
        time.sleep(0.3)
        self.server.send(signal.SIGTTOU)

    def reopen(self) -> None:
        self.server.send(signal.SIGUSR1)

    def ask(self, path: str) -> None:
        client = socket.create_connection(self.server.place)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.clients.append(client)

    def block(self) -> None:
        self.ask("/block/3")

    def crash(self) -> None:
        self.ask("/die/11")

    def hold(self) -> None:
        self.ask("/wait/30")

    def upgrade_in_vain(self) -> None:
        self.server.replace("raise OSError('no database')")
        mark = len(self.server.lines)
        self.server.send(signal.SIGUSR2)
        self.server.said("this one goes on", mark)
        self.server.write(self.version)


def children_but(server: Server, zombies: bool) -> list[int]:
    return [pid for pid in server.workers() if (state_of(pid) == "Z") is zombies]


def quiet(server: Server) -> bool:
    """Whether there are two workers that serve and nobody else."""
    return len(children_but(server, zombies=False)) == 2 and not children_but(server, zombies=True)


def test_a_minute_of_faults(start: Callable[..., Server], figure: Callable[[str], None]) -> None:
    faulthandler.cancel_dump_traceback_later()  # pytest's: it takes a minute, and nothing is wrong with that
    options = ["--workers", "2", "--timeout", "2", "--blocked-after", "0.5", "--graceful-timeout", "2"]
    server = start(*options, "--max-requests", "50000")
    faults = Faults(server, random.Random(6))
    load = server.load(SECONDS + 5, CONNECTIONS)
    end = time.monotonic() + SECONDS
    # What it loads once it has loaded after one of each.
    for fault in faults.all:
        fault()
    until(lambda: quiet(server))
    descriptors, memory = server.descriptors(), server.memory()
    while time.monotonic() < end:
        faults.one()
        time.sleep(faults.chance.uniform(0.2, 1.5))
    recovery = until(lambda: quiet(server))
    result = load.result()
    until(lambda: quiet(server))
    grown = server.memory() - memory
    kinds = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(faults.counts.items()))
    figure(
        f"{result} ({kinds}); two workers {recovery:.1f} s after the last; supervisor: "
        f"{server.descriptors()} descriptors, {descriptors} before, memory {grown:+d} KiB"
    )
    for client in faults.clients:
        client.close()
    assert server.descriptors() == descriptors
    assert grown < 2048
    # Each end of a worker that is none of its own will costs the requests that are in it at that moment.
    ends = sum(faults.counts.get(name, 0) for name in ("kill", "stop", "block", "crash")) + 4
    assert result.failed <= ends * CONNECTIONS
    assert result.refused == result.bad == 0
    assert server.get()
    assert server.stop() == 0
    assert not any(map(state_of, server.ever))
    assert "Traceback" not in server.text
