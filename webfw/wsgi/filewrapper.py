"""`wsgi.file_wrapper` (PEP 3333): a file that the server may send without the application; sending may not enter."""

import io
import os
import stat
from inspect import unwrap
from typing import Any, BinaryIO

__all__ = ["FileWrapper"]


class FileWrapper:
    """What an application returns to have a file sent: an iterator of its blocks, and more than that to the server.

    :param filelike: has ``read``; what comes from its present position on is sent.
    :param blksize: bytes of a block, for middleware that iterates.

    It is its own iterator, and passes on ``seek`` and ``tell``: middleware that sends a part of a file keeps
    ``iter(wrapper)``, moves it to the part, and closes it.
    """

    def __init__(self, filelike: Any, blksize: int = 64 * 1024) -> None:
        self.filelike = filelike
        self.blksize = blksize
        for name in ("close", "seek", "tell"):
            if hasattr(filelike, name):
                setattr(self, name, getattr(filelike, name))

    def __iter__(self) -> "FileWrapper":
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.blksize)
        if not block:
            raise StopIteration
        return block

    def seekable(self) -> bool:
        """Whether `seek` may be used."""
        seekable = getattr(self.filelike, "seekable", None)
        return bool(seekable()) if seekable is not None else hasattr(self, "seek")

    def part(self) -> tuple[BinaryIO, int, int] | None:
        """The file again, to be closed by whoever asked, where its rest begins and how many bytes that has.

        So the application may have its own one back before it is sent.  None for what is no regular file.
        """
        if not _reads_its_bytes(self.filelike):
            return None
        try:
            descriptor = self.filelike.fileno()
            offset = self.filelike.tell()
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            again = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        except (AttributeError, OSError, ValueError):  # no file of the system's, or a closed one
            return None
        return again, offset, max(0, status.st_size - offset)


def _reads_its_bytes(filelike: Any) -> bool:
    """Whether ``read`` gives what is in the file: that of a compressed one does not, though it has a ``fileno``."""
    # Wrappers (those of tempfile, of Django) pass on the method of the file within.
    reader = getattr(unwrap(getattr(filelike, "read", None)), "__self__", None)  # type: ignore[arg-type]
    if isinstance(reader, (io.BufferedReader, io.BufferedRandom)):
        reader = reader.raw
    return isinstance(reader, io.FileIO)
