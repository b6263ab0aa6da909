"""What the hub of `WorkersBroker` costs: CPU microseconds of hub, publisher and followers for each message.

    python -m bench.workers [--messages 20000] [--subscribers 500] [--window 64] [--size 64] [--rate N]

One process publishes, with so many publishes under way at a time; two processes follow, each with so many
subscribers.  With a rate, that many messages are published each second, and the delays mean something.  CPU time is
what the operating system says, user and system.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from webfw.ioloop.backend import new_event_loop
from webfw.pubsub import Gap, Message
from webfw.pubsub.workers import WorkersBroker


class Counting:
    """A listener that counts, and keeps the delays of the messages that carry the time."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.delays: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def deliver(self, event: Message | Gap) -> None:
        assert isinstance(event, Message), event
        self.delays.append(time.monotonic() - float(event.data[:20]))
        self.left -= 1
        if not self.left:
            self.done.set_result(None)

    def broker_closed(self) -> None:
        pass


class Idle:
    def deliver(self, event: Message | Gap) -> None:
        pass

    def broker_closed(self) -> None:
        pass


def cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def follow(path: str, messages: int, subscribers: int) -> dict[str, Any]:
    async with WorkersBroker(f"workers:{path}", autostart=False) as broker:
        counting = Counting(messages)
        await broker.attach(counting, "news")
        for _ in range(subscribers - 1):
            await broker.attach(Idle(), "news")
        print("ready", flush=True)
        before = time.process_time()
        await counting.done
        delays = sorted(counting.delays)
        return {
            "cpu": (time.process_time() - before) / messages * 1e6,
            "median": delays[len(delays) // 2] * 1e3,
            "p99": delays[len(delays) * 99 // 100] * 1e3,
        }


async def publish(path: str, messages: int, window: int, size: int, rate: float | None) -> dict[str, Any]:
    async with WorkersBroker(f"workers:{path}", autostart=False) as broker:
        left = messages

        async def one(start: float) -> None:
            nonlocal left
            while left:
                left -= 1
                await broker.publish("news", f"{time.monotonic():<20}".ljust(size))
                if rate:
                    await asyncio.sleep(max(0.0, start + (messages - left) / rate - time.monotonic()))

        before, start = time.process_time(), time.monotonic()
        await asyncio.gather(*(one(start) for _ in range(window)))
        took = time.monotonic() - start
        return {"cpu": (time.process_time() - before) / messages * 1e6, "rate": messages / took}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--role")
    parser.add_argument("--path")
    given = parser.parse_args()
    if given.role:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            if given.role == "follow":
                work = follow(given.path, given.messages, given.subscribers)
            else:
                work = publish(given.path, given.messages, given.window, given.size, given.rate)
            print(json.dumps(runner.run(work)), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/hub.sock"
        hub = subprocess.Popen([sys.executable, "-m", "webfw.pubsub.workers", "--socket", path])
        try:
            while not os.path.exists(path):
                time.sleep(0.01)
            command = [sys.executable, "-m", "bench.workers", "--path", path, *sys.argv[1:], "--role"]
            followers = [
                subprocess.Popen([*command, "follow"], stdout=subprocess.PIPE, text=True) for _ in range(2)
            ]
            for one in followers:
                assert one.stdout is not None
                one.stdout.readline()
            before = cpu(hub.pid)
            done = subprocess.run([*command, "publish"], stdout=subprocess.PIPE, text=True, check=True)
            publisher = json.loads(done.stdout)
            results = [json.loads(one.communicate()[0]) for one in followers]
            used = (cpu(hub.pid) - before) / given.messages * 1e6
        finally:
            hub.terminate()
            hub.wait()
    print(f"messages a second        {publisher['rate']:9.0f}")
    print(f"hub, µs a message        {used:9.1f}")
    print(f"publisher, µs a message  {publisher['cpu']:9.1f}")
    for result in results:
        print(
            f"follower, µs a message   {result['cpu']:9.1f}   ({given.subscribers} subscribers; "
            f"delay median {result['median']:.1f} ms, p99 {result['p99']:.1f} ms)"
        )


if __name__ == "__main__":
    main()
