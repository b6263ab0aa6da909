"""A connection of the client: one request at a time out, its response in; who asks and why may not enter.

RFC 9112.  A `Connection` is the consumer of one wire.  It knows whether it can be used for another exchange: not where
the framing of what is on the wire could be in doubt.
"""

import select
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from webfw.iostream import Wire
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

__all__ = ["MAX_INTERIM", "Connection", "Cut", "Receiver"]

#: Interim responses (1xx) before the one that counts.
MAX_INTERIM = 10


class Cut(Exception):
    """The connection ended before the response did.

    :param place: where in the response.
    :param cause: why, if not in an orderly way.
    """

    def __init__(self, place: str, cause: Exception | None) -> None:
        super().__init__(place)
        self.cause = cause


class Receiver(Protocol):
    """Who takes a response."""

    def interim_received(self, head: ResponseHead) -> None:
        """An interim response, such as 100 (RFC 9110 section 15.2)."""

    def head_received(self, head: ResponseHead) -> None:
        """The head of the response."""

    def data_received(self, data: bytes) -> bool:
        """Some of its body; False to get no more of anything before `Connection.resume`."""

    def finished(self) -> None:
        """The response is complete, and the connection is free."""

    def failed(self, error: Exception) -> None:
        """The connection is closed: after a `Cut`, or a `RemoteProtocolError` for what is no response."""

    def resume_writing(self) -> None:
        """There is room for more of the request's body."""


class Connection:
    """One connection to a server.

    :param key: see `webfw.httpclient.pool`.
    :param limits: how large the head of a response may be.
    :param max_body_size: bytes of payload a body may have.
    :param lost: called when the connection ends while it is not in use.
    :ivar receiver: who takes the response, if one is due.
    :ivar reusable: whether another exchange may follow.
    :ivar silent: whether nothing of the response has come.
    :ivar requests: how many exchanges were begun.
    """

    __slots__ = (
        "_decoder",
        "_ended",
        "_error",
        "_interim",
        "_limits",
        "_lost",
        "_max_body_size",
        "_method",
        "_paused",
        "_poll",
        "_seen",
        "_tail",
        "idle_since",
        "key",
        "receiver",
        "requests",
        "reusable",
        "sending",
        "silent",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        key: Hashable,
        limits: HeadLimits,
        max_body_size: int,
        lost: "Callable[[Connection], None]",
    ) -> None:
        self.wire = wire
        self.key = key
        self.idle_since = 0.0
        self.receiver: Receiver | None = None
        self.requests = 0
        self.reusable = True
        self.silent = True
        #: Whether some of the request is still to be written.
        self.sending = False
        self._limits = limits
        self._max_body_size = max_body_size
        self._lost: Callable[[Connection], None] | None = lost
        self._method = ""
        #: The beginning of a head, or, while paused, whatever has come.
        self._tail = b""
        self._seen = 0
        self._interim = 0
        self._decoder: BodyDecoder | None = None
        self._paused = False
        #: Whether the peer has closed its side in an orderly way, and whether the connection is gone (with an error).
        self._ended = False
        self._error: Exception | None = None
        #: Asks the system about the socket (a ``select.poll`` object).
        self._poll: Any = None
        wire.consumer = self

    # What its user does.

    def begin(self, receiver: Receiver, method: str, head: bytes, body: bytes, more: bool) -> None:
        """Send a request.

        :param receiver: takes the response.
        :param method: of the request, on which the framing of the response depends.
        :param head: of the request.
        :param body: what there is of its body.
        :param more: whether the rest of the body is written to the wire later; `sending` is then reset by who does.
        """
        self.receiver = receiver
        self.requests += 1
        self.silent = True
        self.sending = more
        self._method = method
        self._interim = 0
        if len(body) <= 16384:  # one system call, and one record of TLS
            self.wire.write(head + body)
        else:
            self.wire.write(head)
            self.wire.write(body)

    def resume(self) -> None:
        """Go on after `Receiver.data_received` has returned False."""
        if not self._paused:
            return
        self._paused = False
        receiver = self.receiver
        if receiver is None:
            return
        decoder = self._decoder
        if decoder is not None and decoder.done:
            if self._tail:
                self.reusable = False  # bytes behind the response
            self.wire.resume_reading()  # the next response will want it
            self._finish(receiver)
            return
        if self._tail:
            tail, self._tail = self._tail, b""
            self.data_received(tail)
        if self.receiver is receiver and not self._paused:
            if self.wire.closing:
                self._cut(receiver)
            else:
                self.wire.resume_reading()

    def hung_up(self) -> bool:
        """Whether something has come that the loop has not read yet; between exchanges that is no good news."""
        sock = self.wire.socket
        if self.wire.closing or sock is None:
            return True
        try:
            if not hasattr(select, "poll"):  # on such systems select() takes every descriptor
                return bool(select.select([sock.fileno()], [], [], 0)[0])
            if self._poll is None:
                poll = select.poll()
                poll.register(sock.fileno(), select.POLLIN)
                self._poll = poll
            return bool(self._poll.poll(0))
        except (OSError, ValueError):  # closed by now
            return True

    def abort(self) -> None:
        """Close the connection at once; nobody is told."""
        self.receiver = None
        self.reusable = False
        self._lost = None
        # Not close(): under TLS it would wait for the peer's farewell.
        self.wire.abort()

    # The `Consumer` interface.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the wire."""
        receiver = self.receiver
        if receiver is None:
            self._gone()  # who speaks without having been asked is not to be trusted with the next answer
        elif self._paused:
            self._tail += data
        elif self._decoder is not None:
            self._body(receiver, self._decoder, data, 0)
        else:
            self.silent = False
            self._head(receiver, self._tail + data if self._tail else data)

    def eof_received(self) -> bool:
        """The peer has closed its side; `connection_lost` follows."""
        self._ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is gone."""
        self.reusable = False
        self._error = exc
        receiver = self.receiver
        if receiver is None:
            self._gone()
        elif not self._paused:
            self._cut(receiver)

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        if self.receiver is not None:
            self.receiver.resume_writing()

    # Inside.

    def _gone(self) -> None:
        lost = self._lost
        self.abort()
        if lost is not None:
            lost(self)

    def _head(self, receiver: Receiver, data: bytes) -> None:
        at = 0
        seen, self._seen = self._seen, 0
        self._tail = b""
        try:
            while True:
                head = parse_response_head(data, at, max(seen, at), self._limits, self._method)
                if head is None:
                    self._tail = data[at:]
                    self._seen = len(self._tail)
                    return
                if head.status >= 200 or head.status == 101:
                    break
                self._interim += 1
                if self._interim > MAX_INTERIM:
                    raise RemoteProtocolError(f"more than {MAX_INTERIM} interim responses")
                receiver.interim_received(head)
                if self.receiver is not receiver:
                    return
                at = head.end
                if at == len(data):
                    return
            decoder = self._decoder_for(head)
        except RemoteProtocolError as error:
            self._fail(receiver, error)
            return
        self.reusable = head.keep_alive and not head.upgrade
        self._decoder = decoder
        receiver.head_received(head)
        if self.receiver is receiver:
            self._body(receiver, decoder, data, head.end)

    def _decoder_for(self, head: ResponseHead) -> BodyDecoder:
        if head.chunked:
            return Chunked(self._max_body_size)
        if head.until_close:
            return UntilClose()
        length = head.content_length or 0
        if length > self._max_body_size:
            raise RemoteProtocolError(f"Content-Length {length} is over {self._max_body_size} bytes", 413)
        return Length(length)

    def _body(self, receiver: Receiver, decoder: BodyDecoder, data: bytes, start: int) -> None:
        try:
            payload, end = decoder.receive(data, start)
        except RemoteProtocolError as error:
            self._fail(receiver, error)
            return
        if end < len(data):
            self.reusable = False  # bytes behind the response belong to nothing
        if payload and not receiver.data_received(payload):
            if self.receiver is receiver:
                self._paused = True
                self.wire.pause_reading()
        elif decoder.done and self.receiver is receiver:
            self._finish(receiver)

    def _finish(self, receiver: Receiver) -> None:
        wire = self.wire
        if self.reusable and (self.sending or wire.closing or wire.write_buffer_size):
            self.reusable = False
        self.receiver = None
        self._decoder = None
        receiver.finished()

    def _cut(self, receiver: Receiver) -> None:
        """The connection is gone, and the response not complete, unless its end was to be just that."""
        decoder = self._decoder
        if decoder is None:
            self._fail(receiver, Cut("in the head of the response" if self._tail else "", self._error))
            return
        if self._error is None and self._ended:
            try:
                decoder.receive_eof()
            except RemoteProtocolError:
                pass
            else:
                self._finish(receiver)
                return
        self._fail(receiver, Cut("in the body of the response", self._error))

    def _fail(self, receiver: Receiver, error: Exception) -> None:
        self.abort()
        receiver.failed(error)
