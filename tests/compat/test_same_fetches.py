"""The same requests by Tornado's simple client and by webfw's, to one raw server: no difference without a reason.

An exception is the same when ours is of all the types that theirs is of.  How each client names itself, what codings it
asks for, and that theirs never keeps a connection, is not looked at.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="tornado is not installed (dependency group test)"
)

Results = dict[str, tuple[dict[str, Any], dict[str, Any]]]
ALL = frozenset({"asked", "code", "fields", "lines", "raises", "response", "url"})


@dataclass(frozen=True)
class Row:
    """One class of differences; the table stands in docs/topics/http-client.md.

    :ivar what: what ours does.
    :ivar why: the reason.
    :ivar cases: where it shows.
    :ivar aspects: in what.
    """

    what: str
    why: str
    cases: tuple[str, ...]
    aspects: frozenset[str]


def row(what: str, why: str, cases: tuple[str, ...], *aspects: str) -> Row:
    return Row(what, why, cases, frozenset(aspects) or ALL)


DIFFERENCES = [
    row(
        "trailer fields of a chunked body are read, checked and dropped",
        "RFC 9112 section 7.1.2 allows them; a whole response was lost",
        ("/trailers",),
    ),
    row(
        "`deflate`, and `br` and `zstd` where a library is installed, are decompressed too",
        "smaller responses; only what can be undone is asked for",
        ("/deflate",),
        *("fields", "lines", "response"),
    ),
    row(
        "the response to HEAD keeps `Content-Encoding`",
        "nothing was decompressed; the fields are what the program has asked for",
        ("HEAD /gzip",),
        *("fields", "lines"),
    ),
    row(
        "a redirect that cannot be followed is an `HTTPClientError` with its status and response",
        "the program learns where it was sent; `ValueError` says that the program was wrong",
        ("/ftp", "/bad-location"),
        *("code", "fields", "raises", "response", "url"),
    ),
    row(
        "the framing of a response is checked before any callback",
        "a response that is refused has no head to be told",
        ("/two-lengths", "/both", "/big"),
        "lines",
    ),
    row(
        "the eleventh interim response ends the request before it is told",
        "ten are enough",
        ("/1xx-many",),
        "lines",
    ),
    row(
        "`Content-Length` twice is refused also where both say the same",
        "RFC 9112 section 6.3 allows either; who sends it twice has two who frame",
        ("/same-lengths",),
    ),
    row(
        "lines of a head end in CR LF",
        "RFC 9112 section 2.2; Tornado 6.7 will do the same",
        ("/lf",),
    ),
    row(
        "a head that is too large is an `HTTPStreamClosedError` that says so",
        "an error of a stream's buffer is nothing a program expects of a client",
        ("/big-head",),
        *("code", "raises"),
    ),
    row(
        "characters that no URL has are percent-encoded as UTF-8",
        "RFC 3987 section 3.1; a space made a malformed request line",
        ("path with a space", "path in UTF-8"),
        "asked",
    ),
    row(
        "user name and password in a URL are percent-decoded",
        "RFC 3986 section 3.2.1: there is no other way to write `@` or `:` there",
        ("quoted user in the address",),
        "asked",
    ),
    row("`if_modified_since=0` is sent", "it is a date, not none", ("if modified since",), "asked"),
    row(
        "a request without a body says `Content-Length: 0` where its method is for sending one",
        "RFC 9110 section 8.6; nothing to send takes no chunks",
        ("POST without, allowed",),
        "asked",
    ),
    row(
        "what `streaming_callback` raises is raised by `fetch`",
        "the reason was lost in a log",
        ("streaming fails",),
        *("code", "raises"),
    ),
    row(
        "a URL without a host, or whose port is none, is a `ValueError` that says so",
        "nothing was looked up or connected to",
        ("no host", "port too high", "port no number"),
        "raises",
    ),
]


@pytest.fixture(scope="module")
def results() -> Results:
    """What became of each request, theirs and ours."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, str(HERE / "fetches.py"), framework],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for framework in ("tornado", "webfw")
    ]
    found = []
    for process in running:
        output, errors = process.communicate(timeout=50)
        assert process.returncode == 0, errors
        found.append(json.loads(output))
    theirs, ours = found
    assert theirs.keys() == ours.keys()
    return {name: (theirs[name], ours[name]) for name in theirs}


def aspects(theirs: dict[str, Any], ours: dict[str, Any]) -> set[str]:
    """In what two outcomes differ."""
    found = {name for name in ALL if theirs.get(name) != ours.get(name)}
    if "raises" in theirs and set(theirs["raises"]) <= set(ours.get("raises", ())):
        found.discard("raises")
    return found


def test_same_outcomes(results: Results) -> None:
    unexplained = {}
    for name, (theirs, ours) in results.items():
        explained = [row.aspects for row in DIFFERENCES if name in row.cases]
        left = aspects(theirs, ours).difference(*explained)
        if left:
            unexplained[name] = {aspect: (theirs.get(aspect), ours.get(aspect)) for aspect in left}
    assert unexplained == {}


def test_every_row_explains_something(results: Results) -> None:
    idle = [
        (row.what, case)
        for row in DIFFERENCES
        for case in row.cases
        if not aspects(*results[case]) & row.aspects
    ]
    assert idle == []


def test_the_manual_has_the_rows() -> None:
    page = (ROOT / "docs" / "topics" / "http-client.md").read_text(encoding="utf-8")
    assert [row.what for row in DIFFERENCES if f"| {row.what} | {row.why} |" not in page] == []
