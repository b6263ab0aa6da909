"""What the WebSocket measurement makes of its samples."""

import mmap
import os
from collections.abc import Callable

import pytest

from bench import shapes
from bench.peers import script
from bench.websocket import (
    Memory,
    Results,
    Sample,
    figures,
    memory_summary,
    memory_table,
    proportional,
    summary,
    table,
    warnings,
)


def sample(user: float, system: float, busy: float = 0.5) -> Sample:
    return Sample(user, system, rate=1000.0, messages=10, busy=busy)


def test_the_median_of_each_column_and_the_range_of_the_totals() -> None:
    row = summary([sample(10, 2), sample(30, 1), sample(20, 9)])
    assert (row["user_us"], row["system_us"], row["total_us"]) == (20, 2, 29)
    assert (row["lowest_us"], row["highest_us"]) == (12, 31)


def test_a_table_begins_with_the_cheapest_and_compares_with_the_others() -> None:
    found = {"tornado": [sample(30, 10)], "webfw": [sample(4, 4)], "picows": [sample(2, 2)]}
    text = table("echo", {name: summary(samples) for name, samples in found.items()})
    head, _, *rows = text.splitlines()
    assert head.endswith("| tornado ÷ | uvicorn ÷ | picows ÷ |")
    assert [row.split("|")[1].strip() for row in rows] == ["picows", "webfw", "tornado"]
    assert rows[1].endswith("| 5.0 |  | 0.5 |")


def test_memory_is_shown_before_and_after_a_message() -> None:
    text = memory_table(
        {"b": memory_summary([Memory(9, 12)]), "a": memory_summary([Memory(8, 8.5), Memory(8, 8.7)])}
    )
    assert text.splitlines()[2:] == ["| a | 8.0 | 8.6 | 8.0 to 8.7 |", "| b | 9.0 | 12.0 | 9.0 to 12.0 |"]


def test_a_generator_without_rest_is_told() -> None:
    results = Results({}, {})
    results.add("slow", {"echo": sample(9, 9)})
    results.add("fast", {"echo": sample(1, 1, busy=0.99)})
    assert list(warnings(results)) == ["echo, fast: the load generator was busy for 99% of the time"]
    assert figures(results)["echo"]["fast"]["generator_busy"] == 0.99


def test_the_memory_of_this_process_grows_with_what_it_holds() -> None:
    before = proportional(os.getpid())
    held = mmap.mmap(-1, 16 << 20)  # fresh from the kernel, unlike what an allocator has had back
    held.write(b"x" * len(held))
    assert (15 << 20) < proportional(os.getpid()) - before < (24 << 20)
    held.close()


@pytest.mark.parametrize("command", [script("x.py", "uvloop"), shapes.granian("asgi")])
def test_a_peer_is_told_its_port(command: Callable[[int], list[str]]) -> None:
    assert "4711" in command(4711)
