"""What can go wrong with a request of ours, as its sender sees it; how it is sent may not enter."""

from typing import TYPE_CHECKING

from webfw.httputil import responses
from webfw.iostream import StreamClosedError

if TYPE_CHECKING:
    from webfw.httpclient.messages import HTTPResponse

__all__ = ["HTTPClientError", "HTTPError", "HTTPStreamClosedError", "HTTPTimeoutError"]


class HTTPClientError(Exception):
    """A request was not answered with success.

    :param code: the status of the response; 599 where there is none, as after a time-out.
    :param message: what happened; by default the registered reason of the status, or "Unknown".
    :param response: the response, if there is one.

    A redirect that is not followed (``follow_redirects=False``) is one too; its ``Location`` is found in
    ``response.headers``.
    """

    def __init__(self, code: int, message: str | None = None, response: "HTTPResponse | None" = None) -> None:
        # Not super(): an OSError, which two classes below are as well, takes such arguments for its own.
        Exception.__init__(self, code, message, response)
        self.code = code
        self.message = message or responses.get(code, "Unknown")
        self.response = response

    def __str__(self) -> str:
        return f"HTTP {self.code}: {self.message}"

    __repr__ = __str__


#: The name it had first, which `webfw.web.HTTPError` has too.
HTTPError = HTTPClientError


class HTTPTimeoutError(HTTPClientError, TimeoutError):
    """The time for a request was over; a `TimeoutError`, and for programs that ask for a status one with 599.

    :param message: what was waited for.
    """

    def __init__(self, message: str) -> None:
        super().__init__(599, message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type["HTTPTimeoutError"], tuple[str]]:
        return type(self), (self.message,)


class HTTPStreamClosedError(HTTPClientError, StreamClosedError):
    """The connection was closed before the whole response was there; for programs that ask for a status one with 599.

    :param message: where it happened.
    :param real_error: why it was closed, if not in an orderly way.
    """

    def __init__(self, message: str, real_error: BaseException | None = None) -> None:
        super().__init__(599, message)
        self.real_error = real_error

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type["HTTPStreamClosedError"], tuple[str, BaseException | None]]:
        return type(self), (self.message, self.real_error)
