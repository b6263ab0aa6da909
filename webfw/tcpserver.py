"""`TCPServer`: accepts connections and hands each on as a stream; subclasses decide what is said over it.

Connections are accepted by asyncio's own servers, each as a `Wire`.  TLS is put on it here and not by those, so that
who is not to be served can be sent away before a handshake, which costs more than an answer.  A subclass that needs no
stream (an HTTP server) replaces `TCPServer._wire_connected`.
"""

import asyncio
import gc
import inspect
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakSet

from webfw.ioloop import IOLoop
from webfw.iostream import IOStream, SSLIOStream, StreamClosedError, Wire
from webfw.iostream.tls import TLSSettings, handshake
from webfw.log import app_log, gen_log
from webfw.netutil import bind_sockets, ssl_options_to_context, ssl_wrap_socket
from webfw.netutil.sockets import ACCEPT_PAUSE, DEFAULT_BACKLOG, EXHAUSTED, backlog_of
from webfw.process import fork_processes

__all__ = ["TCPServer"]

#: Seconds until the first look at connections whose TLS handshake goes on; then twice as many each time, up to one.
ARRIVAL_INTERVAL = 0.02

#: Seconds a client has to complete the TLS handshake.
TLS_HANDSHAKE_TIMEOUT = 60.0

#: Bytes that the kernel keeps for a client beside those that are under way; it would take up to 4 MiB (Linux).
UNSENT = 256 * 1024

#: Connections accepted in one turn of asyncio's own loops.
ACCEPT_BURST = 32


class TCPServer:
    """A server for connections over TCP or Unix sockets, with TLS if wanted.

    :param ssl_options: an `ssl.SSLContext`, or a dictionary (see `webfw.netutil.ssl_options_to_context`) that
        names at least a ``certfile``; None for no TLS.
    :param max_buffer_size: the largest read buffer of a stream, in bytes.
    :param read_chunk_size: the most bytes one read takes, where the stream reads by itself.
    :raises KeyError: the dictionary has no ``certfile``.
    :raises ValueError: ``certfile`` or ``keyfile`` does not exist.

    Define `handle_stream` in a subclass, then ``server.listen(8888)``.
    """

    def __init__(
        self,
        ssl_options: Mapping[str, Any] | ssl.SSLContext | None = None,
        max_buffer_size: int | None = None,
        read_chunk_size: int | None = None,
    ) -> None:
        self.ssl_options = ssl_options
        self.max_buffer_size = max_buffer_size
        self.read_chunk_size = read_chunk_size
        #: Seconds a client has to complete the TLS handshake.
        self.tls_handshake_timeout = TLS_HANDSHAKE_TIMEOUT
        self._tls: TLSSettings | None = None
        #: Descriptor -> listening socket, and descriptor -> the function that ends listening on it.
        self._sockets: dict[int, socket.socket] = {}
        self._handlers: dict[int, Callable[[], None]] = {}
        self._pending_sockets: list[socket.socket] = []
        self._started = False
        self._stopped = False
        self._listeners: list[_Listener] = []
        # Accepted, but not connected yet; weakly, since asyncio drops some of them without a word.
        self._arriving: WeakSet[Wire] = WeakSet()
        # Connected, with a TLS handshake under way.
        self._handshakes: dict[Wire, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        # Found out now rather than at the first connection.
        if isinstance(ssl_options, Mapping):
            if "certfile" not in ssl_options:
                raise KeyError('missing key "certfile" in ssl_options')
            for key in ("certfile", "keyfile"):
                path = ssl_options.get(key)
                if path is not None and not os.path.exists(path):
                    raise ValueError(f'{key} "{path}" does not exist')

    # --- where to listen ---

    def listen(
        self,
        port: int,
        address: str | None = None,
        family: socket.AddressFamily = socket.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
    ) -> None:
        """Listen on a port and start accepting; may be called several times.

        The parameters and errors are those of `webfw.netutil.bind_sockets`.
        """
        self.add_sockets(bind_sockets(port, address, family, backlog, flags, reuse_port))

    def bind(
        self,
        port: int,
        address: str | None = None,
        family: socket.AddressFamily = socket.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
    ) -> None:
        """Listen on a port; connections wait until `start`.

        The parameters and errors are those of `webfw.netutil.bind_sockets`.
        """
        sockets = bind_sockets(port, address, family, backlog, flags, reuse_port)
        if self._started:
            self.add_sockets(sockets)
        else:
            self._pending_sockets.extend(sockets)

    def start(self, num_processes: int | None = 1, max_restarts: int | None = None) -> None:
        """Start accepting what `bind` listens on.

        :param num_processes: 1 serves in this process; another number forks worker processes that share what `bind`
            listens on, None or less than 1 one for each processor.  The call then returns in the workers only.
        :param max_restarts: how often workers that crashed are started again; see `webfw.process.fork_processes`.
        :raises RuntimeError: it was called before, or `webfw.process.fork_processes` cannot fork, as while a loop runs.
        """
        if self._started:
            raise RuntimeError("the server was started already")
        if num_processes != 1:
            fork_processes(num_processes, max_restarts)
        self._started = True
        sockets, self._pending_sockets = self._pending_sockets, []
        self.add_sockets(sockets)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Start accepting on listening sockets, which from then on belong to the server.

        May be called inside a coroutine or before the loop runs.  `stop` closes them.
        """
        io_loop = IOLoop.current()
        if self.ssl_options is not None:
            context = ssl_options_to_context(self.ssl_options, server_side=True)
            self._tls = TLSSettings(context, server_side=True, server_hostname=None)
        for sock in sockets:
            _keep_little_unsent(sock)
            fd = sock.fileno()
            self._sockets[fd] = sock
            listener = _Listener(io_loop, sock, self._make_wire)
            self._listeners.append(listener)
            self._handlers[fd] = listener.close

    def add_socket(self, socket: socket.socket) -> None:
        """Start accepting on one listening socket; see `add_sockets`."""
        self.add_sockets([socket])

    def stop(self) -> None:
        """Stop listening and close the listening sockets; connections that are open go on."""
        self._stopped = True
        for fd, close in list(self._handlers.items()):
            close()
            self._handlers.pop(fd, None)
        self._listeners.clear()
        for sock in self._pending_sockets:
            sock.close()
        self._pending_sockets.clear()

    # --- what to do with connections ---

    def handle_stream(self, stream: IOStream, address: Any) -> Any:
        """Serve one connection; define it in a subclass, as a plain method or a coroutine.

        :param stream: the connection; an `SSLIOStream` whose handshake is done if the server has
            ``ssl_options``.
        :param address: the peer's address as its family writes it: ``(host, port)``, ``(host, port, flow,
            scope)`` or, for a Unix socket, a text that is mostly empty.

        An exception is logged and closes the stream; a `StreamClosedError` because the peer has gone only
        closes it.
        """
        raise NotImplementedError

    def _make_wire(self) -> Wire:
        wire = Wire(asyncio.get_running_loop(), self._wire_arrived)
        self._arriving.add(wire)
        return wire

    async def _stop_gently(self) -> None:
        """Stop listening, but not in the face of those who have been accepted just now."""
        for listener in self._listeners:
            listener.pause()
        # asyncio makes a connection of an accepted socket a turn later, and drops it if its server is closed then.
        for _ in range(3):
            await asyncio.sleep(0)
        self.stop()

    async def _arrived(self) -> None:
        """Wait until all that has been accepted is connected, with its TLS handshake, or gone."""
        interval = ARRIVAL_INTERVAL
        while self._arriving or self._handshakes:
            gc.collect()  # those that asyncio has dropped are held by cycles alone
            await asyncio.sleep(interval)
            interval = min(2 * interval, 1.0)

    def _wire_arrived(self, wire: Wire) -> None:
        self._arriving.discard(wire)
        if self._admit(wire):
            self._wire_admitted(wire)

    def _wire_admitted(self, wire: Wire, begun: bytes = b"") -> None:
        """Go on with a connection that is to be served; ``begun`` has been read of what the client says."""
        if self._tls is None:
            self._wire_connected(wire)
            if begun:
                wire.consumer.data_received(begun)
        else:
            wire.consumer = early = _Early(begun)
            wire.pause_reading()
            # Not loop.create_task, which may run it at once: the transport is in the middle of its beginning.
            task = asyncio.Task(self._secure(wire, early, self._tls), loop=wire.loop)
            self._handshakes[wire] = task
            task.add_done_callback(partial(self._secured, wire))

    def _admit(self, wire: Wire) -> bool:
        """Whether to serve a connection that has just been accepted; else it has been dealt with."""
        return True

    def _not_secured(self, wire: Wire) -> None:
        """A connection that was admitted has not come to TLS."""

    async def _secure(self, wire: Wire, early: "_Early", tls: TLSSettings) -> None:
        """Put TLS on a new connection, then serve it."""
        try:
            await handshake(wire, tls, early.take, self.tls_handshake_timeout)
        except Exception as error:
            # Border: whatever a client says instead of its handshake, it is no fault of ours; loops differ in how they
            # put it.
            peer = wire.get_extra_info("peername")
            gen_log.debug("no TLS with %s: %s", peer, str(error) or type(error).__name__)
            return
        if not wire.closing:
            del self._handshakes[wire]
            self._wire_connected(wire)
            rest = early.take()
            if rest:
                wire.consumer.data_received(rest)

    def _secured(self, wire: Wire, task: "asyncio.Task[None]") -> None:
        # Not in the coroutine: one that is cancelled before its first step runs none of its cleaning up.
        if self._handshakes.pop(wire, None) is not None:
            wire.abort()
            self._not_secured(wire)

    def _wire_connected(self, wire: Wire) -> None:
        kind = IOStream if wire.get_extra_info("sslcontext") is None else SSLIOStream
        stream = kind.from_wire(
            wire, max_buffer_size=self.max_buffer_size, read_chunk_size=self.read_chunk_size
        )
        self._handle(stream, wire.get_extra_info("peername") or "")

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        """Serve a connection that was accepted elsewhere, on the current loop."""
        options = {"max_buffer_size": self.max_buffer_size, "read_chunk_size": self.read_chunk_size}
        if self.ssl_options is None:
            self._handle(IOStream(connection, **options), address)
            return
        try:
            wrapped = ssl_wrap_socket(
                connection, self.ssl_options, server_side=True, do_handshake_on_connect=False
            )
        except OSError as exc:  # the peer has gone already
            gen_log.info("connection from %s was lost before TLS could start: %s", address, exc)
            connection.close()
            return
        self._handle(SSLIOStream(wrapped, **options), address)

    def _handle(self, stream: IOStream, address: Any) -> None:
        # A border: one connection that goes wrong must not end the accepting of others.
        try:
            result = self.handle_stream(stream, address)
            if result is None or not inspect.isawaitable(result):
                return
            task = asyncio.ensure_future(result)
        except Exception as exc:
            self._failed(stream, exc)
            return
        self._tasks.add(task)  # asyncio itself keeps only weak references to tasks

        def done(task: "asyncio.Future[Any]") -> None:
            self._tasks.discard(task)
            if task.cancelled():
                stream.close()
            elif (exc := task.exception()) is not None:
                self._failed(stream, exc)

        task.add_done_callback(done)

    def _failed(self, stream: IOStream, exc: BaseException) -> None:
        if isinstance(exc, StreamClosedError) and stream.closed():
            gen_log.info("connection closed while it was being served: %s", exc.real_error or exc)
        else:
            app_log.error("Error in connection callback", exc_info=exc)
        stream.close()


def _keep_little_unsent(sock: socket.socket) -> None:
    """Have the connections of a listening socket say soon that they are full (they inherit its options).

    What a slow reader does not take is then held back in the program that makes it, and not in the kernel's memory.
    Who reads fast is served no more slowly: less memory is walked through.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):  # an old kernel
            sock.setsockopt(socket.IPPROTO_TCP, option, UNSENT)


class _Early:
    """The consumer of a wire from accept until TLS is there: it keeps what comes before its time."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)

    def take(self) -> bytes:
        """What has come since the last time."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def data_received(self, data: bytes) -> None:
        self._data += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def resume_writing(self) -> None:
        pass


class _Acceptor:
    """A listening socket as asyncio's own servers use it, which at times has nothing more to give.

    Without it they accept as many as the backlog is long in one turn of the loop, before anybody can say that there are
    enough.  And when there are no descriptors left they go on as often, and each time arrange for another try in a
    second (Python 3.11): the tries multiply, and soon nothing else is done.
    """

    __slots__ = ("_again_at", "_left", "_loop", "_sock")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._left = ACCEPT_BURST
        self._again_at = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def accept(self) -> tuple[socket.socket, Any]:
        if not self._left or time.monotonic() < self._again_at:
            raise BlockingIOError
        try:
            accepted = self._sock.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:
                # They come again in a second.
                self._again_at = time.monotonic() + ACCEPT_PAUSE / 2
            raise
        self._left -= 1
        if not self._left:
            self._loop.call_soon(self._refill)
        return accepted

    def _refill(self) -> None:
        self._left = ACCEPT_BURST


class _Listener:
    """One listening socket and the asyncio server that accepts on it.

    asyncio makes a server in a coroutine, so accepting begins in a task.  Until that runs, connections wait
    in the kernel.
    """

    def __init__(
        self,
        io_loop: IOLoop,
        sock: socket.socket,
        make_wire: Callable[[], Wire],
    ) -> None:
        self._io_loop = io_loop
        self._sock = sock
        self._make_wire = make_wire
        self._server: asyncio.AbstractServer | None = None
        self._closed = False
        # An eager task factory runs the first step before it is known.
        self._task: asyncio.Task[None] | None = None
        self._task = io_loop.asyncio_loop.create_task(self._start())
        io_loop.track(self)

    async def _start(self) -> None:
        options: dict[str, Any] = {"backlog": backlog_of(self._sock)}
        loop = asyncio.get_running_loop()
        sock: Any = self._sock
        if isinstance(loop, asyncio.SelectorEventLoop):
            sock = _Acceptor(loop, sock)
        try:
            if self._sock.family == getattr(socket, "AF_UNIX", None):
                if sys.version_info >= (3, 13):
                    # Else it would remove the path, on which other processes may be listening.
                    options["cleanup_socket"] = False
                server: asyncio.AbstractServer = await loop.create_unix_server(
                    self._make_wire, sock=sock, start_serving=False, **options
                )
            else:
                server = await loop.create_server(self._make_wire, sock=sock, start_serving=False, **options)
            self._server = server
            await server.start_serving()
        except Exception:  # nobody waits for this task, so it must say itself what went wrong
            app_log.error("cannot accept connections on %r", self._sock, exc_info=True)
            self.close()

    def pause(self) -> None:
        """Accept no more; `close` is to follow."""
        # Other loops have a connection as soon as they have accepted it.
        if not self._closed and isinstance(self._io_loop.asyncio_loop, asyncio.SelectorEventLoop):
            self._io_loop.asyncio_loop.remove_reader(self._sock)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._io_loop.untrack(self)
        if self._server is not None:
            self._server.close()
        elif self._task is not None:
            self._task.cancel()
        self._sock.close()

    abort = close
