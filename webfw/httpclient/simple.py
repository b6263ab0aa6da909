"""`SimpleAsyncHTTPClient`: HTTP/1.1 over webfw's own wires, connections kept; the way of one request is elsewhere."""

import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from webfw.httpclient.client import AsyncHTTPClient
from webfw.httpclient.connection import Connection
from webfw.httpclient.errors import HTTPStreamClosedError
from webfw.httpclient.fetching import Fetching
from webfw.httpclient.messages import HTTPRequest, HTTPResponse
from webfw.httpclient.pool import Guest, Pool
from webfw.ioloop import IOLoop, deadlines
from webfw.iostream import Wire
from webfw.netutil import OverrideResolver, Resolver
from webfw.sansio.http1 import HeadLimits
from webfw.tcpclient import TCPClient

__all__ = ["SimpleAsyncHTTPClient"]

#: How many fields a response may have.
MAX_FIELDS = 256


class SimpleAsyncHTTPClient(AsyncHTTPClient):
    """The client that needs nothing but Python.

    It speaks HTTP/1.1 and keeps connections for later requests to the same origin with the same settings for TLS.  It
    knows no proxies.  Requests beyond `max_clients` wait in order, for as long as their timeouts let them.

    :param max_clients: requests under way at a time; also how many connections are kept at most.
    :param hostname_mapping: names in place of which others are connected to; see `webfw.netutil.OverrideResolver`.
    :param max_buffer_size: bytes of a response that are held in memory: the default of `max_body_size`.
    :param resolver: what looks names up; it is not closed with the client.
    :param defaults: for attributes of requests that leave them open, by name.
    :param max_header_size: bytes of the head of a response, 64 KiB by default.
    :param max_body_size: bytes of the body of a response, after decompression.
    :param max_connections_per_origin: requests under way at a time to one origin; None for no limit of its own.
    :param idle_timeout: seconds a connection without use is kept; 0 keeps none.
    """

    def initialize(  # type: ignore[override]  # as Configurable has it
        self,
        max_clients: int = 10,
        hostname_mapping: Mapping[Any, Any] | None = None,
        max_buffer_size: int = 104857600,
        resolver: Resolver | None = None,
        defaults: Mapping[str, Any] | None = None,
        max_header_size: int | None = None,
        max_body_size: int | None = None,
        *,
        max_connections_per_origin: int | None = None,
        idle_timeout: float = 15.0,
    ) -> None:
        super().initialize(defaults=defaults)
        for name, number in (
            ("max_clients", max_clients),
            ("max_connections_per_origin", max_connections_per_origin),
        ):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be 1 or more, not {number}")
        self.max_clients = max_clients
        self.max_buffer_size = max_buffer_size
        self.max_header_size = max_header_size
        self.max_body_size = max_buffer_size if max_body_size is None else max_body_size
        self.own_resolver = resolver is None
        self.resolver: Resolver = Resolver() if resolver is None else resolver
        if hostname_mapping is not None:
            self.resolver = OverrideResolver(resolver=self.resolver, mapping=hostname_mapping)
        self.tcp_client = TCPClient(resolver=self.resolver)
        self.loop = self.io_loop.asyncio_loop
        self.sweeper = deadlines.for_loop(self.loop)
        self.pool: Pool[Connection] = Pool(
            self.sweeper, max_clients, max_connections_per_origin, idle_timeout
        )
        self._head_limits = HeadLimits(
            max_header_size=HeadLimits().max_header_size if max_header_size is None else max_header_size,
            max_fields=MAX_FIELDS,
        )
        # A client that is forgotten leaves connections that nobody will use.  Requests under way refer to it.
        self._finalizer = weakref.finalize(self, _close_later, self.io_loop, self.pool)
        self._finalizer.atexit = False
        self.io_loop.track(self.pool)

    @property
    def active(self) -> dict[Guest, None]:
        """The requests that are under way."""
        return self.pool.active

    @property
    def waiting(self) -> dict[Guest, None]:
        """The requests that wait for their turn, in order."""
        return dict.fromkeys(self.pool.waiting())

    @property
    def queue(self) -> list[Guest]:
        """The same as `waiting`."""
        return list(self.pool.waiting())

    def close(self) -> None:
        """Close all connections; requests under way and waiting fail."""
        if self._closed:
            return
        super().close()
        self._finalizer.detach()
        self.io_loop.untrack(self.pool)
        self.pool.close(HTTPStreamClosedError("the HTTP client was closed"))
        if self.own_resolver:
            self.resolver.close()
        self.tcp_client.close()

    def fetch_impl(
        self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]
    ) -> Callable[[], None]:
        """See `AsyncHTTPClient.fetch_impl`."""
        fetching = Fetching(self, request, callback)
        fetching.start()
        return fetching.give_up

    def connection_on(self, wire: Wire, key: Hashable) -> Connection:
        """Make the connection on a wire."""
        return Connection(wire, key, self._head_limits, self.max_body_size, self.pool.forget)


def _close_later(io_loop: IOLoop, pool: Pool[Connection]) -> None:
    io_loop.untrack(pool)
    if not io_loop.asyncio_loop.is_closed():
        # From wherever the collector has run.
        io_loop.asyncio_loop.call_soon_threadsafe(pool.abort)
