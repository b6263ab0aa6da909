"""Whose fault a protocol error is; nothing else may enter this room.

A `LocalProtocolError` is ours: the application or webfw tried to send what the protocol forbids, and a server answers
500 and logs it.  A `RemoteProtocolError` is the peer's: a server answers with its ``status`` and logs one info line.
"""

__all__ = ["LocalProtocolError", "ProtocolError", "RemoteProtocolError"]


class ProtocolError(Exception):
    """The rules of a protocol were broken; see the two subclasses for by whom."""


class LocalProtocolError(ProtocolError):
    """This side tried to send something the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow.

    :param message: what was wrong, short and fit to be sent back to the peer in a plain body.
    :param status: the HTTP status a server should answer with (400 to 599).
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
