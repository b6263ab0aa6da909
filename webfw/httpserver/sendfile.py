"""Files to a socket without copying them through Python; pieces read off the loop where the kernel cannot do it."""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from webfw.iostream import StreamClosedError

if TYPE_CHECKING:
    from webfw.httpserver.http1 import ServerConnection

__all__ = ["emptied", "read_piece", "send_file"]

#: Bytes the kernel is asked to send at once: a slow disk may hold the loop for that long.
KERNEL_PIECE = 1024 * 1024
#: Bytes read at once where the file goes through Python.
READ_PIECE = 64 * 1024


async def send_file(
    conn: "ServerConnection", file: BinaryIO, offset: int, count: int, taken: Callable[[int], None]
) -> None:
    """Send ``count`` bytes of ``file`` from ``offset`` on.

    :param taken: called with the number of bytes whenever the kernel or the transport has taken some.

    On a plain socket ``os.sendfile`` is used for as much as the kernel takes.  When it takes no more, one piece goes
    through the transport, whose back-pressure then says when there is room again: so no descriptor is watched beside
    the transport's own, which uvloop does not allow.

    :raises StreamClosedError: the client went away.
    :raises OSError: the file is shorter than announced, or cannot be read.
    """
    wire = conn.wire
    loop = asyncio.get_running_loop()
    socket = wire.get_extra_info("socket") if wire.get_extra_info("sslcontext") is None else None
    descriptor = socket.fileno() if socket is not None and hasattr(os, "sendfile") else None
    end = offset + count
    while offset < end:
        if wire.closing:
            raise StreamClosedError()
        if descriptor is not None and not wire.write_buffer_size:
            try:
                sent = os.sendfile(descriptor, file.fileno(), offset, min(end - offset, KERNEL_PIECE))
            except BlockingIOError:
                pass
            except OSError as error:
                if isinstance(error, ConnectionError):
                    raise StreamClosedError(error) from error
                descriptor = None
            else:
                if not sent:
                    raise OSError("the file is shorter than announced")
                offset += sent
                taken(sent)
                await asyncio.sleep(0)
                continue
        piece = await loop.run_in_executor(None, read_piece, file, min(READ_PIECE, end - offset), offset)
        if not piece:
            raise OSError("the file is shorter than announced")
        if wire.closing:
            raise StreamClosedError()
        wire.write(piece)
        offset += len(piece)
        taken(len(piece))
        if descriptor is not None or wire.write_paused:
            await emptied(conn)


def read_piece(file: BinaryIO, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)
    return file.read(size)


async def emptied(conn: "ServerConnection") -> None:
    """Wait until the kernel has everything that was written.

    :raises StreamClosedError: the connection is gone.
    """
    wire = conn.wire
    if wire.closing:
        raise StreamClosedError()
    if wire.write_buffer_size:
        wire.transport.set_write_buffer_limits(high=0)
        try:
            while wire.write_paused:
                await conn.stalled()
        finally:
            if not wire.closing:
                wire.transport.set_write_buffer_limits()
