"""Servers of real applications, shared by the tests of one module."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wsgi.real.site import Site, Visitor


@pytest.fixture(scope="module")
def sites() -> Iterator[Callable[..., Site]]:
    """``sites(make, **options)`` starts a server of what ``make()`` gives."""
    started: list[Site] = []

    def start(make: Callable[[], Any], **options: Any) -> Site:
        started.append(Site(make, **options))
        return started[-1]

    yield start
    for site in started:
        site.stop()


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    """Somebody who comes to the module's ``site``."""
    with site.visitor() as somebody:
        yield somebody
