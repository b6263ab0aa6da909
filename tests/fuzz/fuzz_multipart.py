"""Whatever comes as multipart/form-data, it becomes parts or raises RemoteProtocolError, the same however it is split.

And: each part's content is what lies between its offsets; limits hold; a form that was put together comes apart into
the same parts; what we read, the `multipart` package reads alike.  The boundary is ``b``.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

from itertools import pairwise
from typing import Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from webfw.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.multipart import MultipartDecoder, MultipartLimits, PartBegin, PartData, PartEnd

LIMITS = [MultipartLimits(), MultipartLimits(3, 80, 20, 8, 10)]
FIELD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
TOKENS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"--",
        b"--b",
        b"--b--",
        b"\r\n--b\r\n",
        b"\r\n--b--",
        b"\r\n--b--\r\n",
        b"--b \t\r\n",
        b"--bb",
    ),
    *(
        FIELD,
        b"Content-Disposition: form-data",
        b'; name="a"',
        b'; filename="f"',
        b"; name=a",
        b"; filename*=UTF-8''%e2%82%ac",
    ),
    *(
        b"Content-Type: text/plain\r\n",
        b"Content-Type: multipart/mixed; boundary=c\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
    ),
    *(
        b'"',
        b"\\",
        b"=",
        b"%",
        b"'",
        b"*0*=",
        b"; name*0=a; name*1*=b",
        b"\x00",
        b"\x80",
        b"\xe2\x82\xac",
        b"X: y\r\n",
    ),
    *(b"x" * 70, b" " * 65, b"\r\n-", b"\r\n--", b'filename=""', b'name=""', b"_charset_"),
]


def refusal(error: RemoteProtocolError) -> tuple[int, str]:
    assert error.status in (400, 413)
    assert str(error).isascii()
    assert len(str(error)) < 100
    return error.status, str(error)


def outcome(limits: MultipartLimits, data: bytes, cuts: list[int]) -> Any:
    """The parts, whose content is joined, and the failure if there is one."""
    decoder = MultipartDecoder(b"b", limits)
    parts: list[list[Any]] = []
    inside = False
    failure = None
    try:
        for begin, end in pairwise([0, *cuts, len(data)]):
            for event in decoder.receive(data[begin:end]):
                if isinstance(event, PartBegin):
                    assert not inside
                    inside = True
                    parts.append(
                        [event.name, event.filename, event.content_type, event.headers, event.offset, b""]
                    )
                elif isinstance(event, PartData):
                    assert inside
                    assert event.data
                    parts[-1][5] += event.data
                else:
                    assert isinstance(event, PartEnd)
                    assert inside
                    inside = False
                    parts[-1].append(event.offset)
            assert len(decoder._tail) <= limits.max_header_size + 200
        decoder.finish()
    except RemoteProtocolError as error:
        failure = refusal(error)
    else:
        assert not inside
        assert decoder.done
    whole = [part for part in parts if len(part) == 7]
    assert len(parts) <= limits.max_parts
    for name, filename, _, headers, begin, content, end in whole:
        assert 0 < len(name) <= limits.max_name_length
        assert len(filename or "") <= limits.max_name_length
        assert data[begin:end] == content
        assert sum(len(f"{key}:{value}") for key, value in headers) <= limits.max_header_size
    in_memory = sum(len(part[5]) for part in whole if not part[1])
    assert limits.max_field_bytes is None or in_memory <= limits.max_field_bytes
    return whole, failure


def another_agrees(parts: list[Any], data: bytes) -> None:
    """Another reader, which knows nothing of ours, finds the same parts, or refuses what we are more lenient with."""
    if b"\r\n\r\n--b" in data:
        # RFC 2046 section 5.1.1: a part may have no content at all, and no line of content begins with the boundary.
        # The other wants a line end of its own before each boundary.
        return
    found: list[list[Any]] = []
    try:
        with PushMultipartParser("b", max_header_size=20000) as parser:
            for event in parser.parse(data):
                if isinstance(event, MultipartSegment):
                    found.append([event.name, event.filename, b""])
                elif event:
                    found[-1][2] += event
            for event in parser.parse(b""):
                assert not event
    except MultipartError:
        return
    assert [part[2] for part in found] == [part[5] for part in parts]


def form(data: bytes, cuts: list[int]) -> None:
    """A form of pieces of the input, put together and taken apart."""
    pieces = [data[begin:end].replace(b"b", b"c") for begin, end in pairwise([0, *cuts[:50], len(data)])]
    body = b"".join(FIELD + piece + b"\r\n" for piece in pieces) + b"--b--\r\n"
    parts, failure = outcome(MultipartLimits(), body, cuts)
    assert failure is None
    assert [part[5] for part in parts] == pieces


def check(data: bytes, cuts: list[int]) -> str:
    for limits in LIMITS:
        whole = outcome(limits, data, [])
        split = outcome(limits, data, cuts)
        # With the piece that breaks the rules come no parts, so what has come before depends on the cuts.
        assert split == whole or (whole[1] is not None and split[1] == whole[1]), limits
    form(data, cuts)
    parts, failure = outcome(LIMITS[0], data, [])
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(b"b", data, arguments, files)
    except HTTPInputError as error:
        assert failure == (error.status, str(error))
        assert not arguments
        assert not files
        return str(error.status)
    assert failure is None
    assert sum(map(len, arguments.values())) + sum(map(len, files.values())) == len(parts)
    another_agrees(parts, data)
    return f"{min(len(parts), 2)} parts"
