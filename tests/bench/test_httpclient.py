"""What the measurement of HTTP clients makes of its samples, and one of each that is installed here."""

import sys
from pathlib import Path

import pytest

from bench.httpclient import (
    CLIENTS,
    LOADS,
    Sample,
    arguments,
    measure,
    sample,
    servers,
    summary,
    table,
    verdicts,
)


def row(cpu: float, elapsed: float = 100) -> list[Sample]:
    return [Sample(cpu, 0, elapsed)]


def test_figures_are_by_request() -> None:
    assert sample({"requests": 4, "user": 8e-6, "system": 4e-6, "seconds": 40e-6}) == Sample(2, 1, 10)


def test_a_table_begins_with_the_cheapest_and_compares_with_the_others() -> None:
    found = {"tornado-simple": row(40, 300), "webfw-simple": row(10), "aiohttp": row(20)}
    text = table("t", {name: summary(samples) for name, samples in found.items()})
    head, _, *rows = text.splitlines()
    assert head.endswith("| tornado-simple ÷ | tornado-curl ÷ | aiohttp ÷ | tornado-simple's time ÷ |")
    assert [line.split("|")[1].strip() for line in rows] == ["webfw-simple", "aiohttp", "tornado-simple"]
    assert rows[0].endswith("| 4.00 |  | 2.00 | 3.00 |")
    assert "| 300.0 |" in rows[2]


def test_what_was_expected() -> None:
    samples = {
        LOADS["tls"]: {"webfw-simple": row(10), "tornado-simple": row(9, 290), "aiohttp": row(8)},
        LOADS["many"]: {"webfw-simple": row(10), "aiohttp": row(12)},
        LOADS["sequential"]: {"aiohttp": row(12)},
    }
    assert verdicts(
        {title: {name: summary(found) for name, found in of.items()} for title, of in samples.items()}
    ) == [
        f"MISSED: {LOADS['tls']}: times as fast as tornado-simple: 2.90, at least 3 expected",
        f"MISSED: {LOADS['tls']}: CPU of webfw-simple to aiohttp: 1.25, at most 1 expected",
        "met: 64 at a time: CPU of webfw-simple to aiohttp: 0.83, at most 1 expected",
    ]


def test_the_command_has_options() -> None:
    assert arguments([]).peers == [client.name for client in CLIENTS]


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS[:4], ids=lambda client: client.name)
def test_a_client_is_measured(client: object) -> None:
    assert client in CLIENTS
    with servers(Path(sys.executable), None) as (urls, authority):
        for load in LOADS:
            found = measure(client, Path(sys.executable), load, 0.1, urls[load], authority, None)  # type: ignore[arg-type]
            assert 0 < found.user + found.system < 1e6
            assert found.elapsed > 0
