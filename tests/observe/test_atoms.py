"""Tests of webfw.observe.atoms: each name, each of gunicorn's letters, and formats that are wrong."""

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httpserver.observer import Observers, Record, Session
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.observe.atoms import ATOMS, LETTERS, compile_format, iso_time, safe

NOON = 1_700_000_000.0

FIELDS = {
    "Host": "example.com:8000",
    "Referer": "https://a.test/",
    "User-Agent": 'curl "8"\xe9',
    "Authorization": "Basic YWRhOnNlY3JldA==",
    "X-Own": "own",
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def record_of(uri: str = "/a?b=1", *, fields: dict[str, str] | None = None, over: bool = True) -> Record:
    """A record with a time of 12, 20 and 30 milliseconds."""
    context: Any = SimpleNamespace(remote_ip="192.0.2.1", protocol="https")
    exchange: Any = SimpleNamespace(
        context=context, get_extra_info=lambda name: SimpleNamespace(version=lambda: "TLSv1.3")
    )
    headers = HTTPHeaders(FIELDS if fields is None else fields)
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", uri, "HTTP/1.1"), headers=headers, connection=exchange
    )
    record = Record(Observers([]), context, object(), exchange, request)
    record.started = NOON + 0.25
    record.route = "/(.*)"
    record.status = 200
    record.bytes_in, record.bytes_out = 11, 5120
    record.request_id = "id-1"
    record.why = "complete"
    if over:
        begun = record.begun_at
        record.handling_at, record.answering_at, record.ended_at = (
            begun + 0.012,
            begun + 0.032,
            begun + 0.0625,
        )
    return record


def nobody_there() -> Record:
    """The record of a head that could not be read."""
    context: Any = SimpleNamespace(remote_ip="192.0.2.1", protocol="http")
    record = Record(Observers([]), context, object())
    record.status = 400
    return record


def write(form: str, record: Record | None = None) -> str:
    return compile_format(form, lambda: 7)(record or record_of())


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("request_id", "id-1"),
        ("traceparent", FIELDS["Traceparent"]),
        ("peer", "192.0.2.1"),
        ("protocol", "HTTP/1.1"),
        ("scheme", "https"),
        ("tls", "TLSv1.3"),
        ("method", "GET"),
        ("target", "/a?b=1"),
        ("path", "/a"),
        ("query", "b=1"),
        ("host", "example.com:8000"),
        ("request_line", "GET /a?b=1 HTTP/1.1"),
        ("referer", "https://a.test/"),
        ("user_agent", r"curl \"8\"\xe9"),
        ("user", "ada"),
        ("route", "/(.*)"),
        ("status", "200"),
        ("bytes_in", "11"),
        ("bytes_out", "5120"),
        ("duration_ms", "62.5"),
        ("queue_ms", "12.0"),
        ("handler_ms", "20.0"),
        ("write_ms", "30.5"),
        ("why", "complete"),
        ("messages_in", "-"),
        ("messages_out", "-"),
        ("close_code", "-"),
        ("worker", "7"),
        ("header{x-own}", "own"),
        ("header{x-none}", "-"),
    ],
)
def test_names(name: str, written: str) -> None:
    assert write(f"<%({name})s>") == f"<{written}>"


def test_every_name_is_tested_and_in_the_manual() -> None:
    from pathlib import Path

    import webfw

    (marker,) = [mark for mark in test_names.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    tested = {name for name, _ in marker.args[1]}
    assert set(ATOMS) - tested == {"time"}
    page = (Path(webfw.__file__).parent.parent / "docs/howto/logging.md").read_text(encoding="utf-8")
    for name in [*ATOMS, "worker", "header{NAME}"]:
        assert f"| `{name}`" in page, name
    for letter in LETTERS:
        assert f"`%({letter})s`" in page, letter


@pytest.mark.parametrize(
    ("letter", "written"),
    [
        ("h", "192.0.2.1"),
        ("l", "-"),
        ("u", "ada"),
        ("r", "GET /a?b=1 HTTP/1.1"),
        ("m", "GET"),
        ("U", "/a"),
        ("q", "b=1"),
        ("H", "HTTP/1.1"),
        ("s", "200"),
        ("B", "5120"),
        ("b", "5120"),
        ("f", "https://a.test/"),
        ("a", r"curl \"8\"\xe9"),
        ("T", "0"),
        ("M", "62"),
        ("D", "62500"),
        ("L", "0.062500"),
        ("p", "<7>"),
        ("{x-own}i", "own"),
    ],
)
def test_letters(letter: str, written: str) -> None:
    assert write(f"%({letter})s") == written


def test_the_time_of_the_common_log_format() -> None:
    text = write("%(t)s")
    assert time.mktime(time.strptime(text[1:21], "%d/%b/%Y:%H:%M:%S")) == NOON
    assert re.fullmatch(r"\[\d\d/Nov/2023:\d\d:\d\d:\d\d [+-]\d{4}\]", text)


def test_time_as_iso_8601() -> None:
    assert write("%(time)s") == iso_time(NOON + 0.25)
    assert re.fullmatch(r"2023-11-1\dT\d\d:\d\d:\d\d\.250[+-]\d\d:\d\d", iso_time(NOON + 0.25))


def test_what_is_not_known_is_a_dash() -> None:
    names = [
        name for name in ATOMS if name not in ("time", "peer", "scheme", "status", "bytes_in", "bytes_out")
    ]
    assert write(" ".join(f"%({name})s" for name in names), nobody_there()).split() == ["-"] * len(names)
    assert (
        write("%(h)s %(u)s %(r)s %(b)s %(D)s %(L)s %(f)s", nobody_there()) == "192.0.2.1 - - - 0 0.000000 -"
    )
    assert write("%(duration_ms)5.1f|%(close_code)d", nobody_there()) == "    -|-"


def test_a_session_is_told_of_by_the_same_names() -> None:
    record = record_of()
    record.session = session = Session()
    session.bytes_in, session.bytes_out, session.messages_in, session.messages_out = 1, 2, 3, 4
    session.close_code = 1000
    form = "%(bytes_in)d %(bytes_out)d %(messages_in)d %(messages_out)d %(close_code)d %(B)s"
    assert write(form, record) == "1 2 3 4 1000 2"


def test_a_client_that_did_not_wait() -> None:
    record = record_of(over=False)
    record.status, record.why = 0, "client_gone"
    assert write("%(status)s %(why)s %(handler_ms)s", record) == "499 client_gone -"


@pytest.mark.parametrize(
    "value", ["Bearer YWRhOnNlY3JldA==", "Basic !", "Basic /w==", "Basic OnNlY3JldA==", "Basic"]
)
def test_no_user_in_a_field_that_has_none(value: str) -> None:
    assert write("%(user)s", record_of(fields={"Host": "a", "Authorization": value})) == "-"


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("%(status)05d|%(duration_ms).1f|%(duration_ms)8.2f|", "00200|62.5|   62.50|"),
        ("%(method)-6s|%(method)6s|%(bytes_out)8s|", "GET   |   GET|    5120|"),
        ("100%% %(status)s%%", "100% 200%"),
        ("plain", "plain"),
        ("%(messages_in)4s|%(close_code)-4d|%(tls)9.3s|", "   -|-   |      TLS|"),
    ],
)
def test_forms(form: str, written: str) -> None:
    assert write(form) == written


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("%(statsu)s", r"no atom %\(statsu\)s; perhaps %\(status\)s"),
        ("%(zzzzzz)s", r"no atom %\(zzzzzz\)s; there are bytes_in, .*, header\{name\}"),
        ("%(header[x])s", r"perhaps %\(header\{user-agent\}\)s"),
        ("%({x}o)s", "no atom"),
        ("%(header{a b})s", "no atom"),
        ("%(peer)d", r"%\(peer\)d: peer is text, to be written as %\(peer\)s"),
        ("%s", "no atom: '%s'; one is written"),
        ("100%", "no atom: '%'"),
        ("%(status)", r"no atom: '%\(status\)'"),
        ("%(status)x", "no atom"),
        ("a\nb", "one line"),
    ],
)
def test_wrong_formats(form: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(form)


@given(st.text())
def test_nothing_unsafe_is_left(text: str) -> None:
    escaped = safe(text)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert '"' not in escaped.replace(r"\\", "").replace(r"\"", "")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\r\n", r"\x0d\x0a"),
        ("\x7f\x9b\xe9", r"\x7f\x9b\xe9"),
        ("\u2028", r"\u2028"),
        ("\U0001f600", r"\U0001f600"),
        ('"\\', r"\"\\"),
    ],
)
def test_escapes(text: str, written: str) -> None:
    assert safe(text) == written
