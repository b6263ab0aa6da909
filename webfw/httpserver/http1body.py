"""One request's body on its way in: decoded, unpacked, counted, timed and handed on; no connection may enter."""

import sys
from collections.abc import Awaitable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any

from webfw.httpserver.exchange import DONE
from webfw.sansio.decompress import Decoder, decoder_for
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, Length

if TYPE_CHECKING:
    from webfw.httpserver.http1exchange import Http1Exchange
    from webfw.httpserver.limits import Limits

__all__ = ["RequestBody", "inflate_of"]

#: Content codings of a request body that ``decompress_request`` undoes.
_REQUEST_CODINGS = ("gzip", "x-gzip", "deflate")


def inflate_of(exchange: "Http1Exchange") -> Decoder | None:
    """The decoder for a request's body that came compressed; its fields are changed to say so.

    It has no ceiling of its own: what it gives is counted against the limit of the request, which may change.
    """
    request = exchange.request
    assert request is not None
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in _REQUEST_CODINGS:
        return None
    del request.headers["Content-Encoding"]
    request.headers["X-Consumed-Content-Encoding"] = coding
    return decoder_for(coding, sys.maxsize)


class RequestBody:
    """The body of one request.

    :ivar max_size: bytes it may have after decoding; more raises `RemoteProtocolError` with status 413.
    :ivar timeout: seconds the whole may take from `begin` on, 0 for any time.
    """

    __slots__ = (
        "_begun_at",
        "_chunk_size",
        "_decoder",
        "_exchange",
        "_grace",
        "_inflate",
        "_paused_at",
        "_pieces",
        "_rate",
        "_window_at",
        "_window_bytes",
        "max_size",
        "timeout",
    )

    def __init__(self, exchange: "Http1Exchange", limits: "Limits", inflate: Decoder | None) -> None:
        head = exchange.head
        self._exchange = exchange
        self._decoder: Length | Chunked = Chunked() if head.chunked else Length(head.content_length or 0)
        self._inflate = inflate
        self._chunk_size = limits.chunk_size
        self._rate = limits.min_body_rate
        self._grace = limits.body_grace
        self._pieces: Iterator[bytes] | None = None
        self._window_bytes = 0
        self._begun_at = self._window_at = self._paused_at = inf
        self.max_size = limits.max_body_size
        self.timeout = limits.body_timeout

    @property
    def done(self) -> bool:
        """Whether the body has ended and all of it was handed on."""
        return self._decoder.done and self._pieces is None

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """The fields behind a chunked body."""
        decoder = self._decoder
        return decoder.trailers if isinstance(decoder, Chunked) else []

    def is_short(self, size: int) -> bool:
        """Whether at most ``size`` bytes are still to come, as far as that is known."""
        return isinstance(self._decoder, Length) and self._decoder.remaining <= size

    # What arrives.

    def receive(self, data: bytes | bytearray) -> tuple[Awaitable[Any] | None, int]:
        """Take bytes, and hand on what comes out, until the sink wants to be waited for.

        :returns: what to wait for, if anything, and how many bytes of ``data`` were taken.  After the wait, call it
            again with the rest, even if there is none.
        :raises RemoteProtocolError: the body is malformed or too large.
        """
        if self._pieces is not None:
            wait = self._hand_on(self._pieces)
            if wait is not None:
                return wait, 0
        decoder = self._decoder
        window = self._chunk_size
        size = len(data)
        used = 0
        while used < size and not decoder.done:
            part = data if size <= window and not used else data[used : used + window]
            payload, taken = decoder.receive(part if type(part) is bytes else bytes(part), 0)
            used += taken
            self._window_bytes += taken
            if payload:
                wait = self._take(payload)
                if wait is not None:
                    return wait, used
        return None, used

    def end(self) -> None:
        """The last byte has been taken.

        :raises RemoteProtocolError: the compressed data inside is cut short.
        """
        if self._inflate is not None and not self._exchange.complete:
            self._inflate.finish()

    def _take(self, payload: bytes) -> Awaitable[Any] | None:
        exchange = self._exchange
        if exchange.complete:  # answered already: what still comes is dropped
            return None
        if self._inflate is not None:
            self._pieces = self._unpacked(self._inflate, payload)
            return self._hand_on(self._pieces)
        self._count(payload)
        if exchange.sink is None:
            return None
        wait = exchange.sink.data_received(payload)
        return None if wait is DONE else wait

    def _unpacked(self, inflate: Decoder, payload: bytes) -> Iterator[bytes]:
        """What a piece unpacks to, as little at once as a sink shall get."""
        size = self._chunk_size
        for piece in inflate.slices(payload):
            if len(piece) <= size:
                yield piece
            else:
                for begin in range(0, len(piece), size):
                    yield piece[begin : begin + size]

    def _hand_on(self, pieces: Iterator[bytes]) -> Awaitable[Any] | None:
        exchange = self._exchange
        for piece in pieces:
            self._count(piece)
            if exchange.sink is not None:
                wait = exchange.sink.data_received(piece)
                if wait is not None and wait is not DONE:
                    return wait
            if exchange.complete:
                break
        self._pieces = None
        return None

    def _count(self, piece: bytes) -> None:
        exchange = self._exchange
        exchange.bytes_received += len(piece)
        if exchange.bytes_received > self.max_size:
            raise RemoteProtocolError("the body is too large", 413)

    # How long it takes.

    def begin(self, now: float) -> None:
        """Let the deadlines run from ``now`` on."""
        self._begun_at = self._window_at = now

    def pause(self, now: float) -> None:
        """The application is what we wait for; that is not the client's time."""
        self._paused_at = now

    def resume(self, now: float) -> None:
        """The application has taken what it was given."""
        self._begun_at += now - self._paused_at
        self._window_at += now - self._paused_at

    def set_timeout(self, timeout: float, now: float) -> None:
        """Give the body ``timeout`` seconds from now on, or from its beginning if that is to come; 0 for any time."""
        self.timeout = timeout + max(now - self._begun_at, 0.0) if timeout else 0.0

    def deadline(self) -> float:
        """When to look again at how fast the body comes."""
        end = self._begun_at + self.timeout if self.timeout else inf
        return min(end, self._window_at + self._grace) if self._rate else end

    def is_late(self, now: float) -> bool:
        """Whether the body takes too long.

        The rate is that of the last ``body_grace`` seconds, not that of the whole body: else a client that sends
        much at first could rest for hours on it, and what it sent would be held in memory for as long.
        """
        if self.timeout and now >= self._begun_at + self.timeout:
            return True
        passed = now - self._window_at
        if self._rate and passed >= self._grace:
            if self._window_bytes < self._rate * passed:
                return True
            self._window_at = now
            self._window_bytes = 0
        return False
