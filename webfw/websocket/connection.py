"""A WebSocket on a wire, either side: what arrives is handed on in order, and how it all ends; no HTTP.

A `WebSocketConnection` is the consumer of one wire.  It drives the sans-I/O machine (``sansio.websocket``), answers
pings and closes, pauses reading while an ``async`` callback runs.  What is sent, and deadlines, the rooms beside know.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from webfw.httpserver.exchange import DONE
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.iostream.wire import Wire
from webfw.log import app_log, gen_log
from webfw.sansio.websocket import Close, CloseCode, FrameError, Machine, Ping, encode_close
from webfw.websocket.errors import WebSocketClosedError
from webfw.websocket.older import OlderNames
from webfw.websocket.outbox import Outbox, Waiting, fail
from webfw.websocket.sending import Sending, counted
from webfw.websocket.settings import ConnectionSettings
from webfw.websocket.shared import SharedMessage

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.httpserver.observer import End, Session

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


class WebSocketConnection(Sending, OlderNames):
    """One open connection.

    :param machine: the protocol, with what the handshake has agreed on.
    :param endpoint: whose it is.
    :param context: what the endpoint's methods run in.
    :param settings: limits and deadlines.

    :ivar deadline: for the sweep, in the loop's time.
    :ivar closing: whether nothing more may be sent.
    :ivar close_code: what the peer's Close said, None before and where it said nothing.
    :ivar close_reason: likewise.
    :ivar session: where messages and bytes are counted; None where nobody watches.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_closed",
        "_context",
        "_deaf",
        "_eof",
        "_gone",
        "_last_words",
        "_lost",
        "_read_ahead",
        "close_code",
        "close_reason",
        "endpoint",
        "heartbeat",
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
        self._held = self._closed = self.closing = False
        #: Whether a callback has failed, or this side has cut the connection: nothing more is handed on.
        self._deaf = False
        #: Whether the peer has ended while messages were kept; and whether the wire is gone.
        self._eof = self._lost = False
        #: The last ping that could not be answered yet.
        self._owed: bytes | None = None
        #: Whether anything has arrived since the last ping.
        self._heard = True
        self._read_ahead = 0
        self._gone: Callable[[], None] | None = None
        self._outbox: Outbox | None = None
        self._waiters: list[Future[None]] | None = None
        self._ping_at = self._pong_by = self._stall_at = self._close_by = inf
        self._stall_mark = 0
        self._last_words: tuple[int | None, str] = (None, "")
        #: A message that goes with each ping: scripts in browsers cannot see pings.
        self.heartbeat: SharedMessage | None = None
        self.session: Session | None = None

    def connected(self, wire: Wire, gone: Callable[[], None] | None = None) -> None:
        """Begin to read: the wire is ours.

        :param gone: to be called when the connection is lost.
        """
        self.wire = wire
        self._gone = gone
        if self.session is not None:
            wire.write = counted(self.session, wire.write)
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
        if self.session is not None:
            self.session.bytes_in += len(data)
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
        endpoint = None if self._deaf else self.endpoint
        session = self.session
        burst = BURST
        try:
            while (event := next_event()) is not None:
                kind = type(event)
                if kind is str or kind is bytes:
                    if endpoint is None:
                        continue
                    if session is not None:
                        session.messages_in += 1
                    try:
                        wait = self._context.run(endpoint.on_message, event)  # type: ignore[arg-type]
                    except (Exception, asyncio.CancelledError) as error:
                        # Border: what a callback raises ends its connection, and nothing else.
                        self._failed(endpoint, error)
                        if self._deaf:
                            endpoint = None
                        continue
                    if wait is not None and wait is not DONE and self._wait(endpoint, wait):
                        return
                elif self._control(event):
                    return
                elif self._deaf:
                    endpoint = None
                burst -= 1
                if not burst:
                    self._keep()
                    self._go_on_soon()
                    return
        except FrameError as error:
            self._refuse(error)

    def _control(self, event: Any) -> bool:
        """A control frame has arrived; whether messages must wait for its callback."""
        if isinstance(event, Close):
            self._close_received(event)
            return False
        endpoint = None if self._deaf else self.endpoint
        if isinstance(event, Ping):
            wire = self.wire
            if wire.write_paused:
                # RFC 6455 section 5.5.3: the most recent one will do.  More are not kept for who does not read.
                self._owed = event.payload
            elif not wire.transport.is_closing():
                wire.write(self.machine.encode_pong(event.payload))
            callback = None if endpoint is None else endpoint.on_ping
        else:
            callback = None if endpoint is None else endpoint.on_pong
        if endpoint is None or callback is None:
            return False
        try:
            wait = self._context.run(callback, event.payload)
        except (Exception, asyncio.CancelledError) as error:
            # Border: what a callback raises ends its connection, and nothing else.
            self._failed(endpoint, error)
            return False
        return wait is not None and wait is not DONE and self._wait(endpoint, wait)

    def _wait(self, endpoint: Endpoint, awaitable: Awaitable[None]) -> bool:
        """Keep what arrives until a callback is done; False where it is done already."""
        task = start(self.wire.loop, self._awaited(endpoint, awaitable), self._context)
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
        if self._read_ahead > READ_AHEAD:
            self._hold()

    async def _awaited(self, endpoint: Endpoint, awaitable: Awaitable[None]) -> None:
        try:
            await awaitable
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._failed(endpoint, error)  # what it waited for was cancelled
        except Exception as error:
            # Border: what a callback raises ends its connection, and nothing else.
            self._failed(endpoint, error)

    def _go_on_soon(self) -> None:
        self.wire.loop.call_soon(self._go_on, None)

    def _go_on(self, task: "asyncio.Task[None] | None") -> None:
        """Hand on what has been kept."""
        _tasks.discard(task)
        if self._closed:
            return
        self._busy = False
        self._read_ahead = 0
        self._pump()
        if self._held:
            self._release()
        if self._eof:
            self._drained()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.wire.pause_reading()

    def _release(self) -> None:
        """Read again, unless there is a reason left not to."""
        outbox = self._outbox
        if self._read_ahead <= READ_AHEAD and (outbox is None or not outbox.over()):
            self._held = False
            self.wire.resume_reading()

    def _failed(self, endpoint: Endpoint, error: BaseException) -> None:
        """A callback has raised: tell of it, hand nothing more on, and close."""
        gone = self._lost or self.client_terminated or self.wire.transport.is_closing()
        if gone and isinstance(error, WebSocketClosedError):
            return  # the peer has gone while it was being written to, which is nobody's fault
        self._deaf = True
        self._tell(endpoint.callback_failed, error)
        self.close(CloseCode.INTERNAL_ERROR)

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        """Call the endpoint in a copy of the context: a callback may be running in it, and be what has led here."""
        try:
            self._context.copy().run(callback, *args)
        except (Exception, asyncio.CancelledError):
            # Border: neither the transport nor who counts connections can do anything about it.
            app_log.error("Uncaught exception in %s", callback.__qualname__, exc_info=True)

    # The end.

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2); twice does no harm.

        What is queued is sent first, if the peer takes it in time.

        :raises LocalProtocolError: the code may not be sent, or the reason is longer than 123 bytes.
        """
        if self.closing:
            return
        if isinstance(reason, bytes):
            reason = reason.decode()
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
        if self.session is not None:
            self.session.close_code = close.code or CloseCode.NO_STATUS_RECEIVED
            self._ends("complete")
        self.close_reason = close.reason or None
        self.closing = True
        self._ping_at = self._pong_by = inf
        self._cut_queue()
        if not self.machine.closed:
            self.wire.write(self.machine.encode_close(close.code))
        # The program need not wait for the wire, and meanwhile be refused what it sends without knowing why.
        self._over()
        if self.machine.server:
            self._end()
        else:
            # Section 7.1.1: the server closes first, so that the wait for late packets is on its side.
            self._end_within(self.settings.close_timeout)

    def _refuse(self, error: FrameError) -> None:
        """The peer has broken the protocol: say so, and close (RFC 6455 section 7.1.7)."""
        gen_log.info("%s: closed with %d: %s", self._name(), error.close_code, error)
        self._ends("refused")
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

    def _end(self) -> None:
        """Close the wire when everything written is out."""
        if self._lost:
            return
        if self.wire.write_buffer_size or self.wire.get_extra_info("sslcontext") is not None:
            # TLS has a closing handshake too.
            self._end_within(self.settings.close_timeout)
        self.wire.close()

    def abort(self) -> None:
        """Cut the connection, without a closing handshake; what has been kept is not handed on."""
        self.closing = self._deaf = True
        self._read_ahead = 0
        self._ends("cut")
        if self._lost:
            self._finish()
        else:
            self.wire.abort()

    def _ends(self, why: "End") -> None:
        """Note why the connection ends; the first to know is right."""
        if self.session is not None and self.session.why is None:
            self.session.why = why

    def close_when_idle(self) -> None:
        """The server is going away (the `Upgraded` interface): whose connection it is decides what that means."""

    def eof_received(self) -> bool:
        """The peer has closed its side (the `Consumer` interface)."""
        if (
            self._busy
            and self._read_ahead
            and not self._closed
            and self.wire.get_extra_info("sslcontext") is None
        ):
            # What has come before is handed on first.  Under TLS the wire is lost now; then it is just the same.
            self._eof = True
            self._drained()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is gone (the `Consumer` interface)."""
        self._lost = True
        if self._busy and self._read_ahead and not self._closed:
            self._eof = self.closing = True
            self._stop_waiting()
            self._drained()
        else:
            self._finish()

    def _drained(self) -> None:
        """The peer has ended: so do we, when what it had sent before has been handed on."""
        if self._busy:
            if self.machine.server:
                # The server does not keep it for a callback that may be waiting for the very end.  On the other side a
                # program may read what has come whenever it likes.
                self._end_within(self.settings.close_timeout)
        elif self._lost:
            self._finish()
        else:
            self._end()

    def _finish(self) -> None:
        """The wire is gone, and so is everything that has come."""
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
        self._stop_waiting()
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            self._tell(endpoint.connection_over, self.close_code, self.close_reason)

    def _stop_waiting(self) -> None:
        """Nothing will be sent any more: tell those who wait for it."""
        self._ping_at = self._pong_by = self._stall_at = inf
        self._cut_queue()
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                fail(future)

    def _name(self) -> str:
        """What the log calls the peer."""
        peer = self.wire.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) and peer else "a WebSocket"
