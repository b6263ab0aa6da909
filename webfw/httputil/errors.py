"""What goes wrong with an HTTP message, one class for each side; nothing that parses may enter."""

from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["HTTPInputError", "HTTPOutputError", "RangeNotSatisfiable"]


class HTTPInputError(RemoteProtocolError):
    """The peer sent a malformed message or form.

    :param message: what was wrong, fit to be sent back.
    :param status: the status a server should answer with (400 to 599).
    """

    def __init__(self, message: str = "", status: int = 400) -> None:
        super().__init__(message, status)


class HTTPOutputError(LocalProtocolError):
    """The application tried to send a message that HTTP does not allow."""


class RangeNotSatisfiable(HTTPInputError):
    """No range asked for overlaps the representation (RFC 9110 section 15.5.17): status 416.

    :param size: the length of the representation in bytes, for ``Content-Range: bytes */size``.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"no range lies within the {size} bytes there are", 416)
        self.size = size

    def __reduce__(self) -> tuple[type["RangeNotSatisfiable"], tuple[int]]:
        return type(self), (self.size,)
