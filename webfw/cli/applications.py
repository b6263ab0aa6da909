"""From targets on the command line or in a file to what answers requests: several applications by host and path."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webfw.cli.errors import USAGE, CommandError
from webfw.cli.sources import Configuration
from webfw.cli.target import check_target, interface_of, load_failure, load_target
from webfw.httputil import HTTPServerConnectionDelegate, HTTPServerRequest
from webfw.routing import AnyMatches, HostMatches, Matcher, PathMatches, Rule, RuleRouter
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer

__all__ = ["Callback", "Place", "Site", "assemble", "load", "places"]

Callback = HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], None]


@dataclass(frozen=True, slots=True)
class Place:
    """One application and where it is.

    :ivar target: ``module:attribute``.
    :ivar host: a name, or ``*.name``; None for any.
    :ivar path: what paths begin with, such as ``/shop``; empty for all.
    :ivar threads: of a WSGI application.
    :ivar origin: who says so, for messages.
    """

    target: str
    host: str | None = None
    path: str = ""
    threads: int | None = None
    origin: str = ""


def places(configuration: Configuration) -> list[Place]:
    """What is to be served, from the table ``apps`` of a file, or the one application that is named.

    :raises CommandError: nothing is named, or a place is none.
    """
    threads = configuration["threads"]
    found = [_place(table, threads) for table in configuration.apps]
    if configuration["app"] is not None:
        origin = configuration.origin("app")
        if origin.startswith(("--", "WEBFW_")):
            found.clear()  # it is that one, and not what a file says
        found.append(Place(configuration["app"], threads=threads, origin=origin))
    if not found:
        raise CommandError(
            "nothing to serve: name an application, for example webfw serve demos.hello:app", USAGE
        )
    for place in found:
        check_target(place.target)
    return found


def _place(table: Mapping[str, Any], threads: int | None) -> Place:
    origin = table["origin"]
    if "app" not in table:
        raise CommandError(f"{origin}: which application? there is no key app", USAGE)
    path = table.get("path", "").rstrip("/")
    if path and not path.startswith("/"):
        raise CommandError(f"{origin}: path begins with a slash, unlike {path!r}", USAGE)
    host = table.get("host")
    if host is not None and not re.fullmatch(r"(\*\.)?[\w.-]+", host):
        raise CommandError(f"{origin}: a host is a name or *.name, not {host!r}", USAGE)
    return Place(table["app"], host, path, table.get("threads", threads), origin)


def load(wanted: Sequence[Place], app_dir: str) -> list[Any]:
    """Import what is to be served: applications, and factories' coroutines.

    :raises CommandError: one cannot be imported.
    """
    return [load_target(place.target, app_dir) for place in wanted]


async def assemble(wanted: Sequence[Place], loaded: Sequence[Any], settings: Mapping[str, Any]) -> Callback:
    """Make what a server calls from what was loaded.

    :param settings: of native applications, where they do not say themselves.
    :raises CommandError: something is no application.
    """
    callbacks = [await _callback(place, app, settings) for place, app in zip(wanted, loaded, strict=True)]
    if len(callbacks) == 1 and not wanted[0].host and not wanted[0].path:
        return callbacks[0]
    return Site(wanted, callbacks)


async def _callback(place: Place, app: Any, settings: Mapping[str, Any]) -> Callback:
    if inspect.isawaitable(app):  # an async factory
        try:
            app = await app
        except (Exception, SystemExit) as error:
            # Border: the application's own code.
            raise load_failure(f"calling {place.target} failed", error) from error
    if interface_of(app, place.target, HTTPServerConnectionDelegate, RequestHandler) == "wsgi":
        app = WSGIContainer(app, threads=place.threads, mount=place.path)
    elif place.threads is not None and not isinstance(app, WSGIContainer):
        raise CommandError(f"--threads is for WSGI applications, which {place.target} is not", USAGE)
    own = getattr(app, "settings", None)
    if isinstance(own, dict):
        for name, value in settings.items():
            own.setdefault(name, value)
    callback: Callback = app
    return callback


class Site(RuleRouter):
    """Several applications on the same addresses.

    :param wanted: where each is.
    :param callbacks: what each is.

    The one with the longest path that fits is asked, of those for the host before those for any.  A WSGI application is
    mounted at its path; the patterns of a native one are for whole paths.
    """

    def __init__(self, wanted: Sequence[Place], callbacks: Sequence[Callback]) -> None:
        self.callbacks = list(callbacks)
        pairs = sorted(
            zip(wanted, callbacks, strict=True),
            key=lambda pair: (pair[0].host is None, (pair[0].host or "").startswith("*"), -len(pair[0].path)),
        )
        super().__init__([_rule(place, callback) for place, callback in pairs])

    def start_draining(self, timeout: float) -> None:
        """Tell all applications that the server is going away."""
        for callback in self.callbacks:
            start_draining = getattr(callback, "start_draining", None)
            if start_draining is not None:
                start_draining(timeout)

    def applications(self) -> list[Application]:
        """The native ones."""
        return [callback for callback in self.callbacks if isinstance(callback, Application)]


def _rule(place: Place, callback: Callback) -> Rule:
    matcher: Matcher = AnyMatches()
    target: Any = callback
    if place.path:
        matcher = PathMatches(re.escape(place.path) + "(?:/.*)?")
    if place.host is not None:
        if place.path:
            target = RuleRouter([Rule(matcher, callback)])
        name = place.host.removeprefix("*.")
        matcher = HostMatches((r"(?:[^.]+\.)+" if place.host.startswith("*") else "") + re.escape(name))
    return Rule(matcher, target)
