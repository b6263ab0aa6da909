"""Tests of webfw.observe.parts: what is found in request callbacks of every shape."""

from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.observe.admin import HealthFront
from webfw.observe.health import Readiness
from webfw.observe.parts import all_of, broker_of, parts_of
from webfw.routing import PathMatches, Rule, RuleRouter
from webfw.web import Application, FallbackHandler, RequestHandler
from webfw.wsgi import WSGIContainer


def container() -> WSGIContainer:
    return WSGIContainer(lambda environ, start_response: [b""])


def test_one_of_each() -> None:
    app, wsgi = Application(), container()
    assert list(parts_of(app)) == [app]
    assert list(parts_of(wsgi)) == [wsgi]
    assert list(parts_of(lambda request: None)) == []


def test_routes_are_followed() -> None:
    fallback, target, below, by_host = container(), container(), Application(), container()
    nested = Application(
        [
            ("/a", RequestHandler),
            Rule(PathMatches("/b.*"), target),
            ("/c.*", below),
            (".*", FallbackHandler, {"fallback": fallback}),
        ]
    )
    nested.add_handlers("example.com", [Rule(PathMatches("/.*"), by_host)])
    router = RuleRouter([Rule(PathMatches("/.*"), nested), Rule(PathMatches("/again"), below)])
    found = list(parts_of(router))
    assert found[0] is nested
    assert sorted(map(id, found)) == sorted(map(id, [nested, target, below, fallback, by_host]))


@pytest.mark.parametrize("behind", [HTTPServer, lambda app: HealthFront(app, Readiness())])
async def test_what_stands_in_front_is_looked_through(behind: Any) -> None:
    app = Application()
    assert list(parts_of(behind(app))) == [app]


def test_others_are_found_too() -> None:
    def function(request: Any) -> None: ...

    class Front:
        request_callback = staticmethod(function)

    front, app = (
        Front(),
        Application([("/", RequestHandler), (".*", FallbackHandler, {"fallback": function})]),
    )
    found = list(all_of(RuleRouter([Rule(PathMatches("/f"), front), Rule(PathMatches("/a"), app)])))
    assert [part for part in found if part in (front, app, function)] == [front, app, function]
    assert len(found) == len({id(part) for part in found})


def test_looking_makes_no_broker() -> None:
    app = Application()
    assert broker_of(app) is None
    broker = app.broker
    assert broker_of(app) is broker
