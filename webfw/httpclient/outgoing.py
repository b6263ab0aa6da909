"""What is sent for a request: its checks, its fields, the bytes of its head; sending them is done elsewhere."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from webfw import version
from webfw.httpclient.messages import HTTPRequest
from webfw.httpclient.origin import Place
from webfw.httputil import HTTPHeaders, encode_username_password
from webfw.netutil import is_valid_ip
from webfw.sansio.decompress import supported_encodings
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1 import encode_request_head

__all__ = ["IDEMPOTENT", "USER_AGENT", "Outgoing", "authorization"]

#: The value of User-Agent, where the request has none.
USER_AGENT = f"webfw/{version}"

#: Methods that mean the same when sent twice (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

# Those sent without a further word, and those of them that are for sending a body.
_STANDARD = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_PROXY_OPTIONS = ("proxy_host", "proxy_port", "proxy_username", "proxy_password", "proxy_auth_mode")


class UnknownMethodError(ValueError, KeyError):
    """A method that is not sent unless the request allows it; both, since programs know either."""

    def __str__(self) -> str:
        return str(self.args[0])


@cache
def _accept_encoding() -> str:
    return ", ".join(supported_encodings())


def authorization(username: str, password: str) -> str:
    """The value of Authorization for the Basic scheme (RFC 7617).

    :raises ValueError: there is a colon in the name, which would be taken for another name and password.
    """
    if ":" in username:
        raise ValueError("a user name with a colon cannot be sent by basic authentication")
    return "Basic " + base64.b64encode(encode_username_password(username, password)).decode("ascii")


@dataclass(slots=True)
class Outgoing:
    """One message to be sent, the first of a request or one after a redirect.

    :ivar url: its address.
    :ivar place: the address, taken apart.
    :ivar headers: the fields the program has given; not to be changed.
    :ivar body: the body, or None.
    :ivar producer: what sends a body bit by bit.
    :ivar credentials: user name and password for basic authentication.
    :ivar length: the length of the body where a producer has promised one.
    """

    url: str
    place: Place
    method: str
    headers: HTTPHeaders
    body: bytes | None
    producer: Callable[[Callable[[bytes], Any]], Awaitable[None]] | None
    credentials: tuple[str, str] | None
    length: int | None = field(default=None, init=False)

    @classmethod
    def of(cls, request: HTTPRequest) -> "Outgoing":
        """The first message of a request.

        :raises ValueError: an argument of the request is not fit to be sent.
        :raises NotImplementedError: it asks for a proxy.
        """
        place = Place.of(request.url)
        check(request)
        credentials = place.userinfo
        if credentials is None and request.auth_username is not None:
            credentials = (request.auth_username, request.auth_password or "")
        return cls(
            request.url,
            place,
            request.method,
            request.headers,
            request.body,
            request.body_producer,
            credentials,
        )

    def encode(self, request: HTTPRequest) -> bytes:
        """The head of the message (RFC 9112 section 3), and set `length`.

        :raises ValueError: a name or a value among its fields, or the method, is not what it may be.
        """
        given = self.headers
        place = self.place
        own: dict[str, str] = {}
        if "Host" not in given:
            own["Host"] = place.authority
        if "User-Agent" not in given:
            own["User-Agent"] = request.user_agent or USER_AGENT
        if request.decompress_response and "Accept-Encoding" not in given:
            own["Accept-Encoding"] = _accept_encoding()
        if self.credentials is not None:
            own["Authorization"] = authorization(*self.credentials)
            given = _without(given, "Authorization")
        if self.body is not None or self.producer is not None or "Content-Length" in given:
            given = self._frame(request, given, own)
        elif "Transfer-Encoding" in given:
            given = _without(given, "Transfer-Encoding")
        if self.body is None and self.producer is None and self.method in _WITH_BODY:
            own["Content-Length"] = "0"  # RFC 9110 section 8.6
        if self.method == "POST" and "Content-Type" not in given:
            own["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            return encode_request_head(self.method, place.target, [*own.items(), *given.fields()])
        except LocalProtocolError as error:
            raise ValueError(str(error)) from error

    def _frame(self, request: HTTPRequest, given: HTTPHeaders, own: dict[str, str]) -> HTTPHeaders:
        """Say how long the body is (RFC 9112 section 6); what the program says of it counts only for a producer."""
        promised = given.get("Content-Length")
        given = _without(given, "Content-Length", "Transfer-Encoding")
        if self.body is not None:
            own["Content-Length"] = str(len(self.body))
        elif self.producer is None:
            return given
        elif promised is None:
            self.length = None
            own["Transfer-Encoding"] = "chunked"
        else:
            if not (promised.isascii() and promised.isdigit() and len(promised) < 20):
                raise ValueError(f"Content-Length {promised!r} is no number of bytes")
            self.length = int(promised)
            own["Content-Length"] = promised
        if request.expect_100_continue:
            own["Expect"] = "100-continue"
            given = _without(given, "Expect")
        return given


def _without(headers: HTTPHeaders, *names: str) -> HTTPHeaders:
    if any(name in headers for name in names):
        headers = headers.copy()
        for name in names:
            headers.pop(name, None)
    return headers


def check(request: HTTPRequest) -> None:
    """Refuse what the simple client does not do, rather than do something else.

    :raises ValueError: an argument is not fit to be sent.
    :raises NotImplementedError: it asks for a proxy.
    """
    for name in _PROXY_OPTIONS:
        if getattr(request, name):
            raise NotImplementedError(
                f"{name} not supported by this client: the one of libcurl knows proxies"
            )
    if request.auth_mode not in (None, "basic"):
        raise ValueError(f"unsupported auth_mode {request.auth_mode!r}: the client of libcurl may know it")
    if request.network_interface is not None and not is_valid_ip(request.network_interface):
        raise ValueError(
            f"Unrecognized IPv4 or IPv6 address for network_interface, got {request.network_interface!r}"
        )
    if request.body is not None and request.body_producer is not None:
        raise ValueError("a request has a body or a body_producer, not both")
    if request.allow_nonstandard_methods:
        return
    if request.method not in _STANDARD:
        raise UnknownMethodError(
            f"unknown method {request.method} (sent if allow_nonstandard_methods is true)"
        )
    has_body = request.body is not None or request.body_producer is not None
    # DELETE and OPTIONS may have one; a program that gives one there means it, but it has to say so.
    if has_body != (request.method in _WITH_BODY):
        must = "must be" if has_body else "must not be"
        raise ValueError(
            f"Body {must} None for method {request.method} (unless allow_nonstandard_methods is true)"
        )
