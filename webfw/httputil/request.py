"""One request as an application sees it, worked out as far as asked for; how it arrived stays outside."""

import time
import warnings
from collections.abc import Callable
from http.cookies import Morsel, SimpleCookie
from typing import TYPE_CHECKING, Any, Final, Protocol

from webfw.httputil.cookies import simple_cookie
from webfw.httputil.errors import HTTPInputError
from webfw.httputil.forms import BodySource, HTTPFile, MultipartForm, is_form, parse_body_source, parse_query
from webfw.httputil.forms import parse_body_arguments as _parse_body_arguments
from webfw.httputil.headers import HTTPHeaders
from webfw.httputil.startlines import RequestStartLine
from webfw.httputil.urls import split_host_and_port
from webfw.sansio.http1.grammar import is_host
from webfw.sansio.http1.target import origin_form

if TYPE_CHECKING:
    from webfw.httputil.delegates import HTTPConnection

__all__ = ["HTTPServerRequest", "Head", "RequestContext"]

_now = time.time

_DEPRECATED: Final = "is deprecated, as in Tornado 6.6, and will be removed"


class Head(Protocol):
    """What `HTTPServerRequest.from_head` needs of a parsed head, such as `webfw.sansio.http1.RequestHead`."""

    method: str
    target: str
    version: str
    fields: str
    host: str


class RequestContext(Protocol):
    """What `HTTPServerRequest.from_head` needs to know of the client."""

    remote_ip: str
    protocol: str


class HTTPServerRequest:
    """A request.

    :ivar method: such as ``"GET"``.
    :ivar uri: the request target as received.
    :ivar path: the path of `uri`.
    :ivar query: the query of `uri`, without the question mark.
    :ivar version: such as ``"HTTP/1.1"``.
    :ivar headers: the fields, an `HTTPHeaders`.
    :ivar body: the body as bytes; empty when there is none or when it is streamed to the handler.
    :ivar host: the host the request is for, with the port if there is one.
    :ivar host_name: the host in lower case, without the port.
    :ivar remote_ip: the client's address as text; behind a proxy that is trusted, that of the proxy's client.
    :ivar protocol: ``"http"`` or ``"https"``, likewise.
    :ivar arguments: the arguments of query and body together: lists of values, as bytes, by name.
    :ivar query_arguments: those of the query.
    :ivar body_arguments: those of the body.
    :ivar files: lists of `HTTPFile` by name.
    :ivar trailers: the fields that came behind a chunked body, an `HTTPHeaders`; empty without any.
    :ivar connection: the `HTTPConnection` that takes the response.
    :ivar context: what is known of the client: where `remote_ip` and `protocol` come from.
    :ivar server_connection: stands for the connection the request came on.
    :ivar request_id: the id the request goes by in logs (`webfw.observe.RequestIds`); None without one.

    `headers`, the arguments, `files`, `cookies`, `host_name` and a `body` kept in a file are worked out at
    their first use.  Where a client has sent a malformed query or form, that is when `HTTPInputError` is
    raised.
    """

    # A slot that is empty is filled by `__getattr__`.  Programs set attributes of their own, hence __dict__.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_body_source",
        "_cookies",
        "_finish_time",
        "_form",
        "_head",
        "_start_time",
        "arguments",
        "body",
        "body_arguments",
        "connection",
        "context",
        "files",
        "headers",
        "host",
        "host_name",
        "method",
        "path",
        "protocol",
        "query",
        "query_arguments",
        "remote_ip",
        "request_id",
        "server_connection",
        "trailers",
        "uri",
        "version",
    )

    method: str
    uri: str
    path: str
    query: str
    version: str
    headers: HTTPHeaders
    body: bytes
    host: str
    host_name: str
    remote_ip: str | None
    protocol: str
    arguments: dict[str, list[bytes]]
    query_arguments: dict[str, list[bytes]]
    body_arguments: dict[str, list[bytes]]
    files: dict[str, list[HTTPFile]]
    connection: Any
    context: Any
    server_connection: object
    request_id: str | None
    trailers: HTTPHeaders
    _cookies: "dict[str, Morsel[str]]"
    _start_time: float
    _finish_time: float | None
    _head: Head | None
    _body_source: BodySource | None
    _form: MultipartForm | None

    def __init__(
        self,
        method: str | None = None,
        uri: str | None = None,
        version: str = "HTTP/1.0",
        headers: HTTPHeaders | None = None,
        body: bytes | None = None,
        host: str | None = None,
        files: dict[str, list[HTTPFile]] | None = None,
        connection: "HTTPConnection | None" = None,
        start_line: RequestStartLine | None = None,
        server_connection: object | None = None,
    ) -> None:
        """Make a request by hand, as tests do.

        :param start_line: method, target and version.
        :param method, uri, version: the same one by one, deprecated.
        :param host: set as the Host field, deprecated.
        :param headers: with a Host field, unless the version is HTTP/1.0.
        :param connection: its ``context`` gives `remote_ip` and `protocol`.
        :raises HTTPInputError: the Host field is missing, repeated or malformed.
        """
        if method is not None or uri is not None or version != "HTTP/1.0":
            _deprecated("passing method, uri or version to HTTPServerRequest, instead of start_line,")
        if start_line is not None:
            method, uri, version = start_line
        else:
            _deprecated("making an HTTPServerRequest without start_line")
        if host is not None:
            _deprecated("passing host to HTTPServerRequest, instead of a Host header,")
            headers = headers.copy() if headers is not None else HTTPHeaders()
            headers["Host"] = host
        elif headers is None:
            headers = HTTPHeaders()
        self._head = None
        self.method = method or "GET"
        self.uri = uri or "/"
        self.path, _, self.query = origin_form(self.uri).partition("?")
        self.version = version
        self.headers = headers
        if body is not None:
            self.body = body
        if files is not None:
            self.files = files
        self.connection = connection
        self.server_connection = server_connection
        self.context = context = getattr(connection, "context", None)
        self.remote_ip = getattr(context, "remote_ip", None)
        self.protocol = getattr(context, "protocol", "http")
        self._start_time = _now()
        self._finish_time = None
        self.host = _checked_host(headers, version)

    @classmethod
    def from_head(cls, head: Head, connection: Any, context: RequestContext) -> "HTTPServerRequest":
        """Make the request of a head that has been parsed and validated; the quick way in, for servers.

        :param connection: what takes the response.
        :param context: who the client is.
        """
        self = cls.__new__(cls)
        self._head = head
        self.method = head.method
        uri = self.uri = head.target
        self.path, _, self.query = (uri if uri[0] == "/" else origin_form(uri)).partition("?")
        self.version = head.version
        if host := head.host:
            self.host = host
        self.connection = connection
        self.context = context
        self.remote_ip = context.remote_ip
        self.protocol = context.protocol
        self._start_time = _now()
        return self

    def __getattr__(self, name: str) -> Any:
        # Called only for what is in no slot yet and not in __dict__.
        fill = _FILL.get(name)
        if fill is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            value = fill(self)
        except AttributeError as error:
            # A mistake in here must not look like a missing attribute.
            raise RuntimeError(f"request.{name} could not be worked out: {error}") from error
        setattr(self, name, value)
        return value

    @property
    def cookies(self) -> "dict[str, Morsel[str]]":
        """The cookies of the request: `http.cookies.Morsel` objects by name."""
        return self._cookies

    def full_url(self) -> str:
        """The URL of the request, put together from protocol, host, path and query."""
        uri = self.uri
        if uri[:1] != "/":
            uri = origin_form(uri)
        return f"{self.protocol}://{self.host}{uri}"

    def request_time(self) -> float:
        """Seconds since the request began, or that it took when it is over."""
        return (self._finish_time or _now()) - self._start_time

    def get_ssl_certificate(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """The certificate the client has presented over TLS, None without one.

        :param binary_form: as DER bytes instead of a dict.  A dict is empty unless the certificate was
            verified.

        The server asks for a certificate where its TLS context has ``verify_mode`` CERT_OPTIONAL or
        CERT_REQUIRED (see `ssl.SSLSocket.getpeercert`).
        """
        tls = _tls_object(self.connection)
        if tls is None:
            return None
        try:
            certificate: dict[str, Any] | bytes | None = tls.getpeercert(binary_form=binary_form)
        except (OSError, ValueError):  # ssl.SSLError is an OSError; ValueError: no handshake yet
            return None
        return certificate

    def _set_body_source(self, source: BodySource, form: MultipartForm | None = None) -> None:
        """Take the body from where it is kept, instead of from memory.

        :param source: read at the first use of `body`; files of a multipart form read from it on their own.
        :param form: the form of that body, when it has been put together already while the body arrived.
        """
        self._body_source = source
        self._form = form

    def _parse_body(self) -> None:
        """Parse a body that is a form, unless that has been done; otherwise it happens at the first use.

        :raises HTTPInputError: the form is malformed or over a limit.
        """
        if has_field(self, "content-type") and is_form(self.headers.get("Content-Type", "")):
            self.body_arguments  # noqa: B018

    def __repr__(self) -> str:
        names = ("protocol", "host", "method", "uri", "version", "remote_ip")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def _deprecated(what: str) -> None:
    warnings.warn(f"{what} {_DEPRECATED}", DeprecationWarning, stacklevel=3)


def _checked_host(headers: HTTPHeaders, version: str) -> str:
    """The value of Host (RFC 9112 section 3.2)."""
    hosts = headers.get_list("Host")
    if not hosts:
        if version == "HTTP/1.0":
            return "127.0.0.1"
        raise HTTPInputError("Missing Host header")
    host = hosts[0]
    if len(hosts) > 1 or "," in host:
        raise HTTPInputError(f"Multiple host headers not allowed: {','.join(hosts)[:200]!r}")
    if host and not is_host(host):
        raise HTTPInputError(f"Invalid Host header: {host[:200]!r}")
    return host


def _tls_object(connection: Any) -> Any:
    """What knows the peer's certificate, by whichever way a connection offers it, or None."""
    ask = getattr(connection, "get_extra_info", None)
    if ask is not None:
        return ask("ssl_object")
    socket = getattr(getattr(connection, "stream", None), "socket", None)
    return socket if hasattr(socket, "getpeercert") else None


# --- what an empty slot is filled with ---


def has_field(request: HTTPServerRequest, name: str) -> bool:
    """Whether a field may be there, found out without building the map of fields where there is none yet.

    :param name: in lower case.
    """
    head = request._head
    return name in (request.headers if head is None else head.fields.lower())


def _fill_headers(request: HTTPServerRequest) -> HTTPHeaders:
    head, request._head = request._head, None  # from now on the map counts, which programs may change
    return HTTPHeaders.from_fields(head.fields) if head is not None else HTTPHeaders()


def _fill_host(request: HTTPServerRequest) -> str:
    return "" if "Host" in request.headers else "127.0.0.1"


def _fill_host_name(request: HTTPServerRequest) -> str:
    return split_host_and_port(request.host.lower())[0]


def _fill_body(request: HTTPServerRequest) -> bytes:
    source = request._body_source
    return source.read() if source is not None else b""


def _fill_query_arguments(request: HTTPServerRequest) -> dict[str, list[bytes]]:
    if not request.query:
        return {}
    try:
        return parse_query(request.query)
    except ValueError as error:
        raise HTTPInputError(f"Invalid query string: {error}") from None


def _fill_form(request: HTTPServerRequest, wanted: str) -> Any:
    """Parse the form, fill both of its slots unless they are set, and give the one that is wanted."""
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    if has_field(request, "content-type"):
        content_type = request.headers.get("Content-Type", "")
        if request._form is not None:
            arguments, files = request._form.arguments, request._form.files
        elif request._body_source is not None:
            arguments, files = parse_body_source(content_type, request._body_source, request.headers)
        elif request.body:
            _parse_body_arguments(content_type, request.body, arguments, files, request.headers)
    found = {"body_arguments": arguments, "files": files}
    for name, value in found.items():
        if name != wanted and not _is_set(request, name):
            setattr(request, name, value)
    return found[wanted]


def _is_set(request: HTTPServerRequest, name: str) -> bool:
    try:
        object.__getattribute__(request, name)
    except AttributeError:
        return False
    return True


def _fill_arguments(request: HTTPServerRequest) -> dict[str, list[bytes]]:
    arguments = {name: values[:] for name, values in request.query_arguments.items()}
    for name, values in request.body_arguments.items():
        if name in arguments:
            arguments[name] += values
        else:
            arguments[name] = values[:]
    return arguments


def _fill_cookies(request: HTTPServerRequest) -> "SimpleCookie":
    if not has_field(request, "cookie"):
        return SimpleCookie()
    # RFC 9113 section 8.2.3: several Cookie fields are one, joined with semicolons.
    return simple_cookie("; ".join(request.headers.get_list("Cookie")))


def _nothing(request: HTTPServerRequest) -> None:
    return None


_FILL: Final[dict[str, Callable[[HTTPServerRequest], Any]]] = {
    "headers": _fill_headers,
    "host": _fill_host,
    "host_name": _fill_host_name,
    "body": _fill_body,
    "query_arguments": _fill_query_arguments,
    "body_arguments": lambda request: _fill_form(request, "body_arguments"),
    "files": lambda request: _fill_form(request, "files"),
    "arguments": _fill_arguments,
    "_cookies": _fill_cookies,
    "trailers": lambda request: HTTPHeaders(),
    "_head": _nothing,
    "_body_source": _nothing,
    "_form": _nothing,
    "_finish_time": _nothing,
    "request_id": _nothing,
    "server_connection": lambda request: getattr(request.connection, "server_connection", None),
}
