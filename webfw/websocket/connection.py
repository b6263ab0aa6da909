"""A WebSocket on a wire, either side: what arrives is handed on in order, what is sent is bounded; no HTTP.

A `WebSocketConnection` is the consumer of one wire.  It drives the sans-I/O machine (``sansio.websocket``), answers
pings and closes, pauses reading while an ``async`` callback runs, and watches its deadlines by the loop's sweep.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from webfw.httpserver.exchange import DONE
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.iostream.wire import Wire
from webfw.log import gen_log
from webfw.sansio.websocket import Close, CloseCode, FrameError, Machine, Ping, encode_close
from webfw.websocket.errors import WebSocketClosedError
from webfw.websocket.outbox import Outbox, Waiting, fail
from webfw.websocket.settings import ConnectionSettings
from webfw.websocket.shared import SharedMessage

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["Endpoint", "WebSocketConnection"]

#: Messages handed on before the loop gets its turn.
BURST = 64
#: Bytes that may wait to be parsed while a callback runs; above it, reading pauses.
READ_AHEAD = 64 * 1024
#: Seconds in which a peer that broke the rules may still read why.
LINGER = 2.0

#: Callbacks that are being awaited: the loop itself keeps only weak references.
_tasks: "set[asyncio.Task[None] | None]" = set()


class Endpoint(Protocol):
    """Whose connection it is: a handler, or a client's object.  Each method is called in the connection's context."""

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """A message has arrived; the next one is kept while an awaitable that comes back runs."""

    def on_ping(self, data: bytes) -> Awaitable[None] | None:
        """A ping has arrived, and been answered."""

    def on_pong(self, data: bytes) -> Awaitable[None] | None:
        """A pong has arrived."""

    def connection_over(self, code: int | None, reason: str | None) -> None:
        """Called once, last, with what the peer's Close said; None for both where there was none."""

    def callback_failed(self, error: BaseException) -> None:
        """One of the above has raised; the connection is closed after it."""


class WebSocketConnection:
    """One open connection.

    :param machine: the protocol, with what the handshake has agreed on.
    :param endpoint: whose it is.
    :param context: what the endpoint's methods run in.
    :param settings: limits and deadlines.

    :ivar deadline: for the sweep, in the loop's time.
    :ivar closing: whether nothing more may be sent.
    :ivar close_code: what the peer's Close said, None before and where it said nothing.
    :ivar close_reason: likewise.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_close_by",
        "_closed",
        "_context",
        "_eof",
        "_gone",
        "_heard",
        "_held",
        "_last_words",
        "_outbox",
        "_ping_at",
        "_pong_by",
        "_read_ahead",
        "_stall_at",
        "_stall_mark",
        "_waiters",
        "close_code",
        "close_reason",
        "closing",
        "deadline",
        "endpoint",
        "machine",
        "settings",
        "wire",
    )

    wire: Wire

    def __init__(
        self, machine: Machine, endpoint: Endpoint, context: Context, settings: ConnectionSettings
    ) -> None:
        self.machine = machine
        self.endpoint: Endpoint | None = endpoint
        self.settings = settings
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.deadline = inf
        self._context = context
        #: Whether messages are kept: until `start`, and while a callback runs.
        self._busy = True
        self._held = self._eof = self._closed = self.closing = False
        #: Whether anything has arrived since the last ping.
        self._heard = True
        self._read_ahead = 0
        self._gone: Callable[[], None] | None = None
        self._outbox: Outbox | None = None
        self._waiters: list[Future[None]] | None = None
        self._ping_at = self._pong_by = self._stall_at = self._close_by = inf
        self._stall_mark = 0
        self._last_words: tuple[int | None, str] = (None, "")

    def connected(self, wire: Wire, gone: Callable[[], None] | None = None) -> None:
        """Begin to read: the wire is ours.

        :param gone: to be called when the connection is lost.
        """
        self.wire = wire
        self._gone = gone
        if self.settings.ping_interval:
            sweeper = deadlines.for_loop(wire.loop)
            self._ping_at = sweeper.refresh() + self.settings.ping_interval
            self._watch(min(self.settings.ping_interval, self.settings.pong_timeout or inf))

    def start(self, context: Context | None = None) -> None:
        """Hand messages on from now on.

        :param context: what the endpoint's methods run in from now on, where not in the same as before.
        """
        if context is not None:
            self._context = context
        if self._read_ahead or self._eof:
            # Not at once: whoever starts it may stand in the context that callbacks run in.
            self._go_on_soon()
        else:
            self._busy = False

    # In.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the wire (the `Consumer` interface)."""
        self._heard = True
        self.machine.feed(data)
        if self._busy:
            self._read_ahead += len(data)
            if self._read_ahead > READ_AHEAD:
                self._hold()
        else:
            self._pump()

    def _pump(self) -> None:
        """Hand on what has arrived, until there is no more or somebody must be waited for."""
        next_event = self.machine.next_event
        endpoint = self.endpoint
        burst = BURST
        try:
            while (event := next_event()) is not None:
                kind = type(event)
                if kind is str or kind is bytes:
                    if endpoint is None:
                        continue
                    try:
                        wait = self._context.run(endpoint.on_message, event)  # type: ignore[arg-type]
                    except (Exception, asyncio.CancelledError) as error:
                        # Border: what a callback raises ends its connection, and nothing else.
                        self._failed(error)
                        continue
                    if wait is not None and wait is not DONE and self._wait(wait):
                        return
                elif self._control(event):
                    return
                burst -= 1
                if not burst:
                    self._keep()
                    self._go_on_soon()
                    return
        except FrameError as error:
            self._refuse(error)

    def _control(self, event: Any) -> bool:
        """A control frame has arrived; whether messages must wait for its callback."""
        endpoint = self.endpoint
        if isinstance(event, Close):
            self._close_received(event)
            return False
        if isinstance(event, Ping):
            if not (self.machine.closing or self.wire.write_paused):
                # Where the peer does not read, it has pings of its own enough: only one more would be kept for it.
                self.wire.write(self.machine.encode_pong(event.payload))
            callback = None if endpoint is None else endpoint.on_ping
        else:
            callback = None if endpoint is None else endpoint.on_pong
        if callback is None:
            return False
        try:
            wait = self._context.run(callback, event.payload)
        except (Exception, asyncio.CancelledError) as error:
            # Border: what a callback raises ends its connection, and nothing else.
            self._failed(error)
            return False
        return wait is not None and wait is not DONE and self._wait(wait)

    def _wait(self, awaitable: Awaitable[None]) -> bool:
        """Keep what arrives until a callback is done; False where it is done already."""
        task = start(self.wire.loop, self._awaited(awaitable), self._context)
        if task.done():
            return False
        self._keep()
        _tasks.add(task)
        task.add_done_callback(self._go_on)
        return True

    def _keep(self) -> None:
        """Keep what arrives from now on."""
        self._busy = True
        self._read_ahead = self.machine.pending

    async def _awaited(self, awaitable: Awaitable[None]) -> None:
        try:
            await awaitable
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._failed(error)  # what it waited for was cancelled
        except Exception as error:
            # Border: what a callback raises ends its connection, and nothing else.
            self._failed(error)

    def _go_on_soon(self) -> None:
        self.wire.loop.call_soon(self._go_on, None)

    def _go_on(self, task: "asyncio.Task[None] | None") -> None:
        """Hand on what has been kept."""
        _tasks.discard(task)
        if self._closed:
            return
        self._busy = False
        self._read_ahead = 0
        if self._held:
            self._held = False
            self.wire.resume_reading()
        self._pump()
        if self._eof and not self._busy:
            self._end()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.wire.pause_reading()

    def _failed(self, error: BaseException) -> None:
        """A callback has raised."""
        endpoint = self.endpoint
        if endpoint is not None:
            self._context.copy().run(endpoint.callback_failed, error)
        self.close(CloseCode.INTERNAL_ERROR)

    # Out.

    def write(self, data: str | bytes, binary: bool = False) -> "Future[None]":
        """Send a message.

        :returns: an awaitable; under the ``wait`` policy it is done when the peer has taken enough for more.
        :raises WebSocketClosedError: the connection is closed or being closed.
        :raises TypeError: the message is neither str nor bytes.
        """
        wire = self.wire
        if self.closing or wire.transport.is_closing():
            raise WebSocketClosedError()
        if wire.write_paused:
            return self._queue(Waiting(data, binary))
        wire.write(self.machine.encode_message(data, binary))
        if wire.write_paused and self.settings.queue_policy == "wait":
            return self._taken()
        return DONE  # type: ignore[return-value]

    def send_shared(self, message: SharedMessage, missed: Callable[[], None] | None = None) -> None:
        """Send a message that others get too; nobody waits for it, and a connection that is closed is passed over.

        :param missed: called when the message is dropped because the peer is slow.
        """
        deflate = self.machine.deflate
        wire = self.wire
        if self.closing or wire.transport.is_closing():
            return
        if wire.write_paused:
            entry = Waiting(message, False)
            entry.missed = missed or _nobody_told
            self._queue(entry)
        elif deflate is None:
            wire.write(message.plain)
        else:
            wire.write(message.frame_for(deflate))

    def ping(self, data: bytes = b"") -> None:
        """Send a ping.

        :raises WebSocketClosedError: the connection is closed or being closed.
        :raises LocalProtocolError: more than 125 bytes.
        """
        if self.closing or self.machine.closing:
            raise WebSocketClosedError()
        self.wire.write(self.machine.encode_ping(data))

    def _taken(self) -> "Future[None]":
        """A future of the peer taking enough of what was written."""
        future = self.wire.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(future)
        self._watch_stall()
        return future

    def _queue(self, entry: Waiting) -> "Future[None]":
        """Have a message wait for a slow peer, by the policy."""
        if not isinstance(entry.data, (str, bytes, SharedMessage)):
            raise TypeError(f"a message must be str or bytes, not {type(entry.data).__name__}")
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox(self.settings.max_queue_size)
        self._watch_stall()
        policy = self.settings.queue_policy
        if policy == "wait" and entry.missed is None:
            outbox.add(entry)
            entry.future = self.wire.loop.create_future()
            return entry.future
        if outbox.full(entry.size):
            if policy == "close":
                gen_log.info("%s: closed, since it does not take its messages", self._name())
                self._cut_queue()
                self.close(CloseCode.TRY_AGAIN_LATER, "too slow")
                return DONE  # type: ignore[return-value]
            if policy == "drop_oldest" and entry.missed is None:
                entry.missed = _nobody_told
            outbox.drop_oldest(entry.size)
        elif policy == "drop_oldest" and entry.missed is None:
            entry.missed = _nobody_told
        outbox.add(entry)
        return DONE  # type: ignore[return-value]

    def _cut_queue(self) -> None:
        """Drop what waits, so that a Close need not wait behind it."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()

    def resume_writing(self) -> None:
        """The peer has taken enough (the `Consumer` interface)."""
        self._stall_at = inf
        wire = self.wire
        outbox = self._outbox
        while outbox and not wire.write_paused:
            entry = outbox.take()
            data = entry.data
            if data is None:
                self._write_close()
                break
            if isinstance(data, SharedMessage):
                wire.write(data.frame_for(self.machine.deflate))
            else:
                wire.write(self.machine.encode_message(data, entry.binary))
            if entry.future is not None and not entry.future.done():
                entry.future.set_result(None)
        if outbox or wire.write_paused:
            self._watch_stall()
        else:
            self._outbox = None
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                future.set_result(None)
        self._schedule()

    # The end.

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2); twice does no harm.

        What is queued is sent first, if the peer takes it in time.

        :raises LocalProtocolError: the code may not be sent, or the reason is longer than 123 bytes.
        """
        if self.closing:
            return
        if code is None and reason:
            code = CloseCode.NORMAL_CLOSURE
        encode_close(code, reason or "")  # what may not be sent is refused now, not when its turn comes
        self.closing = True
        self._ping_at = self._pong_by = inf
        if self._outbox:
            self._outbox.add(Waiting(None, False))
            self._last_words = (code, reason or "")
        else:
            self.wire.write(self.machine.encode_close(code, reason or ""))
        self._end_within(self.settings.close_timeout)

    def _write_close(self) -> None:
        """Send the Close that has waited behind the queue."""
        if not self.machine.closing:
            self.wire.write(self.machine.encode_close(*self._last_words))
            self._end_within(self.settings.close_timeout)

    def _close_received(self, close: Close) -> None:
        """The peer has sent its Close: answer it, unless it is the answer to ours (RFC 6455 section 5.5.1)."""
        self.close_code = close.code
        self.close_reason = close.reason
        self.closing = True
        self._ping_at = self._pong_by = inf
        self._cut_queue()
        if not self.machine.closed:
            self.wire.write(self.machine.encode_close(close.code))
        if self.machine.server:
            self._end()
        else:
            # Section 7.1.1: the server closes first, so that the wait for late packets is on its side.  The program
            # need not wait with it.
            self._over()
            self._end_within(self.settings.close_timeout)

    def _refuse(self, error: FrameError) -> None:
        """The peer has broken the protocol: say so, and close (RFC 6455 section 7.1.7)."""
        gen_log.info("%s: closed with %d: %s", self._name(), error.close_code, error)
        self.closing = True
        self._ping_at = self._pong_by = inf
        self._cut_queue()
        if not self.machine.closed:
            self.wire.write(self.machine.encode_close(error.close_code, str(error)))
        if self.wire.get_extra_info("sslcontext") is None:
            # What it still sends is read and dropped for a while: a close with unread input would reset the connection
            # and take our Close from it.
            self.wire.write_eof()
        self._over()
        self._end_within(LINGER)

    def _end_within(self, seconds: float) -> None:
        """Cut the connection unless it has ended by then."""
        self._close_by = deadlines.for_loop(self.wire.loop).refresh() + (seconds or inf)
        self._watch(seconds)

    def _end(self) -> None:
        """Close the wire when everything written is out."""
        if self.wire.write_buffer_size:
            self._end_within(self.settings.close_timeout)
        self.wire.close()

    def abort(self) -> None:
        """Cut the connection, without a closing handshake."""
        self.closing = True
        self.wire.abort()

    def close_when_idle(self) -> None:
        """The server is going away (the `Upgraded` interface): whose connection it is decides what that means."""

    def eof_received(self) -> bool:
        """The peer has closed its side (the `Consumer` interface)."""
        if self._busy and self._read_ahead and not self._closed:
            # What has come before is handed on first.  Under TLS there is no half-closed connection.
            self._eof = self.wire.get_extra_info("sslcontext") is None
            return self._eof
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is gone (the `Consumer` interface)."""
        self._over()
        deadlines.for_loop(self.wire.loop).unwatch(self)
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()

    def _over(self) -> None:
        """Tell everybody who may wait for something that nothing comes any more; once."""
        if self._closed:
            return
        self._closed = self.closing = True
        self._ping_at = self._pong_by = self._stall_at = inf
        self._cut_queue()
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                fail(future)
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            # In a copy, since a callback may be running in the context itself, and be what has ended it.
            self._context.copy().run(endpoint.connection_over, self.close_code, self.close_reason)

    # Deadlines.

    def _watch(self, hint: float) -> None:
        """Have the sweep look at the deadlines.

        :param hint: the shortest of them, in seconds; 0 for none.
        """
        self._schedule()
        if hint:
            deadlines.for_loop(self.wire.loop).watch(self, hint)

    def _schedule(self) -> None:
        self.deadline = min(self._ping_at, self._pong_by, self._stall_at, self._close_by)

    def _watch_stall(self) -> None:
        """Have the peer take something of what was written within the time for that."""
        if self._stall_at == inf and self.settings.write_timeout:
            self._stall_mark = self.wire.taken()
            self._stall_at = deadlines.for_loop(self.wire.loop).refresh() + self.settings.write_timeout
            self._watch(self.settings.write_timeout)

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        if now >= self._close_by:
            self.abort()
            self._close_by = inf
        if now >= self._stall_at:
            self._stall_at = inf
            if self.wire.taken() == self._stall_mark:
                gen_log.info("%s: cut, since it takes no more of its messages", self._name())
                self.abort()
            else:
                self._watch_stall()
        if now >= self._pong_by:
            self._pong_by = inf
            if not self._heard and not self._held:
                gen_log.info("%s: closed, since it does not answer a ping", self._name())
                self.close(CloseCode.INTERNAL_ERROR, "ping timed out")
        if now >= self._ping_at:
            self._ping_at = now + self.settings.ping_interval
            if not self.wire.write_paused:  # else the peer is slow, which has a deadline of its own
                self.ping()
                if self._heard and self.settings.pong_timeout:  # else the last one waits for its answer still
                    self._heard = False
                    self._pong_by = now + self.settings.pong_timeout
        self._schedule()

    def _name(self) -> str:
        """What the log calls the peer."""
        peer = self.wire.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) and peer else "a WebSocket"

    # What programs ask of Tornado's object of this place.

    def is_closing(self) -> bool:
        """Whether the connection is closed or being closed."""
        return self.closing

    @property
    def client_terminated(self) -> bool:
        """Whether the peer has sent its Close, or is gone."""
        return self._closed or self.machine.close_reason is not None

    @property
    def server_terminated(self) -> bool:
        """Whether this side has ended the connection."""
        return self.closing

    @property
    def stream(self) -> Any:
        """The wire, which knows ``closed()``, ``socket`` and ``get_extra_info``."""
        return self.wire

    def set_nodelay(self, value: bool) -> None:
        """Send small messages at once (TCP_NODELAY, the default here), or gather them (Nagle's algorithm)."""
        sock = self.wire.socket
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(value))


def _nobody_told() -> None:
    """Stands for who could be told that a message was dropped."""
