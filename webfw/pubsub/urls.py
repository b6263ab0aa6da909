"""From a URL to a broker: ``memory:``, ``workers:``, ``redis://...``, ``nats://...``; no broker may enter."""

import importlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from webfw.pubsub.broker import Broker
from webfw.pubsub.memory import MemoryBroker

__all__ = ["connect", "flag", "without_password"]

#: The module and class of each scheme; those that need a package are imported when they are named.
SCHEMES = {
    "workers": ("webfw.pubsub.workers", "WorkersBroker"),
    "redis": ("webfw.pubsub.redis", "RedisBroker"),
    "rediss": ("webfw.pubsub.redis", "RedisBroker"),
    "unix": ("webfw.pubsub.redis", "RedisBroker"),
    "nats": ("webfw.pubsub.nats", "NatsBroker"),
    "tls": ("webfw.pubsub.nats", "NatsBroker"),
}

#: What means nothing within one process, where nobody else can die or be mistaken for it; any value is taken.
_MEANINGLESS = ("presence_ttl", "prefix")


def connect(url: str = "memory:", **options: Any) -> Broker:
    """The broker that a URL names; it connects when it is started or first used.

    :param url: ``memory:`` (this process), ``workers:`` or ``workers:/path/of/socket`` (all worker processes of this
        machine), ``redis://[user:password@]host[:port][/db]`` (also ``rediss:`` for TLS, ``unix:/path``), or
        ``nats://[user:password@]host[:port]`` (also ``tls:``).  A query may give the options that the broker's
        ``url_options`` name: ``memory:?history_size=100&history_age=60``; what else stands in the query of a Redis URL
        is for redis-py.
    :param options: for the broker, before those of the URL: ``history_size``, ``history_age``, ``backlog``,
        ``policy``, ``presence_ttl``, ``prefix`` and what the broker itself has.
    :raises ValueError: no such scheme, or no such option, or one with a wrong value.
    :raises ImportError: the package it needs is missing; the text names the extra.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the password
        raise ValueError(f"not a URL: {without_password(url)}") from None
    if parts.fragment:
        raise ValueError(f"{without_password(url)}: a '#' in a name or password must be written as %23")
    made = _class(url, parts.scheme)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if parts.scheme == "memory":
        if parts.netloc or parts.path:
            raise ValueError(f"{without_password(url)}: a memory broker takes options only")
        query = [(name, value) for name, value in query if name not in _MEANINGLESS]
        options = {name: value for name, value in options.items() if name not in _MEANINGLESS}
    given, rest = _options(url, made, query)
    given |= options
    if parts.scheme == "memory":
        return made(**given)
    # Those that reach somewhere take the URL, without what was taken out of it.
    reaching: Callable[..., Broker] = made
    return reaching(urlunsplit(parts._replace(query=urlencode(rest))), **given)


def _class(url: str, scheme: str) -> type[Broker]:
    if scheme == "memory":
        return MemoryBroker
    if scheme not in SCHEMES:
        known = ", ".join(["memory", *SCHEMES])
        raise ValueError(f"{without_password(url)}: no broker has this scheme; there are: {known}")
    module, name = SCHEMES[scheme]
    made: type[Broker] = getattr(importlib.import_module(module), name)
    return made


def _options(
    url: str, made: type[Broker], query: list[tuple[str, str]]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The options in a query, and what is left of it for the client of a broker that has one."""
    given: dict[str, Any] = {}
    rest = []
    for name, value in query:
        if name in made.url_options:
            try:
                given[name] = made.url_options[name](value)
            except ValueError:
                raise ValueError(f"{without_password(url)}: {name} cannot be {value!r}") from None
        elif made.url_rest:
            rest.append((name, value))
        else:
            scheme = urlsplit(url).scheme
            known = ", ".join(sorted(made.url_options))
            raise ValueError(f"{without_password(url)}: {scheme}: has no option {name!r}; it has: {known}")
    return given, rest


def flag(text: str) -> bool:
    """What an option says that is on or off.

    :raises ValueError: neither.
    """
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"neither on nor off: {text!r}")


#: What may be secret in a URL: all that stands before the last ``@``, since a password that was not quoted may hold
#: anything; and what a query calls a password or token.
_USERINFO = re.compile(r"^(?P<scheme>[^:/?#@]*:)?//(?P<user>[^:/?#@]*)(?P<rest>.*)@", re.DOTALL)
_SECRETS = re.compile(r"(?<=[?&])([^=&#]*(?:pass|token|secret|key)[^=&#]*=)[^&#]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """The URL as it may be shown: with ``***`` in place of a password, or of a user without one, which is a token."""

    def hide(found: re.Match[str]) -> str:
        user = found["user"] + ":" if found["rest"] else ""
        return f"{found['scheme'] or ''}//{user}***@"

    return _SECRETS.sub(r"\1***", _USERINFO.sub(hide, url))
