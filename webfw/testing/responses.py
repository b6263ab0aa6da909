"""Responses as a test client gets them, whole or piece by piece; requests may not enter."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from webfw.httpclient import HTTPRequest, HTTPResponse, HTTPStreamClosedError
from webfw.httputil import HTTPHeaders
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import (
    BodyDecoder,
    Chunked,
    HeadLimits,
    Length,
    ResponseHead,
    UntilClose,
    parse_response_head,
)
from webfw.sansio.parameters import parse_parameters
from webfw.testing.memory import MemoryWire

__all__ = ["ClientResponse", "ResponseReader", "StreamedResponse"]

_LIMITS = HeadLimits(max_header_size=1024 * 1024, max_fields=10_000)
#: Bytes of a body that are kept for a test that does not read them; then reading pauses.
READ_AHEAD = 64 * 1024


class ClientResponse(HTTPResponse):
    """An `HTTPResponse` with what tests ask for often.

    :ivar history: the redirects that led here, the first one first.
    """

    history: "tuple[ClientResponse, ...]" = ()

    @property
    def text(self) -> str:
        """The body as text, in the charset of its Content-Type, UTF-8 by default.

        :raises UnicodeDecodeError: it is not in that charset.
        :raises LookupError: there is no such charset.
        """
        parameters = parse_parameters(self.headers.get("Content-Type", ""))[1]
        return self.body.decode(parameters.get("charset", "utf-8"))

    def json(self) -> Any:
        """The body, decoded as JSON.

        :raises ValueError: it is none.
        """
        return json.loads(self.body)


class ResponseReader:
    """The consumer of a client's end of a connection; it reads one response.

    :param method: of the request, on which the framing of the response depends.
    :param whole: keep the whole body; otherwise reading pauses where too much is kept.
    :ivar head: None until it has come.
    :ivar done: whether the response is complete.
    """

    __slots__ = (
        "_chunks",
        "_decoder",
        "_error",
        "_kept",
        "_method",
        "_paused",
        "_room",
        "_seen",
        "_tail",
        "_waiter",
        "_whole",
        "done",
        "head",
        "wire",
    )

    def __init__(self, wire: MemoryWire, method: str, *, whole: bool) -> None:
        self.wire = wire
        self.head: ResponseHead | None = None
        self.done = False
        self._method = method
        self._whole = whole
        self._tail = b""
        self._seen = 0
        self._decoder: BodyDecoder | None = None
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        wire.consumer = self

    # What the wire calls.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the wire (the `Consumer` interface)."""
        if self._decoder is None:
            self._tail += data
        try:
            if self._decoder is None:
                data = self._read_head()
            if data and self._decoder is not None:
                self._read_body(data)
        except RemoteProtocolError as error:
            self._error = HTTPStreamClosedError(f"The server has sent no proper response: {error}", error)
            self.wire.abort()
        self._wake()

    def _read_head(self) -> bytes:
        """Look for the head in what has come; return what stands behind it."""
        start = 0
        while (head := parse_response_head(self._tail, start, self._seen, _LIMITS, self._method)) is not None:
            self._seen = start = head.end
            if head.status >= 200 or head.upgrade:
                self._begin(head)
                rest, self._tail = self._tail[start:], b""
                return rest
            # An interim response (RFC 9110 section 15.2); the one that counts is still to come.
        self._tail = self._tail[start:]
        self._seen = len(self._tail)
        return b""

    def _begin(self, head: ResponseHead) -> None:
        self.head = head
        if head.chunked:
            self._decoder = Chunked()
        elif head.until_close:
            self._decoder = UntilClose()
        else:
            self._decoder = Length(head.content_length or 0)
        self.done = self._decoder.done

    def _read_body(self, data: bytes) -> None:
        assert self._decoder is not None
        if self.done:
            raise RemoteProtocolError("there is more than the response")
        piece, used = self._decoder.receive(data, 0)
        if piece:
            self._chunks.append(piece)
            self._kept += len(piece)
            if self._kept > READ_AHEAD and not self._whole:
                self._paused = True
                self.wire.pause_reading()
        self.done = self._decoder.done
        if used < len(data):
            raise RemoteProtocolError("there is more than the response")

    def eof_received(self) -> bool:
        """The server has closed the connection (the `Consumer` interface)."""
        if not self.done and self._error is None:
            if isinstance(self._decoder, UntilClose):
                self.done = True
            else:
                self._cut(None)
            self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone (the `Consumer` interface)."""
        if not self.done and self._error is None:
            self._cut(exc)
        self._wake()
        self.resume_writing()

    def resume_writing(self) -> None:
        """The server has taken enough of the request (the `Consumer` interface)."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    async def room(self) -> None:
        """Wait until the server has taken enough of the request, or is gone."""
        if self.wire.write_paused and not self.wire.closing:
            self._room = self.wire.loop.create_future()
            await self._room

    def _cut(self, error: Exception | None) -> None:
        where = "before there was a response" if self.head is None else "in the middle of the response"
        self._error = HTTPStreamClosedError(f"The server has closed the connection {where}", error)

    # What the client calls.

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _something(self) -> None:
        """Wait until something has happened; one task at a time."""
        self._waiter = self.wire.loop.create_future()
        await self._waiter

    async def get_head(self) -> ResponseHead:
        """Wait for the head.

        :raises HTTPStreamClosedError: there is none.
        """
        while self.head is None:
            if self._error is not None:
                raise self._error
            await self._something()
        return self.head

    async def get_chunk(self) -> bytes:
        """Wait for the next piece of the body; empty at its end.

        :raises HTTPStreamClosedError: the body is cut.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.done:
                return b""
            await self._something()
        piece = self._chunks.popleft()
        self._kept -= len(piece)
        if self._paused and self._kept <= READ_AHEAD // 2:
            self._paused = False
            self.wire.resume_reading()
        return piece

    async def get_body(self) -> bytes:
        """Wait for the rest of the body.

        :raises HTTPStreamClosedError: it is cut.
        """
        pieces = []
        while piece := await self.get_chunk():
            pieces.append(piece)
        return b"".join(pieces)


class StreamedResponse:
    """A response that is read as it comes; see `Client.stream`.

    It is an asynchronous iterator of the pieces of the body, as they come out of the connection: how the handler has
    flushed them is not kept where two come at once.

    :ivar request: the request.
    :ivar code: the status.
    :ivar reason: the reason phrase.
    :ivar headers: the fields.
    """

    def __init__(
        self, request: HTTPRequest, head: ResponseHead, reader: ResponseReader, timeout: float | None
    ) -> None:
        self.request = request
        self.code = head.status
        self.reason = head.reason
        self.headers = HTTPHeaders.from_fields(head.fields)
        self._reader = reader
        self._timeout = timeout

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read_chunk()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def read_chunk(self) -> bytes:
        """Wait for the next piece of the body; empty at its end.

        :raises TimeoutError: none has come within the client's ``timeout``.
        :raises HTTPStreamClosedError: the body is cut.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._reader.get_chunk()
        except TimeoutError:
            message = f"{self.request.url} has sent nothing within {self._timeout} seconds"
            raise TimeoutError(message) from None

    async def read(self) -> bytes:
        """Wait for the rest of the body; errors are those of `read_chunk`."""
        pieces = [piece async for piece in self]
        return b"".join(pieces)

    async def lines(self) -> AsyncIterator[str]:
        """The body line by line, as UTF-8 and without line ends; for event streams and JSON lines."""
        held = b""
        async for piece in self:
            *lines, held = (held + piece).split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r").decode("utf-8")
        if held:
            yield held.decode("utf-8")

    def disconnect(self) -> None:
        """Close the connection, as a client does that has seen enough: the handler is told (`on_connection_close`)."""
        self._reader.wire.close()
