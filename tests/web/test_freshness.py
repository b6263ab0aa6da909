import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.web.freshness import Freshness


class Handler(Freshness):
    def __init__(self, fields: str = "Host: x\r\n", body: tuple[bytes, ...] = (b"hello",)) -> None:
        head: Any = SimpleNamespace(method="GET", target="/", version="HTTP/1.1", fields=fields, host="x")
        context: Any = SimpleNamespace(remote_ip="::1", protocol="http")
        self.request = HTTPServerRequest.from_head(head, None, context)
        self._headers = HTTPHeaders()
        self._write_buffer = list(body)

    def set_header(self, name: str, value: Any) -> None:
        self._headers[name] = value


def test_the_tag_is_a_hash_of_what_was_written() -> None:
    expected = f'"{hashlib.sha1(b"hello").hexdigest()}"'
    assert Handler().compute_etag() == expected
    assert Handler(body=(b"he", b"", b"llo")).compute_etag() == expected
    assert Handler(body=()).compute_etag() == f'"{hashlib.sha1().hexdigest()}"'


def test_set_etag_header() -> None:
    handler = Handler()
    handler.set_etag_header()
    assert handler._headers["Etag"] == handler.compute_etag()


def test_no_tag_when_there_is_none() -> None:
    class Untagged(Handler):
        def compute_etag(self) -> None:
            return None

    handler = Untagged('If-None-Match: "x"\r\n')
    handler.set_etag_header()
    assert "Etag" not in handler._headers
    assert not handler.check_etag_header()


@pytest.mark.parametrize(
    ("etag", "field", "same"),
    [
        ('"x"', 'If-None-Match: "x"', True),
        ('"x"', 'if-none-match: W/"x"', True),
        ('W/"x"', 'IF-NONE-MATCH: "y", "x"', True),
        ('"x"', "If-None-Match: *", True),
        ('"x"', 'If-None-Match: "y"', False),
        ('"x"', "If-None-Match: x", False),
        ('"x"', 'If-None-Match: "xy", "yx"', False),
        ('"x"', 'If-Match: "x"', False),
        ('"x"', 'Cookie: if-none-match="x"', False),
        (None, 'If-None-Match: ""', False),
        (None, "If-None-Match: *", False),
    ],
)
def test_check_etag_header(etag: str | None, field: str, same: bool) -> None:
    handler = Handler(f"Host: x\r\n{field}\r\n")
    if etag is not None:
        handler.set_header("Etag", etag)
    assert handler.check_etag_header() is same


def test_the_fields_are_not_parsed_for_a_tag_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(block: str) -> HTTPHeaders:
        raise AssertionError("the map of fields was built")

    monkeypatch.setattr(HTTPHeaders, "from_fields", parsed)
    handler = Handler()
    handler.set_etag_header()
    assert not handler.check_etag_header()


def test_a_request_made_by_hand() -> None:
    handler = Handler()
    handler.set_header("Etag", '"x"')
    handler.request._head = None
    handler.request.headers = HTTPHeaders({"If-None-Match": '"x"'})
    assert handler.check_etag_header()
    handler.request.headers = HTTPHeaders()
    assert not handler.check_etag_header()


def test_a_field_the_program_sets() -> None:
    handler = Handler()
    handler._headers["Etag"] = '"x"'
    handler.request.headers["If-None-Match"] = '"x"'
    assert handler.check_etag_header()
