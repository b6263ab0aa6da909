"""Bodies of requests, read back by the server's own parsers."""

import json
from typing import Any

import pytest

from webfw.httputil import HTTPFile, parse_body_arguments
from webfw.testing.bodies import encode_body, pairs_of


def read(form: Any, files: Any) -> tuple[dict[str, list[bytes]], dict[str, list[HTTPFile]]]:
    body, content_type = encode_body(None, ..., form, files)
    assert content_type is not None
    assert body is not None
    arguments: dict[str, list[bytes]] = {}
    found: dict[str, list[HTTPFile]] = {}
    parse_body_arguments(content_type, body, arguments, found)
    return arguments, found


def test_pairs() -> None:
    assert pairs_of({"a": 1, "b": [2, 3], "c": ()}) == [("a", 1), ("b", 2), ("b", 3)]
    assert pairs_of([("a", 1), ("a", 2)]) == [("a", 1), ("a", 2)]


def test_nothing() -> None:
    assert encode_body(None, ..., None, None) == (None, None)


def test_plain_bodies() -> None:
    assert encode_body("é", ..., None, None) == ("é".encode(), None)
    assert encode_body(b"\xff", ..., None, None) == (b"\xff", None)


@pytest.mark.parametrize("value", [None, {"a": "é"}, [], "</"])
def test_json(value: Any) -> None:
    body, content_type = encode_body(None, value, None, None)
    assert body is not None
    assert json.loads(body) == value
    assert content_type == "application/json"


def test_form() -> None:
    arguments, files = read({"a": "é&=", "b": ["1", "2"]}, None)
    assert arguments == {"a": ["é&=".encode()], "b": [b"1", b"2"]}
    assert files == {}


def test_files() -> None:
    arguments, files = read(
        {"a": "é", "n": 1, "raw": b"\xff"},
        {
            "one": b"\x00\r\n--",
            'na"me': ("photo.png", b"png"),
            "three": [("a.txt", "ä", "text/x-own"), ("b", b"")],
        },
    )
    assert arguments == {"a": ["é".encode()], "n": [b"1"], "raw": [b"\xff"]}
    shown = {name: [(f.filename, f.body, f.content_type) for f in many] for name, many in files.items()}
    assert shown == {
        "one": [("one", b"\x00\r\n--", "application/octet-stream")],
        "na%22me": [("photo.png", b"png", "image/png")],
        "three": [("a.txt", "ä".encode(), "text/x-own"), ("b", b"", "application/octet-stream")],
    }


@pytest.mark.parametrize(
    "given", [(b"x", 1, None, None), (b"x", ..., {}, None), (None, 1, None, {}), (b"", ..., None, {})]
)
def test_one_body_only(given: Any) -> None:
    with pytest.raises(ValueError, match="one body"):
        encode_body(*given)
