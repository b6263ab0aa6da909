"""`Exchange` as ASGI has it: what handlers write, as messages for the host; no bytes of HTTP may enter."""

import asyncio
import os
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, BinaryIO

from webfw.asgi.adapterhost import HostSide, Message, close_future
from webfw.httpserver.exchange import DONE, Upgraded
from webfw.httpserver.sendfile import READ_PIECE, read_piece
from webfw.httputil import HTTPHeaders, HTTPOutputError
from webfw.httputil.serverfields import SERVER
from webfw.ioloop import deadlines
from webfw.iostream import IOStream, StreamClosedError
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1 import encode_head, encode_last_chunk, status_line

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["AdaptedExchange"]

#: Bytes of a response that may wait for the host before writing waits.
HIGH_WATER = 64 * 1024

#: Fields that HTTP/2 and later forbid (RFC 9113 section 8.2.2).
_OF_HTTP_1 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade"})

#: The Server that responses have unless they are given another: it is not who serves them here.
_OWN_SERVER = SERVER.encode()


class AdaptedExchange(HostSide):
    """See `Exchange`; what is not there is said at each method.  Reason phrases get lost: ASGI knows none."""

    __slots__ = ()

    # The answer, whole.

    def respond(self, status: int, reason: str, headers: HTTPHeaders, body: bytes) -> None:
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        if not self._open:  # the client has gone, or been refused: nobody is there to be answered
            self.begun = self.complete = True
            self.status = status
            return
        self._messages.append(self._head_message(status, reason, headers))
        self.begun = self.complete = self._ended = True
        self.status = status
        if body and self.head.method != "HEAD":
            self.bytes_sent = self._pending = len(body)
            self._chunks.append(body)
        self._done()

    def _head_message(self, status: int, reason: str, headers: HTTPHeaders, **more: Any) -> Message:
        """The message that starts a response.

        :raises LocalProtocolError: a field would break the protocol.
        """
        return {
            "type": f"{self.kind}.start",
            "status": status,
            "headers": self._fields(status, reason, headers),
            **more,
        }

    def _fields(self, status: int, reason: str, headers: HTTPHeaders) -> list[tuple[bytes, bytes]]:
        """The fields of a response, encoded and checked as they would be for a wire of our own."""
        drop = self._adapter.hosts_own
        if not self.head.version.startswith("HTTP/1."):
            drop |= _OF_HTTP_1
        if status in (101, 204):  # RFC 9110 section 8.6
            drop |= {b"content-length"}
        pairs = []
        for line in encode_head(status_line(status, reason), headers.fields()).split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b": ")
            name = name.lower()
            if name not in drop and not (name == b"server" and value == _OWN_SERVER):
                pairs.append((name, value))
        return pairs

    def _done(self) -> None:
        # Each of them may refer back to this exchange.
        self.request = None
        self.sink = None
        self._close_callback = None
        self._notify()

    # The answer, piece by piece.

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "Future[None]":
        status, reason = start_line.code, start_line.reason
        if 100 <= status < 200 and status != 101:
            self.send_informational(status, headers)
            return DONE  # type: ignore[return-value]
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        if status == 101:
            raise HTTPOutputError("the ASGI host does not give its connection to another protocol")
        if not self._open:
            self.begun = True
            self.status = status
            return self._nobody_there()
        length = headers.get("Content-Length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise HTTPOutputError(f"Content-Length is no number: {length[:40]!r}")
        bodiless = self.head.method == "HEAD" or status in (204, 304)
        self._left = 0 if bodiless else None if length is None else int(length)
        message = self._head_message(status, reason, headers)
        if length is None and not bodiless and self._has_extension("http.response.trailers"):
            # A host must know beforehand: they are there already, or have been announced (RFC 9110 section 6.6.2).
            self._wants_trailers = message["trailers"] = bool(self._trailers) or "Trailer" in headers
        self._messages.append(message)
        self.begun = True
        self.status = status
        if chunk and self.head.method != "HEAD":
            return self._put(chunk)
        self._notify()
        return DONE  # type: ignore[return-value]

    def _has_extension(self, name: str) -> bool:
        return name in (self.scope.get("extensions") or ())

    def _put(self, chunk: bytes) -> "Future[None]":
        """Have a piece of the body sent."""
        self._count(len(chunk))
        self._chunks.append(chunk)
        self._pending += len(chunk)
        self._notify()
        return DONE if self._pending <= HIGH_WATER else self._room()  # type: ignore[return-value]

    def _count(self, size: int) -> None:
        """Count bytes of the body against the announced length."""
        if self._left is not None:
            if size > self._left:
                self.abort_response()
                raise HTTPOutputError("more was written than Content-Length announced")
            self._left -= size
        self.bytes_sent += size

    def _room(self) -> "Future[None]":
        """A future of the host having taken enough."""
        future = self._loop.create_future()
        if self._waiters is None:
            self._waiters = [future]
        else:
            self._waiters.append(future)
        return future

    def _nobody_there(self) -> "Future[None]":
        gone = self._loop.create_future()
        close_future(gone)
        return gone

    def write(self, chunk: bytes) -> "Future[None]":
        if not self.begun or self.complete:
            raise HTTPOutputError("write between write_headers and finish only")
        if not chunk or self.head.method == "HEAD":
            return DONE  # type: ignore[return-value]
        if not self._open:
            return self._nobody_there()
        return self._put(bytes(chunk))

    def finish(self) -> None:
        if self.complete:
            return
        if not self.begun:
            raise HTTPOutputError("finish before write_headers")
        if not self._open:
            self.complete = True
            return
        if self._left:
            left = self._left
            self.abort_response()
            raise HTTPOutputError(f"{left} bytes less were written than Content-Length announced")
        if self._trailers:
            try:
                encode_last_chunk(self._trailers)  # only to have them checked
            except LocalProtocolError:
                self.abort_response()
                raise
        self.complete = self._ended = True
        self._done()

    def set_trailers(self, trailers: Iterable[tuple[str, str]]) -> None:
        self._trailers = tuple(trailers)

    def send_informational(self, status: int, headers: HTTPHeaders) -> None:
        if not 100 <= status < 200 or status == 101:
            raise HTTPOutputError(f"{status} is no interim status")
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        # It is the only one that ASGI knows of.
        if status == 103 and self._open and self._has_extension("http.response.early_hint"):
            links = [value for name, value in self._fields(103, "Early Hints", headers) if name == b"link"]
            self._messages.append({"type": f"{self.kind}.early_hint", "links": links})
            self._notify()

    async def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        if not self.begun or self.complete:
            raise HTTPOutputError("sendfile between write_headers and finish only")
        if self.head.method == "HEAD":
            return
        if not self._open:
            raise StreamClosedError()
        if self._left is None:
            raise HTTPOutputError("sendfile needs a Content-Length")
        whole = not self.bytes_sent and self._left == count
        path = (
            _path_of(file, offset, count) if whole and self._has_extension("http.response.pathsend") else None
        )
        try:
            if path is None:
                await self._send_pieces(file, offset, offset + count)
            else:
                self._count(count)
                self._path = path
                self._notify()
                await self._room()
        except BaseException:
            # Also when cancelled: the client must not take what comes next for the rest of the file.
            self.abort_response()
            raise

    async def _send_pieces(self, file: BinaryIO, offset: int, end: int) -> None:
        while offset < end:
            piece = await self._loop.run_in_executor(
                None, read_piece, file, min(READ_PIECE, end - offset), offset
            )
            if not piece:
                raise OSError("the file is shorter than announced")
            offset += len(piece)
            await self.write(piece)

    def abort_response(self) -> None:
        was_open, self.complete = self._open and not self.complete, True
        if was_open:
            self._cut_off()

    # The request.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._close_callback = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        if self._body is not None:
            self._body.max_size = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        if self._body is not None:
            self._body.set_timeout(timeout, deadlines.for_loop(self._loop).refresh())
            if self.deadline != inf:
                self.deadline = self._body.deadline()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def server_connection(self) -> object:
        return self  # which connection carries it, only the host knows

    @property
    def stream(self) -> "HostStream | None":
        """What programs ask of Tornado's ``request.connection.stream``."""
        return HostStream(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername`` and ``sockname``, as far as the host tells; it has no socket for us."""
        address = self.scope.get({"peername": "client", "sockname": "server"}.get(name, ""))
        return default if address is None else tuple(address)

    def detach(self) -> IOStream:
        """Not to be had.

        :raises RuntimeError: always.
        """
        raise RuntimeError("the ASGI host does not give its connection away")

    def hand_over(self, consumer: Upgraded) -> None:
        """Not to be had.

        :raises RuntimeError: always.
        """
        raise RuntimeError("the ASGI host does not give its connection away")


class HostStream:
    """As much of a stream as there is where the connection is the host's: whether the client is there."""

    __slots__ = ("_exchange",)

    socket = None

    def __init__(self, exchange: AdaptedExchange) -> None:
        self._exchange = exchange

    @property
    def closing(self) -> bool:
        """Whether the client is gone, or the request over."""
        return not self._exchange._open

    def closed(self) -> bool:
        """Whether the client is gone, or the request over."""
        return self.closing

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: it is the host's socket."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `AdaptedExchange.get_extra_info`."""
        return self._exchange.get_extra_info(name, default)


def _path_of(file: BinaryIO, offset: int, count: int) -> str | None:
    """The path of a file that is to be sent whole, None where there is none that leads to just that file."""
    name = getattr(file, "name", None)
    if offset or not isinstance(name, str):
        return None
    path = os.path.abspath(name)
    try:
        opened, found = os.fstat(file.fileno()), os.stat(path)
    except OSError:
        return None
    same = (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino)
    return path if same and opened.st_size == count else None
