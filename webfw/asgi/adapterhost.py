"""Between an ASGI host and one exchange: what is received, sent and ended, and in which order; no field may enter.

What handlers write waits in a `HostSide` for the coroutine that the host has called, which sends it; a task beside that
receives the body, and learns that the client has left.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import copy_context
from math import inf
from time import time
from typing import TYPE_CHECKING, Any, ClassVar

from webfw.asgi.adapterhead import ScopeHead
from webfw.httpserver.exchange import DONE, Begin, BodySink, Exchange
from webfw.httpserver.http1body import RequestBody, inflate_of
from webfw.httputil import HTTPServerRequest, format_timestamp
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.iostream import StreamClosedError
from webfw.log import app_log, gen_log
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import status_line

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.asgi.adapter import ASGIAdapter

__all__ = ["HostSide", "Message", "Receive", "ResponseCut", "Send", "close_future", "refusal"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Bytes of a response below which those who wait for room go on writing.
LOW_WATER = 16 * 1024

#: Tasks that still run for exchanges: the loop itself keeps only weak references.
_tasks: "set[asyncio.Task[None]]" = set()


class ResponseCut(Exception):
    """Raised to the host: the response has begun and cannot be completed, so its connection must be cut.

    ASGI has no message for that.  Why it is so has been logged before, or is the application's own wish.
    """


def refusal(kind: str, status: int, message: str, dated: bool) -> tuple[Message, bytes]:
    """What says that something went wrong: the message that starts the response, and its body.

    :param kind: what the types of the messages begin with.
    :param message: more than the reason phrase; may be empty.
    :param dated: whether it shall have a Date.
    """
    line = status_line(status, None)
    body = f"{line.partition(' ')[2]}{': ' if message else ''}{message}\n".encode("utf-8", "replace")
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if dated:
        fields.append((b"date", format_timestamp(time()).encode()))
    return {"type": f"{kind}.start", "status": status, "headers": fields}, body


class HostSide(Exchange):
    """The side of an exchange that the host sees.

    :ivar scope: the host's, for what else it knows: ``state``, ``extensions``, ``root_path``.
    :ivar head: the head of the request.
    :ivar begun: the head of the response has been written.
    :ivar complete: the response has been written whole.
    :ivar body_done: the request's body has been received whole.
    :ivar asked: whether a delegate was asked to take the request, who is to be told when it is over.
    :ivar deadline: for the sweep, in the loop's time.
    """

    #: What the types of the messages begin with.
    kind: ClassVar[str] = "http.response"

    __slots__ = (
        "_adapter",
        "_body",
        "_chunks",
        "_close_callback",
        "_cut",
        "_ended",
        "_idle",
        "_left",
        "_loop",
        "_messages",
        "_open",
        "_path",
        "_path_sent",
        "_pending",
        "_reading",
        "_receive",
        "_receiving",
        "_send",
        "_sending",
        "_trailers",
        "_waiters",
        "_wants_trailers",
        "asked",
        "begun",
        "body_done",
        "bytes_received",
        "bytes_sent",
        "complete",
        "context",
        "deadline",
        "has_body",
        "head",
        "request",
        "scope",
        "sink",
        "status",
    )

    def __init__(
        self, adapter: "ASGIAdapter", scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Make the exchange of a scope.

        :raises RemoteProtocolError: see `ScopeHead`.
        """
        self.head = head = ScopeHead(scope)
        self.scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._adapter = adapter
        self.begun = self.complete = self.asked = False
        self.sink: BodySink | None = None
        self.status = self.bytes_sent = self.bytes_received = 0
        self.deadline = inf
        self.has_body = head.has_body
        self.body_done = not head.has_body
        context = adapter.context_of(scope)
        self.request: HTTPServerRequest | None = HTTPServerRequest.from_head(head, self, context)
        self.context = adapter.believed(context, self.request)
        #: Whether what is written still goes anywhere: not refused, not cut, and the client is there.
        self._open = True
        self._cut = False
        #: What is to be sent: messages, then pieces of the body, or a file in its place, and whether they are the last.
        self._messages: list[Message] = []
        self._chunks: list[bytes] = []
        self._pending = 0
        self._path: str | None = None
        self._path_sent = False
        self._ended = False
        self._trailers: tuple[tuple[str, str], ...] = ()
        self._wants_trailers = False
        self._left: int | None = None
        #: What the host's coroutine waits for while there is nothing to send, and who waits for it to send.
        self._idle: Future[None] | None = None
        self._waiters: list[Future[None]] | None = None
        #: Whether the one who sends, and the one who receives, wait for the host.
        self._sending: asyncio.Task[Any] | None = None
        self._receiving = False
        self._reading: asyncio.Task[None] | None = None
        self._close_callback: Callable[[], None] | None = None
        self._body: RequestBody | None = None
        if head.has_body:
            # It has all that a body asks for.
            inflate = inflate_of(self) if adapter.decompress_request else None  # type: ignore[arg-type]
            self._body = RequestBody(self, adapter.limits, inflate)  # type: ignore[arg-type]

    # For the host.

    async def answer(self, begin: Begin) -> None:
        """Have the application answer, and send what it does; returns when that is out or nobody is there for it.

        :raises ResponseCut: see there.
        """
        try:
            wait = self._begin(begin)
            if wait is not None or self._wants_input():
                self._start_reading(wait)
            await self._send_all()
        except OSError:
            # The specification has `send` raise one when the client has gone.
            self.client_gone()
        except asyncio.CancelledError:
            if not self._cut or self._sending is None or self._sending.uncancel():
                raise
            raise ResponseCut(self._what()) from None
        finally:
            self._sending = None
            if self._receiving and self._reading is not None:
                self._reading.cancel()
            self._reading = None
            deadlines.for_loop(self._loop).unwatch(self)
            self.connection_lost()

    def _begin(self, begin: Begin) -> Awaitable[None] | None:
        """Have the application begin; what the body must wait for comes back."""
        try:
            wait = begin(self)
            if wait is not None and wait is not DONE:
                return wait
            if not self.has_body and self.sink is not None:
                self.sink.finish()
        except RemoteProtocolError as error:
            self.refuse(error)
        except (Exception, asyncio.CancelledError):
            # Border: an application that fails to begin is answered for.
            app_log.error("Uncaught exception while beginning a request", exc_info=True)
            self.fail()
        return None

    async def _send_all(self) -> None:
        """Send what is written, until the response is out or there will be none."""
        send = self._send
        self._sending = asyncio.current_task()
        while not self._cut:
            if self._messages:
                messages, self._messages = self._messages, []
                for message in messages:
                    await send(message)
            elif self._path is not None:
                path, self._path = self._path, None
                await send({"type": f"{self.kind}.pathsend", "path": path})
                self._path_sent = True
                self._wake()
            elif self._path_sent and self._ended:
                return
            elif self._chunks or self._ended:
                chunks, self._chunks = self._chunks, []
                ended = self._ended
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                await send({"type": f"{self.kind}.body", "body": body, "more_body": not ended})
                self._sent(len(body))
                if ended:
                    if self._wants_trailers:
                        await send(self._trailers_message())
                    return
            elif self._open:
                self._idle = self._loop.create_future()
                self._sending = None
                await self._idle
                self._sending = asyncio.current_task()
            else:
                return
        raise ResponseCut(self._what())

    def _trailers_message(self) -> Message:
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self._trailers]
        return {"type": f"{self.kind}.trailers", "headers": fields, "more_trailers": False}

    def _what(self) -> str:
        return f"{self.head.method} {self.head.target}"

    def _sent(self, size: int) -> None:
        """The host has taken that many bytes of the body."""
        self._pending -= size
        if self._pending <= LOW_WATER:
            self._wake()

    def _notify(self) -> None:
        """There is something to send, or there never will be."""
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)

    def _wake(self) -> None:
        """Tell those who wait for room."""
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                if self._open or self._ended:
                    future.set_result(None)
                else:
                    close_future(future)

    # The request's body.

    def _wants_input(self) -> bool:
        """Whether what the host receives is of use."""
        return self._open and not self.complete

    def _start_reading(self, wait: Awaitable[None] | None) -> None:
        """Receive beside what is sent; ``wait`` comes first."""
        task = start(self._loop, self._read(wait), copy_context())
        if not task.done():
            self._reading = task
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _read(self, wait: Awaitable[None] | None) -> None:
        """Receive the body, then wait for the client to leave."""
        try:
            if wait is not None:
                await wait
                if not self.has_body and self.sink is not None:
                    self.sink.finish()
            if self.has_body and self._wants_input():
                await self._read_body()
            await self._watch()
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            self._reading_failed()  # what it waited for was cancelled
        except RemoteProtocolError as error:
            self.refuse(error)
        except Exception as error:
            # Border: a consumer that fails is answered for.
            if self._wants_input() or not isinstance(error, StreamClosedError):
                self._reading_failed()

    def _reading_failed(self) -> None:
        app_log.error("Uncaught exception while reading a request", exc_info=True)
        self.fail()

    async def _read_body(self) -> None:
        body = self._body
        assert body is not None
        if (self.head.announced or 0) > body.max_size:
            raise RemoteProtocolError("the body is too large", 413)
        sweeper = deadlines.for_loop(self._loop)
        body.begin(sweeper.refresh())
        self.deadline = body.deadline()
        sweeper.watch(self, self._adapter.limits.shortest())
        size = self._adapter.limits.chunk_size
        more = True
        while more:
            message = await self._next()
            if message is None:
                return
            data = message.get("body", b"")
            for at in range(0, len(data), size):
                await self._take(body, data[at : at + size] if len(data) > size else data)
                if not self._wants_input():  # answered in between: what still comes is the host's to drop
                    return
            more = message.get("more_body", False)
        self.deadline = inf
        body.end()
        self.body_done = True
        if self.sink is not None:
            self.sink.finish()

    async def _take(self, body: RequestBody, data: bytes) -> None:
        """Hand a piece of the body on, and wait as long as its sink wants to be waited for."""
        now = deadlines.for_loop(self._loop).refresh
        wait, _ = body.receive(data)
        while wait is not None:
            self.deadline = inf
            body.pause(now())
            await wait
            body.resume(now())
            wait, _ = body.receive(b"")
        self.deadline = body.deadline()

    async def _next(self) -> Message | None:
        """The next message of the request; None when the client has gone."""
        self._receiving = True
        try:
            message = await self._receive()
        except OSError:
            message = {"type": "http.disconnect"}
        finally:
            self._receiving = False
        if message["type"] == "http.request":
            return message
        if message["type"] != "http.disconnect":
            raise RuntimeError(f"the ASGI host sent {message['type']!r} to an http application")
        if not (self.body_done or self.complete):
            gen_log.info("%s: closed before the end of the request's body", self.context)
        self.client_gone()
        return None

    async def _watch(self) -> None:
        """Wait for the client to leave; the only message before that is the end of a body that is none."""
        ends = 0
        while ends < 2 and self._wants_input():
            message = await self._next()
            if message is None:
                return
            ends += not message.get("more_body", False)

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        assert self._body is not None
        if self._body.is_late(now):
            self.deadline = inf
            self.refuse(RemoteProtocolError("the body did not come in time", 408))
        else:
            self.deadline = self._body.deadline()

    # The end of it all.

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer what the client did wrong with a short plain body; a response that has begun is cut."""
        gen_log.info("%s: refused with %d: %s", self.context, error.status, error)
        self._end_with(error.status, str(error))

    def fail(self) -> None:
        """Answer our own failure with 500; the log has it already."""
        self._end_with(500, "")

    def _end_with(self, status: int, message: str) -> None:
        if not self._open or self.complete:
            return
        begun = self.begun
        self.client_gone()
        if begun:
            self._cut_off()
        else:
            head, body = refusal(self.kind, status, message, self._adapter.date_header)
            self._ended = True
            self._messages.append(head)
            if self.head.method != "HEAD":
                self._chunks.append(body)

    def _cut_off(self) -> None:
        """Have the host cut the connection, also while it is sending to a client that takes nothing."""
        self._cut = True
        self._open = False
        if self._sending is not None:
            self._sending.cancel()
        self._wake()
        self._notify()

    def client_gone(self) -> None:
        """Nothing that is written from now on goes anywhere: tell whoever answers, once."""
        if not self._open or self.complete:
            return
        self._open = False
        self._wake()
        self._notify()
        callback, self._close_callback = self._close_callback, None
        sink, self.sink = self.sink, None
        if callback is None and sink is not None:
            callback = sink.on_connection_close
        if callback is not None:
            try:
                callback()
            except Exception:
                # Border: a callback of the application must not break what the host has called.
                app_log.error("Uncaught exception in a close callback", exc_info=True)

    def connection_lost(self) -> None:
        """The host is done with this request, or this request with its host."""
        self.client_gone()
        self._open = False
        self._wake()
        # Both refer back to this exchange.
        self.request = None
        self._body = None


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled.  In the frame that is left by that, it would be a cycle."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def close_future(future: "Future[None]") -> None:
    future.set_exception(StreamClosedError())
    future.exception()  # whoever does not wait for it need not be told
