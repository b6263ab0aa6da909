"""The one table of settings: flags, environment, files and manual are made from it; no value may enter but defaults."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webfw.cli.kinds import Choice, Flag, Integer, Kind, Many, Seconds, Size, Text, Workers
from webfw.httpserver.limits import Limits
from webfw.netutil import parse_bind

__all__ = ["SETTINGS", "TABLES", "Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set.

    :ivar name: as in a file; ``graceful_timeout`` is ``--graceful-timeout`` as a flag and ``WEBFW_GRACEFUL_TIMEOUT`` in
        the environment.
    :ivar kind: what values it takes.
    :ivar default: the value when nobody says anything.
    :ivar help: what it does: a sentence without its dot.
    :ivar section: under which heading it stands.
    :ivar reloads: whether a reload (SIGHUP) takes a new value.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    section: str
    reloads: bool = True

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "WEBFW_" + self.name.upper()

    def show(self, value: Any) -> str:
        """A value of it, as people read it."""
        return "" if value is None else self.kind.show(value)


def _address(text: str) -> str:
    parse_bind(text)
    return text


def _proxy(text: str) -> str:
    # Peers and hops are compared as texts, so it is kept as the system writes it.
    try:
        if "/" in text:
            return str(ipaddress.ip_network(text))
        address, percent, zone = str(ipaddress.ip_address(text)).partition("%")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.inet_ntop(family, socket.inet_pton(family, address)) + percent + zone
    except ValueError:
        raise ValueError(f"an IP address or a network such as 10.0.0.0/8 is wanted, not {text!r}") from None


def _module(text: str) -> str:
    if not all(part.isidentifier() for part in text.split(".")):
        raise ValueError(f"a module's dotted name is wanted, not {text!r}")
    return text


def _octal(text: str) -> str:
    try:
        if 0 <= int(text, 8) <= 0o7777:
            return text
    except ValueError:
        pass
    raise ValueError(f"an octal number such as 660 is wanted, not {text!r}")


def _mask(text: str) -> str:
    if int(_octal(text), 8) <= 0o777:
        return text
    raise ValueError(f"an octal number from 0 to 777 is wanted, not {text!r}")


_ADDRESS = Text("ADDRESS", "HOST:PORT, unix:PATH or fd://NUMBER", _address)
_PROXIES = Many(Text("ADDRESS", "an IP address or network", _proxy))
_FILE = Text("FILE", "the name of a file")
_DIRECTORY = Text("DIRECTORY", "the name of a directory")
_LIFESPAN = Choice("auto", "on", "off")
_LIMITS = Limits()
_BIND_HELP = (
    "where to listen: HOST:PORT, [IPv6]:PORT, :PORT, unix:PATH or fd://NUMBER; repeatable "
    "(default: $PORT on all addresses where that is set, else 127.0.0.1:8000)"
)
_FORMAT_HELP = "how that line looks: text, json, or a format of named atoms such as '%(peer)s %(status)s'"
_CONNECTIONS_HELP = (
    "open at once in each worker; more are answered 503; 0: any number (default: by the limit of open files)"
)


_SECTIONS: dict[str, list[tuple[str, Kind, Any, str]]] = {
    "Addresses": [
        ("bind", Many(_ADDRESS, 1), None, _BIND_HELP),
        ("backlog", Integer(1, 65535), 1024, "connections that the kernel keeps until they are accepted"),
        ("reuse_port", Flag(), False, "give each worker a listening socket of its own (SO_REUSEPORT)"),
        ("unix_mode", Text("MODE", "an octal number", _octal), "600", "permissions of unix sockets"),
        ("unix_owner", Text("USER[:GROUP]"), None, "owner of unix sockets"),
    ],
    "TLS": [
        ("certfile", _FILE, None, "serve HTTPS with this certificate chain (PEM)"),
        ("keyfile", _FILE, None, "the certificate's private key, if not in its file"),
    ],
    "Behind a proxy": [
        ("xheaders", Flag(), False, "believe X-Forwarded-For and X-Forwarded-Proto of whoever connects"),
        (
            "trusted_downstream",
            _PROXIES,
            None,
            "IP addresses or networks of proxies, to skip in X-Forwarded-For; repeatable",
        ),
        (
            "proxy_protocol",
            Flag(),
            False,
            "want a PROXY header, which names the client, of connections from trusted_downstream and unix sockets",
        ),
    ],
    "Application": [
        ("app", Text("TARGET"), None, "what to serve, as module:attribute or module:factory()"),
        ("factory", Flag(), False, "call what the target names, without arguments, for the application"),
        ("app_dir", _DIRECTORY, ".", "where to look for the application's module first"),
        ("chdir", _DIRECTORY, None, "the directory to work in"),
        (
            "threads",
            Integer(0, 1000),
            None,
            "threads of a WSGI application in each worker; 0 is the event loop",
        ),
        (
            "lifespan",
            _LIFESPAN,
            "auto",
            "startup and shutdown of an ASGI application; auto is where it has them",
        ),
        ("broker", Text("URL"), None, "the publish/subscribe broker, unless the application names one"),
        ("preload", Flag(), False, "load the application once, before the workers are made"),
        ("hooks", Text("MODULE", "a module", _module), None, "a module whose functions are called on events"),
    ],
    "Workers": [
        (
            "workers",
            Workers(),
            1,
            "worker processes; auto is one each processor, 0 serves without a supervisor",
        ),
        ("graceful_timeout", Seconds(), 30.0, "that running requests have when a worker ends"),
        ("drain_delay", Seconds(), 0.0, "between not being ready any more and the end of accepting"),
        ("timeout", Seconds(), 30.0, "without a sign of life until a worker is replaced; 0 for never"),
        ("boot_timeout", Seconds(), 60.0, "that loading the application may take; 0 for any time"),
        (
            "blocked_after",
            Seconds(),
            1.0,
            "that the event loop may stand still until that is logged; 0 for never",
        ),
        ("max_requests", Integer(), 0, "requests after which a worker is replaced; 0 for any number"),
        ("max_requests_jitter", Integer(), 0, "the most that is added to max_requests, at random"),
        ("max_memory", Size(), 0, "memory (RSS) above which a worker is replaced; 0 for no limit"),
    ],
    "Process": [
        ("user", Text("USER"), None, "the user that workers are"),
        ("group", Text("GROUP"), None, "the group that workers are in"),
        ("umask", Text("MODE", "an octal number", _mask), None, "permissions that new files do not get"),
        ("pidfile", _FILE, None, "a file for the process number of the supervisor"),
        ("daemon", Flag(), False, "go into the background"),
        ("control", Text("PATH|off"), None, "unix socket for webfw ctl; off for none"),
    ],
    "Limits": [
        ("header_timeout", Seconds(), _LIMITS.header_timeout, "for a request's head; 0 for any time"),
        (
            "idle_timeout",
            Seconds(),
            _LIMITS.idle_timeout,
            "between two requests of a connection; 0 for any time",
        ),
        ("body_timeout", Seconds(), _LIMITS.body_timeout, "for a request's body; 0 for any time"),
        (
            "min_body_rate",
            Size(),
            _LIMITS.min_body_rate,
            "bytes a second that a body must bring; 0 for any rate",
        ),
        ("body_grace", Seconds(1), _LIMITS.body_grace, "over which min_body_rate is an average"),
        (
            "write_timeout",
            Seconds(),
            _LIMITS.write_timeout,
            "in which a client takes nothing; 0 for any time",
        ),
        (
            "min_write_rate",
            Size(),
            _LIMITS.min_write_rate,
            "bytes a second of a response that a client must take while some of it waits; 0 for any rate",
        ),
        ("write_grace", Seconds(1), _LIMITS.write_grace, "over which min_write_rate is an average"),
        (
            "tls_handshake_timeout",
            Seconds(),
            _LIMITS.tls_handshake_timeout,
            "for TLS to begin; 0 for any time",
        ),
        (
            "max_connections",
            Integer(),
            None,
            _CONNECTIONS_HELP,
        ),
        (
            "max_connections_per_address",
            Integer(),
            _LIMITS.max_connections_per_address,
            "open at once in each worker, of an IPv4 address or an IPv6 /64; 0 for any number",
        ),
        ("max_header_size", Size(1024), _LIMITS.head.max_header_size, "of a request's head"),
        ("max_body_size", Size(), _LIMITS.max_body_size, "of a request's body"),
    ],
    "Logs": [
        ("log_level", Choice("debug", "info", "warning", "error"), "info", "how much to log"),
        ("access_log", Text("FILE|-|off"), "-", "where one line for each request goes; - is standard output"),
        ("access_log_format", Text("text|json|FORMAT"), "text", _FORMAT_HELP),
        (
            "request_id",
            Flag(),
            False,
            "give each request an id: in logs, in X-Request-ID, for the application",
        ),
        ("error_log", Text("FILE|-"), "-", "where everything else goes; - is standard error"),
    ],
    "Observation": [
        ("admin", _ADDRESS, None, "an address of its own for /healthz, /readyz and /metrics"),
        ("health", Flag(), False, "answer /healthz and /readyz on the main addresses too"),
        ("metrics", Flag(), False, "count for Prometheus, at /metrics of the admin address (extra: metrics)"),
        ("tracing", Flag(), False, "make OpenTelemetry spans (extra: otel)"),
    ],
}

# What workers cannot take over from a file that has changed.
_ONLY_AT_START = frozenset(
    {
        "bind",
        "backlog",
        "reuse_port",
        "unix_mode",
        "unix_owner",
        "chdir",
        "preload",
        "hooks",
        "user",
        "group",
        "umask",
        "pidfile",
        "daemon",
        "control",
        "admin",
    }
)

#: Every setting by its name, in the order of the manual.
SETTINGS: Mapping[str, Setting] = {
    name: Setting(name, kind, default, text, section, name not in _ONLY_AT_START)
    for section, rows in _SECTIONS.items()
    for name, kind, default, text in rows
}

#: Keys of a file whose values are tables, which only files can have: name -> what stands in each.
TABLES: Mapping[str, Mapping[str, Kind]] = {
    "apps": {
        "app": Text("TARGET"),
        "host": Text("PATTERN"),
        "path": Text("PREFIX"),
        "factory": Flag(),
        "threads": Integer(0, 1000),
        "lifespan": _LIFESPAN,
    },
}
