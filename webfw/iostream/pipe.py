"""`PipeIOStream`: a stream over one end of a pipe, or another descriptor that can wait; POSIX only."""

import errno
import os
from typing import Any

from webfw.iostream.stream import BaseIOStream

__all__ = ["PipeIOStream"]


class PipeIOStream(BaseIOStream):
    """A stream over a descriptor that is no socket, such as an end of ``os.pipe()``; it can only read or only write.

    :param fd: the descriptor, which from then on belongs to the stream.
    :param args: those of `BaseIOStream`, as are the keyword arguments.
    :raises RuntimeError: this platform cannot wait for pipes.
    """

    def __init__(self, fd: int, *args: Any, **kwargs: Any) -> None:
        if os.name == "nt":
            raise RuntimeError("PipeIOStream needs a POSIX platform")
        self.fd = fd
        os.set_blocking(fd, False)
        super().__init__(*args, **kwargs)

    def fileno(self) -> int:
        return self.fd

    def close_fd(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        try:
            return os.readv(self.fd, [buf])
        except BlockingIOError:
            return None
        except OSError as exc:
            # The writing end of a pipe is watched only to see the reader go, which makes it "readable".
            if exc.errno == errno.EBADF:
                return 0
            raise

    def write_to_fd(self, data: memoryview) -> int:
        return os.write(self.fd, data)
