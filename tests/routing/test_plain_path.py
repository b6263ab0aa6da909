"""What it costs to find one of many routes, counted, so that it cannot rot."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.conftest import Sites
from tests.web.test_plain_path import HOUSE
from webfw.web import RequestHandler


class Item(RequestHandler):
    def get(self, word: str, number: str) -> None:
        self.write(f"{word} {number}")


@pytest.fixture
def site() -> Iterator[Sites]:
    sites = Sites()
    yield sites
    sites.end()


async def calls_of(site: Sites, routes: list[Any], path: str) -> list[str]:
    there = site(routes)
    asked = site.request(path)
    for _ in range(3):
        assert (await there.send(asked)).endswith(b"abc 12")
    calls: list[str] = []

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(HOUSE):
            calls.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        there.wire.feed(asked)
    finally:
        sys.setprofile(None)
    assert there.wire.sent.endswith(b"abc 12")
    return calls


@pytest.mark.parametrize("pattern", ["/route{}/([a-z]+)/([0-9]+)", "/api/v1/{}/([a-z]+)/([0-9]+)"])
async def test_one_of_200_routes_costs_as_many_calls_as_one_alone(site: Sites, pattern: str) -> None:
    path = pattern.format(150).replace("([a-z]+)", "abc").replace("([0-9]+)", "12")
    alone = await calls_of(site, [(pattern.format(150), Item)], path)
    among = await calls_of(site, [(pattern.format(number), Item) for number in range(200)], path)
    behind = await calls_of(site, [*[(f"/{n}", Item) for n in range(200)], (pattern.format(150), Item)], path)
    assert among == alone
    assert behind == alone
    assert len(alone) > 20, "the count itself must work"
