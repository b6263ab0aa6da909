"""Which routes applications have, native ones and those of frameworks that tell; nothing is asked over HTTP.

Of a Flask or Quart application its ``url_map`` is read, of Django's the URL resolver, of Starlette's and FastAPI's
their ``routes``; any other WSGI or ASGI application is one route.
"""

import asyncio
import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import webfw.web
from webfw.asgi import ASGIContainer
from webfw.cli.applications import Callback, Place, Site, assemble, load, places
from webfw.cli.sources import Configuration
from webfw.httputil import HTTPServerConnectionDelegate
from webfw.ioloop.backend import new_event_loop, thread_event_loop
from webfw.log import app_log
from webfw.routing import (
    AnyMatches,
    DefaultHostMatches,
    HostMatches,
    PathMatches,
    Rule,
    RuleRouter,
)
from webfw.web import Application, FallbackHandler, RedirectHandler, RequestHandler, StaticFileHandler
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer

__all__ = ["Loaded", "Route", "framework_of", "load_applications", "routes_of"]

_MISSING = RequestHandler._unimplemented_method

#: What matches every path.
ANY = ".*"


@dataclass(frozen=True, slots=True)
class Route:
    """One way that a request can go.

    :ivar host: the pattern of its host; empty for any.
    :ivar path: the pattern of its path.
    :ivar methods: what it answers; empty where it does not say.
    :ivar handler: who answers: a dotted name, with what it is given where that says more.
    :ivar name: for reversing; empty without one.
    :ivar target: the handler's class, or whatever else answers.
    :ivar regex: what its path is matched with, where nothing but host and path decides.
    :ivar owner: the native application it is in, if it is in one.
    """

    host: str
    path: str
    methods: tuple[str, ...]
    handler: str
    name: str
    target: Any = None
    regex: re.Pattern[str] | None = None
    owner: Application | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """An application in its place, and its routes."""

    place: Place
    callback: Any
    routes: Sequence[Route]

    @property
    def kind(self) -> str:
        """How it is called: ``native``, ``wsgi``, ``asgi`` or ``function``."""
        if isinstance(self.callback, (WSGIContainer, ASGIContainer)):
            return "wsgi" if isinstance(self.callback, WSGIContainer) else "asgi"
        return "native" if isinstance(self.callback, HTTPServerConnectionDelegate) else "function"

    @property
    def foreign(self) -> Any:
        """The application in its container; None of one that is native, or a function."""
        return getattr(self.callback, "wsgi_application" if self.kind == "wsgi" else "app", None)


def load_applications(configuration: Configuration) -> list[Loaded]:
    """Import what would be served, and look at its routes; what that prints goes to standard error.

    :raises CommandError: something cannot be imported, or is no application.
    """
    wanted = places(configuration)
    with contextlib.redirect_stdout(sys.stderr):
        loaded = load(wanted, configuration["app_dir"])
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            callback = runner.run(assemble(wanted, loaded, {}))
        callbacks: Sequence[Callback] = callback.callbacks if isinstance(callback, Site) else [callback]
        return [
            Loaded(place, one, list(routes_of(one, place.host or "", place.path)))
            for place, one in zip(wanted, callbacks, strict=True)
        ]


def _event_loop() -> asyncio.AbstractEventLoop:
    loop = thread_event_loop()
    return loop if loop is not None and not loop.is_closed() else new_event_loop()


def routes_of(target: Any, host: str = "", path: str = "") -> Iterator[Route]:
    """The routes of an application, in the order in which they are tried.

    :param host: where it is.
    :param path: what all its paths begin with.
    """
    yield from _walk(target, _Way(host, path + ANY if path else ""))


@dataclass(frozen=True, slots=True)
class _Way:
    """How a request comes to a target."""

    host: str = ""
    path: str = ""
    regex: re.Pattern[str] | None = None
    is_plain: bool = True
    name: str = ""
    owner: Application | None = None

    def route(self, methods: Sequence[str], handler: str, target: Any) -> Route:
        regex = self.regex if self.is_plain else None
        path = self.path or ANY
        return Route(self.host, path, tuple(methods), handler, self.name, target, regex, self.owner)


def _walk(target: Any, way: _Way, arguments: dict[str, Any] | None = None) -> Iterator[Route]:
    if isinstance(target, type) and issubclass(target, RequestHandler):
        fallback = (arguments or {}).get("fallback")
        if issubclass(target, FallbackHandler) and fallback is not None:
            yield from _walk(fallback, way)
        else:
            yield way.route(methods_of(target), _described(target, arguments or {}), target)
    elif isinstance(target, Application):
        inner = _Way(way.host, way.path, way.regex, way.is_plain, way.name, target)
        yield from _walk(target.default_router, inner)
    elif isinstance(target, RuleRouter):
        for rule in target.rules:
            yield from _walk_rule(rule, way)
    elif isinstance(target, WSGIContainer):
        yield from _walk_framework(target.wsgi_application, target._environs.mount, way, "WSGI")
    elif isinstance(target, ASGIContainer):
        yield from _walk_framework(target.app, target.scopes.mount, way, "ASGI")
    else:
        yield way.route((), _named(target), target)


def _walk_rule(rule: Rule, way: _Way) -> Iterator[Route]:
    matcher = rule.matcher
    host, path, regex, is_plain = way.host, way.path, way.regex, way.is_plain
    if isinstance(matcher, DefaultHostMatches):
        return  # the same again, for requests that name no known host
    if isinstance(matcher, HostMatches):
        host = _text_of(matcher.host_pattern.pattern)
    elif isinstance(matcher, PathMatches):
        path, regex = matcher.route, matcher.regex
    elif not isinstance(matcher, AnyMatches):
        path, is_plain = f"{path or ANY} [{type(matcher).__name__}]", False
    inner = _Way(host, path, regex, is_plain, rule.name or way.name, way.owner)
    yield from _walk(rule.target, inner, rule.target_kwargs)


def methods_of(handler: type[RequestHandler]) -> list[str]:
    """The verbs that a handler class has a method for."""
    return [
        verb
        for verb in handler.SUPPORTED_METHODS
        if inspect.unwrap(getattr(handler, verb.lower(), _MISSING)) is not _MISSING
    ]


def _text_of(pattern: str) -> str:
    """A pattern as people write it: as the text, if it is one."""
    pattern = pattern.removesuffix("$").removeprefix("^")
    text = pattern.replace("\\", "")
    return text if re.escape(text) == pattern else pattern


def _named(target: Any) -> str:
    """The dotted name of a class or function, or of the class of an object; of our own the public one."""
    named = target if isinstance(target, type) or inspect.isroutine(target) else type(target)
    module, name = named.__module__, named.__qualname__
    if module.startswith("webfw.web.") and hasattr(webfw.web, name):
        module = "webfw.web"
    return f"{module}.{name}" if module != "builtins" else name


def _described(handler: type[RequestHandler], arguments: dict[str, Any]) -> str:
    text = _named(handler)
    if issubclass(handler, RedirectHandler) and "url" in arguments:
        return f"{text} (to {arguments['url']})"
    if issubclass(handler, StaticFileHandler) and "path" in arguments:
        return f"{text} ({arguments['path']})"
    return f"{text} (WebSocket)" if issubclass(handler, WebSocketHandler) else text


# --- frameworks, by what they say of themselves ---


def framework_of(app: Any) -> str:
    """``Flask``, ``Quart``, ``Django``, ``FastAPI``, ``Starlette``, or nothing where it is none of these."""
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(app).__mro__}
    for name in ("FastAPI", "Starlette", "Quart"):
        if f"{name.lower()}.{name}" in bases:
            return name
    if hasattr(getattr(app, "url_map", None), "iter_rules"):
        return "Flask"
    return "Django" if type(app).__module__.startswith("django.core.handlers.") else ""


def _walk_framework(app: Any, prefix: str, way: _Way, interface: str) -> Iterator[Route]:
    try:
        framework = framework_of(app)
        if framework in ("Flask", "Quart"):
            found = list(_flask(app, way, prefix))
        elif framework in ("FastAPI", "Starlette"):
            found = list(_starlette(app, way.host, prefix, ""))
        elif framework == "Django":
            resolver = importlib.import_module("django.urls").get_resolver()
            found = list(_django(resolver, way, prefix + "/", ""))
        else:
            found = []
    except Exception as error:
        # Border: the framework and its configuration are not ours; that it cannot tell does not keep it from serving.
        app_log.warning("The routes of %s cannot be read: %r", _named(app), error)
        found = []
    yield from found or [way.route((), f"{_named(app)} ({interface})", app)]


def _flask(app: Any, way: _Way, prefix: str) -> Iterator[Route]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        handler = _named(view) if view is not None else ""
        host = rule.host or way.host
        yield Route(host, prefix + rule.rule, tuple(sorted(rule.methods or ())), handler, rule.endpoint, view)


def _django(resolver: Any, way: _Way, prefix: str, namespace: str) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _django(pattern, way, path, inner)
            continue
        view = getattr(pattern.callback, "view_class", None) or pattern.callback
        verbs = getattr(view, "http_method_names", ()) if isinstance(view, type) else ()
        methods = tuple(verb.upper() for verb in verbs if hasattr(view, verb))
        name = f"{namespace}{pattern.name}" if pattern.name else ""
        yield Route(way.host, path, methods, _named(view), name, view)


def _starlette(app: Any, host: str, prefix: str, namespace: str) -> Iterator[Route]:
    """The routes of an application, a router or a mount, which all have a list of them."""
    for route in app.routes:
        path = prefix + (getattr(route, "path", None) or "")
        name = getattr(route, "name", None) or ""
        included = getattr(route, "original_router", None)  # FastAPI keeps included routers as they are
        if included is not None:
            yield from _starlette(included, host, prefix + route.include_context.prefix, namespace)
        elif getattr(route, "routes", None):  # a mount, or a host
            inner = f"{namespace}{name}:" if name else namespace
            yield from _starlette(route, getattr(route, "host", None) or host, path, inner)
        elif hasattr(route, "endpoint"):
            methods = getattr(route, "methods", None)
            kind = "" if hasattr(route, "methods") else " (WebSocket)"
            handler = _named(route.endpoint) + kind
            yield Route(host, path, tuple(sorted(methods or ())), handler, namespace + name, route.endpoint)
        else:
            target = getattr(route, "app", route)
            handler = _described_files(target)
            yield Route(host, f"{path}/{{path:path}}", (), handler, namespace + name, target)


def _described_files(target: Any) -> str:
    directory = getattr(target, "directory", None)
    return _named(target) + (f" ({directory})" if isinstance(directory, (str, os.PathLike)) else "")
