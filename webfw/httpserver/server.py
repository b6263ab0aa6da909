"""The HTTP server: listeners, settings and the connections they bring; no parsing and no framing may enter."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

from webfw.httpserver.adapters import begin_watched, begin_with_callback, begin_with_delegate
from webfw.httpserver.admission import Admission
from webfw.httpserver.exchange import Begin, Upgraded
from webfw.httpserver.http1 import ServerConnection
from webfw.httpserver.limits import Limits
from webfw.httpserver.observed import ObservedConnection
from webfw.httpserver.observer import Observer, Observers
from webfw.httpserver.peer import RequestContext, behind_proxy, context_of
from webfw.httpserver.proxied import ProxyPreface, comes_from, without_header
from webfw.httputil import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
)
from webfw.ioloop import deadlines
from webfw.iostream import IOStream
from webfw.iostream.wire import Wire
from webfw.log import app_log
from webfw.netutil import AddressSet
from webfw.sansio.proxyline import ProxyHeader
from webfw.tcpserver import TCPServer
from webfw.util import Configurable

__all__ = ["HTTPServer"]


class HTTPServer(TCPServer, Configurable, HTTPServerConnectionDelegate):
    """A non-blocking HTTP/1.1 server, safe against slow and malformed clients by default.

    :param request_callback: what answers: an `Application` or a container, any `HTTPServerConnectionDelegate`, or a
        function that is called with each `HTTPServerRequest` once its body is there.
    :param no_keep_alive: close after every response.
    :param xheaders: believe ``X-Real-Ip``/``X-Forwarded-For`` and ``X-Scheme``/``X-Forwarded-Proto``; only behind a
        proxy that sets them.
    :param trusted_downstream: addresses of proxies, or networks (``10.0.0.0/8``), to skip in ``X-Forwarded-For``.
    :param proxy_protocol: connections from ``trusted_downstream``, and all over Unix domain sockets, begin with a PROXY
        header (version 1 or 2) that says who the client is; one without it is closed.
    :param ssl_options: an `ssl.SSLContext`, or a dict of arguments for one (`netutil.ssl_options_to_context`).
    :param protocol: the scheme requests shall report, when a proxy ends TLS.
    :param decompress_request: undo gzip and deflate request bodies; `max_body_size` then limits what comes out.
    :param chunk_size: bytes a streaming handler gets at once, at most.
    :param max_header_size: bytes of a request's head; more is answered 431.
    :param max_body_size: bytes of a request's body; more is answered 413.  Default 100 MiB.
    :param max_buffer_size: Tornado's older name for the limit of a buffered body, used when ``max_body_size`` is not
        given.
    :param idle_connection_timeout: seconds a connection may be idle between requests, 75 by default (Tornado: 3600).
    :param body_timeout: seconds a whole body may take; none by default, since ``min_body_rate`` holds for any size.
    :param header_timeout: seconds a request's head may take from accept or its first byte on, 10 by default.
    :param min_body_rate: bytes a second a body must bring, on average over every ``body_grace`` seconds.
    :param write_timeout: seconds a client may take no byte of a waiting response.
    :param min_write_rate: bytes a second of a waiting response that a client must take, on average over every
        ``write_grace`` seconds; where TCP tells what was taken (Linux).
    :param tls_handshake_timeout: seconds a TLS handshake may take.
    :param max_connections: connections at once; more are answered 503, with TLS closed.  By default as many as the
        limit on open files has room for.
    :param max_connections_per_address: connections at once of one IPv4 address or IPv6 network of 64 bits; any number
        by default.  Addresses in ``trusted_downstream`` are exempt; with ``xheaders`` and none there, everybody is,
        since whoever connects is taken for a proxy.
    :param limits: all of the above limits as one `Limits`, in place of the single ones.
    :param allow_bare_lf: accept a bare LF as line end in request heads (RFC 9112 section 2.2 allows it; two parsers
        may then disagree, so it is refused by default).
    :param observer: an `Observer`, or several, that are told of connections and requests.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # `Configurable` calls `initialize` with these arguments.
        pass

    def initialize(
        self,
        request_callback: HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], None],
        no_keep_alive: bool = False,
        xheaders: bool = False,
        ssl_options: dict[str, Any] | ssl.SSLContext | None = None,
        protocol: str | None = None,
        decompress_request: bool = False,
        chunk_size: int | None = None,
        max_header_size: int | None = None,
        idle_connection_timeout: float | None = None,
        body_timeout: float | None = None,
        max_body_size: int | None = None,
        max_buffer_size: int | None = None,
        trusted_downstream: list[str] | None = None,
        *,
        header_timeout: float | None = None,
        min_body_rate: int | None = None,
        body_grace: float | None = None,
        write_timeout: float | None = None,
        min_write_rate: int | None = None,
        write_grace: float | None = None,
        tls_handshake_timeout: float | None = None,
        max_connections: int | None = None,
        max_connections_per_address: int | None = None,
        allow_bare_lf: bool = False,
        proxy_protocol: bool = False,
        limits: Limits | None = None,
        observer: Observer | Iterable[Observer] | None = None,
    ) -> None:
        if limits is None:
            head = {"max_header_size": max_header_size} if max_header_size else {}
            given = {
                "chunk_size": chunk_size or None,
                "max_body_size": max_body_size if max_body_size is not None else max_buffer_size,
                "idle_timeout": idle_connection_timeout,
                "body_timeout": body_timeout,
                "header_timeout": header_timeout,
                "min_body_rate": min_body_rate,
                "body_grace": body_grace,
                "write_timeout": write_timeout,
                "min_write_rate": min_write_rate,
                "write_grace": write_grace,
                "tls_handshake_timeout": tls_handshake_timeout,
                "max_connections": max_connections,
                "max_connections_per_address": max_connections_per_address,
            }
            limits = Limits(
                head=replace(Limits().head, allow_bare_lf=allow_bare_lf, **head),
                **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
            )
        self.request_callback = request_callback
        #: The context that connections work in; what handlers set in theirs is not seen in it.
        self.context = copy_context()
        self.limits = limits
        self.idle_timeout = limits.idle_timeout or inf
        self.keep_alive = not no_keep_alive
        self.xheaders = xheaders
        self.protocol = protocol
        self.decompress_request = decompress_request
        self.trusted_downstream = AddressSet(trusted_downstream or ())
        self.proxy_protocol = proxy_protocol
        #: Of connections that are not served yet: whom their proxy speaks for.
        self._clients: WeakKeyDictionary[Wire, ProxyHeader] = WeakKeyDictionary()
        #: How many requests have come so far.
        self.requests = 0
        #: Who watches, as one; None where nobody does, and nothing is spent on it then.
        self.observers = Observers.of(observer)
        if xheaders and not self.trusted_downstream and limits.max_connections_per_address:
            limits = replace(limits, max_connections_per_address=0)
        #: Who is let in, and how many were not.
        self.admission = Admission(limits, self.trusted_downstream, self._turned_away)
        self._proxy_faults = without_header()
        self._connection_type = ServerConnection if self.observers is None else ObservedConnection
        self._connections: set[ServerConnection | Upgraded | ProxyPreface] = set()
        self._empty: asyncio.Event | None = None
        self._own_streams = type(self).handle_stream is not HTTPServer.handle_stream
        self.begin = self._choose_begin()
        TCPServer.__init__(
            self,
            ssl_options=ssl_options,
            max_buffer_size=max_buffer_size,
            read_chunk_size=chunk_size,
        )
        # A day is as good as none; asyncio has no way to say none.
        self.tls_handshake_timeout = limits.tls_handshake_timeout or 86400.0

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        return HTTPServer

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        return HTTPServer

    def _choose_begin(self) -> Begin:
        """How an exchange reaches the application: directly, by Tornado's delegates, or by a plain function."""
        owner = next(kind for kind in type(self).__mro__ if "start_request" in vars(kind))
        if owner is not HTTPServer:
            return begin_with_delegate(self)
        replaced = vars(HTTPServer)["start_request"] is not _start_request
        if replaced and isinstance(self.request_callback, HTTPServerConnectionDelegate):
            return begin_watched(self)
        begin: Begin | None = getattr(self.request_callback, "begin", None)
        if begin is not None:
            return begin
        if isinstance(self.request_callback, HTTPServerConnectionDelegate):
            return begin_with_delegate(self.request_callback)
        return begin_with_callback(self.request_callback)

    # Connections.

    def _admit(self, wire: Wire) -> bool:
        if self._own_streams:  # nobody says what becomes of them
            return True
        connections = len(self._connections) + len(self._handshakes)
        if not self.admission.admit(wire, connections, self._tls is not None):
            return False
        if self.proxy_protocol and comes_from(wire, self.trusted_downstream):
            timeout = self.limits.header_timeout
            preface = ProxyPreface(wire, timeout, self._introduced, self._gone, self._proxy_faults)
            self._connections.add(preface)
            return False
        return True

    def _introduced(self, preface: ProxyPreface, header: ProxyHeader, rest: bytes) -> None:
        """A proxy has said for whom it has connected; without an address, for itself."""
        self._connections.discard(preface)
        if header.source is not None:
            self._clients[preface.wire] = header
        self._wire_admitted(preface.wire, rest)

    def _not_secured(self, wire: Wire) -> None:
        self.admission.left(wire)

    def _turned_away(self, limit: str) -> None:
        if self.observers is not None:
            self.observers.tell(self.observers.on_turned_away, limit)

    def _wire_connected(self, wire: Wire) -> None:
        """Let HTTP/1 consume a new connection's wire, with no stream in between."""
        if self._own_streams:
            super()._wire_connected(wire)
        else:
            self._serve(wire)

    def _serve(self, wire: Wire) -> ServerConnection:
        self.sweeper = deadlines.for_loop(wire.loop)
        client = self._clients.pop(wire, None)
        context = context_of(
            wire.get_extra_info("peername") if client is None else client.source,
            wire.get_extra_info("sslcontext") is not None or (client is not None and client.tls),
            self.protocol,
            self.trusted_downstream,
        )
        conn = self._connection_type(self, wire, context)
        wire.consumer = conn
        self._connections.add(conn)
        self.admission.follow(wire, conn)
        self.sweeper.watch(conn, self.limits.shortest())
        return conn

    def handle_stream(self, stream: IOStream, address: Any) -> Awaitable[None] | None:
        """Serve HTTP on a stream that somebody else accepted.

        :raises StreamClosedError: the stream is closed.
        """
        wire, rest = stream.detach_wire()
        wire.transport.set_write_buffer_limits()  # a stream has others
        conn = self._serve(wire)
        if rest:
            conn.data_received(rest)
        return None

    def upgraded(self, conn: ServerConnection, consumer: Upgraded) -> Callable[[], None]:
        """A connection speaks another protocol from now on; what comes back must be called when it is lost."""
        self._connections.add(consumer)
        self.admission.follow(conn, consumer)
        self.connection_closed(conn)
        gone = partial(self._gone, consumer)
        return conn.session(gone) if isinstance(conn, ObservedConnection) else gone

    def _gone(self, conn: ServerConnection | Upgraded | ProxyPreface) -> None:
        self._connections.discard(conn)
        self.admission.left(conn)
        if self._empty is not None and not self._connections:
            self._empty.set()

    def connection_closed(self, conn: ServerConnection) -> None:
        """A connection is gone, or not HTTP's any more; called by the connection."""
        self._gone(conn)
        try:
            self.on_close(conn)
        except Exception:
            # Border: a hook of the application must not break the transport.
            app_log.error("Uncaught exception in on_close", exc_info=True)

    def behind_proxy(self, context: RequestContext, request: HTTPServerRequest) -> RequestContext:
        """The client of one request by what the proxy in front says (``xheaders``)."""
        seen = behind_proxy(context, request.headers)
        request.remote_ip = seen.remote_ip
        request.protocol = seen.protocol
        return seen

    def load(self) -> dict[str, int]:
        """How many connections there are and have been refused, and on how many a request is answered or read."""
        connections = self._connections
        busy = sum(isinstance(conn, ServerConnection) and conn.exchange is not None for conn in connections)
        return {"connections": len(connections), "in_flight": busy, "refused": self.admission.refused}

    # The end.

    async def close_all_connections(self) -> None:
        """Close every connection now, whatever is being answered on it, and wait until all are gone.

        For tests and after `stop`; `drain` is the way that lets requests end.
        """
        for task in list(self._handshakes.values()):
            task.cancel()
        self.admission.close()
        for conn in list(self._connections):
            conn.abort()
        await self._all_gone()

    async def drain(self, timeout: float = 30.0, idle_grace: float = 0.0) -> int:
        """Stop accepting, let running requests end, then close everything.

        What answers requests is told by its ``start_draining(timeout)``, if it has one: an `Application` then sends
        those away who would stay, such as WebSockets.

        :param timeout: seconds to wait; what is still running then is cut.
        :param idle_grace: seconds for which connections that are idle stay open for one more request, which is answered
            with ``Connection: close``.  A client may be sending just now (RFC 9112 section 9.5); where another process
            goes on serving, that request is lost if its connection is closed instead.
        :returns: how many connections had to be cut.
        """
        self.keep_alive = False
        start_draining = getattr(self.request_callback, "start_draining", None)
        if start_draining is not None:
            start_draining(timeout)
        try:
            async with asyncio.timeout(timeout):
                self._close_idle_ones(but_keep=idle_grace > 0)
                await self._stop_gently()
                await self._arrived()
                if idle_grace > 0:
                    await self._all_gone_within(idle_grace)
                self._close_idle_ones()
                await self._all_gone()
        except TimeoutError:
            pass
        self.stop()
        cut = len(self._connections)
        await self.close_all_connections()
        return cut

    def _close_idle_ones(self, but_keep: bool = False) -> None:
        """Have every connection end with the answer that is being made; one that is idle, now.

        :param but_keep: leave those that are idle.
        """
        for conn in list(self._connections):
            if not (but_keep and isinstance(conn, ServerConnection) and conn.exchange is None):
                conn.close_when_idle()

    async def _all_gone_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._all_gone()
        except TimeoutError:
            pass

    async def _all_gone(self) -> None:
        while self._connections:
            if self._empty is None or self._empty.is_set():
                self._empty = asyncio.Event()
            await self._empty.wait()

    # Tornado's seam.

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Hand a request on to `request_callback`; override it to see every request begin."""
        if isinstance(self.request_callback, HTTPServerConnectionDelegate):
            return self.request_callback.start_request(server_conn, request_conn)
        raise NotImplementedError("request_callback is a function; it has no start_request")

    def on_close(self, server_conn: object) -> None:
        """A connection has ended, or is the server's no longer; override it to see every one end.

        A delegate that is the ``request_callback`` hears of those that it has taken requests from.
        """
        if getattr(server_conn, "asked", False) and isinstance(
            self.request_callback, HTTPServerConnectionDelegate
        ):
            self.request_callback.on_close(server_conn)


#: As written above: programs that watch requests replace it on the class.
_start_request = vars(HTTPServer)["start_request"]
