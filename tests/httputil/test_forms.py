"""Forms as arguments and files: in memory, as they arrive, and kept in a file."""

import copy
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import (
    HTTPFile,
    HTTPHeaders,
    HTTPInputError,
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    is_form,
    multipart_form,
    parse_body_arguments,
    parse_multipart_form_data,
    set_parse_body_config,
)
from webfw.httputil.forms import parse_body_source

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=B"
ONE = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\n'
FILE = (
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\n'
    b"content\r\n--B\r\nContent-Disposition: form-data; name=f; filename=y\r\n\r\n\r\n--B--"
)

Arguments = dict[str, list[bytes]]
Files = dict[str, list[HTTPFile]]


class Spool:
    """A body in a temporary file, counting how often it is opened."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        path.write_bytes(data)
        self.size = len(data)
        self.opened = 0

    def read(self) -> bytes:
        return self.path.read_bytes()

    def open(self) -> BinaryIO:
        self.opened += 1
        return self.path.open("rb")


def parse(content_type: str, body: bytes, **options: Any) -> tuple[Arguments, Files]:
    arguments: Arguments = {}
    files: Files = {}
    parse_body_arguments(content_type, body, arguments, files, **options)
    return arguments, files


@pytest.fixture
def default_config() -> Iterator[None]:
    yield
    set_parse_body_config(ParseBodyConfig())


# --- urlencoded ---


@pytest.mark.parametrize(
    "content_type", [URLENCODED, URLENCODED + "; charset=utf-8", URLENCODED.upper(), f" {URLENCODED} ;"]
)
def test_urlencoded(content_type: str) -> None:
    body = b"a=1&b=&c&a=2&%C3%A9=%FF+x"
    assert parse(content_type, body) == (
        {"a": [b"1", b"2"], "b": [b""], "c": [b""], "\xc3\xa9": [b"\xff x"]},
        {},
    )


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/mixed; boundary=B", URLENCODED + "x", ";"]
)
def test_other_bodies_hold_no_arguments(content_type: str) -> None:
    assert parse(content_type, ONE, headers=HTTPHeaders({"Content-Encoding": "gzip"})) == ({}, {})
    assert not is_form(content_type)


def test_what_is_there_already_is_added_to() -> None:
    arguments: Arguments = {"a": [b"0"]}
    files: Files = {"f": []}
    parse_body_arguments(URLENCODED, b"a=1", arguments, files)
    parse_body_arguments(MULTIPART, ONE, arguments, files)
    parse_body_arguments(MULTIPART, FILE, arguments, files)
    assert arguments == {"a": [b"0", b"1", b"1"]}
    assert len(files["f"]) == 2


@pytest.mark.parametrize("content_type", [URLENCODED, MULTIPART])
@pytest.mark.parametrize("encoding", ["gzip", "identity", ""])
def test_a_form_that_is_still_encoded_is_refused(content_type: str, encoding: str) -> None:
    with pytest.raises(HTTPInputError, match="Unsupported Content-Encoding"):
        parse(content_type, b"a=1", headers=HTTPHeaders({"Content-Encoding": encoding}))


def test_number_of_arguments() -> None:
    assert len(parse(URLENCODED, b"&".join([b"a=1"] * 1000))[0]["a"]) == 1000
    with pytest.raises(HTTPInputError, match="urlencoded body") as info:
        parse(URLENCODED, b"&".join([b"a=1"] * 1001))
    assert info.value.status == 400
    config = ParseBodyConfig(urlencoded=ParseUrlEncodedConfig(max_arguments=1))
    with pytest.raises(HTTPInputError):
        parse(URLENCODED, b"a=1&b=2", config=config)


# --- multipart ---


@pytest.mark.parametrize(
    "content_type",
    [MULTIPART, 'multipart/form-data; boundary="B"', "Multipart/Form-Data;charset=x;Boundary=B;"],
)
def test_multipart(content_type: str) -> None:
    assert parse(content_type, ONE) == ({"a": [b"1"]}, {})


def test_files() -> None:
    arguments, files = parse(MULTIPART, FILE)
    assert arguments == {}
    one, other = files["f"]
    assert type(one) is HTTPFile
    assert one == {"filename": "x.txt", "body": b"content", "content_type": "text/plain"}
    assert (one.filename, one["body"], one.content_type) == ("x.txt", b"content", "text/plain")
    assert (one.size, one.open().read()) == (7, b"content")
    assert other == {"filename": "y", "body": b"", "content_type": "application/unknown"}


def test_a_file_that_was_not_chosen_is_an_argument() -> None:
    body = FILE.replace(b'"x.txt"', b'""')
    arguments, files = parse(MULTIPART, body)
    assert arguments == {"f": [b"content"]}
    assert len(files["f"]) == 1


@pytest.mark.parametrize("boundary", [b"B", b'"B"'])
def test_the_boundary_may_be_quoted(boundary: bytes) -> None:
    arguments: Arguments = {}
    parse_multipart_form_data(boundary, ONE, arguments, {})
    assert arguments == {"a": [b"1"]}


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("multipart/form-data", ONE, "no boundary"),
        ("multipart/form-data; boundary=", ONE, "no boundary"),
        ("multipart/form-data; boundary=a\u20acb", ONE, "no final"),
        ("multipart/form-data; boundary=\xe9", ONE, "invalid boundary"),
        ("multipart/form-data; boundary=" + "x" * 71, ONE, "invalid boundary"),
        (MULTIPART, b"", "no final boundary"),
        (MULTIPART, ONE[:-5], "no final boundary"),
        (MULTIPART, ONE.replace(b'name="a"', b"x=y"), "part without name"),
    ],
)
def test_malformed_multipart_adds_nothing(content_type: str, body: bytes, message: str) -> None:
    arguments: Arguments = {}
    files: Files = {}
    with pytest.raises(HTTPInputError, match=message) as info:
        parse_body_arguments(content_type, body, arguments, files)
    assert info.value.status == 400
    assert not arguments
    assert not files


def test_multipart_limits() -> None:
    def run(body: bytes, **options: Any) -> None:
        parse_multipart_form_data(b"B", body, {}, {}, config=ParseMultipartConfig(**options))

    part = ONE.partition(b"--B--")[0]
    run(part * 100 + b"--B--")
    with pytest.raises(HTTPInputError, match="too many parts"):
        run(part * 101 + b"--B--")
    with pytest.raises(HTTPInputError, match="too many parts"):
        run(ONE, max_parts=0)
    with pytest.raises(HTTPInputError, match="part header too large"):
        run(ONE.replace(b'"a"', b"a" * 10_240))
    with pytest.raises(HTTPInputError, match="part header too large"):
        run(ONE, max_part_header_size=10)
    with pytest.raises(HTTPInputError, match="parsing is disabled"):
        run(ONE, enabled=False)


def test_config_of_the_process(default_config: None) -> None:
    set_parse_body_config(
        ParseBodyConfig(ParseMultipartConfig(enabled=False), ParseUrlEncodedConfig(max_arguments=2))
    )
    with pytest.raises(HTTPInputError, match="parsing is disabled"):
        parse(MULTIPART, ONE)
    with pytest.raises(HTTPInputError):
        parse(URLENCODED, b"a&b&c")
    assert parse(URLENCODED, b"a&b&c", config=ParseBodyConfig())[0].keys() == {"a", "b", "c"}


def test_defaults() -> None:
    config = ParseBodyConfig()
    assert config.multipart == ParseMultipartConfig(True, 100, 10_240)
    assert config.urlencoded.max_arguments == 1000


# --- as it arrives ---


def test_form_made_as_it_arrives() -> None:
    form = multipart_form(MULTIPART)
    assert form is not None
    for at in range(len(FILE)):
        form.receive(FILE[at : at + 1])
    form.finish()
    assert form.files == parse(MULTIPART, FILE)[1]
    assert multipart_form(URLENCODED) is None


def test_fields_of_a_streamed_form_are_bounded() -> None:
    form = multipart_form(MULTIPART, max_field_bytes=10)
    assert form is not None
    with pytest.raises(HTTPInputError, match="over 10 bytes") as info:
        form.receive(ONE.replace(b"1", b"x" * 11))
    assert info.value.status == 413


# --- kept in a file ---


def test_files_stay_where_the_body_is_kept(tmp_path: Path) -> None:
    source = Spool(tmp_path / "body", FILE)
    arguments, files = parse_body_source(MULTIPART, source)
    assert arguments == {}
    one, other = files["f"]
    assert isinstance(one, HTTPFile)
    opened = source.opened
    assert (one.filename, one.content_type, one.size) == ("x.txt", "text/plain", 7)
    assert (one["filename"], one.get("content_type"), one.get("nothing", 5)) == ("x.txt", "text/plain", 5)
    assert "body" in one
    assert "filename" in one
    assert "nothing" not in one
    assert len(one) == 3
    with pytest.raises(KeyError):
        one["nothing"]
    with pytest.raises(AttributeError):
        one.nothing  # noqa: B018
    assert source.opened == opened
    with one.open() as file:
        assert file.read() == b"content"
    assert one.body == one["body"] == b"content"
    assert source.opened == opened + 2
    assert len(one) == 3
    assert other.size == 0
    assert other.body == b""


@pytest.mark.parametrize(
    "look",
    [
        dict,
        lambda file: dict(file.items()),
        lambda file: {name: file[name] for name in file},
        lambda file: dict(zip(file.keys(), file.values(), strict=True)),
        lambda file: {**file},
        lambda file: file.copy(),
        copy.copy,
        lambda file: file if file == parse(MULTIPART, FILE)[1]["f"][0] else {},
    ],
)
def test_a_kept_file_is_a_whole_dict(tmp_path: Path, look: Any) -> None:
    _, files = parse_body_source(MULTIPART, Spool(tmp_path / "body", FILE))
    assert look(files["f"][0]) == {"filename": "x.txt", "body": b"content", "content_type": "text/plain"}
    with pytest.raises(TypeError):
        hash(files["f"][0])


def test_a_kept_file_as_a_file(tmp_path: Path) -> None:
    data = os.urandom(200_000)
    body = FILE.replace(b"content", data)
    source = Spool(tmp_path / "body", body)
    _, files = parse_body_source(MULTIPART, source)
    kept = files["f"][0]
    assert kept.size == len(data)
    with kept.open() as file:
        plain = io.BytesIO(data)
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        for act in (
            lambda f: f.read(10),
            lambda f: f.seek(-5, io.SEEK_CUR),
            lambda f: f.read(1000),
            lambda f: f.seek(-5, io.SEEK_END),
            lambda f: f.read(),
            lambda f: f.seek(0, io.SEEK_END),
            lambda f: f.read(),
            lambda f: f.seek(10_000_000),
            lambda f: f.read(),
            lambda f: f.seek(100_000),
            lambda f: f.tell(),
            lambda f: f.read(),
        ):
            assert act(file) == act(plain)
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)
    assert file.closed
    with pytest.raises(io.UnsupportedOperation):
        kept.open().write(b"x")


def test_two_ranges_of_one_handle() -> None:
    """A source may give out one handle again and again: the ranges do not rely on its position."""

    class Shared:
        size = len(FILE)

        def __init__(self) -> None:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115
            self.file.write(FILE)

        def read(self) -> bytes:
            raise AssertionError("files are read on their own")

        def open(self) -> BinaryIO:
            handle = os.fdopen(os.dup(self.file.fileno()), "rb")
            handle.seek(0)
            return handle

    source = Shared()
    source.file.flush()
    _, files = parse_body_source(MULTIPART, source)
    one, other = (file.open() for file in (files["f"][0], files["f"][0]))
    assert one.read(3) == other.read(3) == b"con"
    assert one.read() == other.read() == b"tent"
    one.close()
    other.close()
    source.file.close()


def test_urlencoded_body_that_is_kept(tmp_path: Path) -> None:
    assert parse_body_source(URLENCODED, Spool(tmp_path / "body", b"a=1&b")) == (
        {"a": [b"1"], "b": [b""]},
        {},
    )
    assert parse_body_source("text/plain", Spool(tmp_path / "body", b"a=1")) == ({}, {})
    with pytest.raises(HTTPInputError):
        parse_body_source(MULTIPART, Spool(tmp_path / "body", FILE[:-2]))
    with pytest.raises(HTTPInputError, match="Content-Encoding"):
        parse_body_source(URLENCODED, Spool(tmp_path / "body", b""), HTTPHeaders({"Content-Encoding": "br"}))


def test_a_file_can_be_made_by_hand() -> None:
    file = HTTPFile(filename="a", body=b"xyz", content_type="text/plain")
    assert (file.size, file.open().read()) == (3, b"xyz")
    assert json.loads(json.dumps({**file, "body": "xyz"}))["filename"] == "a"


@given(st.binary(), st.sampled_from([URLENCODED, MULTIPART]), st.booleans())
def test_any_body_ends_in_arguments_or_an_input_error(body: bytes, content_type: str, framed: bool) -> None:
    if framed:
        body = b"--B\r\nContent-Disposition: form-data; " + body + b"\r\n--B--"
    try:
        arguments, files = parse(content_type, body)
    except HTTPInputError:
        return
    assert all(isinstance(value, bytes) for values in arguments.values() for value in values)
    assert all(file.filename for some in files.values() for file in some)


@given(st.text())
def test_any_content_type(content_type: str) -> None:
    for text in (content_type, "multipart/form-data; boundary=" + content_type):
        try:
            parse(text, ONE)
        except HTTPInputError as error:
            assert error.status == 400  # noqa: PT017
