"""One bare ASGI application on webfw and on uvicorn: the same bytes get the same answers, and it sees the same.

What differs is listed in ``real/differences.py``, with what decides it; a difference that no row explains fails, and so
does a row that explains nothing any more.
"""

import asyncio
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.asgi.real import bare
from tests.asgi.real.differences import COMPARED, COMPARED_SOCKETS, DIFFERENCES
from tests.asgi.real.site import SERVERS, Site, wait_for
from tests.compat.talk import Case, Outcome, Response, talk

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

HOST = b"Host: example.com\r\n"


def get(path: str, fields: bytes = b"", method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\n".encode("latin-1") + HOST + fields + b"\r\n"


def post(path: str, body: bytes, fields: bytes = b"", method: str = "POST") -> bytes:
    return get(path, fields + b"Content-Length: %d\r\n" % len(body), method) + body


def chunked(path: str, *chunks: bytes, trailer: bytes = b"") -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return get(path, b"Transfer-Encoding: chunked\r\n", "POST") + framed + b"0\r\n" + trailer + b"\r\n"


def cases() -> Iterator[Case]:
    for name in bare.SENT:
        yield Case(f"sent {name}", get(f"/{name}"))
        yield Case(f"sent {name} head", get(f"/{name}", method="HEAD"))
        yield Case(f"sent {name} 1.0", get(f"/{name}", version="1.0"))
        yield Case(f"sent {name} post", post(f"/{name}", b"body that nobody reads"))
    for name in ("raises", "raiseslate", "raisesdone", "told"):
        yield Case(f"sent {name}", get(f"/{name}"))
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "M-SEARCH", "QUERY"):
        yield Case(f"method {method}", get("/echo", method=method))
    targets = {
        "query": "/echo?a=1&b=%20%C3%A4&c",
        "empty query": "/echo?",
        "escaped": "/echo/gr%C3%B6%C3%9Fe%20%2F%25",
        "not utf8": "/echo/%ff%fe",
        "bad escape": "/echo/%zz%",
        "double slash": "//echo//a//",
        "dots": "/echo/../a/./b",
        "semicolon": "/echo;a=b/c;d",
        "plus": "/a+b?c+d",
        "root": "/",
        "long": "/echo/" + "a" * 4000,
        "absolute": "http://other.example:8080/echo?a",
        "absolute root": "http://other.example",
        "reserved": "/echo/a:b@c!$&'()*,=~",
    }
    for name, target in targets.items():
        yield Case(f"target {name}", get(target))
    yield Case("target asterisk", get("*", method="OPTIONS"))
    yield Case("target bytes", b"GET /echo/\xc3\xb6 HTTP/1.1\r\n" + HOST + b"\r\n")
    fields = {
        "repeated": b"X-A: 1\r\nx-b: 2\r\nX-A: 3\r\n",
        "spaces": b"X-A: \t a  b \t\r\nX-B:\r\n",
        "latin": b"X-A: caf\xe9\r\n",
        "cookies": b"Cookie: a=1\r\nCookie: b=2\r\n",
        "many": b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(60)),
        "underscore": b"X_A: 1\r\nX-A: 2\r\n",
        "forwarded": b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
        "keep-alive": b"Connection: keep-alive\r\n",
        "upgrade": b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    }
    for name, lines in fields.items():
        yield Case(f"fields {name}", get("/echo", lines))
    yield Case("fields close", get("/echo", b"Connection: close\r\n"))
    yield Case("version 1.0 keep-alive", get("/plain", b"Connection: keep-alive\r\n", version="1.0"))
    yield Case("version 1.0 no host", b"GET /plain HTTP/1.0\r\n\r\n")
    yield Case("body length", post("/echo", b"\x00\xff body"))
    yield Case("body empty", post("/echo", b""))
    yield Case("body of get", post("/echo", b"of a GET", method="GET"))
    yield Case("body big", post("/echo", b"x" * 300_000))
    yield Case("body chunked", chunked("/echo", b"one", b"t" * 1000))
    yield Case("body chunked empty", chunked("/echo"))
    yield Case("body chunked trailer", chunked("/echo", b"one", trailer=b"X-Trailer: 1\r\n"))
    yield Case("pipelined", get("/plain") + post("/echo", b"a") + get("/parts") + get("/s204"), count=4)
    yield Case("bad no host", b"GET /plain HTTP/1.1\r\n\r\n")
    yield Case("bad two hosts", b"GET /plain HTTP/1.1\r\n" + HOST * 2 + b"\r\n")
    yield Case("bad version", get("/plain", version="9.9"))
    yield Case("bad line", b"GARBAGE\r\n\r\n")
    yield Case("bad method", get("/plain", method="G@T"))
    yield Case("bad name", get("/plain", b"X A: 1\r\n"))
    yield Case("bad colon", get("/plain", b"X-A : 1\r\n"))
    yield Case("bad value", get("/plain", b"X-A: \x00\r\n"))
    yield Case("bad fold", get("/plain", b"X-A: 1\r\n 2\r\n"))
    yield Case("bad length", get("/plain", b"Content-Length: x\r\n", "POST"))
    yield Case(
        "bad two lengths", get("/plain", b"Content-Length: 1\r\nContent-Length: 2\r\n", "POST") + b"ab"
    )
    both = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
    yield Case("bad length and chunked", get("/plain", both, "POST") + b"0\r\n\r\n")
    yield Case("bad coding", get("/plain", b"Transfer-Encoding: gzip\r\n", "POST"))
    yield Case("bad target", get("/a b"))


CASES = {case.name: case for case in cases()}

#: Headers that are the server's own, or that say what the end of the connection shows.
FREE = frozenset({"date", "server", "connection", "keep-alive"})


def seen(site: Site, count: int) -> list[dict[str, Any]]:
    """What the application has seen, without what depends on the connection."""
    site.settle()
    calls = site.recorder.calls[count:]
    wait_for(lambda: all(call.ended for call in calls))
    found = []
    for call in calls:
        if call.scope["query_string"] == b"probe":
            continue
        scope = {**call.scope, "client": call.scope["client"][0], "server": call.scope["server"][0]}
        scope["headers"] = [tuple(pair) for pair in scope["headers"]]
        ended = "returned" if call.ended == "returned" else "raised"  # which exception is each server's own
        found.append({"scope": scope, "heard": call.heard(), "body": call.body(), "ended": ended})
    return found


async def results(site: Site) -> dict[str, tuple[Outcome, list[dict[str, Any]]]]:
    found = {}
    for name, case in CASES.items():
        before = len(site.recorder.calls)
        outcome = await talk(case, site.port)
        found[name] = (outcome, seen(site, before))
    return found


Results = dict[str, dict[str, tuple[Outcome, list[dict[str, Any]]]]]


@pytest.fixture(scope="module")
def both() -> Results:
    """The outcomes of all cases on both servers."""
    found = {}
    for kind in SERVERS:
        site = Site(kind, bare.app)
        try:
            found[kind] = asyncio.run(results(site))
        finally:
            site.stop()
    return found


def aspects(one: tuple[Outcome, Any], other: tuple[Outcome, Any]) -> dict[str, tuple[Any, Any]]:
    """In what two outcomes differ, with both values: "status", "end", "cut", "body", names of headers; "called", and
    what the application saw: "heard", "ended", "received", and ``scope.KEY``.

    Where the status differs, nothing else of the answer is looked at, and no more than the status where a server has
    refused a request by itself.
    """
    (ours, we_saw), (theirs, they_saw) = one, other
    pairs: dict[str, tuple[Any, Any]] = {"end": (ours.end, theirs.end)}
    pairs["status"] = ([r.status for r in ours.responses], [r.status for r in theirs.responses])
    pairs["called"] = (len(we_saw), len(they_saw))
    if pairs["status"][0] == pairs["status"][1] and we_saw and they_saw:
        for mine, yours in zip(ours.responses, theirs.responses, strict=True):
            pairs["cut"] = (mine.cut, yours.cut)
            if mine.status == yours.status < 400 or b"application" in mine.body + yours.body:
                pairs["body"] = (mine.body, yours.body)
                for name in {name.lower() for name, _ in mine.headers + yours.headers} - FREE:
                    pairs[name] = (values(mine, name), values(yours, name))
    for mine, yours in zip(we_saw, they_saw, strict=False):
        for aspect in ("heard", "ended"):
            pairs[aspect] = (mine[aspect], yours[aspect])
        pairs["received"] = (mine["body"], yours["body"])
        for key in mine["scope"].keys() | yours["scope"].keys():
            pairs[f"scope.{key}"] = (mine["scope"].get(key), yours["scope"].get(key))
    return {aspect: pair for aspect, pair in pairs.items() if pair[0] != pair[1]}


def values(response: Response, name: str) -> list[str]:
    return sorted(value for key, value in response.headers if key.lower() == name)


def explained(case: str, aspect: str) -> set[str]:
    """The titles of the rows that explain a difference."""
    return {
        title
        for title, rows in COMPARED.items()
        if any(fnmatchcase(case, pattern) and aspect in which for pattern, which in rows)
    }


def test_every_difference_is_listed(both: Results) -> None:
    complaints = []
    for name in CASES:
        for aspect, (ours, theirs) in aspects(both["webfw"][name], both["uvicorn"][name]).items():
            if not explained(name, aspect):
                complaints.append(f"{name}: {aspect}\n  webfw:   {ours!r:.300}\n  uvicorn: {theirs!r:.300}")
    assert not complaints, "\n".join(complaints)


def test_every_row_explains_something(both: Results) -> None:
    stale = []
    for title, rows in COMPARED.items():
        for pattern, which in rows:
            names = [name for name in CASES if fnmatchcase(name, pattern)]
            differ: set[str] = set()
            for name in names:
                differ |= set(aspects(both["webfw"][name], both["uvicorn"][name]))
            stale += [f"{title}: {pattern}: {aspect}" for aspect in which if aspect not in differ]
    assert stale == []


def test_rows_are_in_the_manual() -> None:
    page = (ROOT / "docs" / "topics" / "asgi-differences.md").read_text(encoding="utf-8")
    rows = [f"| {row.title} | {row.theirs} | {row.decides} |" for row in DIFFERENCES]
    assert [row for row in rows if row not in page] == []
    assert page.count("\n| ") == len(rows) + page.count("\n|---")


def test_every_row_is_tested() -> None:
    """Here, or by ``site.differs(title)`` in the tests with applications."""
    sources = [
        path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "asgi" / "real").glob("test_*.py")
    ]
    named = {title for source in sources for title in re.findall(r'\.differs\(\s*"([^"]+)"\s*\)', source)}
    assert COMPARED.keys() | COMPARED_SOCKETS.keys() | named == {row.title for row in DIFFERENCES}


def test_what_matters_is_the_same(both: Results) -> None:
    matters = {"status", "body", "cut", "called", "heard", "received"}
    same = [
        name for name in CASES if not matters & aspects(both["webfw"][name], both["uvicorn"][name]).keys()
    ]
    assert len(CASES) > 200
    assert len(same) > 0.8 * len(CASES)
