"""`CurlAsyncHTTPClient`, an engine on libcurl: the one place that knows pycurl; HTTP itself is libcurl's affair.

libcurl's multi interface says which sockets and which timer it waits for; they become handlers and a timer of the loop,
and what is ready is told to libcurl.  It calls back meanwhile, and while it does it must not be called: what a callback
of a program asks for then (another request, a cancellation, the end of the client) is done right after.
"""

import inspect
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final

from webfw.escape import utf8
from webfw.httpclient.client import AsyncHTTPClient
from webfw.httpclient.curltransfer import (
    ABORTED,
    TIMEDOUT,
    CurlError,
    CurlTimeoutError,
    Transfer,
    failure,
    no_async_streaming,
)
from webfw.httpclient.messages import HTTPRequest, HTTPResponse
from webfw.httpclient.origin import Place
from webfw.httpclient.outgoing import USER_AGENT, UnknownMethodError
from webfw.log import app_log
from webfw.netutil.tls import client_context

try:
    import pycurl
except ImportError:
    raise ImportError("CurlAsyncHTTPClient needs the pycurl package: pip install 'webfw[curl]'") from None

__all__ = ["CR_OR_LF_RE", "CurlAsyncHTTPClient", "CurlError", "CurlTimeoutError", "curl_log"]

#: What libcurl says of its work, at level DEBUG.
curl_log = logging.getLogger("webfw.curl_httpclient")

#: What no field may contain (RFC 9110 section 5.5).
CR_OR_LF_RE: Final = re.compile(rb"\r|\n")

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_AUTH_MODES: Final = {
    None: pycurl.HTTPAUTH_BASIC,
    "basic": pycurl.HTTPAUTH_BASIC,
    "digest": pycurl.HTTPAUTH_DIGEST,
}

#: From 8.16 on libcurl changes a method of its user's own where a redirect says so (CURLFOLLOW_OBEYCODE).
_OBEYS_REDIRECTS: Final = pycurl.version_info()[2] >= 0x081000
_OBEY_CODE: Final = 2

#: An option that pycurl has no name for: what a proxy says to CONNECT is no response.
_SUPPRESS_CONNECT_HEADERS: Final = 265

#: The most milliseconds that libcurl takes everywhere: 24 days.
_NEVER: Final = 2**31 - 1

_TIMES: Final = {
    "namelookup": pycurl.NAMELOOKUP_TIME,
    "connect": pycurl.CONNECT_TIME,
    "appconnect": pycurl.APPCONNECT_TIME,
    "pretransfer": pycurl.PRETRANSFER_TIME,
    "starttransfer": pycurl.STARTTRANSFER_TIME,
    "total": pycurl.TOTAL_TIME,
    "redirect": pycurl.REDIRECT_TIME,
}


class CurlAsyncHTTPClient(AsyncHTTPClient):
    """Sends requests with libcurl: proxies, digest authentication, HTTP/2, network interfaces.

    Needs the extra ``curl``.  libcurl keeps connections for later requests, and speaks HTTP/2 with a server that
    offers it in the TLS handshake (RFC 9113 section 3.2).  ``body_producer``, ``ssl_options`` and a
    ``streaming_callback`` that is a coroutine are refused.

    :param max_clients: how many requests are under way at most; others wait for their turn, for as long as the smaller
        one of their two timeouts allows.
    :param defaults: as for `AsyncHTTPClient`.
    :param max_body_size: bytes of the largest body of a response, after decompression.
    """

    def initialize(  # type: ignore[override]  # each engine has its own arguments
        self, max_clients: int = 10, defaults: Mapping[str, Any] | None = None, max_body_size: int = 104857600
    ) -> None:
        super().initialize(defaults=defaults)
        if max_clients < 1:
            raise ValueError(f"max_clients must be at least 1, not {max_clients}")
        self.max_clients = max_clients
        self.max_body_size = max_body_size
        self._idle: list[Any] = []
        self._running: dict[Any, Transfer] = {}
        #: A dictionary for its order: a request that is cancelled leaves from the middle.
        self._waiting: dict[Transfer, None] = {}
        self._watched: set[int] = set()
        self._timer: Any = None
        self._inside = False
        self._given_up: list[Transfer] = []
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def close(self) -> None:
        """Close the client and its connections; requests that are not done fail with a `CurlError`."""
        if self._closed:
            return
        super().close()
        if not self._inside:
            self._shut_down()

    def _shut_down(self) -> None:
        left = [*self._running.values(), *self._waiting]
        self._waiting.clear()
        for curl in self._running:
            self._multi.remove_handle(curl)
            curl.close()
        self._running.clear()
        for curl in self._idle:
            curl.close()
        self._idle.clear()
        self._multi.close()
        self._set_timer(-1)
        for fd in list(self._watched):
            self._watch(pycurl.POLL_REMOVE, fd)
        for transfer in left:
            transfer.curl = None
            self._answer(transfer, self._failed(transfer, CurlError(ABORTED, "The client has been closed")))

    # --- requests ---

    def fetch_impl(
        self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]
    ) -> Callable[[], None]:
        """Carry a request out; see `AsyncHTTPClient.fetch_impl`."""
        transfer = Transfer(request, callback, self.max_body_size)
        self._waiting[transfer] = None
        if not self._inside:
            self._start_waiting()
        if transfer in self._waiting:
            limit = min(
                (limit for limit in (request.connect_timeout, request.request_timeout) if limit), default=0
            )
            if limit:
                transfer.timer = self.io_loop.call_later(limit, self._expire, transfer, limit)
        return partial(self._give_up, transfer)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self.max_clients and not self._closed:
            transfer = next(iter(self._waiting))
            self._stop_waiting(transfer)
            transfer.started = time.monotonic()
            transfer.waited = transfer.started - transfer.made
            transfer.curl = curl = self._idle.pop() if self._idle else pycurl.Curl()
            try:
                _set_up(curl, transfer)
                self._multi.add_handle(curl)
            except Exception as error:
                # A border: what is wrong with a request, or its prepare_curl_callback, is the answer to it.
                response = self._failed(transfer, _from_pycurl(error))
                self._recycle(transfer)
                self._answer(transfer, response)
            else:
                self._running[curl] = transfer

    def _stop_waiting(self, transfer: Transfer) -> None:
        del self._waiting[transfer]
        if transfer.timer is not None:
            self.io_loop.remove_timeout(transfer.timer)
            transfer.timer = None

    def _expire(self, transfer: Transfer, limit: float) -> None:
        self._stop_waiting(transfer)
        error = CurlTimeoutError(TIMEDOUT, f"Timed out after {limit:g} seconds in the queue for a connection")
        self._answer(transfer, self._failed(transfer, error))

    def _give_up(self, transfer: Transfer) -> None:
        if transfer in self._waiting:
            self._stop_waiting(transfer)
        elif transfer.curl is not None:
            transfer.give_up()
            self._given_up.append(transfer)
            if not self._inside:
                self._after()

    def _recycle(self, transfer: Transfer) -> None:
        """Take the handle back, for another request."""
        curl, transfer.curl = transfer.curl, None
        # A reset leaves cookies, and whatever else a program may have put there is its own.
        if transfer.request.prepare_curl_callback is not None or self._closed:
            curl.close()
        else:
            curl.reset()
            self._idle.append(curl)

    # --- libcurl and the loop ---

    def _watch(self, what: int, fd: int, multi: object = None, data: object = None) -> None:
        """Do what libcurl asks for a socket of its own; it asks for the last time before it closes one."""
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(fd)
            if not self.io_loop.asyncio_loop.is_closed():
                self.io_loop.remove_handler(fd)
            return
        io_loop = self.io_loop
        events = (io_loop.READ if what & pycurl.POLL_IN else 0) | (
            io_loop.WRITE if what & pycurl.POLL_OUT else 0
        )
        if fd in self._watched:
            io_loop.update_handler(fd, events)
        else:
            io_loop.add_handler(fd, self._on_ready, events)
            self._watched.add(fd)

    def _set_timer(self, milliseconds: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            self._timer = self.io_loop.asyncio_loop.call_soon(self._on_timer)
        elif milliseconds > 0:
            self._timer = self.io_loop.asyncio_loop.call_later(milliseconds / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _on_ready(self, fd: int, events: int) -> None:
        ready = (pycurl.CSELECT_IN if events & self.io_loop.READ else 0) | (
            pycurl.CSELECT_OUT if events & self.io_loop.WRITE else 0
        )
        self._act(fd, ready)

    def _act(self, fd: int, ready: int) -> None:
        self._inside = True
        try:
            self._multi.socket_action(fd, ready)
        finally:
            self._inside = False
            self._after()

    def _after(self) -> None:
        """Answer what is done, and do what could not be done while libcurl was working."""
        done: list[tuple[Transfer, HTTPResponse]] = []
        self._inside = True  # a header_callback may be called
        more = True
        while more:
            more, good, bad = self._multi.info_read()
            done += [self._take(curl, None) for curl in good]
            done += [self._take(curl, (errno, message)) for curl, errno, message in bad]
        self._inside = False
        given_up, self._given_up = self._given_up, []
        for transfer in given_up:
            if self._running.pop(transfer.curl, None) is not None:
                self._multi.remove_handle(transfer.curl)
                self._recycle(transfer)
        if self._closed:
            self._shut_down()
        else:
            self._start_waiting()
        for transfer, response in done:
            self._answer(transfer, response)

    def _take(self, curl: Any, error: tuple[int, str] | None) -> tuple[Transfer, HTTPResponse]:
        """Take a transfer that has ended out of libcurl."""
        transfer = self._running.pop(curl)
        self._multi.remove_handle(curl)
        if error is None:
            transfer.on_end()
        stopped = transfer.failure
        if isinstance(stopped, CurlError):  # one of our own, which does not know the server
            error, stopped = (stopped.errno, stopped.message), None
        if stopped is not None:
            response = self._failed(transfer, stopped)
        elif error is not None:
            response = self._failed(transfer, failure(*error, _effective_url(transfer), _time_info(transfer)))
        else:
            response = _succeeded(transfer)
        self._recycle(transfer)
        return transfer, response

    def _failed(self, transfer: Transfer, error: BaseException) -> HTTPResponse:
        now = time.monotonic()
        started = transfer.started or now
        if not transfer.started:
            transfer.waited = now - transfer.made
        return HTTPResponse(
            transfer.request,
            599,
            error=error,
            request_time=now - started,
            time_info=_time_info(transfer),
            start_time=time.time() - (now - started),
        )

    def _answer(self, transfer: Transfer, response: HTTPResponse) -> None:
        if self.io_loop.asyncio_loop.is_closed():
            return
        try:
            transfer.callback(response)
        except Exception:
            # A border: one callback that fails must not take the other requests with it.
            self.handle_callback_exception(transfer.callback)

    def handle_callback_exception(self, callback: Callable[..., Any]) -> None:
        """Log the exception that a callback of `fetch_impl` has raised."""
        app_log.error("Exception in callback %r", callback, exc_info=True)


# --- requests, in libcurl's words ---


def _set_up(curl: Any, transfer: Transfer) -> None:
    """Say everything about a request to a handle that knows nothing yet.

    :raises ValueError: a part of it is not fit to be sent, or this engine does not know it.
    :raises KeyError: a method that is not a standard one.
    """
    request = transfer.request
    if request.ssl_options is not None:
        raise ValueError(
            "ssl_options is not supported by CurlAsyncHTTPClient: use ca_certs, client_cert, validate_cert, "
            "or prepare_curl_callback"
        )
    if request.body_producer is not None:
        raise ValueError("body_producer is not supported by CurlAsyncHTTPClient: give a body")
    if request.streaming_callback is not None and inspect.iscoroutinefunction(request.streaming_callback):
        no_async_streaming()
    _set_address(curl, request)
    curl.setopt(pycurl.NOSIGNAL, 1)  # else timers of libcurl use a signal
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.HEADERFUNCTION, transfer.on_line)
    curl.setopt(pycurl.WRITEFUNCTION, transfer.on_body)
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(request.connect_timeout))
    curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(request.request_timeout))
    if request.decompress_response:
        curl.setopt(pycurl.ACCEPT_ENCODING, "")  # whatever this libcurl can decode
    if request.network_interface:
        curl.setopt(pycurl.INTERFACE, request.network_interface)
    if not request.allow_ipv6:
        curl.setopt(pycurl.IPRESOLVE, pycurl.IPRESOLVE_V4)
    _set_method(curl, request)
    _set_fields(curl, request)
    _set_authentication(curl, request)
    _set_proxy(curl, request)
    _set_tls(curl, request)
    if curl_log.isEnabledFor(logging.DEBUG):
        curl.setopt(pycurl.VERBOSE, 1)
        curl.setopt(pycurl.DEBUGFUNCTION, _log)
    if request.prepare_curl_callback is not None:
        transfer.context.run(request.prepare_curl_callback, curl)


def _milliseconds(seconds: float | None) -> int:
    """As libcurl counts; 0 means no limit to us, and five minutes to its option for connections."""
    return min(max(1, round(1000 * seconds)), _NEVER) if seconds else _NEVER


def _set_address(curl: Any, request: HTTPRequest) -> None:
    if not _is_unix(request):
        curl.setopt(pycurl.URL, utf8(request.url))
        return
    place = Place.of(request.url)
    curl.setopt(pycurl.UNIX_SOCKET_PATH, utf8(place.unix_path or ""))
    curl.setopt(pycurl.URL, f"http://{place.authority}{place.target}")
    if place.userinfo is not None and request.auth_username is None:
        request.auth_username, request.auth_password = place.userinfo


def _is_unix(request: HTTPRequest) -> bool:
    return request.url.startswith("http+unix:")


def _set_method(curl: Any, request: HTTPRequest) -> None:
    method, body = request.method, request.body
    if not request.allow_nonstandard_methods:
        if method not in _METHODS:
            raise UnknownMethodError(f"unknown method {method}")
        if (body is not None) != (method in _WITH_BODY):
            must = "must not" if body is None else "must"
            raise ValueError(
                f"Body {must} be None for method {method} (unless allow_nonstandard_methods is true)"
            )
    elif _TOKEN.fullmatch(method) is None:
        raise ValueError(f"{method!r} is not a method")
    elif method == "HEAD" and body is not None:
        raise ValueError("Body must be None for method HEAD")
    own = False
    if method == "HEAD":
        curl.setopt(pycurl.NOBODY, 1)
    elif body is None and method == "GET":
        curl.setopt(pycurl.HTTPGET, 1)
    else:
        own = method != "POST"
        if own:
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        if body is not None or method in _WITH_BODY:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, body or b"")
    # Through a socket libcurl would ask its server for everything, wherever a redirect leads.
    if request.follow_redirects and (_OBEYS_REDIRECTS or not own) and not _is_unix(request):
        curl.setopt(pycurl.FOLLOWLOCATION, _OBEY_CODE if own else 1)
        curl.setopt(pycurl.MAXREDIRS, request.max_redirects or 0)
        if own:  # only POST becomes GET after a 301 or 302 (RFC 9110 section 15.4)
            curl.setopt(pycurl.POSTREDIR, pycurl.REDIR_POST_301 | pycurl.REDIR_POST_302)


def _set_fields(curl: Any, request: HTTPRequest) -> None:
    headers = request.headers
    # libcurl knows the length itself, and credentials that are given as such come first.
    left_out = {"Content-Length", "Transfer-Encoding"}
    if request.auth_username is not None:
        left_out.add("Authorization")
    fields = [field for field in headers.get_all() if field[0] not in left_out]
    if "User-Agent" not in headers:
        fields.append(("User-Agent", request.user_agent or USER_AGENT))
    lines = []
    for name, value in fields:
        # The semicolon is how libcurl is told of an empty value; by a blank one, to leave out a field of its own.
        line = (f"{name}: {value}" if value.strip() else f"{name};").encode("latin-1")
        if CR_OR_LF_RE.search(line) or b"\0" in line:
            raise ValueError(f"Illegal characters in header {name!r}")
        lines.append(line)
    if request.expect_100_continue and "Expect" not in headers:
        lines.append(b"Expect: 100-continue")
    elif "Expect" not in headers:
        lines.append(b"Expect:")  # libcurl would add one to a large body
    if request.method != "POST" and "Content-Type" not in headers:
        lines.append(b"Content-Type:")  # and that of a form to any body
    curl.setopt(pycurl.HTTPHEADER, lines)


def _set_authentication(curl: Any, request: HTTPRequest) -> None:
    if request.auth_mode not in _AUTH_MODES:
        raise ValueError(f"Unsupported auth_mode {request.auth_mode}")
    if request.auth_username is not None:
        # Not both in USERPWD: a user name may contain a colon there only at its end.
        curl.setopt(pycurl.USERNAME, utf8(request.auth_username))
        curl.setopt(pycurl.PASSWORD, utf8(request.auth_password or ""))
        curl.setopt(pycurl.HTTPAUTH, _AUTH_MODES[request.auth_mode])


def _set_proxy(curl: Any, request: HTTPRequest) -> None:
    if request.proxy_auth_mode not in _AUTH_MODES:
        raise ValueError(f"Unsupported proxy_auth_mode {request.proxy_auth_mode}")
    if bool(request.proxy_host) != bool(request.proxy_port):
        raise ValueError("proxy_host and proxy_port need each other")
    # Set even to nothing: libcurl would look into the environment, which no client of ours does.
    curl.setopt(pycurl.PROXY, utf8(request.proxy_host or ""))
    curl.setopt(pycurl.NOPROXY, "")
    if request.proxy_host:
        curl.setopt(pycurl.PROXYPORT, request.proxy_port)
        curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        if request.proxy_username is not None:
            curl.setopt(pycurl.PROXYUSERNAME, utf8(request.proxy_username))
            curl.setopt(pycurl.PROXYPASSWORD, utf8(request.proxy_password or ""))
            curl.setopt(pycurl.PROXYAUTH, _AUTH_MODES[request.proxy_auth_mode])


@cache
def _usual_authorities() -> dict[int, str | bytes]:
    """Options for the authorities to trust where a request names none: one file, which libcurl reads only once."""
    paths = ssl.get_default_verify_paths()  # heeds SSL_CERT_FILE and SSL_CERT_DIR
    options: dict[int, str | bytes] = {}
    if paths.cafile is not None:
        options[pycurl.CAINFO] = paths.cafile
    if paths.capath is not None and (not options or paths.openssl_capath_env in os.environ):
        options[pycurl.CAPATH] = paths.capath
    if not options:  # a system without any: certifi's, if installed, are in the context
        known = client_context().get_ca_certs(binary_form=True)
        options[pycurl.CAINFO_BLOB] = "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode()
    return options


def _set_tls(curl: Any, request: HTTPRequest) -> None:
    if not request.validate_cert:
        curl.setopt(pycurl.SSL_VERIFYPEER, 0)
        curl.setopt(pycurl.SSL_VERIFYHOST, 0)
    elif request.ca_certs is not None:
        curl.setopt(pycurl.CAINFO, utf8(request.ca_certs))
        curl.unsetopt(pycurl.CAPATH)  # libcurl may have been built with one
    else:
        for option, value in _usual_authorities().items():
            curl.setopt(option, value)
    if request.client_cert is not None:
        curl.setopt(pycurl.SSLCERT, utf8(request.client_cert))
    if request.client_key is not None:
        curl.setopt(pycurl.SSLKEY, utf8(request.client_key))


_KINDS: Final = {pycurl.INFOTYPE_TEXT: "*", pycurl.INFOTYPE_HEADER_IN: "<", pycurl.INFOTYPE_HEADER_OUT: ">"}
# Of HTTP/2 libcurl tells "[HTTP/2] [1] [cookie: ...]".
_SECRET: Final = re.compile(rb"(?im)(^|\[)((?:proxy-)?authorization|cookie|set-cookie):.*$")
_PASSWORD: Final = re.compile(rb"(?<=://)[^/?#\s]*@")


def _log(kind: int, message: bytes) -> None:
    """Log what libcurl does, without bodies and secrets."""
    sign = _KINDS.get(kind)
    if sign is not None:
        text = _PASSWORD.sub(b"***@", _SECRET.sub(rb"\1\2: ...", message)).decode("latin-1").rstrip()
        for line in text.splitlines():
            curl_log.debug("%s %s", sign, line)


# --- responses ---


def _succeeded(transfer: Transfer) -> HTTPResponse:
    curl, headers = transfer.curl, transfer.headers
    elapsed = time.monotonic() - transfer.started
    if transfer.size and transfer.request.decompress_response and "Content-Encoding" in headers:
        # As the other engine has it: who passes the response on must not take it for compressed.
        headers["X-Consumed-Content-Encoding"] = headers["Content-Encoding"]
        del headers["Content-Encoding"]
    if transfer.body is not None:
        transfer.body.seek(0)
    return HTTPResponse(
        transfer.request,
        curl.getinfo(pycurl.RESPONSE_CODE),
        headers,
        buffer=transfer.body,
        effective_url=_effective_url(transfer),
        reason=transfer.reason,
        request_time=elapsed,
        time_info=_time_info(transfer),
        start_time=time.time() - elapsed,
    )


def _effective_url(transfer: Transfer) -> str:
    if _is_unix(transfer.request):
        return transfer.request.url
    try:
        url: bytes = transfer.curl.getinfo_raw(pycurl.EFFECTIVE_URL)
    except pycurl.error:  # so a libcurl that could not make sense of it
        return transfer.request.url
    return url.decode("utf-8", "replace")  # a Location may hold any bytes


def _time_info(transfer: Transfer) -> dict[str, float]:
    info = {"queue": transfer.waited}
    if transfer.curl is not None:
        for name, option in _TIMES.items():
            info[name] = transfer.curl.getinfo(option)
    return info


def _from_pycurl(error: Exception) -> Exception:
    """An error of libcurl as ours; any other stays what it is."""
    if isinstance(error, pycurl.error) and len(error.args) == 2:
        return CurlError(error.args[0], error.args[1] or f"libcurl error {error.args[0]}")
    return error
