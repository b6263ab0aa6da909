"""Slow clients against a small pool: they hold no thread, and little memory; ``bench wsgi`` gives the figures."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.client import Client
from bench.http import Peer, script, serving
from bench.slow_clients import PIECES, READING, SENDING, THREADS, Footprint, SlowClients, footprint

MIB = 1 << 20


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something in another process."""
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def all_served(slow: SlowClients) -> bool:
    """Whether every reader has got something."""
    return slow.served() == len(slow.readers)


def server(threads: int) -> Peer:
    command = script("webfw_wsgi.py", "wsgi_apps:mixed", str(threads), "asyncio")
    return Peer("webfw", "webfw.wsgi", command)


def show(title: str, taken: Footprint) -> None:
    """With ``-s``: what the server holds."""
    memory, files = taken.memory / MIB, taken.files / MIB
    print(
        f"{title}: {memory:.0f} MiB, {files:.0f} MiB of files, {taken.descriptors} descriptors, {taken.threads} threads"
    )


@pytest.mark.slow
def test_two_hundred_slow_clients_hold_no_thread_and_little_memory() -> None:
    with serving(server(THREADS), Path(sys.executable), None) as (pid, port):
        client = Client(port, timeout=20)
        for _ in range(100):
            client.get()
        before = footprint(pid)
        show("before", before)
        with SlowClients(port) as slow:
            # Every reader has got something: four threads have run a hundred applications to their ends.
            until(partial(all_served, slow), "a thread waits for a slow client")
            for _ in range(200):
                assert client.get() == b"Hello, world"
            during = footprint(pid)
            show("during", during)
            # The quick ones were not answered after the slow ones, but between them.
            assert slow.in_progress() == (SENDING, READING)
        assert during.memory - before.memory < 64 * MIB
        # What the kernel's buffers do not take is in files, so that there was something to keep out of memory.
        assert 0 < during.files <= READING * PIECES * 64 * 1024
        # A connection each, and for those who read a file.
        assert during.descriptors - before.descriptors <= SENDING + 2 * READING
        assert during.threads <= before.threads + THREADS

        until(lambda: footprint(pid).descriptors <= before.descriptors, "connections or files are left")
        after = footprint(pid)
        show("after", after)
        assert after.files == 0
        assert client.get() == b"Hello, world"
        client.close()


@pytest.mark.slow
def test_memory_stays_flat_while_slow_clients_come_and_go() -> None:
    with serving(server(THREADS), Path(sys.executable), None) as (pid, port):
        client = Client(port, timeout=20)
        taken = []
        for _ in range(6):
            with SlowClients(port, sending=20, reading=20) as slow:
                until(partial(all_served, slow), "a thread waits for a slow client")
            until(lambda: footprint(pid).files == 0, "files are left")
            client.get()
            taken.append(footprint(pid))
            show("next", taken[-1])
        client.close()
    # The first rounds bring in what is needed once; 40 leaked requests with their buffers would be far more.
    assert taken[-1].memory - taken[1].memory < 16 * MIB
    assert taken[-1].descriptors <= taken[1].descriptors
