import gzip
import zlib
from typing import Any

import brotli
import pytest

from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.web import transforms
from webfw.web.transforms import (
    GZipContentEncoding,
    OutputTransform,
    compression_transform,
    gains_by_compression,
)

TEXT = b"hello compression " * 100


def request(method: str = "GET", **headers: str) -> HTTPServerRequest:
    fields = HTTPHeaders({"Host": "x"} | {name.replace("_", "-"): value for name, value in headers.items()})
    return HTTPServerRequest(start_line=RequestStartLine(method, "/", "HTTP/1.1"), headers=fields)


def answer(
    accept: str | None = "gzip",
    body: bytes = TEXT,
    status: int = 200,
    finishing: bool = True,
    method: str = "GET",
    cls: type[OutputTransform] = GZipContentEncoding,
    if_none_match: str | None = None,
    **fields: str,
) -> tuple[HTTPHeaders, bytes, OutputTransform]:
    wanted = {} if accept is None else {"Accept_Encoding": accept}
    if if_none_match is not None:
        wanted["If_None_Match"] = if_none_match
    transform = cls(request(method, **wanted))
    headers = HTTPHeaders({"Content-Type": "text/html; charset=UTF-8"})
    if finishing:
        headers["Content-Length"] = str(len(body))
    for name, value in fields.items():
        if value:
            headers[name.replace("_", "-")] = value
        else:
            del headers[name.replace("_", "-")]
    got_status, headers, chunk = transform.transform_first_chunk(status, headers, body, finishing)
    assert got_status == status
    return headers, chunk, transform


def test_the_default_changes_nothing() -> None:
    transform = OutputTransform(request())
    headers = HTTPHeaders()
    assert transform.transform_first_chunk(200, headers, b"x", False) == (200, headers, b"x")
    assert transform.transform_chunk(b"y", True) == b"y"


def test_compresses_a_whole_answer() -> None:
    headers, body, transform = answer()
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(body) == TEXT
    assert isinstance(transform, GZipContentEncoding)
    assert transform.active


@pytest.mark.parametrize(
    "accept", [None, "", "identity", "gzip;q=0", "br", "gzip;q=0.5, identity;q=1", "*;q=0"]
)
def test_leaves_it_when_the_client_does_not_want_it(accept: str | None) -> None:
    headers, body, _ = answer(accept)
    assert "Content-Encoding" not in headers
    assert body == TEXT
    assert headers["Content-Length"] == str(len(TEXT))
    assert headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "case",
    [
        {"status": 206},
        {"status": 206, "Content_Range": "bytes 0-9/10"},
        {"Content_Range": "bytes 0-9/10"},
        {"Content_Encoding": "br"},
        {"Content_Type": "image/png"},
        {"Content_Type": ""},
        {"Cache_Control": "max-age=3, No-Transform"},
        {"body": TEXT[:1023]},
        {"status": 304, "body": b""},
        {"status": 204, "body": b""},
        {"finishing": False, "Content_Length": "1000"},
    ],
)
def test_leaves_what_gains_nothing_or_must_stay(case: dict[str, Any]) -> None:
    headers, body, transform = answer(**case)
    assert headers.get("Content-Encoding") in (None, "br")
    assert body == case.get("body", TEXT)
    assert not transform.active  # type: ignore[attr-defined]
    assert transform.transform_chunk(b"more", True) == b"more"


@pytest.mark.parametrize(
    ("content_type", "gains"),
    [
        ("text/plain", True),
        ("TEXT/CSS; charset=x", True),
        ("application/json", True),
        ("application/problem+json", True),
        ("image/svg+xml", True),
        ("application/javascript", True),
        ("image/jpeg", False),
        ("application/zip", False),
        ("", False),
    ],
)
def test_which_types_gain(content_type: str, gains: bool) -> None:
    assert gains_by_compression(content_type) is gains


def test_a_streamed_answer_can_be_read_at_every_flush() -> None:
    headers, first, transform = answer(body=b"event 1\n", finishing=False, Content_Length="5000")
    assert headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in headers
    reader = zlib.decompressobj(31)
    assert reader.decompress(first) == b"event 1\n"
    assert transform.transform_chunk(b"", False) == b""
    assert reader.decompress(transform.transform_chunk(b"event 2\n", False)) == b"event 2\n"
    assert reader.decompress(transform.transform_chunk(b"end", True)) == b"end"
    assert reader.eof


def test_a_stream_of_unknown_length_is_compressed_even_when_it_begins_small() -> None:
    headers, first, _ = answer(body=b"", finishing=False)
    assert headers["Content-Encoding"] == "gzip"
    assert first == b""


def test_head_of_a_file_says_what_get_would() -> None:
    headers, body, _ = answer(method="HEAD", body=b"", Content_Length="5000")
    assert headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in headers
    assert body == b""
    headers, body, _ = answer(method="HEAD", body=b"", Content_Length="50")
    assert headers["Content-Length"] == "50"
    assert "Content-Encoding" not in headers


def test_head_of_a_page_has_the_length_of_the_compressed_body() -> None:
    headers, body, _ = answer(method="HEAD")
    assert int(headers["Content-Length"]) == len(body) < len(TEXT)


def test_entity_tags_become_weak() -> None:
    assert answer(Etag='"x"')[0]["Etag"] == 'W/"x"'
    assert answer(Etag='W/"x"')[0]["Etag"] == 'W/"x"'
    assert answer(None, Etag='"x"')[0]["Etag"] == '"x"'


def test_304_names_the_tag_the_client_has() -> None:
    assert answer(status=304, body=b"", if_none_match='W/"x"', Etag='"x"')[0]["Etag"] == 'W/"x"'
    assert answer(status=304, body=b"", if_none_match='"x"', Etag='"x"')[0]["Etag"] == '"x"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Accept-Language", "Accept-Language, Accept-Encoding"),
        ("accept-encoding", "accept-encoding"),
        ("*", "*"),
    ],
)
def test_vary_is_added_once(before: str, after: str) -> None:
    assert answer(Vary=before)[0]["Vary"] == after


def test_settings_choose_the_transform() -> None:
    assert compression_transform({}) is None
    assert compression_transform({"compress_response": False}) is None
    assert compression_transform({"compress_response": True}) is GZipContentEncoding
    assert compression_transform({"gzip": True}) is GZipContentEncoding
    both = compression_transform({"compress_response": True, "compress_encodings": ["br", "gzip"]})
    assert both is not None
    headers, body, _ = answer("gzip, br", cls=both)
    assert headers["Content-Encoding"] == "br"
    assert brotli.decompress(body) == TEXT
    assert answer("gzip", cls=both)[0]["Content-Encoding"] == "gzip"
    only = compression_transform({"compress_response": True, "compress_encodings": "br"})
    assert only is not None
    assert "Content-Encoding" not in answer("gzip", cls=only)[0]


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown coding 'lzma'"):
        compression_transform({"compress_response": True, "compress_encodings": ["lzma"]})
    monkeypatch.setattr(transforms, "available", lambda coding: False)

    def missing(coding: str, level: int) -> None:
        raise RuntimeError("needs the package")

    monkeypatch.setattr(transforms, "make_compressor", missing)
    with pytest.raises(RuntimeError, match="needs the package"):
        compression_transform({"compress_response": True, "compress_encodings": ["br"]})


def test_the_level_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = transforms.make_compressor
    monkeypatch.setattr(
        transforms, "make_compressor", lambda c, level: asked.append((c, level)) or real("gzip", 1)
    )
    monkeypatch.setattr(GZipContentEncoding, "GZIP_LEVEL", 9)
    answer()
    cls = type("All", (GZipContentEncoding,), {"ENCODINGS": ("zstd", "br")})
    answer("zstd", cls=cls)
    answer("br", cls=cls)
    assert asked == [("gzip", 9), ("zstd", 3), ("br", 4)]
