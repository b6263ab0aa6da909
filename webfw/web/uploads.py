"""Forms too big to hold, taken apart as they arrive: `stream_multipart`; no grammar enters."""

from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.multipart import Event, MultipartDecoder, MultipartLimits, PartBegin, PartData
from webfw.sansio.parameters import parse_parameters
from webfw.web.errors import HTTPError

if TYPE_CHECKING:
    from webfw.web.handler import RequestHandler

__all__ = ["UploadPart", "stream_multipart"]

_Handler = TypeVar("_Handler", bound="type[RequestHandler]")

# The verbs whose requests are nothing without a form (RFC 9110 section 9.3, RFC 5789).
_VERBS = ("POST", "PUT", "PATCH")


# --- forms, part by part ---


class UploadPart:
    """One part of a form being received; a handler may put attributes of its own on it, such as a file.

    :ivar name: the name of the form field.
    :ivar filename: the file name the client gave, None for a field without one.  It is the client's text:
        never use it as a path.
    :ivar content_type: the media type the client gave, None without one.
    :ivar headers: all fields of the part.
    :ivar size: bytes of content received so far.
    """

    def __init__(self, begin: PartBegin) -> None:
        self.name = begin.name
        self.filename = begin.filename
        self.content_type = begin.content_type
        self.headers = HTTPHeaders()
        for name, value in begin.headers:
            self.headers.add(name, value)
        self.size = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, filename={self.filename!r}, size={self.size})"


class _Form:
    """The form one request is sending, and where in it we are; it does not know its handler."""

    __slots__ = ("collected", "decoder", "ended", "field", "fields_left", "part", "total")

    def __init__(self, decoder: MultipartDecoder, fields_left: int) -> None:
        self.decoder = decoder
        self.part: UploadPart | None = None
        # The pieces of the field that is being collected, None while the part goes to the handler's hooks.
        self.field: list[bytes] | None = None
        self.fields_left = fields_left
        self.total = 0
        self.ended = False


def _start(handler: Any) -> _Form:
    """Look at the request's head and get ready for its body; at most once per request.

    :raises HTTPError: 411 without a body, 415 when it is no form, 400 for a bad boundary, 413 when it is announced
        too big.
    """
    form: _Form | None = handler._upload
    if form is not None:
        return form
    request: HTTPServerRequest = handler.request
    if not getattr(request.connection, "has_body", True):
        raise HTTPError(411, "a form is expected, but no body was announced")  # RFC 9110 section 15.5.12
    media_type, parameters = parse_parameters(request.headers.get("Content-Type") or "")
    if media_type.lower() != "multipart/form-data":
        raise HTTPError(415, "multipart/form-data expected, not %r", media_type)
    limit: int | None = handler.upload_max_size
    if limit is not None:
        announced = request.headers.get("Content-Length") or "0"
        if announced.isdecimal() and int(announced) > limit:
            raise HTTPError(413, "upload of %s bytes, at most %d are taken", announced, limit)
        request.connection.set_max_body_size(limit)
    limits = MultipartLimits(
        max_parts=handler.upload_max_parts,
        max_header_size=handler.upload_max_part_header_size,
        max_field_bytes=None,  # counted here, since fields may be collected or streamed
    )
    try:
        decoder = MultipartDecoder(parameters.get("boundary", "").encode(), limits)
    except RemoteProtocolError as error:
        raise HTTPError(error.status, "%s", error) from error
    form = handler._upload = _Form(decoder, handler.upload_max_fields_size)
    # Collected fields go here; nobody is to look for them in the body, which nobody keeps.
    request.files = {}
    request.body_arguments = {}
    request.arguments = {name: list(values) for name, values in request.query_arguments.items()}
    return form


def _data_received(handler: Any, chunk: bytes) -> Awaitable[None] | None:
    """Take a piece of the body."""
    form = _start(handler)
    form.total += len(chunk)
    if handler.upload_max_size is not None and form.total > handler.upload_max_size:
        raise HTTPError(413, "upload of more than %d bytes", handler.upload_max_size)
    try:
        events = iter(form.decoder.receive(chunk))
    except RemoteProtocolError as error:
        raise HTTPError(error.status, "%s", error) from error
    for event in events:
        waiting = _dispatch(handler, form, event)
        if waiting is not None:
            return _continue(handler, form, waiting, events)
    return None


async def _continue(handler: Any, form: _Form, waiting: Awaitable[None], events: Iterator[Event]) -> None:
    """Go on where a hook has to be waited for; the wire is paused until this is done."""
    await waiting
    for event in events:
        next_waiting = _dispatch(handler, form, event)
        if next_waiting is not None:
            await next_waiting


def _dispatch(handler: Any, form: _Form, event: Event) -> Awaitable[None] | None:
    waiting: Awaitable[None] | None
    if type(event) is PartData:
        part = form.part
        assert part is not None, "the decoder gives data inside parts only"
        part.size += len(event.data)
        limit: int | None = handler.upload_max_part_size
        if limit is not None and part.size > limit:
            raise HTTPError(413, "part %r has more than %d bytes", part.name, limit)
        if form.field is not None:
            form.fields_left -= len(event.data)
            if form.fields_left < 0:
                raise HTTPError(413, "fields of more than %d bytes", handler.upload_max_fields_size)
            form.field.append(event.data)
            return None
        waiting = handler.part_data(part, event.data)
    elif type(event) is PartBegin:
        part = form.part = UploadPart(event)
        if handler.upload_collect_fields and part.filename is None:
            form.field = []
            return None
        waiting = handler.part_begin(part)
    else:
        part, form.part = form.part, None
        assert part is not None, "the decoder ends what it began"
        if form.field is not None:
            value, form.field = b"".join(form.field), None
            request: HTTPServerRequest = handler.request
            request.body_arguments.setdefault(part.name, []).append(value)
            request.arguments.setdefault(part.name, []).append(value)
            return None
        waiting = handler.part_end(part)
    return waiting


def _require_end(handler: Any) -> None:
    """The body is complete: so must the form be.

    :raises HTTPError: 400 when the form is cut short, 415 when there was none.
    """
    form = _start(handler)
    if not form.ended:
        form.ended = True
        try:
            form.decoder.finish()
        except RemoteProtocolError as error:
            raise HTTPError(error.status, "%s", error) from error


def _after_form(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let the method of a verb run only when its form is complete."""

    @wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        _require_end(self)
        return method(self, *args, **kwargs)

    return checked


def stream_multipart(cls: _Handler) -> _Handler:
    """Class decorator: give the parts of a ``multipart/form-data`` body to the handler as they arrive.

    The handler defines what it wants of these, plain or ``async``; while one is awaited, the client is not
    read from::

        def part_begin(self, part): ...         # the head of a part is there
        def part_data(self, part, chunk): ...   # bytes of its content, never empty
        def part_end(self, part): ...           # the part is complete

    ``part`` is an `UploadPart`.  The method for the verb (``post``) runs when the whole form has arrived.
    Parts without a file name are collected and not shown to the hooks: ``get_body_argument`` has them, in
    ``post`` and in hooks of later parts.

    Class attributes set the limits; more is answered with 413, or 400 for too many or malformed parts:

    * ``upload_max_parts`` (100) parts, each with ``upload_max_part_header_size`` (10 KiB) bytes of fields;
    * ``upload_max_part_size`` (None: no limit) bytes in one part;
    * ``upload_max_size`` (None: the server's ``max_body_size``) bytes in the body;
    * ``upload_max_fields_size`` (1 MiB) bytes in all collected fields; ``upload_collect_fields = False``
      collects none.

    A body of another type is answered with 415, a request without one with 411.  Implies `stream_request_body`.
    See RFC 7578.

    Decorate the class that defines the methods of the verbs.

    :raises TypeError: when ``cls`` is not a `RequestHandler`.
    """
    if not isinstance(cls, type) or not hasattr(cls, "_stream_request_body"):
        raise TypeError(f"stream_multipart decorates subclasses of RequestHandler, not {cls!r}")
    given_prepare: Callable[[Any], Awaitable[None] | None] = cls.prepare

    @wraps(given_prepare)
    def prepare(self: Any) -> Awaitable[None] | None:
        if self.request.method in _VERBS:
            _start(self)
        return given_prepare(self)

    members: dict[str, Any] = {
        "_stream_request_body": True,
        "_upload": None,
        "prepare": prepare,
        "data_received": _data_received,
    }
    members.update((name, value) for name, value in _DEFAULTS.items() if not hasattr(cls, name))
    for verb in _VERBS:
        members[verb.lower()] = _after_form(getattr(cls, verb.lower()))
    for name, value in members.items():
        setattr(cls, name, value)
    return cls


def _ignore(self: Any, *args: Any) -> None:
    """Stand in for a hook that a handler does not define."""


_DEFAULTS: dict[str, Any] = {
    "part_begin": _ignore,
    "part_data": _ignore,
    "part_end": _ignore,
    "upload_max_parts": 100,
    "upload_max_part_header_size": 10 * 1024,
    "upload_max_part_size": None,
    "upload_max_size": None,
    "upload_max_fields_size": 1024 * 1024,
    "upload_collect_fields": True,
}
