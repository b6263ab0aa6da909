"""`wsgi.file_wrapper` (PEP 3333): a file that the server may send without the application; sending may not enter."""

import os
import stat
from collections.abc import Iterator
from typing import Any

__all__ = ["FileWrapper"]


class FileWrapper:
    """What an application returns to have a file sent: an iterable of its blocks, and more than that to the server.

    :param filelike: has ``read``; what comes from its present position on is sent.
    :param blksize: bytes of a block, for middleware that iterates.
    """

    def __init__(self, filelike: Any, blksize: int = 64 * 1024) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.blksize), b"")

    def extent(self) -> tuple[int, int] | None:
        """Where the rest of the file begins and how many bytes it has; None for what is no regular file."""
        try:
            descriptor = self.filelike.fileno()
            offset = self.filelike.tell()
            status = os.fstat(descriptor)
        except (AttributeError, OSError, ValueError):  # no file of the system's
            return None
        if not stat.S_ISREG(status.st_mode) or not isinstance(offset, int):
            return None
        return offset, max(0, status.st_size - offset)
