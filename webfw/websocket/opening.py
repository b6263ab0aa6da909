"""The client's opening handshake: from an address to a wire that speaks WebSocket; messages may not enter."""

import asyncio
import copy
import datetime
import io
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from webfw.httpclient import (
    DEFAULTS,
    HTTPClientError,
    HTTPRequest,
    HTTPResponse,
    HTTPStreamClosedError,
    HTTPTimeoutError,
    with_defaults,
)
from webfw.httpclient.origin import Place, tls_context
from webfw.httpclient.outgoing import USER_AGENT, authorization
from webfw.httpclient.redirects import REDIRECTS, for_another_server
from webfw.httputil import HTTPHeaders
from webfw.iostream import IOStream, StreamClosedError, Wire
from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError
from webfw.sansio.http1 import (
    BodyDecoder,
    Chunked,
    HeadLimits,
    Length,
    ResponseHead,
    UntilClose,
    encode_request_head,
    parse_response_head,
)
from webfw.sansio.websocket import Deflate, check_response, new_key, offered_subprotocols, request_fields
from webfw.tcpclient import TCPClient
from webfw.websocket import compression
from webfw.websocket.errors import WebSocketError

__all__ = ["Opening", "open_websocket"]

#: Bytes of the body of a refusal that are kept.
MAX_REFUSAL = 64 * 1024
#: Seconds that it may take.
REFUSAL_TIME = 2.0
#: Interim responses (1xx) before the one that counts.
MAX_INTERIM = 10

_PORTS = {"ws": 80, "wss": 443}
_LIMITS = HeadLimits()
# What the handshake says itself.
_OURS = frozenset(
    {"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol"}
    | {"Sec-Websocket-Extensions", "Content-Length", "Transfer-Encoding"}
)


@dataclass(slots=True)
class Opening:
    """What the handshake has led to.

    :ivar wire: the connection; its consumer is to be set at once.
    :ivar early: the first bytes of it that have come already.
    :ivar headers: the fields of the response.
    :ivar subprotocol: the one the server has chosen.
    :ivar deflate: the compression that was agreed on.
    """

    wire: Wire
    early: bytes
    headers: HTTPHeaders
    subprotocol: str | None
    deflate: Deflate | None


async def open_websocket(
    request: HTTPRequest,
    client: TCPClient,
    subprotocols: Sequence[str] | None = None,
    compression_options: Mapping[str, Any] | None = None,
) -> Opening:
    """Connect, send the request for the upgrade, and check what is answered.

    :param request: its ``connect_timeout`` is for the connection with its TLS handshake, ``request_timeout`` for the
        answer after that.  Redirects are followed only where ``follow_redirects`` is True.
    :param client: what connects.
    :param subprotocols: what is offered, the preferred first; None for what the request's fields say.
    :param compression_options: see `webfw.websocket.websocket_connect`.
    :raises ValueError: an argument or a part of the request is not fit for this.
    :raises HTTPClientError: the server has answered something else than 101; the response comes with it.
    :raises HTTPTimeoutError: there was no connection, or no answer, in time.
    :raises OSError: there was no connection, or it ended before the answer (`HTTPStreamClosedError`).
    :raises WebSocketError: the answer is none of RFC 6455's, or not even HTTP.
    """
    _check(request)
    if subprotocols is None:
        subprotocols = _subprotocols_of(request)
    request = with_defaults(request, {**DEFAULTS, "follow_redirects": False})
    place = Place.of(request.url, _PORTS)
    redirects = 0
    while True:
        try:
            return await _open(request, place, client, subprotocols, compression_options)
        except HTTPClientError as error:
            redirects += 1
            if not request.follow_redirects or redirects > (request.max_redirects or 0):
                raise
            following = _redirect(error, request, place)
            if following is None:
                raise
            request, place = following


def _check(request: HTTPRequest) -> None:
    """Refuse what asks for something this does not do, rather than do something else."""
    if request.method != "GET":
        raise ValueError(f"a WebSocket is opened by GET, not {request.method}")
    if request.body is not None or request.body_producer is not None:
        raise ValueError("the request that opens a WebSocket has no body")
    if request.proxy_host is not None:
        raise ValueError("proxies are not supported for WebSockets")
    if request.auth_mode not in (None, "basic"):
        raise ValueError(f"auth_mode {request.auth_mode!r} is not supported for WebSockets")


def _subprotocols_of(request: HTTPRequest) -> list[str]:
    try:
        return offered_subprotocols(request.headers)
    except RemoteProtocolError as error:  # not remote: the fields are ours
        raise ValueError(str(error)) from error


def _redirect(error: HTTPClientError, request: HTTPRequest, place: Place) -> tuple[HTTPRequest, Place] | None:
    """Where a response sends us on to (RFC 9110 section 15.4); None where we do not go."""
    response = error.response
    if response is None or response.code not in REDIRECTS or "Location" not in response.headers:
        return None
    try:
        # urljoin() knows nothing of ws.
        scheme, colon, rest = urljoin("http" + request.url[2:], response.headers["Location"]).partition(":")
        url = {"http": "ws", "https": "wss"}.get(scheme.lower(), scheme) + colon + rest
        following = Place.of(url, _PORTS)
    except ValueError:
        return None
    if place.secure and not following.secure:
        return None
    sent = copy.copy(request)
    sent.url = url
    if not following.same_origin(place):
        # What was for one server is not for another.
        sent.headers = for_another_server(request.headers)
        sent.auth_username = sent.auth_password = None
    return sent, following


async def _open(
    request: HTTPRequest,
    place: Place,
    client: TCPClient,
    subprotocols: Sequence[str],
    compression_options: Mapping[str, Any] | None,
) -> Opening:
    key = new_key()
    try:
        wanted = request_fields(key, subprotocols, compression.offer(compression_options))
        head = encode_request_head("GET", place.target, [*_fields(request, place), *wanted])
    except LocalProtocolError as error:
        raise ValueError(str(error)) from error
    stream = await _connect(request, place, client)
    limit = asyncio.timeout(request.request_timeout or None)
    try:
        async with limit:
            answer, rest = await _ask(stream, head)
        headers = HTTPHeaders.from_fields(answer.fields)
        if answer.status != 101:
            response = HTTPResponse(request, answer.status, headers, reason=answer.reason)
            response.buffer = io.BytesIO(await _refusal(stream, answer, rest))
            raise HTTPClientError(answer.status, response.reason, response)
        subprotocol = check_response(101, headers, key, subprotocols)
        deflate = compression.confirm(compression_options, headers.get_list("Sec-WebSocket-Extensions"))
        wire, early = stream.detach_wire()
    except BaseException as error:
        stream.close()
        if isinstance(error, TimeoutError) and limit.expired():
            raise HTTPTimeoutError(f"Timeout while waiting for the answer of {place.authority}") from None
        if isinstance(error, RemoteProtocolError):
            raise WebSocketError(f"{place.authority} does not open a WebSocket: {error}") from error
        if isinstance(error, StreamClosedError):
            text = f"{place.authority} has closed the connection before its answer was complete"
            raise HTTPStreamClosedError(text, error.real_error) from error
        raise
    # A stream has every write wait until all of it is out.
    wire.transport.set_write_buffer_limits()
    return Opening(wire, rest + early, headers, subprotocol, deflate)


def _fields(request: HTTPRequest, place: Place) -> list[tuple[str, str]]:
    """The fields of the request but for those of the handshake."""
    given = request.headers
    fields = [(name, value) for name, value in given.get_all() if name not in _OURS]
    if "Host" not in given:
        fields.insert(0, ("Host", place.authority))
    if "User-Agent" not in given:
        fields.append(("User-Agent", request.user_agent or USER_AGENT))
    userinfo = place.userinfo
    if userinfo is None and request.auth_username is not None:
        userinfo = (request.auth_username, request.auth_password or "")
    if userinfo is not None and "Authorization" not in given:
        fields.append(("Authorization", authorization(*userinfo)))
    return fields


async def _connect(request: HTTPRequest, place: Place, client: TCPClient) -> IOStream:
    timeout = datetime.timedelta(seconds=request.connect_timeout) if request.connect_timeout else None
    options: dict[str, Any] = {"timeout": timeout, "source_ip": request.network_interface}
    if place.secure:
        options["ssl_options"] = tls_context(request)
    if not request.allow_ipv6:
        options["af"] = socket.AF_INET
    try:
        return await client.connect(place.host, place.port, **options)
    except TimeoutError as error:
        raise HTTPTimeoutError(str(error)) from error
    except StreamClosedError as error:
        if error.real_error is None:
            raise
        for note in getattr(error, "__notes__", ()):
            error.real_error.add_note(note)
        raise error.real_error from None


async def _ask(stream: IOStream, head: bytes) -> tuple[ResponseHead, bytes]:
    """Send the head of the request; return that of the response, and the bytes that have come behind it."""
    stream.write(head)
    data = b""
    at = seen = interim = 0
    while True:
        answer = parse_response_head(data, at, seen, _LIMITS) if len(data) > at else None
        if answer is None:
            seen = len(data)
            data += await stream.read_bytes(_LIMITS.max_header_size, partial=True)
        elif answer.status >= 200 or answer.status == 101:
            return answer, data[answer.end :]
        else:
            # RFC 9110 section 15.2: a client must be able to read these, and may ignore them.
            interim += 1
            if interim > MAX_INTERIM:
                raise RemoteProtocolError("too many interim responses")
            data = data[answer.end :]
            at = seen = 0


async def _refusal(stream: IOStream, answer: ResponseHead, data: bytes) -> bytes:
    """Read the body of a response that says no, as far as it comes and is not too long."""
    decoder: BodyDecoder
    if answer.chunked:
        decoder = Chunked()
    elif answer.until_close:
        decoder = UntilClose()
    else:
        decoder = Length(answer.content_length or 0)
    body = b""
    try:
        async with asyncio.timeout(REFUSAL_TIME):
            while True:
                piece, _ = decoder.receive(data, 0)
                body += piece
                if decoder.done or len(body) >= MAX_REFUSAL:
                    break
                data = await stream.read_bytes(MAX_REFUSAL, partial=True)
    except (TimeoutError, StreamClosedError, RemoteProtocolError):
        pass  # the status says more than a body that is cut
    return body[:MAX_REFUSAL]
