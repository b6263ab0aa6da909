"""The opening handshake of RFC 6455 section 4, both sides, as checks and header fields; no connection enters.

A server calls `check_request`, `offered_subprotocols` and `response_fields`; a client `new_key`, `request_fields` and
`check_response`.  What Sec-WebSocket-Extensions says is read in `webfw.sansio.websocket.extensions`.  Whether an
origin may connect (section 10.2) is up to the application.
"""

import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from typing import Final, Protocol

from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "VERSION",
    "Fields",
    "HandshakeError",
    "accept_value",
    "check_request",
    "check_response",
    "new_key",
    "offered_subprotocols",
    "request_fields",
    "response_fields",
]

#: The value of Sec-WebSocket-Version (RFC 6455 section 4.1).
VERSION: Final = "13"

# Section 1.3.
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Base64 of 16 bytes.  The bits that stand for nothing may be set: RFC 4648 section 3.5 leaves that open.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")

# RFC 9110 section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")


class Fields(Protocol):
    """What is needed of a message's header fields: `webfw.httputil.HTTPHeaders` has it."""

    def get_list(self, name: str) -> list[str]:
        """All values of `name`, in any case, one for each line; an empty list when there is none."""


class HandshakeError(RemoteProtocolError):
    """A request that cannot become a WebSocket.

    :param message: what was wrong, fit for the body of the response.
    :param status: of the response.
    :param fields: header fields the response must have.
    """

    def __init__(self, message: str, status: int = 400, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, status)
        self.fields = tuple(fields)


def accept_value(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 section 4.2.2, step 5.4)."""
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


# --- server ---


def check_request(method: str, version: str, headers: Fields) -> str:
    """Check what a client must send (RFC 6455 section 4.2.1); its Host is the business of HTTP.

    :param method: of the request.
    :param version: of HTTP, such as ``HTTP/1.1``.
    :param headers: of the request.
    :return: the key, for `response_fields`.
    :raises HandshakeError: 405 for a method other than GET; 426 for a version of the protocol other than 13; 400 for
        the rest.  Its ``fields`` belong into the response: RFC 6455 section 4.4 wants the version that is spoken here
        said with 426, RFC 9110 section 15.5.22 the protocol to change to, and section 15.5.6 the method with 405.
    """
    if method != "GET":
        raise HandshakeError("a WebSocket is opened by GET", 405, [("Allow", "GET")])
    if not version.startswith("HTTP/1.") or version == "HTTP/1.0":
        # Upgrade is unknown to HTTP/1.0 and gone from HTTP/2 (RFC 9110 section 7.8, RFC 9113 section 8.6).
        raise HandshakeError("a WebSocket is opened over HTTP/1.1")
    if not _names(headers, "Upgrade", "websocket"):
        raise HandshakeError('can "Upgrade" only to "websocket"')
    if not _names(headers, "Connection", "upgrade"):
        raise HandshakeError('"Connection" must be "Upgrade"')
    # Before the key: a client of another version should learn of this one, whatever else it does differently.
    versions = headers.get_list("Sec-WebSocket-Version")
    if len(versions) > 1:
        raise HandshakeError("more than one Sec-WebSocket-Version")
    if versions != [VERSION]:
        raise HandshakeError(
            f"the version of WebSocket spoken here is {VERSION}",
            426,
            [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION)],
        )
    keys = headers.get_list("Sec-WebSocket-Key")
    if len(keys) != 1:
        raise HandshakeError("more than one Sec-WebSocket-Key" if keys else "missing Sec-WebSocket-Key")
    if _KEY.fullmatch(keys[0]) is None:
        raise HandshakeError("Sec-WebSocket-Key is not base64 of 16 bytes")
    if headers.get_list("Transfer-Encoding") or headers.get_list("Content-Length") not in ([], ["0"]):
        # RFC 9110 section 7.8: another protocol begins behind the request, and its body would be taken for frames.
        raise HandshakeError("the request of a WebSocket has no body")
    return keys[0]


def offered_subprotocols(headers: Fields) -> list[str]:
    """Read the Sec-WebSocket-Protocol of a request (RFC 6455 section 11.3.4); several lines are one list.

    :return: what the client offers, the preferred first, none twice; case counts.
    :raises HandshakeError: 400 for what is no list of tokens: a server MUST stop at a violation of the grammar (section
        4.2.1).  A list of nothing, which the grammar does not have either, is taken for what it can only mean.
    """
    names = dict.fromkeys(_elements(headers.get_list("Sec-WebSocket-Protocol")))
    for name in names:
        if _TOKEN.fullmatch(name) is None:
            raise HandshakeError(f"malformed Sec-WebSocket-Protocol {name[:60]!r}")
    return list(names)


def response_fields(key: str, subprotocol: str | None = None, extensions: str = "") -> list[tuple[str, str]]:
    """The header fields of the response with status 101 (RFC 6455 section 4.2.2).

    :param key: what `check_request` gave.
    :param subprotocol: the one chosen, of those offered: a client fails the connection at any other.
    :param extensions: the extensions accepted, as `format_deflate_response` spells them; empty for none.
    :raises LocalProtocolError: the subprotocol is no token.
    """
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_value(key)),
    ]
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", _checked(subprotocol)))
    if extensions:
        fields.append(("Sec-WebSocket-Extensions", extensions))
    return fields


# --- client ---


def new_key() -> str:
    """A new Sec-WebSocket-Key: base64 of 16 random bytes (RFC 6455 section 4.1, item 7)."""
    return binascii.b2a_base64(os.urandom(16), newline=False).decode("ascii")


def request_fields(key: str, subprotocols: Sequence[str] = (), extensions: str = "") -> list[tuple[str, str]]:
    """The header fields of the request beside Host, Origin and those of HTTP (RFC 6455 section 4.1).

    :param key: what `new_key` gave.
    :param subprotocols: what is offered, the preferred first.
    :param extensions: the extensions offered, as `format_deflate_offer` spells them; empty for none.
    :raises LocalProtocolError: a subprotocol is no token, or is offered twice.
    """
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", VERSION),
    ]
    if subprotocols:
        if len(set(subprotocols)) < len(subprotocols):
            raise LocalProtocolError("a subprotocol is offered twice")
        fields.append(("Sec-WebSocket-Protocol", ", ".join([_checked(name) for name in subprotocols])))
    if extensions:
        fields.append(("Sec-WebSocket-Extensions", extensions))
    return fields


def check_response(status: int, headers: Fields, key: str, subprotocols: Sequence[str] = ()) -> str | None:
    """Check what a server answered, all but the extensions (RFC 6455 section 4.1, the second list).

    :param status: of the response; redirects and authentication are the caller's to follow before.
    :param headers: of the response.
    :param key: what was sent.
    :param subprotocols: what was offered.
    :return: the subprotocol the server chose, or `None`.
    :raises RemoteProtocolError: the response does not open a WebSocket; its text says why.
    """
    if status != 101:
        raise RemoteProtocolError(f"the server answered {status} where 101 opens a WebSocket")
    upgrade = headers.get_list("Upgrade")
    # Not a list here: the one thing asked for is what the server must change to.
    if len(upgrade) != 1 or upgrade[0].lower() != "websocket":
        raise RemoteProtocolError(_unfit("Upgrade", upgrade))
    if not _names(headers, "Connection", "upgrade"):
        raise RemoteProtocolError(_unfit("Connection", headers.get_list("Connection")))
    accept = headers.get_list("Sec-WebSocket-Accept")
    if len(accept) != 1 or accept[0].strip(" \t") != accept_value(key):
        raise RemoteProtocolError(_unfit("Sec-WebSocket-Accept", accept))
    chosen = headers.get_list("Sec-WebSocket-Protocol")
    if not chosen:
        return None
    if len(chosen) > 1:
        raise RemoteProtocolError("more than one Sec-WebSocket-Protocol")
    if chosen[0] not in subprotocols:
        raise RemoteProtocolError(f"subprotocol {chosen[0][:60]!r} was not offered")
    return chosen[0]


# --- both ---


def _elements(lines: Sequence[str]) -> list[str]:
    """The elements of a list (RFC 9110 section 5.6.1), empty ones left out."""
    return [text for line in lines for part in line.split(",") if (text := part.strip(" \t"))]


def _names(headers: Fields, field: str, token: str) -> bool:
    return token in [element.lower() for element in _elements(headers.get_list(field))]


def _checked(subprotocol: str) -> str:
    if _TOKEN.fullmatch(subprotocol) is None:
        raise LocalProtocolError(f"a subprotocol must be a token, not {subprotocol!r}")
    return subprotocol


def _unfit(field: str, values: Sequence[str]) -> str:
    return f"{'wrong' if values else 'missing'} {field} in the response{': ' if values else ''}{', '.join(values)[:60]}"
