"""Every test here runs on webfw, and with ``--slow`` on uvicorn too, which must give the same answers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.asgi.real.site import SERVERS, Site, wait_for
from tests.wsgi.real.site import Visitor


@pytest.fixture(
    scope="session",
    params=[SERVERS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SERVERS[1:])],
)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of the server."""
    return str(request.param)


@pytest.fixture(scope="module")
def sites(kind: str, pytestconfig: pytest.Config) -> Iterator[Callable[..., Site]]:
    """``sites(app, **options)`` starts a `Site` on the server whose turn it is; all are stopped after the module."""
    started: list[Site] = []
    factories: dict[str, Any] = {}
    if pytestconfig.getoption("--loop") == "uvloop":
        import uvloop

        factories["loop_factory"] = uvloop.new_event_loop

    def start(app: Any, **options: Any) -> Site:
        site = Site(kind, app, **factories, **options)
        started.append(site)
        return site

    yield start
    for site in started:
        site.stop()


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    with site.visitor() as visitor:
        yield visitor


@pytest.fixture
def logged(kind: str, expect_log: Callable[..., Any]) -> Callable[[str], AbstractContextManager[Any]]:
    """``with logged(regex):`` announces one record of webfw; uvicorn has a log of its own."""

    @contextmanager
    def expect(regex: str) -> Iterator[None]:
        if kind != "webfw":
            yield
            return
        with expect_log("webfw.application", regex, count=1) as records:
            yield
            wait_for(lambda: records)  # the client may have its answer before

    return expect
