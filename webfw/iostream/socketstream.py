"""`IOStream` and `SSLIOStream`: streams over sockets; the bytes are moved by the wire engine."""

import asyncio
import os
import socket as _socket
import ssl
from collections.abc import Mapping
from typing import Any, Self

from webfw.iostream.errors import StreamClosedError
from webfw.iostream.stream import BaseIOStream
from webfw.iostream.tls import TLSSettings, TLSSocket
from webfw.iostream.transport import WireEngine
from webfw.iostream.wire import Wire

__all__ = ["IOStream", "SSLIOStream"]


class IOStream(BaseIOStream):
    """A stream over a TCP or Unix socket.

    :param socket: a stream socket, connected or to be connected with `connect`; from now on it belongs to the
        stream. A listening server gives connected ones.
    :param args: those of `BaseIOStream`, as are the keyword arguments.

    The socket is handed to an asyncio transport when the first read or write needs it; `socket` stays good
    for questions (``getpeername``, ``getsockopt``), but is not to be read or written.  After `close` it is
    None.
    """

    _engine: WireEngine

    def __init__(self, socket: _socket.socket, *args: Any, **kwargs: Any) -> None:
        self.socket: Any = socket
        socket.setblocking(False)
        self._connect_future: asyncio.Future[Any] | None = None
        super().__init__(*args, **kwargs)

    def _make_engine(self) -> WireEngine:
        return WireEngine(self, self.socket)

    @classmethod
    def from_wire(
        cls,
        wire: Wire,
        initial: bytes = b"",
        max_buffer_size: int | None = None,
        read_chunk_size: int | None = None,
        max_write_buffer_size: int | None = None,
    ) -> Self:
        """Make a stream of a connection that is there; it becomes the wire's consumer.

        :param initial: bytes that were read from the wire already and belong to the stream.
        """
        stream = cls.__new__(cls)
        stream.socket = wire.get_extra_info("socket")
        stream._connect_future = None
        BaseIOStream.__init__(stream, max_buffer_size, read_chunk_size, max_write_buffer_size)
        stream._buffer.append(initial)
        stream._engine.take_wire(wire)
        return stream

    def detach_wire(self) -> tuple[Wire, bytes]:
        """Give the connection up: return its wire and the bytes that were read from it already.

        The stream is closed by this, the connection is not, and no close callback runs.  The caller sets the
        wire's consumer before the next bytes arrive, that is, at once.

        :raises StreamClosedError: the stream is closed.
        :raises RuntimeError: the stream is not connected yet, or a read or write is waiting.
        """
        self._check_closed()
        if self.reading() or self._writes or not self._engine.attached:
            raise RuntimeError("IOStream is not idle; its wire cannot be detached")
        self._drop_cancelled_read()
        self._closed = True
        self._close_callback = None
        self._consumer = None
        self.socket = None
        wire = self._engine.give_wire()
        return wire, self._buffer.take(len(self._buffer))

    # --- the descriptor ---

    def fileno(self) -> Any:
        """Return the socket, as other programs' loops like to be given it."""
        return self.socket

    def close_fd(self) -> None:
        """Let go of the socket; it is the engine that closes it."""
        self.socket = None

    def get_fd_error(self) -> Exception | None:
        """Return the pending error of the socket, if any."""
        number = self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Take up to ``len(buf)`` bytes that have arrived already; None if there are none, 0 at the end."""
        size = self._buffer.take_into(memoryview(buf).cast("B"))
        if not size:
            return 0 if self._at_end or self._closed else None
        self._engine.update()
        return size

    def write_to_fd(self, data: memoryview) -> int:
        """Send `data` after what was written before; all of it is taken."""
        self.write(data)
        return len(data)

    def set_nodelay(self, value: bool) -> None:
        if self.socket is not None and self.socket.family in (_socket.AF_INET, _socket.AF_INET6):
            self.socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1 if value else 0)

    # --- connecting ---

    def connect(self, address: Any, server_hostname: str | None = None) -> "asyncio.Future[Self]":
        """Connect the socket; yields the stream.

        :param address: for ``socket.connect``, mostly ``(IP address, port)``; a host name is looked up.
        :param server_hostname: the name to verify, for an `SSLIOStream`.
        :raises StreamClosedError: (from the Future) the connection failed; its ``real_error`` says why.

        What is written before the Future is done is sent as soon as the connection is there.
        """
        self._check_closed()
        future: asyncio.Future[Self] = self.io_loop.asyncio_loop.create_future()
        self._engine.connect(address, self._tls_to_connect(server_hostname))
        self._connect_future = future
        return future

    def _tls_to_connect(self, server_hostname: str | None) -> TLSSettings | None:
        return None

    def _attached(self) -> None:
        """The engine has its wire, and TLS if asked for."""
        future, self._connect_future = self._connect_future, None
        if future is not None and not future.done():
            future.set_result(self)

    def _signal_closed(self) -> None:
        future, self._connect_future = self._connect_future, None
        if future is not None and not future.done():
            self._fail_connect(future)
        super()._signal_closed()

    def _fail_connect(self, future: "asyncio.Future[Any]") -> None:
        self._fail(future)

    # --- TLS ---

    def start_tls(
        self,
        server_side: bool,
        ssl_options: Mapping[str, Any] | ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> "asyncio.Future[SSLIOStream]":
        """Go on with TLS on this connection; yields a new stream for it and makes this one unusable.

        :param server_side: True to answer a handshake, False to begin one.
        :param ssl_options: a context or a dictionary (see `webfw.netutil.ssl_options_to_context`); None for a
            client with the system's authorities.
        :param server_hostname: the name a client asks for and verifies.
        :raises ValueError: a read or write is waiting.
        :raises ssl.SSLError: (from the Future) the handshake failed.

        Bytes that have arrived and not been read count as the peer's first of the handshake, so nothing that
        was said in the clear can be mistaken for something said under TLS.
        """
        if self.reading() or self.writing() or self._consumer is not None or self._connect_future is not None:
            raise ValueError("IOStream is not idle; cannot convert to SSL")
        self._check_closed()
        self._drop_cancelled_read()
        settings = TLSSettings.of(server_side, ssl_options, server_hostname)
        stream = SSLIOStream.__new__(SSLIOStream)
        stream._take_over(self, settings)
        future: asyncio.Future[SSLIOStream] = self.io_loop.asyncio_loop.create_future()
        stream._connect_future = future
        return future

    def _take_over(self, old: "IOStream", settings: TLSSettings) -> None:
        """Become the stream of the connection that `old` had, with TLS."""
        self.socket = old.socket
        self._connect_future = None
        BaseIOStream.__init__(self, old.max_buffer_size, old.read_chunk_size, old.max_write_buffer_size)
        early = old._buffer.take(len(old._buffer))
        if old._at_end:
            self._at_end = True
        self._close_callback, old._close_callback = old._close_callback, None
        engine = old._engine
        old.socket = None
        old._closed = True
        self._engine = engine
        engine.start_tls(self, settings, early)


class SSLIOStream(IOStream):
    """A stream over TLS.

    :param socket: a socket to be connected with `connect`, or one that is connected: either a plain one, for
        a client, or one wrapped with ``do_handshake_on_connect=False`` (see `webfw.netutil.ssl_wrap_socket`),
        for either side.
    :param ssl_options: (keyword only) a context or dictionary for a socket that is not wrapped.
    :raises ValueError: the handshake of a wrapped socket is done already.

    `socket` answers the questions of an ``ssl.SSLSocket`` (``getpeercert``, ``selected_alpn_protocol``, ...) as well
    as those of a plain one.
    """

    def __init__(self, socket: _socket.socket, *args: Any, **kwargs: Any) -> None:
        settings = None
        self._ssl_options = kwargs.pop("ssl_options", None)
        if isinstance(socket, ssl.SSLSocket):
            settings, socket = TLSSettings.of_wrapped(socket)
            self._ssl_options = settings.context
        super().__init__(socket, *args, **kwargs)
        if self._engine.is_connected():
            self._engine.attach(settings or TLSSettings.of(False, self._ssl_options, None))

    # For streams made from a wire or by start_tls, which do not pass through the constructor.
    _ssl_options: Mapping[str, Any] | ssl.SSLContext | None = None
    _handshake_future: "asyncio.Future[SSLIOStream] | None" = None
    _handshake_done = False

    def _tls_to_connect(self, server_hostname: str | None) -> TLSSettings:
        return TLSSettings.of(False, self._ssl_options, server_hostname)

    def wait_for_handshake(self) -> "asyncio.Future[SSLIOStream]":
        """Wait until the TLS handshake is done; yields the stream.  For the accepting side; a client's `connect` waits.

        :raises StreamClosedError: the stream is closed.
        :raises ssl.SSLError: (from the Future) the handshake failed.
        :raises RuntimeError: it was called before and is not done.
        """
        if self._handshake_future is not None:
            raise RuntimeError("Already waiting")
        future: asyncio.Future[SSLIOStream] = self.io_loop.asyncio_loop.create_future()
        if self._handshake_done:
            future.set_result(self)
        elif self._closed:
            self._fail_connect(future)
        else:
            self._handshake_future = future
        return future

    def _attached(self) -> None:
        self._handshake_done = True
        self.socket = TLSSocket(self._engine.wire)
        future, self._handshake_future = self._handshake_future, None
        if future is not None and not future.done():
            future.set_result(self)
        super()._attached()

    def _signal_closed(self) -> None:
        future, self._handshake_future = self._handshake_future, None
        if future is not None and not future.done():
            self._fail_connect(future)
        super()._signal_closed()

    def _fail_connect(self, future: "asyncio.Future[Any]") -> None:
        # The error itself, not a StreamClosedError: callers look for ssl.SSLError here.
        future.set_exception(self.error if self.error is not None else StreamClosedError())
        future.exception()
