"""Servers of real applications, shared by the tests of one module."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wsgi.real.site import Site, Visitor


@pytest.fixture(scope="module")
def sites(request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    """``sites(make, **options)`` starts a server of what ``make()`` gives, on a loop of the kind of ``--loop``."""
    started: list[Site] = []
    loop_factory = asyncio.new_event_loop
    if request.config.getoption("--loop") == "uvloop":
        loop_factory = pytest.importorskip("uvloop").new_event_loop

    def start(make: Callable[[], Any], **options: Any) -> Site:
        started.append(Site(make, loop_factory, **options))
        return started[-1]

    yield start
    for site in started:
        site.stop()


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    """Somebody who comes to the module's ``site``."""
    with site.visitor() as somebody:
        yield somebody
