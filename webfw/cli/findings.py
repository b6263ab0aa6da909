"""What a reviewer would say about an application and its settings; how it is said, and what follows, may not enter."""

import importlib
import importlib.util
import inspect
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import CodeType, FunctionType
from typing import Any, Literal

from webfw.asgi import ASGIAdapter
from webfw.cli.applications import Place
from webfw.cli.routemap import Loaded, Route, framework_of
from webfw.cli.sources import Configuration
from webfw.netutil import parse_bind
from webfw.web import Application, RequestHandler, authenticated

__all__ = ["KNOWN_SETTINGS", "Finding", "of_application", "of_configuration", "of_places"]

Level = Literal["error", "warning", "note"]

#: The settings of an `Application` that webfw itself reads; docs/reference/settings.md has the same.
KNOWN_SETTINGS = frozenset(
    [
        "autoescape",
        "autoreload",
        "broker",
        "cancel_on_disconnect",
        "compiled_template_cache",
        "compress_encodings",
        "compress_response",
        "cookie_secret",
        "cross_origin_protection",
        "debug",
        "default_handler_args",
        "default_handler_class",
        "drain_spread",
        "eventsource_heartbeat",
        "eventsource_max_queue_size",
        "eventsource_retry",
        "gzip",
        "key_version",
        "log_function",
        "login_url",
        "longpoll_timeout",
        "readiness",
        "readiness_checks",
        "request_timeout",
        "serve_traceback",
        "static_handler_args",
        "static_handler_class",
        "static_hash_cache",
        "static_path",
        "static_precompressed",
        "static_url_prefix",
        "template_loader",
        "template_path",
        "template_whitespace",
        "trusted_origins",
        "ui_methods",
        "ui_modules",
        "websocket_close_timeout",
        "websocket_max_message_size",
        "websocket_max_queue_size",
        "websocket_ping_interval",
        "websocket_ping_timeout",
        "websocket_queue_policy",
        "websocket_write_timeout",
        "xsrf_cookie_kwargs",
        "xsrf_cookie_name",
        "xsrf_cookie_version",
        "xsrf_cookies",
    ]
)

#: How alike a name must be to a setting's to be taken for it, misspelt (`difflib`).
ALIKE = 0.85

#: Characters below which a secret can be guessed.
SECRET_LENGTH = 24

_PLACEHOLDER = re.compile(
    r"change.?me|secret.?key|your.?secret|__todo|django-insecure|example", re.IGNORECASE
)
_SIGNED = {"get_signed_cookie", "set_signed_cookie", "get_secure_cookie", "set_secure_cookie"}
_SIGNED |= {"create_signed_value", "get_signed_cookie_key_version", "get_secure_cookie_key_version"}
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    :ivar level: an error keeps the application from being served, a warning should be mended, a note may be as wanted.
    :ivar where: what it is about: a target, a handler, where a setting comes from.
    :ivar message: a sentence without its dot.
    """

    level: Level
    where: str
    message: str


# --- settings of the server ---

# What keeps a slow client from holding a connection: settings of which one must not be 0.
_GUARDS = {
    ("header_timeout",): "a request's head",
    ("body_timeout", "min_body_rate"): "a request's body",
    ("write_timeout", "min_write_rate"): "taking an answer",
}

_PACKAGES = {"metrics": "prometheus_client", "tracing": "opentelemetry"}


def of_configuration(configuration: Configuration) -> Iterator[Finding]:
    """What is worth saying about the settings of the server."""
    for warning in configuration.warnings:
        yield Finding("warning", "environment", warning)
    for names, what in _GUARDS.items():
        if not any(configuration[name] for name in names):
            which = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} 0"
            message = f"{which}: a client may take for ever over {what}, and hold its connection"
            yield Finding("warning", configuration.origin(names[-1]), message)
    if configuration["max_connections"] == 0:
        message = "max_connections is 0: whoever opens enough of them leaves no descriptor for anybody else"
        yield Finding("warning", configuration.origin("max_connections"), message)
    if configuration["xheaders"]:
        for address in filter(_is_open, configuration["bind"]):
            message = f"xheaders is on, and not only the proxy can connect to {address}: anybody can fake an address"
            yield Finding("note", configuration.origin("xheaders"), message)
        if configuration["max_connections_per_address"] and not configuration["trusted_downstream"]:
            message = "it has no effect with xheaders and without trusted_downstream: whoever connects may be the proxy"
            yield Finding("warning", configuration.origin("max_connections_per_address"), message)
    elif configuration["trusted_downstream"] and not any(
        configuration[name] for name in ("max_connections_per_address", "proxy_protocol")
    ):
        message = "trusted_downstream has no effect without xheaders or proxy_protocol"
        yield Finding("warning", configuration.origin("trusted_downstream"), message)
    if configuration["proxy_protocol"] and not configuration["trusted_downstream"]:
        for address in configuration["bind"]:
            if not address.startswith("unix:"):
                message = f"it has no effect on {address} without trusted_downstream: which are the proxies?"
                yield Finding("warning", configuration.origin("proxy_protocol"), message)
    if configuration["max_requests_jitter"] and not configuration["max_requests"]:
        message = "max_requests_jitter has no effect without max_requests"
        yield Finding("warning", configuration.origin("max_requests_jitter"), message)
    for name, package in _PACKAGES.items():
        if (
            name in configuration.values
            and configuration[name] is True
            and not importlib.util.find_spec(package)
        ):
            extra = "otel" if name == "tracing" else name
            message = f"{name} needs a package that is not installed: pip install 'webfw[{extra}]'"
            yield Finding("warning", configuration.origin(name), message)


def _is_open(address: str) -> bool:
    place = parse_bind(address)
    if place.path is not None or place.fd is not None or place.host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(place.host or "0.0.0.0").is_loopback
    except ValueError:
        return True  # a name


# --- applications ---


def of_places(places: Iterable[Place]) -> Iterator[Finding]:
    """What is worth saying about where applications are."""
    taken: dict[tuple[str, str], str] = {}
    for place in places:
        key = ((place.host or "").lower(), place.path)
        if key in taken:
            message = f"it is never asked: {taken[key]} is at {key[0]}{place.path or '/'} already"
            yield Finding("warning", place.target, message)
        taken.setdefault(key, place.target)


def of_application(loaded: Loaded, configuration: Configuration) -> Iterator[Finding]:
    """What is worth saying about an application, native or not."""
    where = loaded.place.target
    if loaded.kind in ("wsgi", "asgi"):
        yield from _of_framework(where, loaded.foreign)
    owners = {id(route.owner): route.owner for route in loaded.routes if route.owner is not None}
    if isinstance(loaded.callback, Application):
        owners[id(loaded.callback)] = loaded.callback
    for app in owners.values():
        routes = [route for route in loaded.routes if route.owner is app]
        yield from _of_settings(where, app.settings, configuration)
        yield from _of_handlers(where, app.settings, routes)
        yield from _of_paths(where, routes)


def _of_settings(where: str, settings: dict[str, Any], configuration: Configuration) -> Iterator[Finding]:
    if settings.get("debug"):
        message = "debug is on: exceptions show source to everybody, and files are watched"
        yield Finding("warning", where, message)
    else:
        for name, what in (
            ("serve_traceback", "exceptions show source to everybody"),
            ("autoreload", "files are watched"),
        ):
            if settings.get(name):
                yield Finding("warning", where, f"{name} is on: {what}")
    for name in settings:
        if name not in KNOWN_SETTINGS and (near := get_close_matches(name, KNOWN_SETTINGS, 1, ALIKE)):
            yield Finding("warning", where, f"there is no setting {name}; is {near[0]} meant?")
    for name in ("static_path", "template_path"):
        path = settings.get(name)
        if path and not os.path.isdir(path):
            yield Finding("warning", where, f"{name}: there is no directory {path}")
    secrets = settings.get("cookie_secret")
    for secret in secrets.values() if isinstance(secrets, dict) else [secrets]:
        if secret and (problem := _weakness(secret)):
            yield Finding("warning", where, f"cookie_secret {problem}: whoever guesses it can sign cookies")
    broker = settings.get("broker") or configuration["broker"]
    if isinstance(broker, str) and broker.startswith("memory:") and configuration["workers"] not in (0, 1):
        message = "broker is memory:, which one worker has for itself: what is published in one is not seen in others"
        yield Finding("warning", where, message)


def _weakness(secret: str | bytes) -> str:
    """What is wrong with a secret, without saying what it is."""
    text = secret.decode("latin-1") if isinstance(secret, bytes) else str(secret)
    if _PLACEHOLDER.search(text):
        return "looks like the one of an example"
    if len(text) < SECRET_LENGTH or len(set(text)) < 8:
        return f"is short (use {SECRET_LENGTH} random characters or more)"
    return ""


def _of_handlers(where: str, settings: dict[str, Any], routes: Sequence[Route]) -> Iterator[Finding]:
    handlers: dict[type[RequestHandler], Route] = {}
    for route in routes:
        if isinstance(route.target, type) and issubclass(route.target, RequestHandler):
            handlers.setdefault(route.target, route)
    with_user = False
    unsafe = []
    for handler, route in handlers.items():
        own = [function for kind in _own_classes(handler) for function in _functions(kind)]
        names = set().union(*(_names_in(inspect.unwrap(function).__code__) for function in own))
        if names & _SIGNED and not settings.get("cookie_secret"):
            message = f"{route.handler} uses signed cookies, which need the setting cookie_secret"
            yield Finding("warning", where, message)
        asks = any(map(_is_authenticated, own))
        login = handler.get_login_url is RequestHandler.get_login_url and not settings.get("login_url")
        if asks and login:
            yield Finding(
                "warning", where, f"{route.handler} is @authenticated, which needs the setting login_url"
            )
        knows = handler.get_current_user is not RequestHandler.get_current_user
        with_user |= asks or knows or bool(names & _SIGNED)
        if _UNSAFE & set(route.methods):
            unsafe.append(route.handler)
        if not route.methods and _is_plain(handler):
            yield Finding(
                "warning", where, f"{route.handler} has no method for any verb: all is answered with 405"
            )
    if with_user and unsafe and not (settings.get("xsrf_cookies") or settings.get("cross_origin_protection")):
        message = (
            f"users are known by cookies, and {', '.join(unsafe[:3])}{' ...' if unsafe[3:] else ''} can be called from "
            "pages of other sites: set xsrf_cookies or cross_origin_protection"
        )
        yield Finding("warning", where, message)


def _own_classes(handler: type) -> list[type]:
    """The class and its bases, without ours and those of Python."""
    return [
        kind for kind in handler.__mro__ if not kind.__module__.startswith("webfw.") and kind is not object
    ]


def _functions(kind: type) -> Iterator[Any]:
    for value in vars(kind).values():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if callable(function) and isinstance(inspect.unwrap(function), FunctionType):
            yield function


def _names_in(code: CodeType) -> set[str]:
    """The attributes and globals that a function uses, and the functions in it."""
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            names |= _names_in(const)
    return names


def _is_authenticated(function: Any) -> bool:
    """Whether `authenticated` is among the decorators of a method."""
    made = authenticated.__code__.co_consts
    while function is not None:
        if getattr(function, "__code__", None) in made:
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def _is_plain(handler: type[RequestHandler]) -> bool:
    """Whether requests to a handler are answered by its verbs alone."""
    return handler.prepare is RequestHandler.prepare


def _of_paths(where: str, routes: Iterable[Route]) -> Iterator[Finding]:
    earlier: dict[str, list[Route]] = {}
    for route in routes:
        if route.regex is None:
            continue
        pattern = route.regex.pattern.removeprefix("^")
        if pattern[:1].isalnum():
            message = f"the pattern {route.path!r} matches nothing: paths begin with a slash"
            yield Finding("warning", where, message)
        before = earlier.setdefault(route.host, [])
        literal = _literal(route.path)
        for other in before:
            assert other.regex is not None
            if other.path == route.path or (literal is not None and other.regex.match(literal)):
                message = f"{route.path} ({route.handler}) is never asked: {other.path} ({other.handler}) comes first"
                yield Finding("warning", where, message)
                break
        before.append(route)


def _literal(pattern: str) -> str | None:
    """The one path that a pattern matches, if it is one."""
    text = re.sub(r"\\([^\w])", r"\1", pattern)
    return text if not re.search(r"(?<!\\)[][.*+?(){}|^$]|\\\w", pattern) else None


# --- frameworks ---


def _of_framework(where: str, app: Any) -> Iterator[Finding]:
    framework = framework_of(app)
    if isinstance(app, ASGIAdapter):
        yield Finding("note", where, "ASGIAdapter is for other servers: webfw serves what is in it as it is")
    elif framework in ("FastAPI", "Starlette") and app.debug:
        yield Finding("warning", where, f"{framework}'s debug is on: exceptions show source to everybody")
    elif framework in ("Flask", "Quart"):
        if app.debug:
            yield Finding("warning", where, f"{framework}'s debug is on")
        secret = app.secret_key
        if secret and (problem := _weakness(secret)):
            message = f"{framework}'s secret_key {problem}: whoever guesses it can sign sessions"
            yield Finding("warning", where, message)
    elif framework == "Django":
        settings = importlib.import_module("django.conf").settings
        if settings.DEBUG:
            yield Finding(
                "warning", where, "Django's DEBUG is on: exceptions show settings and source to everybody"
            )
        if problem := _weakness(settings.SECRET_KEY):
            yield Finding("warning", where, f"Django's SECRET_KEY {problem}")
        yield Finding("note", where, "Django has checks of its own: python manage.py check --deploy")
