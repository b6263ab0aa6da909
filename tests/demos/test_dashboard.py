"""The dashboard as programs meet it: pages, samples and the stream; its charts are seen in tests/browser."""

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demos.dashboard.sampler import Greenhouse, Sampler, memory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    return (
        webfw_module_command(
            *("serve", "demos.dashboard:app", "--app-dir", str(ROOT)),
            *("--bind", "127.0.0.1:0", "--log-level", "error"),
        )
        .url()
        .rstrip("/")
    )


def samples(url: str) -> Iterator[dict[str, Any]]:
    with urllib.request.urlopen(url + "/samples", timeout=20) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        for line in stream:
            if line.startswith(b"data: "):
                envelope = json.loads(line.removeprefix(b"data: "))
                if "data" in envelope:
                    yield envelope["data"]


def test_memory_is_that_of_this_process() -> None:
    before = memory()
    assert 5 < before < 4000
    held = bytearray(b"x" * 40_000_000)
    assert memory() > before + 20
    del held


def test_greenhouse_has_a_climate() -> None:
    greenhouse = Greenhouse()
    readings = [greenhouse.read(second) for second in range(1000)]
    assert all(set(reading) == {"roof", "bench", "soil"} for reading in readings)
    assert all(-5 < value < 60 for reading in readings for value in reading.values())
    roof = [reading["roof"] for reading in readings]
    assert max(roof) - min(roof) > 8


async def test_sample_counts_what_has_happened_since_the_last() -> None:
    sampler = Sampler()
    sampler.INTERVAL = 0.2
    sampler.requests = 1000  # before the first sample began
    taking = asyncio.create_task(sampler.next())
    await asyncio.sleep(0)
    sampler.requests += 10
    time.sleep(0.05)  # what a handler must not do
    sample = await taking
    assert 10 < sample["requests"] <= 51  # uvloop's clock counts whole milliseconds
    assert 30 <= sample["lag"] < 1000
    assert 0 <= sample["cpu"] < 500
    assert abs(sample["time"] / 1000 - time.time()) < 5
    assert (await sampler.next())["requests"] == 0


async def test_sample_is_taken_though_its_time_has_passed() -> None:
    sampler = Sampler()
    sampler.INTERVAL = 0.01
    await sampler.next()
    time.sleep(0.05)
    assert (await sampler.next())["lag"] >= 30


def test_page_needs_nothing_from_elsewhere(url: str) -> None:
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        page = answer.read().decode()
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://", page) == []
    links = re.findall(r'(?:href|src)="(/[^"]+)"', page)
    assert len(links) == 5
    for link in links:
        with urllib.request.urlopen(url + link, timeout=20) as answer:
            assert answer.status == 200


@pytest.mark.slow
def test_newcomers_start_with_what_was_before(url: str) -> None:
    with closing(samples(url)) as stream:
        first = [next(stream) for _ in range(3)]
    with closing(samples(url)) as stream:
        again = [next(stream) for _ in range(4)]
    assert [sample for sample in again if sample in first] == first[-4:]
    times = [sample["time"] for sample in again]
    assert times == sorted(times)
    assert again[-1]["streams"] >= 1


@pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/hold-up", 405)])
def test_errors_have_a_page(url: str, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(url + path, timeout=20)
    with failed.value as error:
        assert error.code == status
        assert b"To the dashboard" in error.read()


def test_holding_up_takes_a_token(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(url + "/hold-up", b"", timeout=20)
    with failed.value as error:
        assert error.code == 403
