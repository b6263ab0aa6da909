"""What another server's ASGI scope says of a request, as the head that webfw's requests are made of; no I/O enters.

The ASGI specification, "HTTP Connection Scope" and "Websocket Connection Scope".  A host has parsed the request, but
not every host has checked it: what webfw's own server would refuse is refused here too.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.framing import content_length, excerpt, field_values
from webfw.sansio.http1.grammar import FIELD_LINE, IS_TARGET, IS_TOKEN, is_host
from webfw.sansio.websocket.handshake import VERSION

__all__ = ["ScopeHead"]

_BLOCK: Final = re.compile(rf"(?:{FIELD_LINE}\r\n)*+")

# RFC 3986 section 3.3: pchar and "/", without "%", which a decoded path has only as a character of its own.
_PATH_SAFE: Final = "/!$&'()*+,;=:@-._~"

#: Fields of an opening handshake that are the host's own business.
_HANDSHAKE: Final = frozenset(
    {
        b"connection",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"upgrade",
    }
)
#: In their place: what HTTP/1.1 would have.  The host has checked the key, or HTTP/2 had none (RFC 8441 section 5).
_OPENING: Final = (
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-version", VERSION.encode()),
    (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
)
#: There is nothing that a host could change to, so that handlers need not find out by trying.
_UPGRADE: Final = frozenset({b"upgrade"})


class ScopeHead:
    """The head of one request (`webfw.httputil.request.Head`).

    :param scope: of type ``http`` or ``websocket``.
    :raises RemoteProtocolError: the request is one that HTTP does not allow.

    A WebSocket is shown as the handshake of RFC 6455 that asks for it, whatever has carried it, and without
    extensions: compression is between the host and the client.

    :ivar method: the method.
    :ivar target: path and query, the path without ``root_path``.
    :ivar version: such as ``HTTP/1.1`` or ``HTTP/2``.
    :ivar fields: ``"name: value\\r\\n"`` for each field, as latin-1 text.
    :ivar host: the host the request is for; empty where it says none.
    :ivar announced: the Content-Length, None without one.
    :ivar has_body: whether there may be a body.
    :ivar content_length, chunked: what `RequestBody` goes by.  The host has taken the framing off and says where a body
        ends, so that it is one of no known length.
    """

    __slots__ = (
        "announced",
        "chunked",
        "content_length",
        "fields",
        "has_body",
        "host",
        "method",
        "target",
        "version",
    )

    def __init__(self, scope: Mapping[str, Any]) -> None:
        websocket = scope["type"] == "websocket"
        version = "1.1" if websocket else scope.get("http_version", "1.1")
        self.version = f"HTTP/{version}"
        self.method = method = "GET" if websocket else scope["method"]
        if IS_TOKEN.fullmatch(method) is None:
            raise RemoteProtocolError(f"method {excerpt(method)} is not a token")
        self.target = _target(scope)
        pairs = scope.get("headers", ())
        self.fields = _block(
            _as_handshake(scope, pairs) if websocket else pairs, _UPGRADE if not websocket else ()
        )
        text = "\r\n" + self.fields
        lower = text.lower()
        self.host = _host(text, lower, version)
        self.announced = None if websocket else content_length(text, lower)
        self.chunked = False
        self.content_length = sys.maxsize
        self.has_body = not websocket and (
            self.announced is not None
            or "\r\ntransfer-encoding:" in lower
            # From HTTP/2 on a body needs no field (RFC 9113 section 8.1.1); in these two it has no meaning.
            or (version not in ("1.0", "1.1") and method not in ("GET", "HEAD"))
        )


def _as_handshake(
    scope: Mapping[str, Any], pairs: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    fields = [(name, value) for name, value in pairs if name.lower() not in _HANDSHAKE]
    fields += _OPENING
    offered = scope.get("subprotocols")
    if offered:
        fields.append((b"sec-websocket-protocol", ", ".join(offered).encode("latin-1", "replace")))
    return fields


def _block(pairs: Iterable[tuple[bytes, bytes]], without: Iterable[bytes]) -> str:
    """The fields as one text, checked against the grammar of RFC 9112 section 5."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in pairs if name not in without]
    text = b"".join(lines).decode("latin-1")
    # A line too many is a field that came in with another's value.
    if _BLOCK.fullmatch(text) is None or text.count("\n") != len(lines):
        raise RemoteProtocolError("malformed field")
    return text


def _host(text: str, lower: str, version: str) -> str:
    """The value of Host (RFC 9112 section 3.2), where hosts also put HTTP/2's ``:authority``."""
    hosts = field_values(text, lower, "host")
    if len(hosts) > 1:
        raise RemoteProtocolError("more than one Host field")
    if not hosts:
        if version == "1.1":
            raise RemoteProtocolError("no Host field")
        return ""
    if hosts[0] and not is_host(hosts[0]):
        raise RemoteProtocolError(f"malformed Host: {excerpt(hosts[0])}")
    return hosts[0]


def _target(scope: Mapping[str, Any]) -> str:
    """Path and query as they were received, less the path that the application is mounted at."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    # Some hosts have left the query there.
    target = quote(path, _PATH_SAFE) if raw is None else raw.decode("latin-1").partition("?")[0]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        for prefix in (root, quote(root, _PATH_SAFE)):
            if target == prefix or target.startswith(prefix + "/"):
                target = target[len(prefix) :]
                break
        else:  # it was spelled in some other way
            target = quote(path[len(root) :], _PATH_SAFE)
    target = target or "/"
    query: bytes = scope.get("query_string", b"")
    if query:
        target += "?" + query.decode("latin-1")
    if IS_TARGET.fullmatch(target) is None:
        raise RemoteProtocolError(f"malformed request target: {excerpt(target)}")
    return target
