"""Form bodies, urlencoded and multipart, as arguments and files, whole or as they arrive; no request enters.

The multipart format itself is read by `webfw.sansio.multipart`.
"""

import io
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Protocol

from webfw.escape import parse_qs_bytes
from webfw.httputil.errors import HTTPInputError
from webfw.httputil.headers import HTTPHeaders
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.multipart import MultipartDecoder, MultipartLimits, PartBegin, PartData
from webfw.sansio.parameters import parse_parameters
from webfw.util import ObjectDict

__all__ = [
    "BodySource",
    "HTTPFile",
    "MultipartForm",
    "ParseBodyConfig",
    "ParseMultipartConfig",
    "ParseUrlEncodedConfig",
    "is_form",
    "multipart_form",
    "parse_body_arguments",
    "parse_multipart_form_data",
    "parse_query",
    "set_parse_body_config",
]

#: The content type of a file that came without one.
UNKNOWN_TYPE: Final = "application/unknown"

_READ_SIZE: Final = 64 * 1024


# --- limits ---


@dataclass
class ParseMultipartConfig:
    """How multipart forms are parsed."""

    #: Whether they are parsed at all.
    enabled: bool = True
    #: The most parts a form may have.
    max_parts: int = 100
    #: The most bytes the header of one part may have.
    max_part_header_size: int = 10 * 1024


@dataclass
class ParseUrlEncodedConfig:
    """How urlencoded forms and query strings are parsed."""

    #: The most arguments one may have.
    max_arguments: int = 1000


@dataclass
class ParseBodyConfig:
    """How forms are parsed."""

    #: For ``multipart/form-data``.
    multipart: ParseMultipartConfig = field(default_factory=ParseMultipartConfig)
    #: For ``application/x-www-form-urlencoded`` and for query strings.
    urlencoded: ParseUrlEncodedConfig = field(default_factory=ParseUrlEncodedConfig)


_config = ParseBodyConfig()


def set_parse_body_config(config: ParseBodyConfig) -> None:
    """Set how forms are parsed from now on, for the whole process; call it once, at the start."""
    global _config
    _config = config


# --- files ---


class BodySource(Protocol):
    """A request body that is kept somewhere, most likely in a temporary file."""

    size: int

    def read(self) -> bytes:
        """Return the whole body."""

    def open(self) -> BinaryIO:
        """Open the body for reading, at its beginning."""


class HTTPFile(ObjectDict):
    """A file that came with a form: a dict whose items are attributes, too.

    :ivar filename: the name the client gave it; never use it as a path.
    :ivar body: the content.
    :ivar content_type: as the client said, ``application/unknown`` if it did not.
    """

    filename: str
    body: bytes
    content_type: str

    @property
    def size(self) -> int:
        """The length of the content in bytes; needs no reading."""
        return len(self.body)

    def open(self) -> BinaryIO:
        """Open the content for reading."""
        return io.BytesIO(self.body)


class _SpooledFile(HTTPFile):
    """A file whose content stays in the body it came in until somebody asks for ``body``."""

    def __init__(self, filename: str, content_type: str, source: BodySource, offset: int, size: int) -> None:
        super().__init__(filename=filename, content_type=content_type)
        # The attributes of this class are items of the dict, so these go past it.
        object.__setattr__(self, "_range", (source, offset, size))

    def __missing__(self, key: str) -> bytes:
        if key != "body":
            raise KeyError(key)
        with self.open() as file:
            body = file.read()
        super().__setitem__("body", body)
        return body

    @property
    def size(self) -> int:
        length: int = self.__dict__["_range"][2]
        return length

    def open(self) -> BinaryIO:
        source, offset, size = self.__dict__["_range"]
        return io.BufferedReader(_FileRange(source.open(), offset, size), _READ_SIZE)

    # The rest of a dict, as if the content were in it; what shows the content reads it first.

    def _whole(self) -> dict[str, Any]:
        self["body"]
        return {name: dict.__getitem__(self, name) for name in dict.keys(self)}

    def __contains__(self, key: object) -> bool:
        return key == "body" or super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return super().__len__() + (not super().__contains__("body"))

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # a view of a copy
        return self._whole().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return self._whole().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return self._whole().items()

    def __eq__(self, other: object) -> bool:
        return self._whole() == other

    __hash__ = None  # type: ignore[assignment]  # a dict

    def copy(self) -> HTTPFile:
        return HTTPFile(self._whole())


class _FileRange(io.RawIOBase):
    """A part of a file as a file of its own.  Closing it closes the file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(0, self._size - self._at))
        # The file may be shared with another range, so its position is not relied on.
        self._file.seek(self._offset + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


# --- forms ---


def _kind_of(content_type: str) -> str:
    """The media type in lower case, without parameters (RFC 9110 section 8.3.1)."""
    return content_type.partition(";")[0].strip(" \t").lower()


def is_form(content_type: str) -> bool:
    """Whether a Content-Type is one of the two that forms have."""
    return _kind_of(content_type) in ("application/x-www-form-urlencoded", "multipart/form-data")


def parse_query(query: str | bytes, config: ParseBodyConfig | None = None) -> dict[str, list[bytes]]:
    """Parse a query string or an urlencoded body.

    :return: lists of values by name; values may be empty.  Names are decoded from latin-1.
    :raises ValueError: more arguments than the config allows.
    """
    config = config or _config
    return parse_qs_bytes(query, keep_blank_values=True, max_num_fields=config.urlencoded.max_arguments)


class MultipartForm:
    """A multipart form being put together as its bytes arrive.

    :param boundary: the boundary parameter of its Content-Type, which may still be quoted.
    :param config: limits; None for those of `set_parse_body_config`.
    :param source: where the same bytes are kept; the content of files is then not, each `HTTPFile` reads from
        there.
    :param max_field_bytes: bytes of all values that are no files, which stay in memory; None for no limit.
    :raises HTTPInputError: the boundary is invalid, or multipart forms are switched off.

    :ivar arguments: lists of values by name.
    :ivar files: lists of files by name.
    """

    __slots__ = ("_decoder", "_part", "_pieces", "_source", "arguments", "files")

    def __init__(
        self,
        boundary: bytes,
        config: ParseMultipartConfig | None = None,
        source: BodySource | None = None,
        max_field_bytes: int | None = None,
    ) -> None:
        config = config or _config.multipart
        if not config.enabled:
            raise HTTPInputError("multipart/form-data: parsing is disabled")
        if len(boundary) >= 2 and boundary[:1] == b'"' == boundary[-1:]:
            boundary = boundary[1:-1]
        limits = MultipartLimits(
            max_parts=config.max_parts,
            max_header_size=config.max_part_header_size,
            max_field_bytes=max_field_bytes,
        )
        try:
            self._decoder = MultipartDecoder(boundary, limits)
        except RemoteProtocolError as error:
            raise HTTPInputError(str(error)) from None
        self._source = source
        self._part: PartBegin | None = None
        self._pieces: list[bytes] = []
        self.arguments: dict[str, list[bytes]] = {}
        self.files: dict[str, list[HTTPFile]] = {}

    def receive(self, data: bytes) -> None:
        """Take bytes of the body.

        :raises HTTPInputError: malformed or over a limit.
        """
        try:
            events = self._decoder.receive(data)
        except RemoteProtocolError as error:
            raise HTTPInputError(str(error), error.status) from None
        for event in events:
            if isinstance(event, PartData):
                if self._part is None or not self._part.filename or self._source is None:
                    self._pieces.append(event.data)
            elif isinstance(event, PartBegin):
                self._part = event
            else:
                self._end_part(event.offset)

    def finish(self) -> None:
        """The body is over.

        :raises HTTPInputError: it was cut short.
        """
        try:
            self._decoder.finish()
        except RemoteProtocolError as error:
            raise HTTPInputError(str(error), error.status) from None

    def _end_part(self, offset: int) -> None:
        part = self._part
        assert part is not None
        body = b"".join(self._pieces)
        self._pieces.clear()
        if not part.filename:
            self.arguments.setdefault(part.name, []).append(body)
            return
        content_type = part.content_type or UNKNOWN_TYPE
        if self._source is None:
            file = HTTPFile(filename=part.filename, body=body, content_type=content_type)
        else:
            file = _SpooledFile(part.filename, content_type, self._source, part.offset, offset - part.offset)
        self.files.setdefault(part.name, []).append(file)


def multipart_form(
    content_type: str,
    config: ParseBodyConfig | None = None,
    source: BodySource | None = None,
    max_field_bytes: int | None = None,
) -> MultipartForm | None:
    """Make the `MultipartForm` for a body that is about to arrive, or None when its Content-Type is another.

    :raises HTTPInputError: the boundary is missing or invalid, or multipart forms are switched off.
    """
    if _kind_of(content_type) != "multipart/form-data":
        return None
    boundary = parse_parameters(content_type)[1].get("boundary")
    if not boundary:
        raise HTTPInputError("multipart/form-data: no boundary in Content-Type")
    octets = boundary.encode("latin-1", "replace")
    return MultipartForm(octets, (config or _config).multipart, source, max_field_bytes)


def parse_multipart_form_data(
    boundary: bytes,
    data: bytes,
    arguments: dict[str, list[bytes]],
    files: dict[str, list[HTTPFile]],
    *,
    config: ParseMultipartConfig | None = None,
) -> None:
    """Parse a whole multipart body and add what is in it.

    :param boundary: the boundary parameter of the Content-Type, which may still be quoted.
    :param arguments: gets lists of values by name.
    :param files: gets lists of `HTTPFile` by name.
    :param config: limits; None for those of `set_parse_body_config`.
    :raises HTTPInputError: malformed or over a limit; nothing has been added then.
    """
    _add_form(MultipartForm(boundary, config), data, arguments, files)


def parse_body_arguments(
    content_type: str,
    body: bytes,
    arguments: dict[str, list[bytes]],
    files: dict[str, list[HTTPFile]],
    headers: HTTPHeaders | None = None,
    *,
    config: ParseBodyConfig | None = None,
) -> None:
    """Parse a whole form body, urlencoded or multipart, and add what is in it; any other body adds nothing.

    :param content_type: the value of Content-Type.
    :param arguments: gets lists of values by name.
    :param files: gets lists of `HTTPFile` by name.
    :param headers: the fields of the message; a form with a Content-Encoding among them is refused.
    :param config: limits; None for those of `set_parse_body_config`.
    :raises HTTPInputError: malformed or over a limit; nothing has been added then.
    """
    if not is_form(content_type):
        return
    _refuse_encoded(headers)
    form = multipart_form(content_type, config)
    if form is None:
        _add(arguments, _parse_urlencoded(body, config))
        return
    _add_form(form, body, arguments, files)


def parse_body_source(
    content_type: str, source: BodySource, headers: HTTPHeaders | None = None
) -> tuple[dict[str, list[bytes]], dict[str, list[HTTPFile]]]:
    """Parse a form body that is kept in a `BodySource`; the content of files stays there.

    :raises HTTPInputError: malformed or over a limit.
    """
    if not is_form(content_type):
        return {}, {}
    _refuse_encoded(headers)
    form = multipart_form(content_type, None, source, MultipartLimits().max_field_bytes)
    if form is None:
        return _parse_urlencoded(source.read(), None), {}
    with source.open() as file:
        while data := file.read(_READ_SIZE):
            form.receive(data)
    form.finish()
    return form.arguments, form.files


def _refuse_encoded(headers: HTTPHeaders | None) -> None:
    if headers is not None and "Content-Encoding" in headers:
        raise HTTPInputError(f"Unsupported Content-Encoding: {headers['Content-Encoding'][:100]}", 415)


def _parse_urlencoded(body: bytes, config: ParseBodyConfig | None) -> dict[str, list[bytes]]:
    try:
        return parse_query(body, config)
    except ValueError as error:
        raise HTTPInputError(f"Invalid x-www-form-urlencoded body: {error}") from None


def _add(arguments: dict[str, list[bytes]], found: dict[str, list[bytes]]) -> None:
    for name, values in found.items():
        arguments.setdefault(name, []).extend(values)


def _add_form(
    form: MultipartForm, body: bytes, arguments: dict[str, list[bytes]], files: dict[str, list[HTTPFile]]
) -> None:
    form.receive(body)
    form.finish()
    _add(arguments, form.arguments)
    for name, some in form.files.items():
        files.setdefault(name, []).extend(some)
