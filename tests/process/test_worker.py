"""The worker's side of the line, with the supervisor's side in the test's hands."""

import asyncio
import os
import signal
from typing import Any

import pytest

from webfw.process.channel import Channel, channel_pair
from webfw.process.worker import Order, Worker


class Line:
    """A worker with its line, and what has come over it."""

    def __init__(self, blocked_after: float = 0.0) -> None:
        self.channel: Channel
        self.channel, theirs = channel_pair()
        self.worker = Worker(2, 5, theirs, blocked_after)
        self.heard: list[dict[str, Any]] = []

    async def next(self, key: str) -> dict[str, Any]:
        while True:
            self.heard += self.channel.receive()
            for message in self.heard:
                if key in message:
                    self.heard.remove(message)
                    return message
            await asyncio.sleep(0.005)

    def close(self) -> None:
        self.worker.detach()
        assert self.worker._watchdog is not None
        self.worker._watchdog.end()
        self.channel.close()
        self.worker._channel.close()


@pytest.fixture
def lines() -> Any:
    made: list[Line] = []

    def make(*args: Any) -> Line:
        made.append(Line(*args))
        return made[-1]

    return make


async def test_orders(lines: Any) -> None:
    line = lines()
    line.worker.attach()
    line.worker.ready()
    assert await line.next("ready") == {"ready": True}
    line.channel.send({"order": "drain"})
    line.channel.send({"order": "nonsense"})
    line.channel.send({"order": "stop"})
    assert await line.worker.order() is Order.DRAIN
    assert await line.worker.order() is Order.STOP
    line.close()


async def test_heartbeats_carry_a_report(lines: Any) -> None:
    line = lines(0.03)
    line.worker.attach()
    assert (await line.next("beat"))["beat"].keys() == {"lag"}
    line.worker.report = lambda: {"requests": 7}
    while "requests" not in (beat := (await line.next("beat"))["beat"]):
        pass
    assert beat["requests"] == 7
    assert beat["lag"] >= 0
    line.close()


async def test_signals_are_orders(lines: Any, expect_log: Any) -> None:
    line = lines()
    line.worker.attach()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await line.worker.order() is Order.DRAIN
    os.kill(os.getpid(), signal.SIGQUIT)
    assert await line.worker.order() is Order.STOP
    line.close()


async def test_a_lost_supervisor_means_drain(lines: Any, expect_log: Any) -> None:
    line = lines()
    line.worker.attach()
    with expect_log("webfw.general", r"worker 2 \(process \d+\) has lost its supervisor: it ends"):
        line.channel.close()
        assert await line.worker.order() is Order.DRAIN
    line.close()


async def test_a_worker_asks_for_a_successor_once(lines: Any) -> None:
    line = lines()
    line.worker.attach()
    line.worker.retire("a reason")
    line.worker.retire("another")
    assert await line.next("retire") == {"retire": "a reason"}
    line.worker.ready()
    await line.next("ready")
    assert all("retire" not in message for message in line.heard)
    line.close()


async def test_stacks_and_logs(lines: Any) -> None:
    line = lines()
    line.worker.attach()
    reopened: list[bool] = []
    line.channel.send({"order": "reopen"})  # nobody has log files
    line.channel.send({"order": "stacks", "id": "q1"})
    answer = await line.next("answer")
    assert answer["answer"] == "q1"
    assert "thread MainThread" in answer["stacks"]
    line.worker.reopen_logs = lambda: reopened.append(True)
    line.channel.send({"order": "reopen"})
    line.channel.send({"order": "stacks", "id": "q2"})
    await line.next("answer")
    assert reopened == [True]
    line.close()


async def test_a_failure_is_told_before_there_is_a_loop(lines: Any) -> None:
    line = lines()
    line.worker.failed("Traceback ...\nValueError: x")
    assert await line.next("failed") == {"failed": "Traceback ...\nValueError: x"}
    line.worker.attach()
    line.close()


async def test_its_watchdog_sees_a_block(lines: Any, expect_log: Any) -> None:
    import time

    line = lines(0.05)
    line.worker.attach()
    time.sleep(0.2)  # of an application that begins: nobody waits for that
    line.worker.ready()
    with expect_log("webfw.application", "blocked for"):
        time.sleep(0.3)
        # It was told while the loop could not be asked.
        assert "time.sleep(0.3)" in (await line.next("blocked"))["blocked"]
        await line.next("beat")
        await asyncio.sleep(0.05)
    line.close()
