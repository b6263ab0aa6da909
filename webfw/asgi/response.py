"""What an ASGI application sends for a response, checked and put on its exchange; what it receives may not enter."""

import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, BinaryIO

from webfw.httpserver import DONE, Exchange
from webfw.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPOutputError,
    HTTPServerRequest,
    responses,
)
from webfw.httputil.serverfields import SERVER, date_now
from webfw.iostream import StreamClosedError
from webfw.sansio.errors import LocalProtocolError

__all__ = [
    "ApplicationError",
    "ClientDisconnected",
    "Response",
    "add_field",
    "default_fields",
    "header_list",
    "type_of",
]

#: Where a response stands: nothing has been said of it; its head is known and kept; the head is out; a file is on its
#: way; the body is out and trailers are to come; it is complete; it was cut, and cannot be completed.
START, HEAD, BODY, FILE, TRAILERS, COMPLETE, CUT = range(7)

#: Names that need a closer look; any other has its value passed on as it is.
_WATCHED = frozenset({"content-length", "transfer-encoding", "date", "server"})

#: Names met so far, as they are sent, and in lower case where they are watched, else an empty string.
_names: dict[bytes, tuple[str, str]] = {}
_MAX_NAMES = 1024
_MAX_NAME = 100

#: Digits of a Content-Length; more than any disk has bytes.
_MAX_DIGITS = 18


class ApplicationError(RuntimeError):
    """An application has broken a rule of ASGI; the text says which.  Its `send` raises it."""


class ClientDisconnected(ConnectionError):
    """The client has gone; `send` raises it, and an application may let it through."""


def type_of(message: Any) -> str:
    """The type of a message.

    :raises ApplicationError: it has none.
    """
    try:
        kind = message["type"]
    except (TypeError, KeyError, IndexError):
        kind = None
    if isinstance(kind, str):
        return kind
    raise ApplicationError(f"a message is a dict with a type, not {message!r}"[:200])


def header_list(given: Any) -> list[tuple[str, str, str]]:
    """The headers of a message: each with its name as it is sent, its value, and its name if it is watched.

    :raises ApplicationError: they are not pairs of bytes, or a name is no token.
    """
    fields = []
    field: Any = given
    try:
        for field in given:
            name, value = field
            spelt, watched = _names.get(name) or _spell(name)
            fields.append((spelt, value.decode("latin-1"), watched))
    except Exception as error:
        # Border: whatever stands in an application's list becomes one error that says so.
        raise ApplicationError(f"no header: {field!r}"[:200] + f" ({error})") from None
    return fields


def add_field(headers: HTTPHeaders, name: str, value: str) -> None:
    """Add a field to others.

    :raises ApplicationError: it cannot be sent.
    """
    try:
        headers.add(name, value.strip(" \t"))
    except HTTPInputError as error:
        raise ApplicationError(f"no header: {name} ({error})") from None


def _checked(given: Any) -> tuple[dict[str, str], list[tuple[str, str]] | None, int | None]:
    """The fields to send, those beyond the first of their names, and the length they announce.

    :raises ApplicationError: as `header_list`, and for a length that is none, or comes twice.
    """
    fields = default_fields()
    repeated: list[tuple[str, str]] | None = None
    length: int | None = None
    field: Any = given
    try:
        for field in given:
            name, value = field
            spelt, watched = _names.get(name) or _spell(name)
            value = value.decode("latin-1")
            if watched:
                if watched == "content-length":
                    if length is not None:
                        raise ValueError("there is one already")
                    value = value.strip(" \t")
                    length = int(value) if value.isdecimal() and len(value) < _MAX_DIGITS else _length(value)
                elif watched == "transfer-encoding":  # "the server must ignore it"
                    continue
            elif spelt in fields:
                if repeated is None:
                    repeated = []
                repeated.append((spelt, value))
                continue
            fields[spelt] = value
    except Exception as error:
        # Border: whatever stands in an application's list becomes one error that says so.
        raise ApplicationError(f"no header: {field!r}"[:200] + f" ({error})") from None
    return fields, repeated, length


def _spell(name: Any) -> tuple[str, str]:
    """A name as it is sent, and in lower case where it is watched; remembered.

    :raises TypeError, ValueError: it is no token in bytes.
    """
    if not isinstance(name, bytes):
        raise TypeError(f"names must be bytes, not {type(name).__name__}")
    (spelt,) = HTTPHeaders({name.decode("latin-1"): ""})
    lower = spelt.lower()
    known = (spelt, lower if lower in _WATCHED else "")
    if len(name) <= _MAX_NAME:
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        _names[bytes(name)] = known
    return known


def _length(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    raise ValueError("a length is a number")


def default_fields() -> dict[str, str]:
    """The fields that every response has."""
    return {"Date": date_now(), "Server": SERVER}


class Response:
    """The response to one request, as messages of the application make it.

    :param exchange: where it goes.
    :param prefix: what the types of the messages begin with, such as ``http.response``.

    :ivar phase: where it stands.
    :ivar status: the status that was sent; 0 before.
    :ivar gone: nobody waits for it any more: the client has gone, or the time was up.
    """

    __slots__ = (
        "_fields",
        "_length",
        "_repeated",
        "_start_status",
        "_trailers",
        "exchange",
        "gone",
        "phase",
        "request",
        "status",
    )

    _fields: dict[str, str]
    _repeated: list[tuple[str, str]] | None
    _length: int | None
    _start_status: int
    _trailers: bool | list[tuple[str, str]]

    def __init__(self, exchange: Exchange, request: HTTPServerRequest) -> None:
        self.exchange = exchange
        self.request = request
        self.phase = START
        self.status = 0
        self.gone = False

    # Messages.

    def take_start(self, message: dict[str, Any]) -> None:
        """``http.response.start``: kept until there is something of the body, as the specification has it.

        :raises ApplicationError: something in it may not be sent, or it is not its turn.
        """
        if self.phase != START:
            raise self._out_of_turn("the start of a response")
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise ApplicationError(f"a status is a number from 200 to 999, not {status!r}"[:200])
        self._fields, self._repeated, self._length = _checked(message.get("headers") or ())
        self._start_status = int(status)
        self._trailers = bool(message.get("trailers", False))
        self.phase = HEAD

    def take_body(self, message: dict[str, Any]) -> Awaitable[None]:
        """``http.response.body``: a whole response leaves in one write, any other piece by piece.

        :returns: `DONE`, or what to wait for before the next piece.
        :raises ApplicationError: something in it may not be sent, or it is not its turn.
        """
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = _bytes(body)
        more = message.get("more_body", False)
        phase = self.phase
        if phase == HEAD:
            if not more and not self._trailers:
                self._send_whole(body)
                return DONE
            if self._start_status in (204, 304):
                body = b""
            elif self._length is not None and len(body) > self._length and self.request.method != "HEAD":
                raise self._wrong_length(body)
            sent = self._send_head(body)
        elif phase == BODY:
            if self._start_status in (204, 304):
                body = b""
            sent = self._asked(self.exchange.write, body) if body else DONE
        else:
            raise self._out_of_turn("a part of a body")
        if not more:
            if self._trailers:
                self.phase = TRAILERS
                self._trailers = []
            else:
                self._finish()
        return sent

    def take_trailers(self, message: dict[str, Any]) -> None:
        """``http.response.trailers``, where the start has announced them.

        :raises ApplicationError: something in it may not be sent, or it is not its turn.
        """
        if self.phase != TRAILERS:
            raise self._out_of_turn("trailers")
        assert isinstance(self._trailers, list)
        self._trailers += [(name, value) for name, value, _ in header_list(message.get("headers") or ())]
        if not message.get("more_trailers", False):
            self.exchange.set_trailers(self._trailers)
            self._finish()

    def take_hints(self, message: dict[str, Any]) -> None:
        """``http.response.early_hint``: 103 with the links (RFC 8297), before anything else is out.

        :raises ApplicationError: something in it may not be sent, or it is not its turn.
        """
        if self.phase > HEAD:
            raise self._out_of_turn("an early hint")
        hints = HTTPHeaders()
        for _, value, _ in header_list([(b"link", link) for link in message.get("links") or ()]):
            add_field(hints, "Link", value)
        if hints and not self.gone:
            self._asked(self.exchange.send_informational, 103, hints)

    async def take_path(self, message: dict[str, Any]) -> None:
        """``http.response.pathsend``: a file as the body, by the kernel where it can.

        :raises ApplicationError: it is no absolute path of a file, its length is not what was announced, or it is not
            its turn.
        :raises OSError: it cannot be opened or read.
        """
        if self.phase != HEAD:
            raise self._out_of_turn("a path")
        if self._trailers:
            raise ApplicationError("a response that is a file has no trailers")
        with _open(message.get("path")) as file:
            size = os.fstat(file.fileno()).st_size
            if self._length is None:
                self._fields["Content-Length"] = str(size)
                self._length = size
            elif size < self._length:
                raise ApplicationError(f"the file has {size} bytes, and {self._length} were announced")
            if self.request.method == "HEAD" or self._start_status in (204, 304):
                self._send_whole(b"")
                return
            length = self._length
            sent = self._send_head(b"")
            # Another task may call `send` meanwhile: what it sent would stand in the midst of the file.
            self.phase = FILE
            try:
                if sent is not DONE:
                    await sent
                await self.wait_for(self.exchange.sendfile(file, 0, length))
            except BaseException:
                self.cut()
                raise
            self._finish()

    async def wait_for(self, sent: Awaitable[None]) -> None:
        """Wait until the client has taken enough for more.

        :raises ClientDisconnected: it has gone.
        """
        try:
            await sent
        except StreamClosedError:
            self.gone = True
            raise ClientDisconnected("the client has gone") from None

    def _out_of_turn(self, what: str) -> Exception:
        """What to raise where a message cannot be taken."""
        if self.gone:
            return ClientDisconnected("the client has gone")
        if self.phase == START:
            return ApplicationError(f"{what} comes before the start of the response")
        if self.phase == CUT:
            return ApplicationError(f"{what} comes after the response was cut")
        return ApplicationError(
            f"{what} comes after {'the response' if self.phase == COMPLETE else 'what it belongs before'}"
        )

    def _wrong_length(self, body: bytes) -> ApplicationError:
        """What to raise as long as nothing is out, so that there can still be a proper answer."""
        return ApplicationError(f"the body has {len(body)} bytes, and {self._length} were announced")

    # To the exchange.

    def _headers(self) -> HTTPHeaders:
        headers = HTTPHeaders.from_checked(self._fields)
        if self._repeated is not None:
            for name, value in self._repeated:
                add_field(headers, name, value)
        return headers

    def _send_whole(self, body: bytes) -> None:
        """Send a whole response in one write."""
        status = self._start_status
        if status == 204 or status == 304:
            if status == 204:
                self._fields.pop("Content-Length", None)
            body = b""
        elif self._length is None:
            if body or self.request.method != "HEAD":
                self._fields["Content-Length"] = str(len(body))
        elif self._length != len(body) and self.request.method != "HEAD":
            raise self._wrong_length(body)
        reason = responses.get(status, "Unknown")
        try:
            headers = HTTPHeaders.from_checked(self._fields) if self._repeated is None else self._headers()
            self.exchange.respond(status, reason, headers, body)
        except LocalProtocolError as error:
            raise ApplicationError(str(error)) from None
        self.status = status
        self._end(COMPLETE)

    def _send_head(self, chunk: bytes) -> Awaitable[None]:
        """Send the head of a response whose body comes in pieces, and the first of these."""
        status = self._start_status
        line = self.exchange.start_line(status, responses.get(status, "Unknown"))
        sent: Awaitable[None] = self._asked(self.exchange.write_headers, line, self._headers(), chunk or None)
        self.phase = BODY
        self.status = status
        return sent

    def _finish(self) -> None:
        """Everything has been written."""
        self._asked(self.exchange.finish)
        self._end(COMPLETE)

    def _asked(self, call: Callable[..., Any], *args: Any) -> Any:
        """Have the exchange do something; what it refuses is the application's fault."""
        try:
            return call(*args)
        except (LocalProtocolError, HTTPOutputError) as error:
            if self.phase >= BODY:
                self.cut()
            raise ApplicationError(str(error)) from None

    def _end(self, phase: int) -> None:
        """The response is complete, or never will be; called once."""
        self.phase = phase

    # Answers of the server's own.

    def refuse(self, status: int, more: Iterable[tuple[str, str]] = (), message: str = "") -> None:
        """Answer with an error of ours; where the application's answer has begun, cut the connection.

        :param more: further fields.
        :param message: for the client, in place of the status and its name.
        """
        if self.phase >= COMPLETE:
            return
        if self.phase >= BODY:
            self.cut()
            return
        reason = responses.get(status, "Unknown")
        body = f"{message or f'{status} {reason}'}\n".encode()
        fields = default_fields()
        fields["Content-Type"] = "text/plain; charset=utf-8"
        fields["Content-Length"] = str(len(body))
        fields.update(more)
        self.exchange.respond(status, reason, HTTPHeaders.from_checked(fields), body)
        self.status = status
        self._end(COMPLETE)

    def cut(self) -> None:
        """Cut the connection, so that the client does not take what it has for everything."""
        if self.phase < COMPLETE:
            self.exchange.abort_response()
            self._end(CUT)

    def summary(self) -> str:
        """The request, for a log."""
        return f"{self.request.method} {self.request.uri} ({self.request.remote_ip})"


def _bytes(body: Any) -> bytes:
    """The bytes of a body that are not exactly `bytes`."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise ApplicationError(f"the body must be bytes, not {type(body).__name__}")


def _open(path: Any) -> BinaryIO:
    """Open a file to be sent; not one that would keep the loop waiting, such as a pipe.

    :raises ApplicationError: it is no absolute path, or no file.
    :raises OSError: it cannot be opened.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.path.isabs(path):
        raise ApplicationError(f"a path must be absolute, not {path!r}"[:200])
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a null character
        raise ApplicationError(f"no path: {error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ApplicationError(f"no file: {path!r}"[:200])
    return os.fdopen(descriptor, "rb")
