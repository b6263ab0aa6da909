"""One request in an application: what it may give, and how that is answered (PEP 3333); where it runs stays outside."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, BinaryIO

from webfw.httpserver import DONE, Exchange
from webfw.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine, responses
from webfw.ioloop.start import start
from webfw.iostream import StreamClosedError
from webfw.log import app_log
from webfw.wsgi.filewrapper import FileWrapper
from webfw.wsgi.outlet import MEMORY, ClientDisconnected, Outlet
from webfw.wsgi.startresponse import ApplicationError, StartResponse

if TYPE_CHECKING:
    from webfw.httpserver.collector import BodyCollector
    from webfw.wsgi.container import WSGIContainer

__all__ = ["Run", "iterate", "size_of"]


class Run:
    """What both ways of running have in common.

    :ivar request: for the access log.
    :ivar status: what was answered, 0 before.
    :ivar gone: nobody waits for the answer any more: the client has gone, or the time was up.
    """

    __slots__ = (
        "_body",
        "_enough",
        "_left",
        "_outlet",
        "_over",
        "_shut",
        "container",
        "context",
        "environ",
        "exchange",
        "gone",
        "request",
        "start",
        "status",
    )

    #: Bytes of a list that are sent as one; more of them leave piece by piece.
    joined = MEMORY

    def __init__(
        self,
        container: "WSGIContainer",
        exchange: Exchange,
        request: HTTPServerRequest,
        context: Context,
        body: "BodyCollector | None",
    ) -> None:
        self.container = container
        self.exchange = exchange
        self.request = request
        self.context = context
        self.environ: dict[str, Any] = {}
        self.status = 0
        self.gone = False
        self._body = body
        self._outlet: Outlet | None = None
        #: Bytes that the announced length still has room for, and whether what comes beyond is dropped.
        self._left: int | None = None
        self._enough = False
        #: Whether the request is over for the client, and whether the client has closed its side.
        self._over = self._shut = False
        self.start = StartResponse(self._write)

    def execute(self) -> None:
        """Run the application from beginning to end."""
        raise NotImplementedError

    # What the two ways do differently.

    def _write(self, data: bytes) -> None:
        """The PEP's ``write()``."""
        raise NotImplementedError

    def _hand(self, call: Callable[..., None], *args: Any) -> None:
        """Have the loop do something for the answer."""
        raise NotImplementedError

    def _hand_all(self, call: Callable[..., None], *args: Any) -> None:
        """Have the loop send what is the whole answer."""
        self._hand(call, *args)

    def _open(self) -> None:
        """Send the head of a response whose body comes in pieces."""
        raise NotImplementedError

    def _put(self, chunk: bytes) -> Any:
        """Send a piece of the body behind that head."""
        raise NotImplementedError

    # What the application gives.

    def _take(self, result: Any) -> bool:
        """Send a result that is there as a whole, a list or a file; False for one that must be iterated."""
        begin = self.start
        kind = type(result)
        if begin.sent:
            return False
        if kind is list or kind is tuple:
            size = size_of(result)
            if size is None:
                return False
            self._check_started()
            if size <= self.joined:
                begin.sent = True
                self._hand_all(self._send_whole, result[0] if len(result) == 1 else b"".join(result))
                return True
            self._announce(size)
        elif kind is FileWrapper:
            return self._take_file(result)
        return False

    def _take_file(self, wrapper: FileWrapper) -> bool:
        part = wrapper.part()
        if part is None:
            return False
        file, offset, size = part
        try:
            self._check_started()
        except ApplicationError:
            file.close()
            raise
        self.start.sent = True
        self._announce(size)
        if self._bodiless():
            file.close()
            self._hand_all(self._send_whole, b"")
        else:
            self._hand_all(self._send_file, file, offset, size)
        return True

    def _announce(self, size: int) -> None:
        """Say how long the body is, where the application has not."""
        if self.start.length is None and not self.start.bodiless:
            self.start.headers["Content-Length"] = str(size)
            self.start.length = size

    def _bodiless(self) -> bool:
        return self.start.bodiless or self.request.method == "HEAD"

    def _check_started(self) -> None:
        """The application must have called ``start_response`` before its first bytes."""
        if self.start.status is None:
            raise ApplicationError("the application did not call start_response")

    def _emit(self, chunk: Any) -> Any:
        """Send a piece of the body as the application gives it; an empty one sends not even the head."""
        if not isinstance(chunk, bytes):
            raise ApplicationError(f"the body must be bytes, not {type(chunk).__name__}")
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if not chunk:
            return DONE
        begin = self.start
        if not begin.sent:
            self._check_started()
            begin.sent = True
            if self._bodiless():
                self._enough = True
                self._hand_all(self._send_whole, b"")
                return DONE
            self._left = begin.length
            if self._is_all(chunk):
                self._left = 0
                self._hand_all(self._send_whole, chunk)
                return DONE
            self._open()
        chunk = self._fit(chunk)
        return self._put(chunk) if chunk else DONE

    def _is_all(self, chunk: Any) -> bool:
        """Whether a piece is all that the application has announced, and can be sent as one with its head."""
        return type(chunk) is bytes and 0 < len(chunk) == self.start.length and len(chunk) <= self.joined

    def _fit(self, chunk: bytes) -> bytes:
        """As much of a piece as has room in the announced length."""
        if self._enough:
            return b""
        if self._left is not None:
            if len(chunk) > self._left:
                self._enough = True
                app_log.error("%s: the body is longer than its Content-Length says", self.summary())
                chunk = chunk[: self._left]
            self._left -= len(chunk)
        return chunk

    def _complete(self) -> None:
        """The application has given everything."""
        if not self.start.sent:
            self._check_started()
            self.start.sent = True
            self._hand_all(self._send_whole, b"")
        elif self._outlet is not None:
            self._outlet.complete()

    def _close(self, result: Any) -> None:
        """Call the ``close`` of what the application has returned, if it has one; in its context."""
        close = getattr(result, "close", None)
        if close is None:
            return
        try:
            close()
        except BaseException as error:
            # Border: the response is out, so nobody but the log can be told.
            app_log.error("%s: uncaught exception in close()", self.summary(), exc_info=error)

    # On the loop: the answer.

    def _send_head(self) -> None:
        """Send the head of a response whose body comes in pieces."""
        if self._over:
            return
        begin = self.start
        assert begin.status is not None
        line = ResponseStartLine("", begin.status, begin.reason or responses.get(begin.status, "Unknown"))
        self.exchange.write_headers(line, begin.headers)
        self.status = begin.status

    def _send_whole(self, body: bytes) -> None:
        """Send a whole response in one write."""
        if self._over:
            return
        begin = self.start
        headers = begin.headers
        status = begin.status
        assert status is not None
        if status == 204 or status == 304:
            if status == 204 and begin.length is not None:
                del headers["Content-Length"]
            body = b""
        elif begin.length is None:
            if body or self.request.method != "HEAD":
                headers["Content-Length"] = str(len(body))
        elif begin.length != len(body) and self.request.method != "HEAD":
            if len(body) < begin.length:
                self._send_short(body)
                return
            app_log.error("%s: the body is longer than its Content-Length says", self.summary())
            body = body[: begin.length]
        self.exchange.respond(status, begin.reason or responses.get(status, "Unknown"), headers, body)
        self.status = status
        self._end()

    def _send_short(self, body: bytes) -> None:
        """Send what there is of a body that is shorter than its Content-Length, and cut."""
        self._send_head()
        if body:
            self.exchange.write(body)
        self._finished(None)

    def _finished(self, error: BaseException | None) -> None:
        """Everything has been written, or that has failed."""
        if self._over:
            return
        if error is None:
            try:
                self.exchange.finish()
            except Exception as cause:
                # Border: a body shorter than its Content-Length, among others; the connection has been cut.
                error = cause
        if error is not None:
            app_log.error("%s: the response was cut: %s", self.summary(), error)
            self.exchange.abort_response()
        self._end()

    def _send_file(self, file: BinaryIO, offset: int, size: int) -> None:
        """Send a part of a file that is ours to close, by the kernel where it can."""
        sending = self._sending(file, offset, size)
        self.container.keep(start(self.exchange.loop, sending, copy_context()))

    async def _sending(self, file: BinaryIO, offset: int, size: int) -> None:
        with file:
            if self._over:
                return
            error: BaseException | None = None
            try:
                self._send_head()
                length = self.start.length
                assert length is not None
                await self.exchange.sendfile(file, offset, min(size, length))
            except StreamClosedError:
                self.gone = True
                self._end()
            except asyncio.CancelledError:
                self._end()
                raise
            except Exception as cause:
                # Border: a file that cannot be read ends this response and nothing else.
                error = cause
            self._finished(error)

    def fail(self, error: BaseException) -> None:
        """The application has raised, or broken a rule: 500, or a cut connection where the head is out."""
        app_log.error("%s: uncaught exception in the application", self.summary(), exc_info=error)
        self.refuse(500)

    def refuse(self, status: int, retry_after: int | None = None) -> None:
        """Answer with an error of ours; where the application's answer has begun, cut the connection.

        :param retry_after: seconds, for the client.
        """
        if self._over:
            return
        if self.status:
            self.exchange.abort_response()
        else:
            reason = responses.get(status, "Unknown")
            body = f"{status} {reason}\n".encode()
            headers = HTTPHeaders(
                {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
            )
            if retry_after is not None:
                headers["Retry-After"] = str(retry_after)
            self.exchange.respond(status, reason, headers, body)
            self.status = status
        self._end()

    def client_gone(self) -> None:
        """The client has gone, or has closed its side; called on the loop."""
        self._shut = True
        wire: Any = getattr(self.exchange, "stream", None)
        if wire is not None and not wire.closing:
            # Only half of the connection is closed: it may have nothing more to ask, and wait for its answer.
            self.exchange.set_close_callback(self.client_gone)
            return
        self.gone = True
        self._end()

    def _end(self) -> None:
        """The request is over for the client; the application may still run."""
        if self._over:
            return
        self._over = True
        self.exchange.set_close_callback(None)
        if self._outlet is not None:
            self._outlet.close()
        self.container.ended(self)

    def release(self) -> None:
        """The application has ended: give back what was its."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
        # Both refer back to this object.
        self.environ = {}
        self.start.write = _too_late

    # What the application may ask.

    def early_hints(self, headers: Iterable[tuple[str, str]]) -> None:
        """``wsgi.early_hints`` of the environ: send 103 Early Hints (RFC 8297) before the response.

        :raises ApplicationError: a header cannot be sent, or the response has begun.
        """
        if self.start.sent:
            raise ApplicationError("early hints come before the response")
        hints = HTTPHeaders()
        for field in headers:
            try:
                name, value = field
                hints.add(name, value)
            except Exception as error:
                # Border: whatever stands in an application's list becomes one error that says so.
                raise ApplicationError(f"no header: {field!r}"[:200] + f" ({error})") from None
        self._hand(self._hint, hints)

    def _hint(self, hints: HTTPHeaders) -> None:
        if not self._over:
            self.exchange.send_informational(103, hints)

    def client_disconnected(self) -> bool:
        """``webfw.client_disconnected`` of the environ: whether the client has closed the connection, or its side.

        The response is sent as long as that is possible: a client may close its side when it has nothing more to ask.
        """
        return self.gone or self._shut

    def summary(self) -> str:
        """The request, for a log."""
        return f"{self.request.method} {self.request.uri} ({self.request.remote_ip})"


def _too_late(data: bytes) -> None:
    raise ApplicationError("write() was called when the request was over")


def size_of(result: list[Any] | tuple[Any, ...]) -> int | None:
    """Bytes of a result that is there already; None when it has anything but bytes."""
    size = 0
    for chunk in result:
        if type(chunk) is not bytes:
            return None
        size += len(chunk)
    return size


def iterate(result: Any) -> Iterator[Any]:
    """The iterator of what an application has returned.

    :raises ApplicationError: None, text, bytes, or something else that cannot be iterated.
    """
    if not isinstance(result, (str, bytes)):
        try:
            return iter(result)
        except TypeError:
            if hasattr(type(result), "__iter__"):  # of its own making
                raise
    raise ApplicationError(f"the application must return an iterable of bytes, not {type(result).__name__}")
