"""Our reading of HTTP/1 requests beside that of h11 and httptools: no difference that is not listed with a reason.

A seeded generator makes thousands of requests, right and wrong.  Where two readers come to different results, the
difference must belong to a row of `DIFFERENCES`, which names the sentence of the RFC that decides.  The rows stand in
docs/topics/http-strictness.md too.  A row that no longer explains anything fails as well.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import httptools
import pytest

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, HeadLimits, Length, RequestHead, parse_head

COUNT = 12000
SEED = 9112
PAGE = Path(__file__).resolve().parents[2] / "docs" / "topics" / "http-strictness.md"


# --- the corpus ---

METHODS = [b"GET", b"GET", b"POST", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"CONNECT", b"PATCH"]
TARGETS = [
    b"/",
    b"/",
    b"/",
    b"/a/b?c=d",
    b"*",
    b"http://example.com/a",
    b"https://a:443",
    b"//x/",
    b"/%20",
    b"a:443",
]
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10"]
ORDINARY = [
    *(
        b"Host: a",
        b"Host: example.com:80",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Accept: */*",
    ),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: websocket"),
    *(b"Expect: 100-continue", b"X-A:  b \t", b"X-B:", b"X-C: \xe4", b"X-D: a\tb", b"Cookie: a=b; c=d"),
]
ODD = [
    *(
        b"Host:",
        b"Host: a b",
        b"Host: me@a",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: 6",
    ),
    *(
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: xchunked",
    ),
    *(
        b" X-E: b",
        b"X F: b",
        b"X-G : b",
        b": x",
        b"no colon",
        b"X-H: a\x00b",
        b"X-I: \x7f",
        b"X-J: \x01",
        b"X-\xe4: a",
    ),
]
NOISE = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\x00",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b":",
        b",",
        b";",
        b"#",
        b"@",
    ),
    *(b"/", b"0", b"-", b"a", b"\r\n ", b"\n\n"),
]
PLAIN_BODIES = [b"hello", b"hello", b""]
CHUNKED_BODIES = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"1\r\na\r\n002\r\nbc\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\r\nhel",
]


def make(choose: random.Random) -> bytes:
    """One request; most have no noise in the head, but perhaps an odd field."""
    fields = [b"Host: a"] if choose.random() < 0.85 else []
    fields += [choose.choice(ORDINARY if choose.random() < 0.8 else ODD) for _ in range(choose.randrange(4))]
    choose.shuffle(fields)
    line = b" ".join([choose.choice(METHODS), choose.choice(TARGETS), choose.choice(VERSIONS)])
    head = bytearray(line + b"\r\n" + b"".join(text + b"\r\n" for text in fields) + b"\r\n")
    if choose.random() < 0.4:
        for _ in range(choose.choice((1, 1, 2))):
            begin = choose.randrange(len(head) + 1)
            head[begin : min(len(head), begin + choose.choice((0, 0, 1, 2)))] = choose.choice(NOISE)
    chunked = any(text.startswith(b"Transfer-Encoding") for text in fields)
    return bytes(head) + choose.choice(CHUNKED_BODIES if chunked else PLAIN_BODIES)


def corpus() -> list[bytes]:
    choose = random.Random(SEED)
    return [make(choose) for _ in range(COUNT)]


# --- the three readers ---


@dataclass
class Reading:
    """What a reader makes of a request: "parsed", "refused" (with a message) or "incomplete"."""

    result: str
    message: str = ""
    method: str = ""
    target: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    head: RequestHead | None = None


def pairs(names_and_values: Any) -> list[tuple[str, str]]:
    """Fields in a comparable form: names in lower case, values without surrounding whitespace, sorted."""
    return sorted(
        (bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1").strip(" \t"))
        for name, value in names_and_values
    )


def read_webfw(data: bytes) -> Reading:
    head = None
    try:
        head = parse_head(data, 0, 0, HeadLimits())
        if head is None:
            return Reading("incomplete")
        decoder = Chunked() if head.chunked else Length(head.content_length or 0)
        body, _ = decoder.receive(data, head.end)
    except RemoteProtocolError as error:
        return Reading("refused", str(error), head=head)
    if not decoder.done:
        return Reading("incomplete", head=head)
    lines = [line.split(":", 1) for line in head.fields.split("\r\n")[:-1]]
    fields = pairs((name.encode("latin-1"), value.encode("latin-1")) for name, value in lines)
    return Reading("parsed", "", head.method, head.target, fields, body, head)


def read_h11(data: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    body = b""
    try:
        request = connection.next_event()
        if request is h11.NEED_DATA:
            return Reading("incomplete")
        assert isinstance(request, h11.Request)
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return Reading("incomplete")
            assert isinstance(event, h11.Data)
            body += bytes(event.data)
    except h11.RemoteProtocolError as error:
        return Reading("refused", str(error))
    method, target = bytes(request.method).decode(), bytes(request.target).decode("latin-1")
    return Reading("parsed", "", method, target, pairs(request.headers), body)


class Collector:
    """The first request that httptools reports."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.method = b""
        self.done = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, part: bytes) -> None:
        if not self.done:
            self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if not self.done:
            self.method = self.parser.get_method()

    def on_body(self, part: bytes) -> None:
        if not self.done:
            self.body += part

    def on_message_complete(self) -> None:
        self.done = True


def read_httptools(data: bytes) -> Reading:
    collector = Collector()
    failure = ""
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        failure = f"{type(error).__name__}: {error}"
    if collector.done:
        method, target = collector.method.decode(), collector.target.decode("latin-1")
        return Reading("parsed", "", method, target, pairs(collector.fields), collector.body)
    return Reading("refused", failure) if failure else Reading("incomplete")


READERS = {"h11": read_h11, "httptools": read_httptools}


# --- the differences ---


@dataclass(frozen=True)
class Difference:
    """A class of differences, the RFC sentence that decides it (shortened), and what belongs to it."""

    title: str
    readers: tuple[str, ...]
    sentence: str
    explains: Callable[[bytes, Reading, Reading], bool]


def we_refuse(message: str) -> Callable[[bytes, Reading, Reading], bool]:
    """We refuse with this message, they read it or wait for more of it."""
    return lambda data, ours, theirs: ours.result == "refused" and ours.message.startswith(message)


def they_refuse(pattern: bytes) -> Callable[[bytes, Reading, Reading], bool]:
    """They refuse a request that has `pattern` at its beginning, which we read or wait for more of."""
    compiled = re.compile(rb"(?:\r\n)*" + pattern)
    return lambda data, ours, theirs: theirs.result == "refused" and compiled.match(data) is not None


def host_replaced(data: bytes, ours: Reading, theirs: Reading) -> bool:
    """Nothing but the value of Host differs, and ours is the authority of the target."""
    both = (ours.result, theirs.result) == ("parsed", "parsed")
    if not both or ours.head is None or (ours.body, ours.target) != (theirs.body, theirs.target):
        return False
    expected = [(name, ours.head.host if name == "host" else value) for name, value in theirs.fields]
    return ours.target[0] not in "/*" and ours.fields == sorted(expected)


def stops_at_upgrade(data: bytes, ours: Reading, theirs: Reading) -> bool:
    """They end the request where another protocol may begin; we read its body first."""
    head = ours.head
    return theirs.result == "parsed" and head is not None and (head.upgrade or head.method == "CONNECT")


def trailers_mixed_in(data: bytes, ours: Reading, theirs: Reading) -> bool:
    """They report trailer fields as if they were header fields."""
    if (ours.result, theirs.result) != ("parsed", "parsed") or ours.head is None or not ours.head.chunked:
        return False
    without = [pair for pair in theirs.fields if pair != ("x", "y")]
    expected = [(name, ours.head.host if name == "host" else value) for name, value in without]
    return ours.body == theirs.body and ours.fields == sorted(expected)


def refused_early(data: bytes, ours: Reading, theirs: Reading) -> bool:
    """They refuse a head that has not ended, which we would refuse at its end."""
    if (ours.result, theirs.result) != ("incomplete", "refused") or ours.head is not None:
        return False
    return read_webfw(data + b"\r\n\r\n\r\n\r\n").result == "refused"


BOTH = ("h11", "httptools")
HOST = "9112 3.2: MUST respond with 400 to a request that lacks Host, has more than one or an invalid one"
FORMS = "9112 3.2: request-target = origin-form / absolute-form / authority-form / asterisk-form"
CONTROLS = "9110 5.5: CTLs other than HTAB are not field-content; values with CR, LF or NUL are dangerous"

DIFFERENCES = [
    Difference(
        "another major version is refused",
        BOTH,
        "9110 15.6.6: 505, the server does not support the major version of HTTP that was used",
        we_refuse("HTTP version not supported"),
    ),
    Difference(
        "HTTP/1.2 to HTTP/1.9 are read as HTTP/1.1",
        ("httptools",),
        "9110 2.5: a minor version higher than implemented SHOULD be processed as the highest it implements",
        they_refuse(rb"[^ ]+ [^ ]+ HTTP/1\.[2-9]\r\n"),
    ),
    Difference(
        "a request line of HTTP/0.9 is refused",
        ("httptools",),
        "9112 3: request-line = method SP request-target SP HTTP-version",
        we_refuse("malformed request line"),
    ),
    Difference(
        "any token is a method",
        ("httptools",),
        "9110 9.1: method = token; an unknown method is answered by the application, with 501 or 405",
        they_refuse(rb"(?!(?:GET|POST|PUT|DELETE|OPTIONS|HEAD|CONNECT|PATCH) )[!#$%&'*+.^_`|~0-9A-Za-z-]+ "),
    ),
    Difference(
        "the asterisk is for OPTIONS only", BOTH, FORMS, we_refuse('request target "*" is for OPTIONS only')
    ),
    Difference(
        "an unknown expectation is refused",
        BOTH,
        "9110 10.1.1: a server that receives a member other than 100-continue MAY respond with a 417",
        we_refuse("unknown expectation"),
    ),
    Difference("CONNECT has a host and a port", BOTH, FORMS, we_refuse("CONNECT needs host:port")),
    Difference(
        "a target has one of the four forms, no fragment, and visible ASCII only",
        BOTH,
        FORMS,
        we_refuse("malformed request target"),
    ),
    Difference(
        "the host of an absolute target is checked",
        BOTH,
        "9110 4.2.1 and 4.2.4: an empty host MUST be rejected, user information is an error",
        we_refuse("malformed host in request target"),
    ),
    Difference(
        "the authority of the target takes the place of Host",
        BOTH,
        "9112 3.2.2: the origin server MUST ignore the received Host and use that of the request-target",
        host_replaced,
    ),
    Difference("the value of Host is checked", BOTH, HOST, we_refuse("malformed Host")),
    Difference("HTTP/1.2 to HTTP/1.9 need a Host, like HTTP/1.1", ("h11",), HOST, we_refuse("no Host field")),
    Difference("Host must be there", ("httptools",), HOST, we_refuse("no Host field")),
    Difference("Host must not be repeated", ("httptools",), HOST, we_refuse("more than one Host field")),
    Difference(
        "a bare LF ends no line",
        BOTH,
        "9112 2.2: the terminator is CRLF; a recipient MAY recognize a single LF (HeadLimits.allow_bare_lf)",
        we_refuse("bare LF in the head"),
    ),
    Difference(
        "a bare CR is refused at once",
        BOTH,
        "9112 2.2: a recipient of a bare CR MUST consider that element to be invalid",
        we_refuse("bare CR in the head"),
    ),
    Difference(
        "folded lines are refused",
        ("h11",),
        "9112 5.2: a server that receives an obs-fold MUST either reject the message with 400 or replace it",
        we_refuse("obsolete line folding"),
    ),
    Difference(
        "control characters in values are refused", ("h11",), CONTROLS, we_refuse("control character")
    ),
    Difference(
        "equal Content-Lengths are refused, too",
        ("h11",),
        "9112 6.3: a list of identical values: MUST either reject the message or use the one value",
        we_refuse("more than one Content-Length"),
    ),
    Difference(
        "Transfer-Encoding beside Content-Length is refused",
        ("h11",),
        "9112 6.3: such a message might indicate an attempt at smuggling and ought to be handled as an error",
        we_refuse("both Transfer-Encoding and Content-Length"),
    ),
    Difference(
        "Transfer-Encoding in HTTP/1.0 is refused",
        BOTH,
        "9112 6.1: MUST treat the message as if the framing is faulty",
        we_refuse("Transfer-Encoding in an HTTP/1.0 message"),
    ),
    Difference(
        "a coding before chunked is refused",
        ("httptools",),
        "9112 6.1: a transfer coding it does not understand SHOULD be answered with 501",
        we_refuse("unknown transfer coding"),
    ),
    Difference(
        "the framing of a CONNECT or an upgrade is checked",
        ("httptools",),
        "9112 6.3: chunked is not the final encoding of a request: MUST respond with 400",
        we_refuse("Transfer-Encoding does not end with chunked"),
    ),
    Difference(
        "whitespace behind a chunk size is refused",
        ("h11",),
        "9112 7.1: chunk-size = 1*HEXDIG, and BWS only before the semicolon of an extension",
        we_refuse("malformed chunk size"),
    ),
    Difference(
        "an empty line before the request line is skipped",
        ("h11",),
        "9112 2.2: a server SHOULD ignore at least one empty line received prior to the request-line",
        lambda data, ours, theirs: theirs.result == "refused" and data.startswith(b"\r\n"),
    ),
    Difference(
        "trailer fields are kept apart",
        ("httptools",),
        "9110 6.5.1: trailer fields ought to be processed and stored separately from the header fields",
        trailers_mixed_in,
    ),
    Difference(
        "the body of a CONNECT or an upgrade is read",
        ("httptools",),
        "9110 7.8: Upgrade takes effect after the response; 9112 6.3: framing does not depend on the method",
        stops_at_upgrade,
    ),
    Difference(
        "a malformed line is refused at the end of the head",
        ("httptools",),
        "(no sentence: the answer is the same, only later)",
        refused_early,
    ),
]


def differ(ours: Reading, theirs: Reading) -> bool:
    if ours.result != "parsed" or theirs.result != "parsed":
        return ours.result != theirs.result
    return (ours.method, ours.target, ours.fields, ours.body) != (
        theirs.method,
        theirs.target,
        theirs.fields,
        theirs.body,
    )


@pytest.mark.parametrize("reader", READERS)
def test_every_difference_is_listed(reader: str) -> None:
    used: dict[str, int] = {row.title: 0 for row in DIFFERENCES if reader in row.readers}
    unlisted = []
    agreed = {"parsed": 0, "refused": 0, "incomplete": 0}
    for data in corpus():
        ours, theirs = read_webfw(data), READERS[reader](data)
        if not differ(ours, theirs):
            agreed[ours.result] += 1
            continue
        rows = [row for row in DIFFERENCES if reader in row.readers and row.explains(data, ours, theirs)]
        if rows:
            used[rows[0].title] += 1
        else:
            unlisted.append((data, ours, theirs))
    unlisted.sort(key=lambda entry: len(entry[0]))
    assert not unlisted, f"{len(unlisted)} unlisted differences, the shortest ones: {unlisted[:5]}"
    assert [title for title, count in used.items() if count == 0] == [], "rows that explain nothing"
    assert agreed["parsed"] > COUNT / 10
    assert agreed["refused"] > COUNT / 10
    assert agreed["incomplete"] > COUNT / 100


def test_the_corpus_is_the_same_every_time() -> None:
    first = corpus()
    assert first == corpus()
    assert len(set(first)) > COUNT * 0.7


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.title)
def test_the_manual_lists_every_difference(row: Difference) -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|") and row.title in line]
    assert len(lines) == 1
    for reader in READERS:
        assert (reader in lines[0]) is (reader in row.readers)
