"""multipart/form-data: the same whatever the split, the same as two other decoders, bounded against the hostile."""

import io
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import multipart as defnull
import pytest
import python_multipart
from hypothesis import given, settings
from hypothesis import strategies as st

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.multipart import MultipartDecoder, MultipartLimits, PartBegin, PartData, PartEnd

DISPOSITION = b"Content-Disposition: form-data; "


@dataclass
class Part:
    name: str
    filename: str | None
    content_type: str | None
    headers: list[tuple[str, str]]
    begin: int
    content: bytes
    end: int = -1


def decode(
    pieces: list[bytes], boundary: bytes = b"B", limits: MultipartLimits | None = None, finish: bool = True
) -> list[Part]:
    decoder = MultipartDecoder(boundary, limits)
    parts: list[Part] = []
    for piece in pieces:
        for event in decoder.receive(piece):
            if isinstance(event, PartBegin):
                assert not parts or parts[-1].end >= 0
                parts.append(
                    Part(event.name, event.filename, event.content_type, event.headers, event.offset, b"")
                )
            elif isinstance(event, PartData):
                assert event.data
                assert parts[-1].end < 0
                parts[-1].content += event.data
            else:
                assert isinstance(event, PartEnd)
                parts[-1].end = event.offset
    if finish:
        decoder.finish()
        assert decoder.done
    return parts


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def check(data: bytes, boundary: bytes = b"B", limits: MultipartLimits | None = None) -> list[Part]:
    """Decode whole, byte by byte, in threes and with bytes behind; all must agree, and the offsets be right."""
    parts = decode([data], boundary, limits)
    assert decode(bytewise(data), boundary, limits) == parts
    assert decode([data[i : i + 3] for i in range(0, len(data), 3)], boundary, limits) == parts
    assert decode([data, b"\r\ntrailing"], boundary, limits) == parts
    for part in parts:
        assert data[part.begin : part.end] == part.content
    return parts


def values(parts: list[Part]) -> list[tuple[str, str | None, bytes]]:
    return [(part.name, part.filename, part.content) for part in parts]


def field(name: bytes, content: bytes, boundary: bytes = b"B") -> bytes:
    return b"--" + boundary + b"\r\n" + DISPOSITION + b'name="' + name + b'"\r\n\r\n' + content + b"\r\n"


def test_one_field() -> None:
    data = field(b"a", b"1") + b"--B--\r\n"
    (part,) = check(data)
    assert part == Part(
        "a",
        None,
        None,
        [("Content-Disposition", 'form-data; name="a"')],
        data.index(b"1"),
        b"1",
        data.index(b"1") + 1,
    )


def test_a_file() -> None:
    data = (
        b"--B\r\n"
        + DISPOSITION
        + b'name="f"; filename="a b.txt"\r\nContent-Type: text/plain\r\nX-Y:z \r\n\r\n'
        b"line\r\n\r\n--not the end\r\n--B--"
    )
    (part,) = check(data)
    assert (part.name, part.filename, part.content_type) == ("f", "a b.txt", "text/plain")
    assert part.content == b"line\r\n\r\n--not the end"
    assert part.headers[1:] == [("Content-Type", "text/plain"), ("X-Y", "z")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"--B--", []),
        (b"--B--\r\n", []),
        (b"preamble\r\n--B--", []),
        (b"--C\r\n\r\n--B\r\n" + DISPOSITION + b"name=a\r\n\r\nx\r\n--B--", [("a", None, b"x")]),
        (b"\r\n" + field(b"a", b"1") + b"--B--", [("a", None, b"1")]),
        (b"--B--epilogue", []),
        (field(b"a", b"") + b"--B--", [("a", None, b"")]),
        # No content at all: the empty line's end belongs to the delimiter.
        (b"--B\r\n" + DISPOSITION + b"name=a\r\n\r\n--B--", [("a", None, b"")]),
        (b"--B\r\n" + DISPOSITION + b"name=a\r\n\r\n--B\r\n" + field(b"b", b"2")[5:] + b"--B--",
         [("a", None, b""), ("b", None, b"2")]),
        (field(b"a", b"\r") + b"--B--", [("a", None, b"\r")]),
        (field(b"a", b"\r\n") + b"--B--", [("a", None, b"\r\n")]),
        (field(b"a", b"\r\n--") + b"--B--", [("a", None, b"\r\n--")]),
        (field(b"a", b"\r\r\n\n--B\r") + b"--B--", [("a", None, b"\r\r\n\n--B\r")]),
        (field(b"a", b"x\r\n--BX") + b"--B--", [("a", None, b"x\r\n--BX")]),
        (field(b"a", b"x\r\n--B-X") + b"--B--", [("a", None, b"x\r\n--B-X")]),
        (field(b"a", b"x\r\n--B \rX") + b"--B--", [("a", None, b"x\r\n--B \rX")]),
        (field(b"a", b"x\n--B--") + b"--B--", [("a", None, b"x\n--B--")]),
        (b"--B \t \r\n" + field(b"a", b"1")[5:] + b"--B--", [("a", None, b"1")]),
        (field(b"a", b"1") + b"--B  \r\n" + field(b"b", b"2")[5:] + b"--B--  \r\n",
         [("a", None, b"1"), ("b", None, b"2")]),
        (field(b"a", b"1\r\n--B" + b" " * 65) + b"--B--", [("a", None, b"1\r\n--B" + b" " * 65)]),
        (field(b"a", b"1") + field(b"a", b"2") + b"--B--", [("a", None, b"1"), ("a", None, b"2")]),
        (field("\u00e9".encode(), b"\xff") + b"--B--", [("\u00e9", None, b"\xff")]),
        (b"--B\r\n" + DISPOSITION + b'name="a"; filename=""\r\n\r\n1\r\n--B--', [("a", "", b"1")]),
        (b"--B\r\n" + DISPOSITION + b"name=a; filename=x; filename*=UTF-8''%e2%82%ac\r\n\r\n1\r\n--B--",
         [("a", "\u20ac", b"1")]),
        (b'--B\r\ncontent-disposition:Form-Data;NAME="a"\r\n\r\n1\r\n--B--', [("a", None, b"1")]),
        (field(b'a\\"b', b"1") + b"--B--", [('a"b', None, b"1")]),
    ],
)  # fmt: skip
def test_accepted(data: bytes, expected: list[tuple[str, str | None, bytes]]) -> None:
    assert values(check(data)) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no final boundary"),
        (b"junk", "no final boundary"),
        (b"--B", "no final boundary"),
        (b"--B-", "no final boundary"),
        (b"--BX--", "no final boundary"),
        (field(b"a", b"1"), "no final boundary"),
        (field(b"a", b"1") + b"--B", "no final boundary"),
        (field(b"a", b"1") + b"--B\r\n", "no final boundary"),
        (field(b"a", b"1").replace(b"\r", b""), "no final boundary"),
        (b"--B\r\n" + DISPOSITION + b"name=a\r\n", "no final boundary"),
        (b"--B\r\n\r\n1\r\n--B--", "part without header"),
        (b"--B\r\nContent-Type: x\r\n\r\n1\r\n--B--", "without Content-Disposition"),
        (b"--B\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--B--", "not form-data"),
        (b"--B\r\n" + DISPOSITION + b"filename=a\r\n\r\n1\r\n--B--", "without name"),
        (field(b"", b"1") + b"--B--", "without name"),
        (field(b"\xff", b"1") + b"--B--", "not UTF-8"),
        (b"--B\r\n" + DISPOSITION + b"name=a\r\n1\r\n--B--\r\n\r\n", "malformed header line"),
        (b"--B\r\n" + DISPOSITION + b"name=a\r\nBad Name: x\r\n\r\n1\r\n--B--", "malformed header line"),
        (b"--B\r\n" + DISPOSITION + b"name=a\r\n folded\r\n\r\n1\r\n--B--", "malformed header line"),
        (b"--B\r\n" + DISPOSITION + b"name=a\x00\r\n\r\n1\r\n--B--", "malformed header line"),
        (b"--B\r\n" + DISPOSITION + b"name=a\nX: y\r\n\r\n1\r\n--B--", "malformed header line"),
        (b"--B\r\n" + (DISPOSITION + b"name=a\r\n") * 2 + b"\r\n1\r\n--B--", "more than one Content-Disp"),
        (b"--B\r\n" + DISPOSITION + b"name=a\r\nContent-Type: a\r\ncontent-type: b\r\n\r\n1\r\n--B--",
         "more than one Content-Type"),
        (b"--B\r\n" + DISPOSITION + b"name=a; name=b\r\n\r\n1\r\n--B--", "more than one name"),
        (b"--B\r\n" + DISPOSITION + b"name=a; filename=x; FileName=y\r\n\r\n1\r\n--B--", "more than one name"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("split", [False, True])
def test_refused(data: bytes, message: str, split: bool) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as info:
        decode(bytewise(data) if split else [data])
    assert info.value.status == 400


@pytest.mark.parametrize(
    "boundary", [b"", b"x" * 71, b"a ", b"a\r\nb", b'"a"', b"a\x00", b"\xe9", b"a;b", b"a*b"]
)
def test_bad_boundary(boundary: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="boundary"):
        MultipartDecoder(boundary)


@pytest.mark.parametrize("boundary", [b"x", b"x" * 70, b"'()+_,-./:=? x", b"----WebKitFormBoundaryAbC"])
def test_good_boundary(boundary: bytes) -> None:
    assert values(check(field(b"a", b"1", boundary) + b"--" + boundary + b"--", boundary)) == [
        ("a", None, b"1")
    ]


@pytest.mark.parametrize("split", [False, True])
def test_limits(split: bool) -> None:
    def run(data: bytes, **limits: Any) -> list[Part]:
        return decode(bytewise(data) if split else [data], limits=MultipartLimits(**limits))

    three = field(b"a", b"12") * 3 + b"--B--"
    assert len(run(three, max_parts=3)) == 3
    with pytest.raises(RemoteProtocolError, match="too many parts"):
        run(three, max_parts=2)

    header = DISPOSITION + b'name="a"'
    assert len(run(three, max_header_size=len(header))) == 3
    with pytest.raises(RemoteProtocolError, match="part header too large"):
        run(three, max_header_size=len(header) - 1)
    with pytest.raises(RemoteProtocolError, match="part header too large"):
        run(b"--B\r\n" + b"x" * 200, max_header_size=100)

    assert len(run(three, max_field_bytes=6)) == 3
    assert len(run(three, max_field_bytes=None)) == 3
    with pytest.raises(RemoteProtocolError, match="over 5 bytes") as info:
        run(three, max_field_bytes=5)
    assert info.value.status == 413
    file = b"--B\r\n" + DISPOSITION + b"name=a; filename=f\r\n\r\n" + b"x" * 100 + b"\r\n--B--"
    assert run(file, max_field_bytes=5)[0].content == b"x" * 100
    # A file that was not chosen is a field like any other.
    with pytest.raises(RemoteProtocolError, match="over 5 bytes"):
        run(file.replace(b"=f", b'=""'), max_field_bytes=5)

    for named in (field(b"abcde", b"") + b"--B--", file.replace(b"=f", b"=abcde")):
        assert len(run(named, max_name_length=5)) == 1
        with pytest.raises(RemoteProtocolError, match="part name too long"):
            run(named, max_name_length=4)

    for outside in (b"x" * 20 + b"\r\n--B--", b"--B--" + b"x" * 20):
        assert run(outside, max_ignored_bytes=20) == []
        with pytest.raises(RemoteProtocolError, match="outside the parts"):
            run(outside, max_ignored_bytes=19)


def test_events_tell_what_they_are() -> None:
    decoder = MultipartDecoder(b"B")
    data = field(b"a", b"1") + b"--B--"
    events = decoder.receive(data)
    at = data.index(b"1")
    assert [repr(event) for event in events] == [
        f"PartBegin(name='a', filename=None, offset={at})",
        "PartData(b'1')",
        f"PartEnd(offset={at + 1})",
    ]
    assert not hasattr(events[0], "__dict__")


def test_content_comes_as_it_arrives() -> None:
    decoder = MultipartDecoder(b"B")
    decoder.receive(field(b"a", b"")[:-2])
    (event,) = decoder.receive(b"x" * 1000)
    assert isinstance(event, PartData)
    assert len(event.data) == 1000
    # Only what may belong to a delimiter is held back.
    (event,) = decoder.receive(b"y\r\n--")
    assert isinstance(event, PartData)
    assert event.data == b"y"
    assert len(decoder._tail) == 4


# --- the same as others ---

names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters='"\\;%'),
    min_size=1,
    max_size=8,
)
# Content made of what delimiters are made of.
contents = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--", b"B", b" ", b"\r\n--B", b"x"]), max_size=12
    ).map(b"".join),
)
forms = st.lists(st.tuples(names, st.none() | names, contents), max_size=5)


def body_of(form: list[tuple[str, str | None, bytes]], boundary: bytes) -> bytes:
    data = b""
    for name, filename, content in form:
        data += b"--" + boundary + b"\r\n" + DISPOSITION + f'name="{name}"'.encode()
        if filename is not None:
            data += f'; filename="{filename}"\r\nContent-Type: text/plain'.encode()
        data += b"\r\n\r\n" + content + b"\r\n"
    return data + b"--" + boundary + b"--\r\n"


@given(form=forms, cuts=st.lists(st.integers(0, 600), max_size=8))
def test_generated_forms_whatever_the_split(
    form: list[tuple[str, str | None, bytes]], cuts: list[int]
) -> None:
    # The boundary is longer than any content's pieces, so none of them is a delimiter.
    boundary = b"B-boundary"
    data = body_of(form, boundary)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = decode([data[a:b] for a, b in pairwise(edges)], boundary)
    assert values(parts) == form
    assert parts == decode([data], boundary)
    assert parts == decode(bytewise(data), boundary)
    for part in parts:
        assert data[part.begin : part.end] == part.content


@given(form=forms)
def test_agrees_with_multipart(form: list[tuple[str, str | None, bytes]]) -> None:
    boundary = b"B-boundary"
    data = body_of(form, boundary)
    parts = (
        defnull.MultipartParser(io.BytesIO(data), boundary, content_length=len(data)).parts() if form else []
    )
    theirs = [(part.name, part.filename, part.raw) for part in parts]
    ours = values(decode([data], boundary))
    assert [(n, f if f is None else f.split("\\")[-1], c) for n, f, c in ours] == theirs


@given(form=forms)
@settings(max_examples=60)
def test_agrees_with_python_multipart(form: list[tuple[str, str | None, bytes]]) -> None:
    boundary = b"B-boundary"
    data = body_of(form, boundary)
    theirs: list[bytes] = []

    def on_part_begin() -> None:
        theirs.append(b"")

    def on_part_data(piece: bytes, start: int, end: int) -> None:
        theirs[-1] += piece[start:end]

    parser = python_multipart.MultipartParser(
        boundary, {"on_part_begin": on_part_begin, "on_part_data": on_part_data}
    )
    parser.write(data)
    parser.finalize()
    assert theirs == [part.content for part in decode([data], boundary)]


# --- the hostile ---


def outcome(pieces: list[bytes]) -> object:
    try:
        return decode(pieces)
    except RemoteProtocolError as error:
        return str(error)


FRAGMENTS = [
    b"--B",
    b"\r\n",
    b"\r",
    b"\n",
    b"--",
    b"-",
    b" ",
    b"\r\n--B",
    b"\r\n\r\n",
    b"a: b",
    b"x",
    b"\xff",
    b'"',
]
FRAGMENTS += [DISPOSITION, b"name=a", b"; ", b"filename=b"]


@given(st.binary(max_size=200) | st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join))
def test_any_bytes_end_in_parts_or_a_protocol_error(data: bytes) -> None:
    whole = outcome([data])
    assert outcome(bytewise(data)) == whole
    assert outcome([data[i : i + 5] for i in range(0, len(data), 5)]) == whole


def cost(make: bytes, count: int, head: bytes, boundary: bytes, step: int) -> float:
    data = head + make * count
    best = 9.0
    for _ in range(3):
        decoder = MultipartDecoder(boundary, MultipartLimits(max_ignored_bytes=1 << 40, max_field_bytes=None))
        begin = time.process_time()
        with suppress(RemoteProtocolError):
            for at in range(0, len(data), step):
                decoder.receive(data[at : at + step])
        best = min(best, time.process_time() - begin)
    return best


@pytest.mark.parametrize("step", [1 << 30, 997])
@pytest.mark.parametrize("head", [b"", field(b"a", b"")[:-2]])
@pytest.mark.parametrize(
    "unit", [b"\r", b"\r\n", b"\r\n--", b"\r\n--B", b"\r\n--" + b"B" * 69, b"\r\n--" + b"B" * 70 + b" ", b"B"]
)
@pytest.mark.parametrize("boundary", [b"B", b"B" * 70])
def test_time_is_linear(unit: bytes, head: bytes, boundary: bytes, step: int) -> None:
    head = head.replace(b"--B", b"--" + boundary)
    count = 16_384 // len(unit)
    small = cost(unit, count, head, boundary, step)
    large = cost(unit, count * 16, head, boundary, step)
    # Quadratic would be 256 times.
    assert large < 80 * max(small, 1e-4)


def test_memory_is_bounded_by_the_header_limit() -> None:
    decoder = MultipartDecoder(b"B", MultipartLimits(max_header_size=100))
    decoder.receive(b"--B\r\n")
    for _ in range(103):
        decoder.receive(b"x")
    assert len(decoder._tail) == 103
    with pytest.raises(RemoteProtocolError, match="part header too large"):
        decoder.receive(b"x")
