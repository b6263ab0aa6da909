"""From targets on the command line or in a file to what answers requests: several applications by host and path."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from webfw.asgi import ASGIContainer
from webfw.asgi.lifespan import Mode
from webfw.cli.errors import USAGE, CommandError
from webfw.cli.sources import Configuration
from webfw.cli.target import check_target, interface_of, load_failure, load_target
from webfw.httpserver import Exchange
from webfw.httpserver.adapters import begin_with_callback, begin_with_delegate, hand_over
from webfw.httpserver.exchange import Begin
from webfw.httputil import HTTPServerConnectionDelegate, HTTPServerRequest
from webfw.routing import AnyMatches, HostMatches, Matcher, PathMatches, Rule, RuleRouter
from webfw.routing.delegates import CallableDelegate, NotFoundDelegate
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer

__all__ = ["Callback", "Place", "Site", "assemble", "load", "places"]

Callback = HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], None]

# Settings that one kind of application has, which runs in such a container.
_FOR = {"threads": WSGIContainer, "lifespan": ASGIContainer}


@dataclass(frozen=True, slots=True)
class Place:
    """One application and where it is.

    :ivar target: ``module:attribute``.
    :ivar host: a name, or ``*.name``; None for any.
    :ivar path: what paths begin with, such as ``/shop``; empty for all.
    :ivar threads: of a WSGI application.
    :ivar origin: who says so, for messages.
    :ivar factory: whether the target makes the application when it is called.
    :ivar lifespan: of an ASGI application: ``auto``, ``on`` or ``off``.
    :ivar own: names of what was said for this application, and not for whichever it fits.
    """

    target: str
    host: str | None = None
    path: str = ""
    threads: int | None = None
    origin: str = ""
    factory: bool = False
    lifespan: Mode | None = None
    own: frozenset[str] = frozenset()


def places(configuration: Configuration) -> list[Place]:
    """What is to be served, from the table ``apps`` of a file, or the one application that is named.

    :raises CommandError: nothing is named, or a place is none.
    """
    usual = {
        "threads": configuration["threads"],
        "factory": configuration["factory"],
        "lifespan": configuration["lifespan"] if configuration.is_set("lifespan") else None,
    }
    found = [_place(table, usual) for table in configuration.apps]
    if configuration["app"] is not None:
        origin = configuration.origin("app")
        if origin.startswith(("--", "WEBFW_")):
            found.clear()  # it is that one, and not what a file says
        found.append(Place(configuration["app"], origin=origin, **usual))
    if not found:
        raise CommandError(
            "nothing to serve: name an application, for example webfw serve shop.main:app", USAGE
        )
    for place in found:
        check_target(place.target)
    return found


def _place(table: Mapping[str, Any], usual: Mapping[str, Any]) -> Place:
    origin = table["origin"]
    if "app" not in table:
        raise CommandError(f"{origin}: which application? there is no key app", USAGE)
    path = table.get("path", "").rstrip("/")
    if path and not path.startswith("/"):
        raise CommandError(f"{origin}: path begins with a slash, unlike {path!r}", USAGE)
    host = table.get("host")
    if host is not None and not re.fullmatch(r"(\*\.)?[\w.-]+", host):
        raise CommandError(f"{origin}: a host is a name or *.name, not {host!r}", USAGE)
    said = {name: table[name] for name in usual if name in table}
    return Place(table["app"], host, path, origin=origin, own=frozenset(said), **{**usual, **said})


def load(wanted: Sequence[Place], app_dir: str) -> list[Any]:
    """Import what is to be served: applications, and factories' coroutines.

    :raises CommandError: one cannot be imported.
    """
    return [load_target(place.target, app_dir, place.factory) for place in wanted]


async def assemble(wanted: Sequence[Place], loaded: Sequence[Any], settings: Mapping[str, Any]) -> Callback:
    """Make what a server calls from what was loaded.

    :param settings: of native applications, where they do not say themselves.
    :raises CommandError: something is no application.
    """
    made = [await _made(place, app) for place, app in zip(wanted, loaded, strict=True)]
    callbacks: list[Callback] = []
    containers: dict[Any, ASGIContainer] = {}
    for place, app in zip(wanted, made, strict=True):
        kind = interface_of(app, place.target, HTTPServerConnectionDelegate, RequestHandler)
        if kind == "wsgi":
            app = WSGIContainer(app, threads=place.threads, mount=place.path)
        elif kind == "asgi":
            # One for all hosts that it has, so that it begins and ends once.
            mode = place.lifespan or "auto"
            key = (id(app), place.path, mode)
            if key not in containers:
                containers[key] = ASGIContainer(app, mount=place.path, lifespan=mode)
            app = containers[key]
        own = getattr(app, "settings", None)
        if kind == "native" and isinstance(own, dict):
            for name, value in settings.items():
                own.setdefault(name, value)
        callbacks.append(app)
    for name, container in _FOR.items():
        _check_fit(name, wanted, [isinstance(callback, container) for callback in callbacks])
    if len(callbacks) == 1 and not wanted[0].host and not wanted[0].path:
        return callbacks[0]
    return Site(wanted, callbacks)


async def _made(place: Place, app: Any) -> Any:
    if not inspect.isawaitable(app):
        return app
    try:
        return await app  # an async factory
    except (Exception, SystemExit) as error:
        # Border: the application's own code.
        raise load_failure(f"calling {place.target} failed", error) from error


def _check_fit(name: str, wanted: Sequence[Place], fits: Sequence[bool]) -> None:
    """Refuse what is said for an application of another kind; what is said for all must fit one.

    :raises CommandError: it does not.
    """
    for place, fit in zip(wanted, fits, strict=True):
        if getattr(place, name) is not None and not fit and (name in place.own or not any(fits)):
            where = f"{place.origin}: {name}" if name in place.own else f"--{name}"
            kind = "WSGI" if name == "threads" else "ASGI"
            raise CommandError(f"{where} is for {kind} applications, which {place.target} is not", USAGE)


class Site(RuleRouter):
    """Several applications on the same addresses.

    :param wanted: where each is.
    :param callbacks: what each is.

    The one with the longest path that fits is asked, of those for the host before those for any.  WSGI and ASGI
    applications are mounted at their path; the patterns of a native one are for whole paths.
    """

    def __init__(self, wanted: Sequence[Place], callbacks: Sequence[Callback]) -> None:
        self.callbacks = list(callbacks)
        pairs = sorted(
            zip(wanted, callbacks, strict=True),
            key=lambda pair: (pair[0].host is None, (pair[0].host or "").startswith("*"), -len(pair[0].path)),
        )
        ways = [(_matchers(place), place.path or None, callback) for place, callback in pairs]
        super().__init__([_rule(matchers, callback) for matchers, _, callback in ways])
        self._ways = [(matchers, path, _begin_of(callback)) for matchers, path, callback in ways]

    def begin(self, exchange: Exchange) -> Awaitable[None] | None:
        """Take an exchange from the server (`httpserver.Begin`), for the application whose it is.

        It gets the exchange as if it were alone, where a router would give it a message without what the server knows.
        """
        request = exchange.request
        assert request is not None
        for matchers, path, begin in self._ways:
            for matcher in matchers:
                if matcher.match(request) is None:
                    break
            else:
                if exchange.record is not None:
                    exchange.record.route = path  # unless it has routes of its own
                return begin(exchange)
        return hand_over(exchange, NotFoundDelegate(exchange))

    def start_draining(self, timeout: float) -> None:
        """Tell all applications that the server is going away."""
        for callback in self.callbacks:
            start_draining = getattr(callback, "start_draining", None)
            if start_draining is not None:
                start_draining(timeout)

    def applications(self) -> list[Application]:
        """The native ones."""
        return [callback for callback in self.callbacks if isinstance(callback, Application)]


def _matchers(place: Place) -> list[Matcher]:
    """What a request to a place matches."""
    matchers: list[Matcher] = []
    if place.host is not None:
        name = place.host.removeprefix("*.")
        matchers.append(
            HostMatches((r"(?:[^.]+\.)+" if place.host.startswith("*") else "") + re.escape(name))
        )
    if place.path:
        below = PathMatches(re.escape(place.path) + "(?:/.*)?")
        below.route = place.path
        matchers.append(below)
    return matchers or [AnyMatches()]


def _rule(matchers: Sequence[Matcher], callback: Callback) -> Rule:
    """The same for those who ask the router, such as instrumentation that watches delegates."""
    *outer, last = matchers
    rule = Rule(last, callback)
    for matcher in reversed(outer):
        rule = Rule(matcher, RuleRouter([rule]))
    return rule


def _begin_of(callback: Any) -> Begin:
    begin: Begin | None = getattr(callback, "begin", None)
    if begin is not None:
        return begin
    if isinstance(callback, HTTPServerConnectionDelegate):
        return begin_with_delegate(callback)
    if inspect.iscoroutinefunction(callback):
        return partial(_begin_coroutine, callback)
    return begin_with_callback(callback)


def _begin_coroutine(
    callback: Callable[[HTTPServerRequest], Any], exchange: Exchange
) -> Awaitable[None] | None:
    """Run it as a task, as a router does."""
    assert exchange.request is not None
    return hand_over(exchange, CallableDelegate(callback, exchange.request))
