"""What webfw answers otherwise than Tornado, on purpose: each class of differences with its reason.

A difference that no row explains fails the test; so does a row that explains nothing any more.  The rows stand in
docs/topics/differences.md too.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.compat.talk import Case, Outcome, Response, normal, normal_body

#: What a refusal has here and has not there.
REFUSAL = frozenset({"body", "Connection", "Content-Length", "Content-Type", "Date"})


def aspects(theirs: Outcome, ours: Outcome) -> set[str]:
    """In what two outcomes differ: "status", "reason", "end", "body", "cut" or the names of headers.

    Where a status differs, nothing else of the response is looked at.
    """
    found = set()
    if theirs.end != ours.end:
        found.add("end")
    if statuses(theirs) != statuses(ours):
        return found | {"status"}
    for one, other in zip(theirs.responses, ours.responses, strict=True):
        if one.reason != other.reason or one.version != other.version:
            found.add("reason")
        if normal_body(one) != normal_body(other):
            found.add("body")
        if one.cut != other.cut:
            found.add("cut")
        found |= {name for name in names(one) | names(other) if values(one, name) != values(other, name)}
    return found


def statuses(outcome: Outcome) -> str:
    return " ".join(str(response.status) for response in outcome.responses) or "nothing"


def names(response: Response) -> set[str]:
    return {name for name, _ in response.headers}


def values(response: Response, name: str) -> list[str]:
    return sorted(normal(key, value) for key, value in response.headers if key == name)


@dataclass(frozen=True)
class Difference:
    """A class of differences.

    ``cases`` are patterns for the names of cases; ``theirs`` (or "any") and ``ours`` the statuses, where those differ;
    ``may`` the other aspects that may differ (see `aspects`).
    """

    title: str
    reason: str
    cases: tuple[str, ...]
    theirs: str = ""
    ours: str = ""
    may: frozenset[str] | set[str] = frozenset()
    when: Callable[[Case, Outcome, Outcome], bool] | None = None

    def explained(self, case: Case, theirs: Outcome, ours: Outcome) -> set[str]:
        """The aspects this row explains in a case; none where it does not belong to it."""
        if not any(fnmatchcase(case.name, pattern) for pattern in self.cases):
            return set()
        if self.when is not None and not self.when(case, theirs, ours):
            return set()
        if not self.theirs:
            return set(self.may)
        same = self.theirs in ("any", statuses(theirs)) and self.ours == statuses(ours)
        return {"status", *self.may} if same else set()


def told_why(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    """They close the connection after a bare status line; we say what is wrong."""
    if not theirs.responses or not ours.responses:
        return False
    one, other = theirs.responses[-1], ours.responses[-1]
    same = one.status == other.status and one.body == b"" and not one.headers
    return same and other.body.startswith(f"{other.status} ".encode()) and other.get("Connection") == "close"


def oldest(case: Case, theirs: Outcome, ours: Outcome) -> bool:
    """Requests of HTTP/1.0, where nothing but the Connection field differs."""
    data = case.data if isinstance(case.data, bytes) else b"".join(case.data)
    return b" HTTP/1.0\r\n" in data


def quoted(text: str) -> str:
    """A name as a pattern that matches only it."""
    return "".join(f"[{letter}]" if letter in "[?*" else letter for letter in text)


STRICT = "[strictness](http-strictness.md); "
TARGET = STRICT + "RFC 9112 3.2: recipients of an invalid request-line SHOULD respond with 400"
ABORT = "RFC 9112 8: a message is incomplete when it ends early; a whole response would hide the error"
RANGES = "RFC 9110 14.2: an invalid ranges-specifier is ignored"

DIFFERENCES = [
    Difference(
        "a malformed form reaches write_error as HTTPInputError",
        "whose fault it is stands in the type, not in a message; both have the status",
        ("own page: multipart", "own page: too many arguments"),
        may={"body", "Content-Length"},
    ),
    Difference(
        "a form with a Content-Encoding is 415",
        "RFC 9110 15.5.16: 415, the content is in an unsupported format, which a content coding counts as",
        ("form with content-encoding", "own page: content-encoding"),
        theirs="400",
        ours="415",
        may={"body", "reason", "Content-Length", "end"},
    ),
    # The protocol.
    Difference(
        "a refused request is told why, in a short plain answer",
        "RFC 9110 15.5: the server SHOULD send a representation that explains the error",
        ("*",),
        may=REFUSAL,
        when=told_why,
    ),
    Difference(
        "an offer of WebSocket that is not taken up ends the connection",
        "RFC 6455 4.1: a client has to wait for the answer before it sends more; its frames are no requests",
        ("upgrade",),
        may={"Connection", "end"},
    ),
    Difference(
        "HTTP/1.0: Connection is always sent",
        "RFC 9112 9.3: without it a client cannot tell; the value is in lower case",
        ("*",),
        may={"Connection"},
        when=oldest,
    ),
    Difference(
        "HTTP/1.0: a response of unknown length ends with the connection",
        "RFC 9112 9.3: with keep-alive the client would wait for more",
        ("GET /stream/plain HTTP/1.0 | Connection: keep-alive",),
        theirs="nothing",
        ours="200",
        may={"end"},
    ),
    Difference(
        "HTTP/1.0: no 100 is sent",
        "RFC 9110 10.1.1: an expectation in HTTP/1.0 MUST be ignored",
        ("expect HTTP/1.0",),
        theirs="100 200",
        ours="200",
    ),
    Difference(
        "no 100 is sent where the body has come or there is none",
        "RFC 9110 10.1.1: MAY omit sending 100 if it has received some of the content",
        ("expect", "expect without body"),
        theirs="100 200",
        ours="200",
    ),
    Difference(
        "no 100 is sent where the body is not wanted",
        "RFC 9110 10.1.1: the server MAY respond with a final status code instead",
        ("expect refused", "small: expect over the limit"),
        theirs="any",
        ours="404",
        may={"end"},
    ),
    Difference(
        "the reason of 100 is Continue",
        "RFC 9110 15.2.1: 100 Continue",
        ("expect in two parts",),
        may={"reason"},
    ),
    Difference(
        "an unknown expectation is refused",
        "RFC 9110 10.1.1: MAY respond with 417 to an expectation other than 100-continue",
        ("expect other",),
        theirs="200",
        ours="417",
        may={"end"},
    ),
    Difference(
        "a target that is a URI is read as one",
        "RFC 9112 3.2.2: a server MUST accept the absolute-form in requests",
        ("GET http://b.example*", "GET HTTP://b.example*"),
        theirs="404",
        ours="200",
    ),
    Difference(
        "a target that is a URI is read as one, also in a redirect to the login page",
        "RFC 9112 3.2.2: a server MUST accept the absolute-form in requests",
        ("GET http://b.example/members",),
        theirs="404",
        ours="302",
    ),
    Difference(
        "a target with other characters than visible ASCII is refused",
        TARGET,
        ("GET /args[?]a=\xe9", "query utf-8 raw", "path utf-8 raw", "GET /paths/\xe9/x", "GET /caf*"),
        theirs="200",
        ours="400",
        may={"end"},
    ),
    Difference(
        "a target with other characters is refused before it is routed",
        TARGET,
        ("GET /args[?]a=\xe9", "GET /caf\xc3\xa9", "GET none"),
        may=REFUSAL | {"Server", "end"},
        when=lambda case, theirs, ours: statuses(ours) == "400",
    ),
    Difference("a target has no fragment", TARGET, ("*#frag",), theirs="200", ours="400", may={"end"}),
    Difference(
        "a target begins with a slash",
        TARGET,
        ("GET none", "GET /caf\xc3\xa9"),
        theirs="404",
        ours="400",
        may={"end"},
    ),
    Difference(
        "CONNECT needs a host and a port",
        STRICT + "RFC 9112 3.2.3: authority-form is only used for CONNECT",
        ("CONNECT /*",),
        theirs="405",
        ours="400",
        may={"end"},
    ),
    Difference(
        "a method has at most 24 characters",
        STRICT + "RFC 9112 3: a method longer than any it implements SHOULD be answered with 501",
        ("method long",),
        theirs="405",
        ours="501",
        may={"end"},
    ),
    Difference(
        "a target has a limit of its own",
        STRICT
        + "RFC 9112 3: a request-target longer than any URI it wishes to parse MUST be answered with 414",
        ("long target",),
        theirs="200",
        ours="414",
        may={"end"},
    ),
    Difference(
        "the number of fields has a limit",
        STRICT + "RFC 6585 5: 431, header fields too large",
        ("too many fields",),
        theirs="200",
        ours="431",
        may={"end"},
    ),
    Difference(
        "a head over the limit is answered",
        STRICT + "RFC 6585 5: 431, header fields too large",
        ("large head", "small: head over the limit"),
        theirs="nothing",
        ours="431",
    ),
    Difference(
        "a body over the limit is answered with 413",
        "RFC 9110 15.5.14: 413, content larger than the server is willing to process",
        ("length too large", "*limit passed", "small: * over the limit", "small: streamed lowered limit"),
        theirs="400",
        ours="413",
    ),
    Difference(
        "the value of Host is checked",
        STRICT + "RFC 9112 3.2: MUST respond with 400 to a request with an invalid Host",
        ("GET / | Host: a:x", "GET /", "GET / | Host: b:99999"),
        theirs="200",
        ours="400",
        may={"end"},
    ),
    Difference(
        "a bare LF ends no line",
        STRICT + "allow_bare_lf of HTTPServer accepts it",
        ("lf only", "one lf"),
        theirs="200",
        ours="400",
        may={"end"},
    ),
    Difference(
        "Content-Length stands there once",
        STRICT + "RFC 9112 6.3: equal values may be taken for one or refused",
        ("two equal lengths", "list of equal lengths"),
        theirs="200",
        ours="400",
        may={"end"},
    ),
    Difference(
        "HTTP/1.0 has no Transfer-Encoding",
        STRICT + "RFC 9112 6.1: MUST treat the message as if the framing is faulty",
        ("chunked HTTP/1.0",),
        theirs="200",
        ours="400",
    ),
    Difference(
        "extensions of chunks are ignored, trailers read",
        "RFC 9112 7.1.1: a recipient MUST ignore unrecognized chunk extensions; 7.1.2: trailer section",
        ("chunked extension", "chunked trailers"),
        theirs="400",
        ours="200",
        may={"end"},
    ),
    Difference(
        "an unknown coding before chunked is answered with 501",
        "RFC 9112 6.1: a transfer coding it does not understand SHOULD be answered with 501",
        ("gzip, chunked",),
        theirs="400",
        ours="501",
    ),
    Difference(
        "empty lines before a request are skipped",
        "RFC 9112 2.2: a server SHOULD ignore at least one empty line received prior to the request-line",
        ("leading crlfs",),
        theirs="400",
        ours="200",
        may={"end"},
    ),
    Difference(
        "another major version is answered with 505",
        "RFC 9110 15.6.6: 505, the server does not support the major version of HTTP that was used",
        ("version 2.0", "version 0.9", "http2 preface"),
        theirs="400",
        ours="505",
    ),
    Difference(
        "HTTP/1.2 keeps the connection as HTTP/1.1 does",
        "RFC 9110 2.5: a higher minor version SHOULD be processed as the highest it implements",
        ("version 1.2",),
        may={"end"},
    ),
    Difference(
        "close is found in a list",
        "RFC 9110 7.6.1: Connection = #connection-option",
        ("GET / | Connection: close, x",),
        may={"end", "Connection"},
    ),
    Difference(
        "Connection: close, set by a handler, closes",
        "RFC 9112 9.6: a server that sends close MUST initiate a close",
        ("GET /headers/close",),
        may={"end"},
    ),
    Difference(
        "a response to HEAD says that the one to GET is chunked",
        "RFC 9110 9.3.2: SHOULD send the same header fields as if the method had been GET",
        ("HEAD /stream/plain", "pipelined heads"),
        may={"Transfer-Encoding"},
    ),
    Difference(
        "a delegate may write a body to HEAD; it is not sent",
        "RFC 9110 9.3.2: the response MUST NOT contain content",
        ("nested head", "callable: HEAD /x"),
        theirs="nothing",
        ours="200",
        may={"end"},
    ),
    Difference(
        "a 404 of a router without an application has a length",
        "shorter, and HTTP/1.0 understands it",
        ("rules: GET / | Host: c.example", "rules: POST / | Host: c.example | abc"),
        may={"Transfer-Encoding", "Content-Length"},
    ),
    Difference(
        "several Cookie fields are one list",
        "RFC 6265 5.4 and RFC 9113 8.2.3: joined with a semicolon, not with a comma",
        ("GET /request | Cookie: a=b | Cookie: c=d",),
        may={"body", "Content-Length"},
    ),
    # Bodies.
    Difference(
        "Content-Type is compared without regard to case",
        "RFC 9110 8.3.1: the type and subtype tokens are case-insensitive",
        ("form type upper case",),
        may={"body", "Content-Length"},
    ),
    Difference(
        "the name of the boundary parameter is compared without regard to case",
        "RFC 9110 8.3.1: parameter names are case-insensitive",
        ("multipart boundary upper case key",),
        theirs="400",
        ours="200",
    ),
    Difference(
        "text before the first boundary is skipped",
        "RFC 2046 5.1.1: implementations must ignore the preamble",
        ("multipart preamble",),
        theirs="400",
        ours="200",
    ),
    Difference(
        "an empty body is a form without fields",
        "what a client without any field sends",
        ("multipart no body",),
        theirs="400",
        ours="200",
    ),
    Difference(
        "a query with too many arguments gets an error page",
        "the query is read when the handler asks for it",
        ("too many arguments in query",),
        may=REFUSAL | {"Server", "end"},
    ),
    Difference(
        "decompress_request undoes deflate too",
        "RFC 9110 8.4.1.2",
        ("proxied: deflate body",),
        may={"body", "Content-Length"},
    ),
    Difference(
        "X-Consumed-Content-Encoding is in lower case",
        "RFC 9110 8.4.1: content codings are case-insensitive",
        ("proxied: gzip upper case",),
        may={"body"},
    ),
    Difference(
        "a streaming handler that answers early does not end the connection",
        "the rest of a small body is read and dropped, so that the next request can follow",
        ("/receive* streamed early", "xsrf: POST /receive", "origin: POST /receive*"),
        may={"end"},
    ),
    Difference(
        "a streaming handler that answers early does not end a pipeline",
        "the rest of a small body is read and dropped, so that the next request can follow",
        ("pipelined after early",),
        theirs="401",
        ours="401 200",
        may={"end"},
    ),
    Difference(
        "where the body was never sent, the answer says that the connection ends",
        "RFC 9110 10.1.1: the server ought to indicate whether it intends to close the connection",
        ("expect early",),
        may={"Connection"},
    ),
    Difference(
        "an exception of data_received becomes a response",
        "the client learns why",
        ("/receive* streamed failing",),
        theirs="nothing",
        ours="422",
        may={"end"},
    ),
    # Responses.
    Difference(
        "a header name is a token",
        "RFC 9110 5.1: field-name = token",
        ("GET /headers/bad_name",),
        theirs="200",
        ours="500",
    ),
    Difference(
        "a final response has a status from 200 to 999, or 101",
        "RFC 9110 15: the status code is a three-digit integer; 1xx is for interim responses",
        tuple(f"GET /status/{code}[?]body=0" for code in (0, 99, 100, 102, 103, 199, 1000)),
        theirs="any",
        ours="500",
    ),
    Difference(
        "an empty reason is the standard one, others are sent as latin-1",
        "RFC 9112 4: reason-phrase = HTAB / SP / VCHAR / obs-text",
        ("GET /status/200[?]reason=", "GET /status/200[?]reason=%C3%A9"),
        may={"reason"},
    ),
    Difference(
        "a Content-Length that does not fit the body is an error, found before anything is sent",
        "RFC 9110 8.6; there the client gets half a response, or waits for ever",
        ("GET /wrong-length/[x3-]*", "GET /wrong-length/9"),
        theirs="any",
        ours="500",
        may={"end"},
    ),
    Difference(
        "405 lists what is allowed",
        "RFC 9110 15.5.6: the origin server MUST generate an Allow header field in a 405 response",
        ("*",),
        may={"Allow"},
        when=lambda case, theirs, ours: "405" in statuses(ours),
    ),
    Difference(
        "a cookie that cannot be sent is an error",
        "RFC 6265 4.1.1: cookie-octet is US-ASCII; there the client would wait for ever",
        ("GET /set-cookie/unicode",),
        theirs="nothing",
        ours="500",
        may={"end"},
    ),
    Difference(
        "a cookie that was refused is not sent in part",
        "set_cookie has raised an exception",
        (
            "GET /set-cookie/bad_max_age",
            "GET /set-cookie/unknown",
            "GET /set-cookie/partitioned",
            "try cookie *",
        ),
        may={"Set-Cookie"},
    ),
    Difference(
        "an error after the head was sent cuts the connection",
        ABORT,
        ("*errors/after_flush*", "GET /stream/fail"),
        may={"body", "cut", "end"},
    ),
    Difference(
        "an exception of initialize or set_default_headers becomes a response",
        "the client learns that there was an error",
        ("GET /hooks/initialize", "GET /hooks/wrong", "GET /hooks/none", "GET /hooks/*[?]fail=1"),
        theirs="nothing",
        ours="500",
    ),
    Difference(
        "RedirectHandler answers HEAD",
        "RFC 9110 9.3.2: HEAD is identical to GET except that the response has no content",
        ("HEAD /gone",),
        theirs="405",
        ours="301",
    ),
    Difference(
        "RedirectHandler encodes what may not stand in a URL",
        "RFC 3986 2",
        ("GET /gone/a/b%20c",),
        may={"Location"},
    ),
    Difference(
        "the traceback of serve_traceback is not cached, and is UTF-8",
        "RFC 9111 5.2.2.5: no-store",
        ("debug: debug traceback",),
        may={"Cache-Control", "Content-Type", "Content-Length"},
    ),
    Difference(
        "templates know translate as well as _",
        "a name more, for templates that use _ otherwise",
        ("GET /namespace", "try template namespace"),
        may={"body", "Content-Length"},
    ),
    Difference(
        "the key of a signed value of unknown version is None",
        "it has none",
        ("GET /signed | Cookie: s=3*",),
        may={"body", "Content-Length"},
    ),
    # Static files.
    Difference(
        "a NUL in the name of a static file is 404",
        "there is no such file",
        ("GET /files/a.txt%00", "GET /index/a.txt%00"),
        theirs="500",
        ours="404",
    ),
    Difference(
        "the type of a symbolic link comes from its own name",
        "the name in the URL is what was published",
        ("GET /files/link", "GET /index/link"),
        may={"Content-Type"},
    ),
    Difference(
        "several ranges are sent",
        "RFC 9110 14.6: multipart/byteranges",
        ("GET /files/digits.bin | Range: bytes=0-1,3-4",),
        theirs="200",
        ours="206",
    ),
    Difference(
        "ranges are read as the grammar has them",
        "RFC 9110 14.1: range units are case-insensitive; 5.6.1: empty list elements are ignored",
        ("GET /files/digits.bin | Range: BYTES=1-2", "GET /files/digits.bin | Range: bytes=1-2,"),
        theirs="200",
        ours="206",
    ),
    Difference(
        "a range with a sign is ignored",
        RANGES,
        ("GET /files/digits.bin | Range: bytes=+1-2",),
        theirs="206",
        ours="200",
    ),
    Difference(
        "a malformed range is ignored",
        RANGES,
        ("GET /files/digits.bin | Range: bytes=1--2",),
        theirs="416",
        ours="200",
    ),
    Difference(
        "If-Range is heeded",
        "RFC 9110 13.1.5: if the validator does not match, the recipient MUST ignore Range",
        ('GET /files/digits.bin | Range: bytes=0-3 | If-Range: "x"',),
        theirs="206",
        ours="200",
    ),
    Difference(
        "a date that is none is ignored",
        "RFC 9110 13.1.3: MUST ignore If-Modified-Since if the value is not a valid HTTP-date",
        ("GET /files/a.txt | If-Modified-Since: Thu, 04 Mar 2021 05:06:07",),
        theirs="304",
        ours="200",
    ),
    Difference(
        "If-Match and If-Unmodified-Since are heeded for static files",
        "RFC 9110 13.1.1 and 13.1.4: MUST NOT perform the method if the condition is false",
        ("GET /files/a.txt | If-Unmodified-Since: *", 'GET /files/a.txt | If-Match: "x"'),
        theirs="200",
        ours="412",
    ),
    # Compression and transforms.
    Difference(
        "a compressed response has a weak ETag",
        "RFC 9110 8.8.1: a strong validator is unique across all representations",
        ("gzip: *",),
        may={"Etag"},
        when=lambda case, theirs, ours: all((r.get("Etag") or "").startswith("W/") for r in ours.responses),
    ),
    Difference(
        "a static file is compressed as a whole, and only if it is worth it",
        "a small file grows; the length of the others is known",
        ("gzip: GET /files/*", "gzip: GET /index/*", "gzip: HEAD /files/*", "gzip: GET /stream/length*"),
        may={"body", "Content-Encoding", "Content-Length", "Transfer-Encoding"},
    ),
    Difference(
        "Accept-Encoding is read with its weights",
        "RFC 9110 12.5.3: a weight of 0 means not acceptable; * matches any; codings are case-insensitive",
        tuple(f"gzip: GET /args*Accept-Encoding: {coding}" for coding in ("gzip;q=0", "[*]", "GZIP")),
        may={"body", "Content-Encoding", "Content-Length", "Etag"},
    ),
    Difference(
        "a transform sees a static file as one chunk",
        "there it would not fit its Content-Length either",
        ("transform: GET /files/a.txt",),
        may={"X-Transformed", "end"},
    ),
    # Wrong calls.
    Difference(
        "a wrong argument is a ValueError, not an AssertionError",
        "assertions disappear with python -O",
        ("try redirect *", "try reverse url *"),
        may={"body", "Content-Length"},
    ),
    Difference(
        "other wrong arguments",
        "the name of a header is checked when it is set; what does no harm is not checked",
        ("try header name *", "try header separator", "try arguments strip"),
        may={"body", "Content-Length"},
    ),
    Difference(
        "send_error with a wrong status sends 500",
        "the client gets an answer, the log says why",
        ("try send error str",),
        theirs="200",
        ours="500",
    ),
    Difference(
        "get_ssl_certificate without TLS gives None",
        "there is none",
        ("try certificate",),
        may={"body", "Content-Length"},
    ),
]


#: Where webfw is wrong, and what is to be done.  Not in the manual; a row goes when the defect goes.
DEFECTS: list[Difference] = []


def unexplained(case: Case, theirs: Outcome, ours: Outcome, used: set[str] | None = None) -> set[str]:
    """The aspects in which two outcomes differ without a reason."""
    left = aspects(theirs, ours)
    for row in [*DIFFERENCES, *DEFECTS] if left else ():
        explained = row.explained(case, theirs, ours) & left
        if explained:
            left = left - explained
            if used is not None:
                used.add(row.title)
    return left


@dataclass(frozen=True)
class Logged:
    """A class of differences in the log: the cases, and what the records look like that only one of them has."""

    title: str
    reason: str
    cases: re.Pattern[str]
    records: re.Pattern[str]


LOGGED = [
    Logged(
        "what is wrong with a request is said in other words",
        "the line names the status and what was found",
        re.compile("garbage|bad header|bad length|too large|bad chunk|no host"),
        re.compile("general INFO (Malformed HTTP message from|127.0.0.1: refused with)"),
    ),
    Logged(
        "a malformed form is logged at INFO",
        "what a client does wrong is nothing an operator can act on",
        re.compile("bad form"),
        re.compile("400"),
    ),
    Logged(
        "the value of a cookie with a bad signature is not logged",
        "it may be a valid one of another name",
        re.compile("signed .*"),
        re.compile("general WARNING Invalid (cookie signature|signature of cookie)"),
    ),
    Logged(
        "an exception after the head is one record",
        "that no error page could be sent follows from it",
        re.compile("GET /(stream/fail|[a-z-]*errors/after_flush)"),
        re.compile("general ERROR Cannot send error response after headers written"),
    ),
    Logged(
        "an exception of initialize is logged with where it was raised",
        "there the line says no more than Uncaught exception",
        re.compile("GET /hooks/(initialize|wrong)"),
        re.compile("application ERROR Uncaught exception"),
    ),
    Logged(
        "a refused redirect is logged with its target",
        "to find out who tried what",
        re.compile("GET /gone-any/.*"),
        re.compile("Redirect (URL cannot change|to another site refused)"),
    ),
]

#: As `DEFECTS`.
LOGGED_DEFECTS: list[Logged] = []


@dataclass(frozen=True)
class Library:
    """A class of differences of the library: the calls, and patterns for what both give, as JSON."""

    title: str
    reason: str
    calls: tuple[str, ...]
    theirs: str
    ours: str

    def explains(self, name: str, theirs: str, ours: str) -> bool:
        named = any(fnmatchcase(name, pattern) for pattern in self.calls)
        return named and fnmatchcase(theirs, self.theirs) and fnmatchcase(ours, self.ours)


def raises(*kinds: str) -> str:
    """A pattern for an exception of that type."""
    return '{"raises": [[]"' + kinds[0] + '"*'


GIVES = '{"gives": *'

LIBRARY = [
    Library(
        "a wrong argument is a ValueError, not an AssertionError",
        "assertions disappear with python -O",
        (
            "reverse *",
            "URLSpec *",
            "rule with *",
            "sign *",
            "ssl_options_to_context *",
            "stream read_bytes *",
        ),
        raises("AssertionError"),
        raises("ValueError"),
    ),
    Library(
        "the number of values for a pattern is checked before they are put in",
        "so it is the same exception for every pattern",
        ("reverse ('/((a)b)', *",),
        raises("TypeError"),
        raises("ValueError"),
    ),
    Library(
        "an argument of a wrong type is a TypeError",
        "it says so at once",
        (
            "loop wrong future",
            "HTTPHeaders*",
            "xhtml_escape *",
            "linkify *",
            "PathMatches *",
            "application with wrong*",
        ),
        raises("A*Error"),
        raises("TypeError"),
    ),
    Library(
        "HTTPHeaders.add takes numbers",
        "as set_header does",
        ("HTTPHeaders add ('a', 3)",),
        raises("TypeError"),
        GIVES,
    ),
    Library(
        "the reason of a status line without one is empty, not None",
        "RFC 9112 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]",
        ("parse_response_start_line 'HTTP/1.1 200 '",),
        '{"gives": [[]"HTTP/1.1", 200, null]}',
        '{"gives": [[]"HTTP/1.1", 200, ""]}',
    ),
    Library(
        "linkify leaves a scheme without a host alone",
        "there is nothing to link to",
        ("linkify 'http:// www.*",),
        GIVES,
        GIVES,
    ),
    Library(
        "a pattern with a percent sign can be reversed",
        "the sign stands for itself",
        ("reverse ('/%20/(.[*])', 'x')",),
        raises("ValueError"),
        '{"gives": "/%20/x"}',
    ),
    Library(
        "a template that names another one without a loader is a ParseError",
        "it names the file and the line",
        ("template \"{% include 'none' %}\"",),
        raises("AssertionError"),
        raises("ParseError"),
    ),
    Library(
        "a raw tag without an expression is a ParseError",
        "it names the file and the line",
        ("template '{% raw %}'",),
        raises("SyntaxError"),
        raises("ParseError"),
    ),
    Library(
        "is_valid_ip knows four numbers and zones, and nothing shorter",
        "RFC 3986 3.2.2: IPv4address; RFC 4007 11: zone",
        ("is_valid_ip '1.2.3'", "is_valid_ip '::1%lo'"),
        GIVES,
        GIVES,
    ),
    Library(
        "run_sync takes a function that gives a value",
        "there is no harm in it",
        ("run_sync value",),
        raises("BadYieldError"),
        '{"gives": 3}',
    ),
    Library(
        "a full read buffer ends every read with StreamClosedError",
        "its real_error is the StreamBufferFullError; there it depends on when the data came",
        ("stream buffer too small*",),
        raises("StreamBufferFullError"),
        raises("StreamClosedError"),
    ),
    Library(
        "reading a negative number of bytes is a ValueError",
        "there it reads nothing",
        ("stream read_bytes negative",),
        GIVES,
        raises("ValueError"),
    ),
    Library(
        "writing None to a stream is a TypeError",
        "only bytes can be written",
        ("stream write none",),
        GIVES,
        raises("TypeError"),
    ),
    Library(
        "read_until_close of a stream that this side has closed gives what there is",
        "as it does where the other side closed it; there that is an error when nothing is left",
        ("stream after close",),
        GIVES,
        GIVES,
    ),
    Library(
        "a close callback set after the end is called",
        "nobody waits for what has happened already",
        ("stream close callback after",),
        raises("TimeoutError"),
        '{"gives": "called"}',
    ),
]

#: As `DEFECTS`.
LIBRARY_DEFECTS: list[Library] = []
