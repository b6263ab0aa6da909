"""One request in an application: called, iterated and closed as PEP 3333 says, in a thread or on the loop."""

import asyncio
import threading
from collections.abc import Iterable
from contextvars import Context
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from webfw.httpserver import DONE, Exchange
from webfw.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine, responses
from webfw.ioloop.start import start
from webfw.iostream import StreamClosedError
from webfw.log import app_log
from webfw.wsgi.filewrapper import FileWrapper
from webfw.wsgi.outlet import MEMORY, ClientDisconnected, Outlet
from webfw.wsgi.startresponse import ApplicationError, StartResponse
from webfw.wsgi.threads import stack_of

if TYPE_CHECKING:
    from webfw.httpserver.collector import BodyCollector
    from webfw.wsgi.container import WSGIContainer

__all__ = ["InlineRun", "Run", "ThreadRun"]


class Run:
    """What both ways of running have in common.

    :ivar request: for the access log.
    :ivar status: what was answered, 0 before.
    """

    __slots__ = (
        "_body",
        "_left",
        "_over",
        "container",
        "context",
        "environ",
        "exchange",
        "gone",
        "request",
        "start",
        "status",
    )

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
        #: Whether the client has gone.
        self.gone = False
        self._body = body
        self._left: int | None = None
        self._over = False
        self.start = StartResponse(self._write)

    def _write(self, data: bytes) -> None:
        """The PEP's ``write()``."""
        raise NotImplementedError

    # What the application gives.

    def _check_started(self) -> None:
        """The application must have called ``start_response`` before its first bytes."""
        if self.start.status is None:
            raise ApplicationError("the application did not call start_response")

    def _fit(self, chunk: Any) -> bytes:
        """A piece of the body as it may be sent: bytes, none where the status has no body, none over its length."""
        if not isinstance(chunk, bytes):
            raise ApplicationError(f"the body must be bytes, not {type(chunk).__name__}")
        if self.start.bodiless:
            return b""
        if self._left is not None:
            if len(chunk) > self._left:
                if self._left >= 0:
                    app_log.error("%s: the body is longer than its Content-Length says", self._summary())
                chunk = chunk[: max(0, self._left)]
                self._left = -1 if not chunk else 0
            else:
                self._left -= len(chunk)
        piece: bytes = chunk
        return piece

    # On the loop: the answer.

    def _send_head(self) -> None:
        """Send the head of a response whose body comes in pieces."""
        begin = self.start
        assert begin.status is not None
        self.status = begin.status
        if begin.status == 204 and begin.length is not None:
            del begin.headers["Content-Length"]
        self.exchange.write_headers(ResponseStartLine("", begin.status, self._reason()), begin.headers)

    def _reason(self) -> str:
        return self.start.reason or responses.get(self.start.status or 0, "Unknown")

    def _send_whole(self, body: bytes) -> None:
        """Send a whole response in one write."""
        begin = self.start
        assert begin.status is not None
        self.status = begin.status
        headers = begin.headers
        if begin.bodiless:
            if begin.status == 204 and begin.length is not None:
                del headers["Content-Length"]
            body = b""
        elif begin.length is None:
            if body or self.request.method != "HEAD":
                headers["Content-Length"] = str(len(body))
        elif begin.length != len(body) and self.request.method != "HEAD":
            if len(body) < begin.length:
                self._send_short(body)
                return
            app_log.error("%s: the body is longer than its Content-Length says", self._summary())
            body = body[: begin.length]
        self.exchange.respond(begin.status, self._reason(), headers, body)
        self._end()

    def _send_short(self, body: bytes) -> None:
        """Send what there is of a body that is shorter than its Content-Length, and cut."""
        self._send_head()
        if body:
            self.exchange.write(body)
        self._finished(None)

    def _finished(self, error: BaseException | None) -> None:
        """Everything has been written."""
        if error is None:
            try:
                self.exchange.finish()
            except Exception as cause:
                # Border: a body shorter than its Content-Length, among others; the connection has been cut.
                error = cause
        if error is not None:
            app_log.error("%s: the response was cut: %s", self._summary(), error)
            self.exchange.abort_response()
        self._end()

    def _send_file(self, wrapper: FileWrapper, extent: tuple[int, int]) -> None:
        """Send the rest of a file, by the kernel where it can."""
        begin = self.start
        offset, size = extent
        if begin.length is None:
            if not begin.bodiless:
                begin.headers["Content-Length"] = str(size)
        else:
            size = min(size, begin.length)
        self._send_head()
        if begin.bodiless:
            self._finished(None)
            self.close_result(wrapper)
            return
        # In a copy: the application's thread may not have left the context yet.
        task = start(asyncio.get_running_loop(), self._sending(wrapper, offset, size), self.context.copy())
        self.container.keep(task)

    async def _sending(self, wrapper: FileWrapper, offset: int, size: int) -> None:
        error: BaseException | None = None
        try:
            await self.exchange.sendfile(wrapper.filelike, offset, size)
        except StreamClosedError:
            self.client_gone()
        except Exception as cause:
            # Border: a file that cannot be read ends this response and nothing else.
            error = cause
        finally:
            self.close_result(wrapper)
        if not self.gone:
            self._finished(error)

    def fail(self, error: BaseException) -> None:
        """The application has raised, or broken a rule: 500, or a cut connection where the head is out."""
        if self._over:
            return
        app_log.error(
            "%s: uncaught exception in the application",
            self._summary(),
            exc_info=(type(error), error, error.__traceback__),
        )
        self._refuse(500)

    def _refuse(self, status: int, **fields: str) -> None:
        """Answer with an error of ours, unless the application's answer has begun."""
        if self._over:
            return
        if self.status:
            self.exchange.abort_response()
        else:
            self.status = status
            reason = responses.get(status, "Unknown")
            body = f"{status} {reason}\n".encode()
            headers = HTTPHeaders(
                {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
            )
            for name, value in fields.items():
                headers[name.replace("_", "-")] = value
            self.exchange.respond(status, reason, headers, body)
        self._end()

    def client_gone(self) -> None:
        """The client has gone; called on the loop."""
        self.gone = True
        if not self._over:
            # It may have closed its side only: nobody else would end the connection.
            self.exchange.abort_response()
            self._end()

    def _end(self) -> None:
        """The request is over for the client; the application may still run."""
        if self._over:
            return
        self._over = True
        self.exchange.set_close_callback(None)
        self.container.ended(self)

    def release(self) -> None:
        """The application has ended: give back what was its."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
        self.environ = {}

    def close_result(self, result: Any) -> None:
        """Call the ``close`` of what the application has returned, if it has one."""
        close = getattr(result, "close", None)
        if close is None:
            return
        try:
            self.context.copy().run(close)
        except BaseException as error:
            # Border: the response is out, so nobody but the log can be told.
            app_log.error("%s: uncaught exception in close()", self._summary(), exc_info=error)

    def early_hints(self, headers: Iterable[tuple[str, str]]) -> None:
        """``wsgi.early_hints`` of the environ: send 103 Early Hints (RFC 8297) before the response.

        :raises ApplicationError: a header cannot be sent, or the response has begun.
        """
        if self.start.sent:
            raise ApplicationError("early hints come before the response")
        hints = HTTPHeaders()
        for name, value in headers:
            try:
                hints.add(name, value)
            except Exception as error:
                # Border: whatever stands in an application's list becomes one error that says so.
                raise ApplicationError(f"no header: {name!r}: {error}") from None
        self._hint(hints)

    def _hint(self, hints: HTTPHeaders) -> None:
        if not self._over:
            self.exchange.send_informational(103, hints)

    def client_disconnected(self) -> bool:
        """``webfw.client_disconnected`` of the environ: whether the client has gone."""
        return self.gone

    def _summary(self) -> str:
        return f"{self.request.method} {self.request.uri} ({self.request.remote_ip})"


def whole(result: Any) -> bytes | None:
    """The body of a result that is there already; None for one that must be iterated."""
    kind = type(result)
    if kind is list or kind is tuple:
        if len(result) == 1:
            return result[0] if type(result[0]) is bytes else None
        for chunk in result:
            if type(chunk) is not bytes:
                return None
        return b"".join(result)
    return None


def check_result(result: Any) -> None:
    """Refuse what no application may return.

    :raises ApplicationError: None, a str, or something that cannot be iterated.
    """
    if isinstance(result, str) or not isinstance(result, Iterable):
        raise ApplicationError(
            f"the application must return an iterable of bytes, not {type(result).__name__}"
        )


class InlineRun(Run):
    """A request run on the loop, for applications that never block."""

    __slots__ = ()

    def execute(self) -> None:
        """Call the application, and answer as far as that goes at once."""
        try:
            result = self.context.run(self.container.wsgi_application, self.environ, self.start)
            check_result(result)
        except BaseException as error:
            # Border: whatever an application raises becomes a response.
            self.fail(error)
            self.release()
            return
        body = whole(result)
        if body is not None and not self.start.sent:
            self._answer(body, result)
            return
        if type(result) is FileWrapper and not self.start.sent:
            extent = result.extent()
            if extent is not None and self.start.status is not None:
                self._send_file(result, extent)
                self.release()
                return
        task = start(asyncio.get_running_loop(), self._stream(result), self.context)
        self.container.keep(task)

    def _answer(self, body: bytes, result: Any) -> None:
        try:
            self._check_started()
            self._send_whole(body)
        except Exception as error:
            # Border: what an application gives may not be sendable.
            self.fail(error)
        if type(result) is not list:
            self.close_result(result)
        self.release()

    async def _stream(self, result: Iterable[bytes]) -> None:
        try:
            for chunk in result:
                if self.gone:
                    return
                sent = self._emit(chunk) if chunk or not self.start.sent else DONE
                if sent is not DONE:
                    await sent
            if not self.start.sent:
                self._check_started()
                self._begin()
            if not self.gone:
                self._finished(None)
        except StreamClosedError:
            self.client_gone()
        except BaseException as error:
            # Border: whatever an application raises becomes a response, or a cut connection.
            self.fail(error)
        finally:
            self.close_result(result)
            self.release()

    def _begin(self) -> None:
        self._check_started()
        self.start.sent = True
        self._left = self.start.length
        self._send_head()

    def _emit(self, chunk: Any) -> Any:
        if not isinstance(chunk, bytes):
            self._fit(chunk)
        if not chunk:
            return DONE
        if not self.start.sent:
            self._begin()
        chunk = self._fit(chunk)
        return self.exchange.write(chunk) if chunk else DONE

    def _write(self, data: bytes) -> None:
        if self.gone:
            raise ClientDisconnected("the client has gone")
        self._emit(data)


class ThreadRun(Run):
    """A request run in a thread, which is free again when the response is in the outlet."""

    __slots__ = ("_outlet", "deadline", "thread")

    def __init__(
        self,
        container: "WSGIContainer",
        exchange: Exchange,
        request: HTTPServerRequest,
        context: Context,
        body: "BodyCollector | None",
    ) -> None:
        super().__init__(container, exchange, request, context, body)
        self._outlet: Outlet | None = None
        self.thread: threading.Thread | None = None
        #: For the sweep, in the loop's time.
        self.deadline = inf

    # In the thread.

    def execute(self) -> None:
        """Run the application from beginning to end."""
        if not self.gone:
            self.context.run(self._execute)
        self.container.mailbox.post(self.release)

    def _execute(self) -> None:
        post = self.container.mailbox.post
        result: Any = None
        kept = False
        try:
            result = self.container.wsgi_application(self.environ, self.start)
            check_result(result)
            body = whole(result)
            if body is not None and len(body) <= MEMORY and not self.start.sent:
                self._check_started()
                post(partial(self._send_whole_safely, body))
                return
            if type(result) is FileWrapper and not self.start.sent and self.start.status is not None:
                extent = result.extent()
                if extent is not None:
                    kept = True
                    post(partial(self._send_file, result, extent))
                    return
            if body is not None and not self.start.sent and self.start.length is None:
                self._check_started()
                if not self.start.bodiless:
                    self.start.headers["Content-Length"] = str(len(body))
                    self.start.length = len(body)
            for chunk in result:
                if chunk or not isinstance(chunk, bytes):
                    self._write(chunk)
                if self.gone:
                    break
            if not self.start.sent:
                self._begin()
            assert self._outlet is not None
            self._outlet.complete()
        except ClientDisconnected:
            pass
        except BaseException as error:
            # Border: whatever an application raises becomes a response, or a cut connection.
            post(partial(self.fail, error))
        finally:
            if not kept:
                self.close_result(result)

    def _begin(self) -> None:
        self._check_started()
        self.start.sent = True
        self._left = self.start.length
        self._outlet = Outlet(
            self.exchange, self.container.mailbox.post, self._finished, self.container.max_response_backlog
        )
        self.container.mailbox.post(self._send_head_safely)

    def _write(self, data: bytes) -> None:
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if not isinstance(data, bytes):
            self._fit(data)
        if not data:
            return
        if not self.start.sent:
            self._begin()
        data = self._fit(data)
        if data:
            assert self._outlet is not None
            self._outlet.put(data)

    def _hint(self, hints: HTTPHeaders) -> None:
        self.container.mailbox.post(partial(super()._hint, hints))

    # On the loop.

    def _send_whole_safely(self, body: bytes) -> None:
        if self._over:
            return
        try:
            self._send_whole(body)
        except Exception as error:
            # Border: what an application gives may not be sendable.
            self.fail(error)

    def _send_head_safely(self) -> None:
        if self._over:
            return
        try:
            self._send_head()
        except Exception as error:
            # Border: what an application gives may not be sendable.
            self.fail(error)

    def _send_file(self, wrapper: FileWrapper, extent: tuple[int, int]) -> None:
        if self._over:
            self.close_result(wrapper)
            return
        super()._send_file(wrapper, extent)

    def _end(self) -> None:
        if not self._over:
            super()._end()
            if self._outlet is not None:
                self._outlet.close()

    def deadline_passed(self, now: float) -> None:
        """The application has taken too long: 504, and another thread in place of the one that is stuck in it."""
        self.deadline = inf
        thread = self.thread
        where = f"; it was here:\n{stack_of(thread)}" if thread is not None else ", before a thread was free"
        app_log.error("%s: not answered in time%s", self._summary(), where)
        self.gone = True
        if thread is not None:
            self.container.replace(thread)
        self._refuse(504)
