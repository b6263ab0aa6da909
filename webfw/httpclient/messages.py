"""`HTTPRequest` and `HTTPResponse`: what is asked for and what came back; how it travels may not enter."""

import datetime
import io
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from webfw.escape import utf8
from webfw.httpclient.errors import HTTPClientError
from webfw.httputil import HTTPHeaders, format_timestamp, responses

__all__ = ["DEFAULTS", "HTTPRequest", "HTTPResponse", "with_defaults"]

#: What a request means that leaves these open, unless its client was given other defaults.
DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "connect_timeout": 20.0,
        "request_timeout": 20.0,
        "follow_redirects": True,
        "max_redirects": 5,
        "decompress_response": True,
        "proxy_password": "",
        "allow_nonstandard_methods": False,
        "validate_cert": True,
        "allow_ipv6": True,
    }
)


class HTTPRequest:
    """A request to be sent: an address, a method, fields, a body, and how it is to be done.

    Each parameter is an attribute as well.  One that was left out is None there, and stands for the default of the
    client that sends the request; the defaults below are those of a client that was given no others.

    :param url: the absolute address.
    :param method: such as ``"GET"`` or ``"POST"``.
    :param headers: the fields, an `HTTPHeaders` or a dictionary.
    :param body: `str`, sent as UTF-8, or bytes.
    :param body_producer: sends a body bit by bit: called with a function ``write(chunk)``, which returns an awaitable;
        returns an awaitable itself, at whose end the body ends.  Without a Content-Length among the headers the body is
        chunked.  Not together with `body`.
    :param auth_username: user name for HTTP authentication.
    :param auth_password: password for HTTP authentication.
    :param auth_mode: ``"basic"`` (the default) or ``"digest"``, which only some clients know.
    :param connect_timeout: seconds until there is a connection, 20 by default; 0 for no limit.
    :param request_timeout: seconds until the whole response is there, 20 by default; 0 for no limit.
    :param if_modified_since: a `datetime` or seconds since the epoch, for the field of that name.
    :param follow_redirects: whether redirects are followed, by default, or given back as the response.
    :param max_redirects: how many of them, 5 by default.
    :param user_agent: the value of User-Agent.
    :param decompress_response: ask for a compressed response and decompress it, by default.
    :param use_gzip: the old name of `decompress_response`.
    :param network_interface: the interface (or, with some clients, the source address) to send from.
    :param streaming_callback: called with each piece of the body as it comes; the response then has none.
    :param header_callback: called with each line of the head of the response as it comes, the status line first and the
        empty line last, each with its line end.
    :param prepare_curl_callback: called with pycurl's handle before the request is sent, by the client for it.
    :param proxy_host: the proxy to use, for clients that know proxies; needs `proxy_port`.
    :param proxy_port: its port.
    :param proxy_username: user name for the proxy.
    :param proxy_password: password for the proxy.
    :param proxy_auth_mode: ``"basic"`` (the default) or ``"digest"``.
    :param allow_nonstandard_methods: whether any method will do, and a body or none with any.
    :param validate_cert: whether the certificate of the server is checked, by default it is.
    :param ca_certs: name of a file of trusted authorities in PEM form; the system's by default.
    :param client_key: name of the file of the client's private key.
    :param client_cert: name of the file of the client's certificate.
    :param ssl_options: a context for TLS, in place of the four parameters before.
    :param allow_ipv6: whether IPv6 is used where the host has it, by default it is.
    :param expect_100_continue: send the body only after the server has answered ``Expect: 100-continue``.

    :ivar start_time: when the request was made, as ``time.time()``.
    """

    #: Programs look the defaults up here.
    _DEFAULTS = DEFAULTS

    def __init__(
        self,
        url: str,
        method: str = "GET",
        headers: HTTPHeaders | Mapping[str, str] | None = None,
        body: str | bytes | None = None,
        auth_username: str | None = None,
        auth_password: str | None = None,
        auth_mode: str | None = None,
        connect_timeout: float | None = None,
        request_timeout: float | None = None,
        if_modified_since: float | datetime.datetime | None = None,
        follow_redirects: bool | None = None,
        max_redirects: int | None = None,
        user_agent: str | None = None,
        use_gzip: bool | None = None,
        network_interface: str | None = None,
        streaming_callback: Callable[[bytes], Awaitable[None] | None] | None = None,
        header_callback: Callable[[str], None] | None = None,
        prepare_curl_callback: Callable[[Any], None] | None = None,
        proxy_host: str | None = None,
        proxy_port: int | None = None,
        proxy_username: str | None = None,
        proxy_password: str | None = None,
        proxy_auth_mode: str | None = None,
        allow_nonstandard_methods: bool | None = None,
        validate_cert: bool | None = None,
        ca_certs: str | None = None,
        allow_ipv6: bool | None = None,
        client_key: str | None = None,
        client_cert: str | None = None,
        body_producer: Callable[[Callable[[bytes], Any]], Awaitable[None]] | None = None,
        expect_100_continue: bool = False,
        decompress_response: bool | None = None,
        ssl_options: Mapping[str, Any] | ssl.SSLContext | None = None,
    ) -> None:
        self.headers = headers
        if if_modified_since is not None:
            # In a copy: the fields may be the caller's for other requests too.
            self.headers = self.headers.copy()
            self.headers["If-Modified-Since"] = format_timestamp(if_modified_since)
        self.url = url
        self.method = method
        self.body = body
        self.body_producer = body_producer
        self.auth_username = auth_username
        self.auth_password = auth_password
        self.auth_mode = auth_mode
        self.connect_timeout = connect_timeout
        self.request_timeout = request_timeout
        self.follow_redirects = follow_redirects
        self.max_redirects = max_redirects
        self.user_agent = user_agent
        self.decompress_response = use_gzip if decompress_response is None else decompress_response
        self.network_interface = network_interface
        self.streaming_callback = streaming_callback
        self.header_callback = header_callback
        self.prepare_curl_callback = prepare_curl_callback
        self.proxy_host = proxy_host
        self.proxy_port = proxy_port
        self.proxy_username = proxy_username
        self.proxy_password = proxy_password
        self.proxy_auth_mode = proxy_auth_mode
        self.allow_nonstandard_methods = allow_nonstandard_methods
        self.validate_cert = validate_cert
        self.ca_certs = ca_certs
        self.client_key = client_key
        self.client_cert = client_cert
        self.ssl_options = ssl_options
        self.allow_ipv6 = allow_ipv6
        self.expect_100_continue = expect_100_continue
        self.start_time = time.time()

    @property
    def headers(self) -> HTTPHeaders:
        """The fields; None and a dictionary that are assigned become an `HTTPHeaders`."""
        return self._headers

    @headers.setter
    def headers(self, value: HTTPHeaders | Mapping[str, str] | None) -> None:
        self._headers: HTTPHeaders = value if isinstance(value, HTTPHeaders) else HTTPHeaders(value or {})

    @property
    def body(self) -> bytes | None:
        """The body; a `str` that is assigned becomes UTF-8."""
        return self._body

    @body.setter
    def body(self, value: str | bytes | None) -> None:
        self._body: bytes | None = utf8(value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {_without_password(self.url)}>"


def _without_password(url: str) -> str:
    """An address for logs, without user name and password."""
    return re.sub(r"(?<=://)[^/?#]*@", "***@", str(url), count=1)


def with_defaults(request: HTTPRequest, defaults: Mapping[str, Any] = DEFAULTS) -> HTTPRequest:
    """Return a copy of a request in which what it leaves open is filled in.

    :param defaults: values by the names of attributes.
    """
    filled = request.__class__.__new__(request.__class__)  # copy.copy() takes five times as long
    filled.__dict__.update(request.__dict__)
    for name, value in defaults.items():
        if getattr(filled, name) is None:
            setattr(filled, name, value)
    return filled


class _RequestProxy:
    """A request seen through defaults, for programs that call ``fetch_impl`` themselves; webfw uses `with_defaults`.

    :param request: the request, whose own attributes win unless they are None.
    :param defaults: values by the names of attributes, or None for none.
    """

    def __init__(self, request: HTTPRequest, defaults: Mapping[str, Any] | None) -> None:
        self.request = request
        self.defaults = defaults

    def __getattr__(self, name: str) -> Any:
        if name in ("request", "defaults"):  # not there yet, while the object is being copied
            raise AttributeError(name)
        value = getattr(self.request, name)
        return self.defaults.get(name) if value is None and self.defaults is not None else value


class HTTPResponse:
    """What came back for an `HTTPRequest`.

    :param request: the request.
    :param code: the status, such as 200; 599 where there was no response.
    :param headers: the fields; empty by default.
    :param buffer: the body; None where a ``streaming_callback`` took it, or there is none.
    :param effective_url: the address after redirects; by default that of the request.
    :param error: what went wrong, where it is not said by the status.
    :param request_time: seconds from the start of the request to its end.
    :param time_info: details of the time it took, by name, where the client knows them.
    :param reason: the reason phrase; by default the registered one of the status, or "Unknown".
    :param start_time: when the request was started, as ``time.time()``, not counting a wait for its turn.
    """

    def __init__(
        self,
        request: HTTPRequest,
        code: int,
        headers: HTTPHeaders | None = None,
        buffer: io.BytesIO | None = None,
        effective_url: str | None = None,
        error: BaseException | None = None,
        request_time: float | None = None,
        time_info: dict[str, float] | None = None,
        reason: str | None = None,
        start_time: float | None = None,
    ) -> None:
        self.request = request
        self.code = code
        self.reason = reason or responses.get(code, "Unknown")
        self.headers = HTTPHeaders() if headers is None else headers
        self.buffer = buffer
        self.effective_url = request.url if effective_url is None else effective_url
        self._error = error
        self.request_time = request_time
        self.start_time = start_time
        self.time_info = {} if time_info is None else time_info

    @property
    def body(self) -> bytes:
        """The body as bytes; empty where there is none."""
        return b"" if self.buffer is None else self.buffer.getvalue()

    @property
    def error(self) -> BaseException | None:
        """What `rethrow` raises: an `HTTPClientError` for a status outside 200 to 299; None for success."""
        # Made anew each time: kept, it and the response would refer to each other.
        if self._error is None and not 200 <= self.code < 300:
            return HTTPClientError(self.code, self.reason, self)
        return self._error

    @error.setter
    def error(self, value: BaseException | None) -> None:
        self._error = value

    def rethrow(self) -> None:
        """Raise `error`, if there is one."""
        error = self.error
        if error is not None:
            raise error

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.code} {self.reason} for {_without_password(self.effective_url)}>"
        )
