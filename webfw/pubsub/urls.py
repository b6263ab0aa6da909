"""From a URL to a broker: ``memory:``, ``workers:``, ``redis://...``, ``nats://...``; no broker may enter."""

import importlib
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from webfw.pubsub.broker import Broker
from webfw.pubsub.memory import MemoryBroker

__all__ = ["connect", "without_password"]

#: The module and class of each scheme; those that need a package are imported when they are named.
SCHEMES = {
    "workers": ("webfw.pubsub.workers", "WorkersBroker"),
    "redis": ("webfw.pubsub.redis", "RedisBroker"),
    "rediss": ("webfw.pubsub.redis", "RedisBroker"),
    "unix": ("webfw.pubsub.redis", "RedisBroker"),
    "nats": ("webfw.pubsub.nats", "NatsBroker"),
    "tls": ("webfw.pubsub.nats", "NatsBroker"),
}

#: Options that a URL may carry in its query, and what makes a value of them.
OPTIONS: dict[str, Any] = {
    "history_size": int,
    "history_age": float,
    "backlog": int,
    "policy": str,
    "presence_ttl": float,
    "prefix": str,
}


def connect(url: str = "memory:", **options: Any) -> Broker:
    """The broker that a URL names; it connects when it is started or first used.

    :param url: ``memory:`` (this process), ``workers:`` or ``workers:/path/of/socket`` (all worker processes of this
        machine), ``redis://[user:password@]host[:port][/db]`` (also ``rediss:`` for TLS, ``unix:/path``), or
        ``nats://[user:password@]host[:port]`` (also ``tls:``).  A query may give options:
        ``memory:?history_size=100&history_age=60``.
    :param options: for the broker, before those of the URL: ``history_size``, ``history_age``, ``backlog``,
        ``policy``, ``presence_ttl``, ``prefix`` and what the broker itself has.
    :raises ValueError: no such scheme, or an option with a wrong value.
    :raises ImportError: the package it needs is missing; the text names the extra.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the password
        raise ValueError(f"not a URL: {without_password(url)}") from None
    rest = []
    given: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            rest.append((name, value))
            continue
        try:
            given[name] = OPTIONS[name](value)
        except ValueError:
            raise ValueError(f"{without_password(url)}: {name} cannot be {value!r}") from None
    if parts.fragment:
        raise ValueError(f"{without_password(url)}: a '#' in a name or password must be written as %23")
    given.update(options)
    if parts.scheme == "memory":
        if rest or parts.netloc or parts.path:
            raise ValueError(f"{without_password(url)}: a memory broker takes options only")
        given.pop("presence_ttl", None)  # nobody else can die here
        given.pop("prefix", None)  # nor be mistaken for it
        return MemoryBroker(**given)
    if parts.scheme not in SCHEMES:
        known = ", ".join(["memory", *SCHEMES])
        raise ValueError(f"{without_password(url)}: no broker has this scheme; there are: {known}")
    module, name = SCHEMES[parts.scheme]
    bare = urlunsplit(parts._replace(query=urlencode(rest)))
    broker: Broker = getattr(importlib.import_module(module), name)(bare, **given)
    return broker


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
