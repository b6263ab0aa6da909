"""The scope of an ASGI connection: what a request says, as the specification names it; nothing is run here."""

import ssl
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from webfw.httpserver import Exchange, RequestContext
from webfw.httputil import HTTPServerRequest
from webfw.netutil.tls import distinguished_name
from webfw.sansio.http1 import raw_fields

__all__ = ["ASGI", "ScopeMaker"]

Fields = list[tuple[bytes, bytes]]

#: The versions that are spoken, as ``scope["asgi"]`` has them: of ASGI, and of its messages for HTTP and WebSocket.
ASGI = {"version": "3.0", "spec_version": "2.5"}

#: What an application may send beyond the specification's core, by its list of extensions.
_HTTP_EXTENSIONS: dict[str, Any] = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
}
_WEBSOCKET_EXTENSIONS: dict[str, Any] = {"websocket.http.response": {}}

#: ``tls_version`` of the TLS extension: the numbers of the protocol (RFC 8446 section 4.2.1).
_TLS_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class _Memo:
    """What stays the same from one request of a connection to the next; kept as its `RequestContext.memo`."""

    __slots__ = ("block", "client", "extensions", "fields", "maker", "server")

    def __init__(self, maker: "ScopeMaker", exchange: Exchange, context: Any) -> None:
        self.maker = maker
        self.block: str | None = None
        self.fields: Fields = []
        self.client = _address(getattr(context, "address", None))
        self.server = _server(exchange.get_extra_info("sockname"))
        tls = exchange.get_extra_info("ssl_object")
        self.extensions = _HTTP_EXTENSIONS if tls is None else {**_HTTP_EXTENSIONS, "tls": _tls(tls)}


class ScopeMaker:
    """Makes scopes for one application.

    :param mount: the path the application is mounted at, decoded, without a slash at its end; empty for the root.

    The parts that applications only read are shared by all scopes: ``asgi``, ``extensions``, and those of the
    addresses.  The list of headers is each scope's own.
    """

    def __init__(self, mount: str) -> None:
        self.mount = mount
        self._segments = mount.encode().split(b"/")

    def http(
        self, exchange: Exchange, request: HTTPServerRequest, state: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The scope of an HTTP request.

        :param state: what the lifespan has left; the scope gets a copy.
        :returns: None when the path is not under the mount, or the request has none, as CONNECT.
        """
        raw = request.path
        if (self.mount or raw[:1] != "/") and not self._is_ours(raw):
            return None
        context = request.context
        memo = context.memo if type(context) is RequestContext else None
        if type(memo) is _Memo and memo.maker is self:
            client = memo.client
        else:
            memo = self._memo(exchange, context)
            client = _client(request)
        head = request._head
        if head is not None and head.fields == memo.block and exchange.record is None:
            headers = memo.fields.copy()
        else:
            headers = self._headers(memo, exchange, request)
        version = request.version
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": "1.1" if version == "HTTP/1.1" else version.removeprefix("HTTP/"),
            "method": request.method,
            "scheme": request.protocol,
            "path": unquote(raw) if "%" in raw else raw,
            "raw_path": raw.encode("latin-1"),
            "query_string": request.query.encode("latin-1"),
            "root_path": self.mount,
            "headers": headers,
            "client": client,
            "server": memo.server,
            "state": state.copy(),
            "extensions": memo.extensions,
        }

    def websocket(
        self, exchange: Exchange, request: HTTPServerRequest, state: dict[str, Any], subprotocols: list[str]
    ) -> dict[str, Any] | None:
        """The scope of a WebSocket; see `http`.

        :param subprotocols: those that the client offers.
        """
        scope = self.http(exchange, request, state)
        if scope is not None:
            scope["type"] = "websocket"
            scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
            scope["subprotocols"] = subprotocols
            tls = scope["extensions"].get("tls")
            scope["extensions"] = (
                _WEBSOCKET_EXTENSIONS if tls is None else {**_WEBSOCKET_EXTENSIONS, "tls": tls}
            )
            del scope["method"]
        return scope

    def _is_ours(self, path: str) -> bool:
        """Whether a path is under the mount, which ends where a slash is and not where ``%2F`` is."""
        if path[:1] != "/":
            return path == "*" and not self.mount
        segments = path.split("/", len(self._segments))[: len(self._segments)]
        return [unquote_to_bytes(segment) for segment in segments] == self._segments

    def _memo(self, exchange: Exchange, context: Any) -> _Memo:
        """The memo of a connection; the context of a request that came through a proxy has none."""
        own = getattr(exchange.server_connection, "context", context)
        memo = getattr(own, "memo", None)
        if type(memo) is not _Memo or memo.maker is not self:
            memo = _Memo(self, exchange, own)
            if isinstance(own, RequestContext):
                own.memo = memo
        return memo

    def _headers(self, memo: _Memo, exchange: Exchange, request: HTTPServerRequest) -> Fields:
        """The fields, in the order in which they came, their names in lower case."""
        head = request._head
        if head is None:
            fields = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in request.headers.get_all()
            ]
        else:
            if head.fields != memo.block:
                memo.fields = raw_fields(head.fields)
                memo.block = head.fields
            fields = memo.fields.copy()
        record = exchange.record
        if record is not None and record.request_id is not None:
            # The id that the server's logs have, whatever the client says.
            fields = [field for field in fields if field[0] != b"x-request-id"]
            fields.append((b"x-request-id", record.request_id.encode("latin-1")))
        return fields


def _client(request: HTTPServerRequest) -> tuple[str, int] | None:
    """Address and port of the client; port 0 for one that a proxy has told of, None where there is no address."""
    ip = request.remote_ip
    own = _address(getattr(request.context, "address", None))
    if own is not None and own[0] == ip:
        return own
    return (ip, 0) if ip and ip != "0.0.0.0" else None


def _address(address: Any) -> tuple[str, int] | None:
    return (address[0], address[1]) if isinstance(address, tuple) and address else None


def _server(address: Any) -> tuple[str, int | None] | None:
    """Address and port of the server, or the path of its unix socket and None."""
    if isinstance(address, tuple) and address:
        return (address[0], address[1])
    if isinstance(address, bytes):
        address = address.decode("utf-8", "surrogateescape")
    return (address, None) if isinstance(address, str) and address else None


def _tls(tls: Any) -> dict[str, Any]:
    """The TLS extension: what is known of a connection."""
    certificate = tls.getpeercert(binary_form=True)
    subject = (tls.getpeercert() or {}).get("subject")
    agreed = tls.cipher()
    suites = {cipher["name"]: cipher["id"] & 0xFFFF for cipher in tls.context.get_ciphers()}
    return {
        "server_cert": None,  # which of its own a context has shown, it does not tell
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(certificate)] if certificate else [],
        "client_cert_name": distinguished_name(subject) if subject else None,
        "client_cert_error": None,  # with one, there would be no connection
        "tls_version": _TLS_VERSIONS.get(tls.version()),
        "cipher_suite": suites.get(agreed[0]) if agreed else None,
    }
