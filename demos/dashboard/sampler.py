"""Measures this process once a second, and a greenhouse that does not exist."""

import asyncio
import math
import os
import random
import sys
import time
from typing import Any


def memory() -> float:
    """MiB of memory that are resident now, or at most so far where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Greenhouse:
    """Three thermometers that follow a day of five minutes, each with a mind of its own."""

    PLACES = ("roof", "bench", "soil")
    _SHAPE = {"roof": (24.0, 7.0, 0.0), "bench": (21.0, 4.0, 0.5), "soil": (17.0, 1.5, 1.4)}

    def __init__(self) -> None:
        self._drift = dict.fromkeys(self.PLACES, 0.0)

    def read(self, now: float) -> dict[str, float]:
        temperatures = {}
        for place, (mean, swing, delay) in self._SHAPE.items():
            self._drift[place] = self._drift[place] * 0.97 + random.gauss(0, swing * 0.03)
            day = math.sin(2 * math.pi * now / 300 - delay)
            temperatures[place] = round(mean + swing * day + self._drift[place], 2)
        return temperatures


class Sampler:
    """What has happened in this process since the last sample.

    :ivar requests: counted up by the application.
    :ivar streams: event streams that are open now, counted by their handlers.
    """

    INTERVAL = 1.0
    #: How often in an interval the delay of the loop is looked at; what is shorter may be missed.
    LOOKS = 20

    def __init__(self) -> None:
        self.requests = 0
        self.streams = 0
        self._greenhouse = Greenhouse()
        self._before: tuple[float, float, int] | None = None

    async def next(self) -> dict[str, Any]:
        """Wait for the next full interval and give its sample."""
        if self._before is None:
            self._before = time.perf_counter(), time.process_time(), self.requests
        clock_before, cpu_before, requests_before = self._before
        lag = 0.0
        for look in range(1, self.LOOKS + 1):
            due = clock_before + self.INTERVAL * look / self.LOOKS
            wait = due - time.perf_counter()
            if wait > 0 or look == self.LOOKS:
                await asyncio.sleep(max(0.0, wait))
                # How late the loop woke this coroutine up: what every other coroutine feels, too.
                lag = max(lag, time.perf_counter() - due)
        clock, cpu, requests = self._before = time.perf_counter(), time.process_time(), self.requests
        elapsed = clock - clock_before
        return {
            "time": round(time.time() * 1000),
            "requests": round((requests - requests_before) / elapsed, 1),
            "cpu": round(100 * (cpu - cpu_before) / elapsed, 1),
            "memory": round(memory(), 2),
            "lag": round(lag * 1000, 2),
            "streams": self.streams,
            "greenhouse": self._greenhouse.read(time.time()),
        }
