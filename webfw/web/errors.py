"""What goes wrong in a handler: the exceptions it raises on purpose, and how any exception becomes a response."""

import re
import traceback
from types import TracebackType
from typing import Any, Final

from webfw.escape import xhtml_escape
from webfw.httputil import responses
from webfw.iostream import StreamClosedError
from webfw.log import app_log, gen_log
from webfw.pubsub.broker import BrokerUnavailable
from webfw.sansio.errors import RemoteProtocolError
from webfw.web.state import HandlerState
from webfw.web.tracebacks import traceback_page

__all__ = ["Errors", "Finish", "HTTPError", "MissingArgumentError"]


class HTTPError(Exception):
    """Raised in a handler, becomes a response with that status.

    :param status_code: the status, 200 to 999; one that is not registered is sent with the reason "Unknown".
    :param log_message: what is logged besides the request, as a warning; the client does not get to see it.
        Without one, nothing is logged.
    :param args: put into ``log_message`` with ``%``; where there are none it is taken as it is.
    :param reason: keyword only: the reason phrase in place of the standard one.
    """

    def __init__(
        self, status_code: int = 500, log_message: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        self.status_code = status_code
        self._log_message = log_message
        self.args = args
        self.reason: str | None = kwargs.get("reason")

    @property
    def log_message(self) -> str | None:
        """The message as a format string for ``args``."""
        if self._log_message and not self.args:
            return self._log_message.replace("%", "%%")
        return self._log_message

    def get_message(self) -> str | None:
        """The message with ``args`` put in; one that they do not fit is followed by them."""
        if not self._log_message or not self.args:
            return self._log_message
        try:
            return self._log_message % self.args
        except (TypeError, ValueError, KeyError):
            return f"{self._log_message} {self.args!r}"

    def __str__(self) -> str:
        reason = self.reason or responses.get(self.status_code, "Unknown")
        message = self.get_message()
        return f"HTTP {self.status_code}: {reason}" + (f" ({message})" if message else "")

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args`, which are not its arguments.
        return _remake, (type(self), self.args), self.__dict__


def _remake(kind: type[HTTPError], args: tuple[Any, ...]) -> HTTPError:
    return kind.__new__(kind, *args)


class Finish(Exception):
    """Raised in a handler, ends the request without an error page.

    What has been written so far is sent, with the status that has been set, unless the request is finished already.
    An argument is passed to `RequestHandler.finish`.  `RequestHandler.write_error` is not called and nothing is
    logged.
    """


class MissingArgumentError(HTTPError):
    """Raised by `RequestHandler.get_argument` and its siblings: status 400.

    :ivar arg_name: the name of the argument.
    """

    def __init__(self, arg_name: str) -> None:
        super().__init__(400, f"Missing argument {arg_name}")
        self.arg_name = arg_name


# Control characters could end the line, "<" could be taken for markup by what reads the phrase; latin-1 is what fits
# into a status line.
_UNFIT_REASON: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f<]|[^\x00-\xff]")


def fit_reason(reason: str | None) -> str | None:
    """The reason phrase as it may stand in a status line (RFC 9112 section 4), None for the standard one."""
    if reason is None:
        return None
    if not isinstance(reason, str):
        raise TypeError(f"a reason phrase is text, not {reason!r}")
    reason = reason.strip()
    return "Unknown" if _UNFIT_REASON.search(reason) else reason or None


class Errors(HandlerState):
    """How a handler answers what goes wrong."""

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with an error page, in place of all that has been written so far.

        Where the head of a response has been sent already, the connection is cut instead, so that the client can tell
        that the response is not complete.

        :param status_code: the status, 200 to 999; 500 is sent for anything else.
        :param reason: keyword: the reason phrase.
        :param exc_info: keyword: the exception, as `sys.exc_info` gives it.
        :param kwargs: further ones are for `write_error`, as those are.
        """
        if self._headers_written:
            exception = (kwargs.get("exc_info") or (None, None, None))[1]
            if exception is None or isinstance(
                exception, HTTPError
            ):  # others have been logged: one record is enough
                gen_log.error("Cannot send error response after headers written")
            self._cut()
            return
        if not isinstance(status_code, int) or not 200 <= status_code <= 999:
            app_log.error("%r is no status for a response; 500 is sent instead", status_code)
            status_code = 500
        reason = kwargs.get("reason")
        exception = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(exception, HTTPError) and exception.reason:
            reason = exception.reason
        self.clear()
        self.set_status(status_code, reason=fit_reason(reason))
        if isinstance(exception, BrokerUnavailable):
            self.set_header("Retry-After", 2)
        try:
            self.write_error(status_code, **kwargs)
        except Exception:
            # Border: an error page of the application's own that fails must not keep the client waiting.
            app_log.error("Uncaught exception in write_error", exc_info=True)
        if not self._finished:
            if _has_no_body(self._status_code):
                self._write_buffer = []
            self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the error page; override it for one of your own.

        It may call `write`, `render`, `set_header` and the like; nothing is left of what was written before.

        :param status_code: the status, which has been set.
        :param exc_info: keyword, where an exception is the cause: the three values of `sys.exc_info`, though
            ``sys.exc_info`` itself may say something else at this time.

        With the ``serve_traceback`` setting (part of ``debug``) the page shows the traceback, with the source: as HTML
        where the client's Accept header names that, otherwise as plain text.
        """
        exc_info = kwargs.get("exc_info")
        if _has_no_body(status_code):
            self.finish()
        elif exc_info and exc_info[1] is not None and self.settings.get("serve_traceback"):
            self._write_traceback(exc_info[1])
        else:
            title = f"{status_code}: {xhtml_escape(self._reason)}"
            self.finish(f"<html><title>{title}</title><body>{title}</body></html>")

    def _write_traceback(self, exception: BaseException) -> None:
        self.set_header("Cache-Control", "no-store")
        if "text/html" in self.request.headers.get("Accept", "").lower():
            text = traceback_page(exception, f"{self._status_code}: {self._reason}", self._request_summary())
        else:
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            text = "".join(traceback.format_exception(exception))
        # A path of the file system, or a message, may hold what is no valid Unicode.
        self.finish(text.encode("utf-8", "backslashreplace"))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log an exception that a handler raised; override it to report exceptions elsewhere too.

        `HTTPError` is logged as a warning and without a traceback, if it has a ``log_message``; what the client did
        against the protocol as information, in one line; that the broker is away as an error, in one line; anything
        else as an error of the application, with traceback.
        """
        if isinstance(value, HTTPError):
            if value.log_message:
                gen_log.warning("%d %s: %s", _status_of(value), self._request_summary(), value.get_message())
        elif isinstance(value, RemoteProtocolError):
            gen_log.info("%d %s: %s", value.status, self._request_summary(), value)
        elif isinstance(
            value, BrokerUnavailable
        ):  # of an outage there are many, and the traceback tells nothing
            app_log.error("No broker for %s: %s", self._request_summary(), value)
        elif isinstance(value, StreamClosedError) and self._client_left():
            gen_log.debug("The client left before the response was complete: %s", self._request_summary())
        else:
            app_log.error(
                "Uncaught exception %s\n%r",
                self._request_summary(),
                self.request,
                exc_info=(typ, value, tb) if typ is not None and value is not None else None,
            )

    def _request_summary(self) -> str:
        """The request in a few words, for a line in the log."""
        request = self.request
        return f"{request.method} {request.uri} ({request.remote_ip})"

    def _handle_request_exception(self, e: BaseException) -> None:
        """Turn what a handler raised into a response."""
        if isinstance(e, Finish):
            if not self._finished:
                self.finish(*e.args)
            return
        try:
            self.log_exception(type(e), e, e.__traceback__)
        except Exception:
            # Border: a report of the application's own that fails must not keep the client waiting.
            app_log.error("Error in exception logger", exc_info=True)
        if self._finished:
            return  # the response is complete; there is nothing left but the log
        if isinstance(e, StreamClosedError) and self._client_left():
            self._cut()
            return
        status = 500
        if isinstance(e, HTTPError):
            status = _status_of(e)
        elif isinstance(e, RemoteProtocolError):
            status = e.status
        elif isinstance(e, BrokerUnavailable):
            status = 503
        self.send_error(status, exc_info=(type(e), e, e.__traceback__))

    def _client_left(self) -> bool:
        """Whether the client has closed the connection."""
        stream = getattr(self.request.connection, "stream", None)
        closed = getattr(stream, "closed", None)
        return bool(closed()) if closed is not None else bool(getattr(stream, "closing", False))

    def _cut(self) -> None:
        """End the request without completing the response."""
        if self._finished:
            return
        self._finished = True
        connection = self.request.connection
        abort = getattr(connection, "abort_response", None)
        if abort is not None:
            abort()
        else:  # a connection of another make, which has no other way to end
            connection.finish()
        self.application.log_request(self)  # type: ignore[arg-type]  # this chapter is part of a RequestHandler
        self.on_finish()


def _status_of(error: HTTPError) -> int:
    """The status as a number, also where a program gave it as text."""
    try:
        return int(error.status_code)
    except (TypeError, ValueError):
        return 500


def _has_no_body(status_code: int) -> bool:
    """Whether a response with that status has no content (RFC 9110 section 6.4.1)."""
    return status_code < 200 or status_code in (204, 304)
