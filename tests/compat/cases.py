"""The requests that both servers get: good ones of every kind, and slightly bad ones."""

import gzip
import zlib
from dataclasses import replace
from urllib.parse import quote

from tests.compat.talk import Case

CRLF = b"\r\n"


def ask(line: str, *fields: str, body: bytes | str = b"", host: str | None = "a") -> bytes:
    """A request: method and target, fields as text, a body with its length where there is one."""
    body = body.encode() if isinstance(body, str) else body
    version = "" if " HTTP/" in line else " HTTP/1.1"
    lines = [line + version, *([f"Host: {host}"] if host is not None else []), *fields]
    has_length = any(text.lower().startswith(("content-length", "transfer-encoding")) for text in fields)
    if not has_length and (body or line.startswith(("POST", "PUT", "PATCH"))):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def form(text: str, line: str = "POST /args", *fields: str) -> bytes:
    return ask(line, "Content-Type: application/x-www-form-urlencoded", *fields, body=text)


def multipart(*parts: bytes, boundary: str = "B", line: str = "POST /uploads", close: bool = True) -> bytes:
    body = b"".join(b"--" + boundary.encode() + CRLF + part + CRLF for part in parts)
    body += (b"--" + boundary.encode() + b"--" + CRLF) if close else b""
    return ask(line, f"Content-Type: multipart/form-data; boundary={boundary}", body=body)


def part(disposition: str, content: bytes = b"content", *fields: str) -> bytes:
    lines = [f"Content-Disposition: {disposition}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


#: Requests to "main" whose name is their first line, or the text before them.
MAIN: list[bytes | tuple[str, bytes]] = []

# Arguments and paths.
QUERIES = (
    "a=1",
    "a=1&a=2&b=",
    "a=%20x%20&b=+y+",
    "a",
    "a&b=&=c&&",
    "a=%E9",
    "a=%C3%A9&%C3%A9=1",
    "a=%zz&b=%",
    "a=1;b=2",
    "a=%00%01%7F",
    "a=x%0d%0ay",
    "a=b=c",
    "a=\xe9",
    "%FF=1",
    "a[]=1&a[]=2",
    "&".join(f"k{i}=v" for i in range(20)),
    "a=%F0%9F%98%80",
    "?a=1",
    "a=1#frag",
    "a=1%23frag",
    "a=%u0041",
)
MAIN += [ask(f"GET /args?{query}") for query in QUERIES]
MAIN += [
    ask("GET /args"),
    ask("GET /args?"),
    ask("GET /required"),
    ask("GET /required?name=x"),
    ask("GET /required?name="),
    ask("GET /required?name=%20"),
    ("required in body", form("name=x", "POST /required")),
    ("required in query only", form("", "POST /required?name=x")),
    ("too many arguments in query", ask("GET /args?" + "&".join(["a=1"] * 1100))),
    ("too many arguments in body", form("&".join(["a=1"] * 1100))),
    ("form", form("a=1&b=2&a=3")),
    ("form and query", form("a=1&b=2", "POST /args?a=0&c=3")),
    ("form blank", form("a=&b&c=%20")),
    ("form bad percent", form("a=%&b=%zz")),
    ("form latin", form("a=%E9")),
    ("form utf-8 raw", form("a=\u00e9")),
    (
        "form with charset",
        ask("POST /args", "Content-Type: application/x-www-form-urlencoded; charset=utf-8", body="a=1"),
    ),
    (
        "form type upper case",
        ask("POST /args", "Content-Type: APPLICATION/X-WWW-FORM-URLENCODED", body="a=1"),
    ),
    ("form put", form("a=1", "PUT /args")),
    ("form patch", form("a=1", "PATCH /args")),
    ("form delete", form("a=1", "DELETE /args")),
    ("form get", form("a=1", "GET /args")),
    ("form without type", ask("POST /args", body="a=1")),
    ("form with content-encoding", form("a=1", "POST /args", "Content-Encoding: gzip")),
    ("form plus", form("a=1+2&b+c=3")),
    ask("GET /request"),
    ask("GET /request/a/b?x=y"),
    ask("GET /request/%C3%A9"),
    ask("GET /request/%E9"),
    ask("GET /request/a%2Fb"),
    ask("GET /request/a+b"),
    ask("GET /request/a%00b"),
    ask("GET //request"),
    ask("GET /request//x"),
    ask("GET /request/../args"),
    ask("GET /request/./x"),
    ask("GET /request;p=1"),
    ask("GET /request?x=/y?z"),
    ask("GET /REQUEST"),
    ask("GET /request/" + "a" * 3000),
    ask("GET http://b.example/request/x?y"),
    ask("GET HTTP://b.example:81/request"),
    ask("GET http://b.example"),
    ask("OPTIONS *"),
    ask("OPTIONS /request"),
    ask("GET /request", host="b:8080"),
    ask("GET /request", host="[::1]:80"),
    ask("GET /request", host="EXAMPLE.com"),
    ask("GET /request", host="example.com."),
    ask("GET /request", "X-A: 1", "x-a: 2", "X-a:3  "),
    ask("GET /request", "X-Empty:", "X-Tab:\ta\tb\t"),
    ask("GET /request", "X-Latin: \xe9\xa0"),
    ask("GET /request", "x-odd-CASE: v", "ETAG: x", "WWW-authenticate: y", "dnt: 1", "X--B: c", "a_b: c"),
    ask("GET /request", "Cookie: a=b; c=d"),
    ask("GET /request", "Cookie: a=b", "Cookie: c=d"),
    ask("GET /request", "X-Forwarded-For: 1.2.3.4", "X-Scheme: https"),
    ask("GET /request", "Content-Length: 0"),
    ("get with body", ask("GET /request", body="body")),
    ("delete with body", ask("DELETE /request", body="body")),
    ("options with body", ask("OPTIONS /request", body="body")),
    ("binary body", ask("POST /request", "Content-Type: application/octet-stream", body=bytes(range(256)))),
    ("large body", ask("POST /uploads", "Content-Type: text/plain", body=b"x" * 300000)),
    ask("GET /paths/a/b"),
    ask("GET /paths//"),
    ask("GET /paths/%20a/b%2Fc"),
    ask("GET /paths/%E9/x"),
    ask("GET /paths/\xe9/x"),
    ask("GET /paths/a/b/c"),
    ask("GET /paths/a+b/c?d=e"),
    ask("GET /named/12"),
    ask("GET /named/x"),
    ask("GET /optional"),
    ask("GET /optional/word"),
    ask("GET /optional-named"),
    ask("GET /optional-named/word"),
    ask("GET /by-name"),
    ask("GET /escaped/a.b"),
    ask("GET /escaped/axb"),
    ask("GET /caf%C3%A9"),
    ask("GET /caf\xc3\xa9"),
    ask("GET /caf\xe9"),
    ask("GET /dollar"),
    ask("GET /dollar/"),
    ask("GET /rule/x/y"),
    ask("GET /sub/hello"),
    ask("GET /sub/12"),
    ask("GET /sub/none"),
    ask("GET /listed/a"),
    ask("GET /listed/1/2"),
    ask("GET /listed/none"),
    ask("GET /nested/custom/a?b"),
    ask("GET /nested/custom/nothing"),
    ask("GET /nested/call"),
    ask("GET /nested/none"),
    ("nested body", ask("POST /nested/custom", body="body")),
    ("nested call body", ask("POST /nested/call", body="body")),
    ("nested head", ask("HEAD /nested/call")),
    ask("GET /none"),
    ask("GET "),
    ask("GET none"),
    ("body for nobody", ask("POST /none", body="body")),
]

# JSON, uploads.
for text in ('{"a": 1}', "[1]", "not json", "", '"\u00e9"', "NaN", '{"a": 1, "a": 2}', "\x00"):
    MAIN.append((f"json {text!r}", ask("POST /json", "Content-Type: application/json", body=text)))
MAIN += [
    ask("GET /json"),
    (
        "one file",
        multipart(part('form-data; name="f"; filename="a.txt"', b"hello", "Content-Type: text/plain")),
    ),
    (
        "file and field",
        multipart(part('form-data; name="f"; filename="a.txt"'), part('form-data; name="a"', b" b ")),
    ),
    ("two files of a name", multipart(*[part(f'form-data; name="f"; filename="{n}"') for n in "ab"])),
    ("file without type", multipart(part('form-data; name="f"; filename="a"'))),
    ("file name utf-8", multipart(part('form-data; name="f"; filename="\u00e9.txt"'))),
    ("file name extended", multipart(part("form-data; name=\"f\"; filename*=utf-8''%C3%A9.txt"))),
    ("file name both", multipart(part('form-data; name="f"; filename="e"; filename*=utf-8\'\'%C3%A9'))),
    ("file name escaped", multipart(part('form-data; name="f"; filename="a\\"b.txt"'))),
    ("file name percent", multipart(part('form-data; name="f"; filename="a%22b.txt"'))),
    ("file name backslashes", multipart(part('form-data; name="f"; filename="c:\\dir\\a.txt"'))),
    ("file name unquoted", multipart(part("form-data; name=f; filename=a.txt"))),
    ("file name semicolon", multipart(part('form-data; name="f"; filename="a;b.txt"'))),
    ("file name empty", multipart(part('form-data; name="f"; filename=""', b""))),
    ("file name path", multipart(part('form-data; name="f"; filename="../../a"'))),
    ("field name empty", multipart(part('form-data; name=""'))),
    ("field name missing", multipart(part("form-data"))),
    ("field not form-data", multipart(part('attachment; name="f"'))),
    ("field without disposition", multipart(b"X: y\r\n\r\ncontent")),
    ("field without head", multipart(b"content")),
    ("field with two disposition", multipart(b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n')),
    ("field crlf content", multipart(part('form-data; name="a"', b"\r\n\r\na\r\n--Bx\r\n"))),
    ("field binary content", multipart(part('form-data; name="a"; filename="b"', bytes(range(256))))),
    ("multipart not closed", multipart(part('form-data; name="a"'), close=False)),
    ("multipart empty", multipart()),
    ("multipart no body", ask("POST /uploads", "Content-Type: multipart/form-data; boundary=B")),
    ("multipart no boundary", ask("POST /uploads", "Content-Type: multipart/form-data", body="--B--")),
    (
        "multipart empty boundary",
        ask("POST /uploads", "Content-Type: multipart/form-data; boundary=", body="--B--"),
    ),
    (
        "multipart quoted boundary",
        ask(
            "POST /uploads",
            'Content-Type: multipart/form-data; boundary="B C"',
            body='--B C\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B C--\r\n',
        ),
    ),
    (
        "multipart other boundary",
        ask("POST /uploads", "Content-Type: multipart/form-data; boundary=C", body="--B--\r\n"),
    ),
    (
        "multipart preamble",
        ask(
            "POST /uploads",
            "Content-Type: multipart/form-data; boundary=B",
            body='preamble\r\n--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\nepilogue',
        ),
    ),
    (
        "multipart no last crlf",
        ask(
            "POST /uploads",
            "Content-Type: multipart/form-data; boundary=B",
            body='--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--',
        ),
    ),
    (
        "multipart lf",
        ask(
            "POST /uploads",
            "Content-Type: multipart/form-data; boundary=B",
            body='--B\nContent-Disposition: form-data; name="a"\n\n1\n--B--\n',
        ),
    ),
    ("multipart mixed", ask("POST /uploads", "Content-Type: multipart/mixed; boundary=B", body="--B--")),
    ("multipart put", multipart(part('form-data; name="a"'), line="PUT /uploads")),
    ("multipart and query", multipart(part('form-data; name="a"'), line="POST /args?a=q")),
    ("multipart charset", multipart(part('form-data; name="a"', "\u00e9".encode()), line="POST /args")),
    ("multipart latin", multipart(part('form-data; name="a"', b"\xe9"), line="POST /args")),
    ("multipart many parts", multipart(*[part(f'form-data; name="a{i}"') for i in range(150)])),
    ("multipart large head", multipart(part('form-data; name="a"', b"", "X: " + "y" * 12000))),
    (
        "multipart boundary upper case key",
        ask(
            "POST /uploads",
            "Content-Type: multipart/form-data; BOUNDARY=B",
            body='--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\n',
        ),
    ),
]

MAIN += [
    ("own page: multipart", multipart(part("form-data"), line="POST /json-errors")),
    ("own page: multipart fine", multipart(part('form-data; name="a"'), line="POST /json-errors")),
    ("own page: too many arguments", form("&".join(["a=1"] * 1100), "POST /json-errors")),
    ("own page: content-encoding", form("a=1", "POST /json-errors", "Content-Encoding: gzip")),
    ("query utf-8 raw", b"GET /args?a=\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("path utf-8 raw", b"GET /paths/\xc3\xa9/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ask("GET /args?a=" + "x" * 5000),
]

# What goes out.
for how in [
    "str",
    "bytes",
    "int",
    "date",
    "naive",
    "float",
    "none",
    "bool",
    "list",
    "latin",
    "utf8",
    "add",
    "replace",
    "clear",
    "case",
    "crlf",
    "lf",
    "nul",
    "tab",
    "space",
    "empty",
    "bad_name",
    "type",
    "no_type",
    "server",
    "reset",
    "length",
    "close",
    "unknown",
]:
    MAIN.append(ask(f"GET /headers/{how}"))
for code in (
    200,
    201,
    202,
    203,
    204,
    205,
    206,
    207,
    226,
    299,
    300,
    302,
    304,
    400,
    404,
    418,
    422,
    451,
    499,
    500,
    511,
    599,
):
    MAIN.append(ask(f"GET /status/{code}"))
for code in (100, 101, 102, 103, 199, 600, 999, 99, 1000, 0):
    MAIN.append(ask(f"GET /status/{code}?body=0"))
for code in (204, 205, 304, 200, 500):
    MAIN += [ask(f"GET /status/{code}?body=0"), ask(f"POST /status/{code}?body=0")]
MAIN += [
    ask("GET /status/200?reason=Very%20Good"),
    ask("GET /status/200?reason=a%0d%0aX:%20b"),
    ask("GET /status/200?reason="),
    ask("GET /status/200?reason=%C3%A9"),
    ask("GET /status/200?reason=%E2%82%AC"),
    ask("GET /status/204?body=1"),
    ask("HEAD /status/200"),
    ask("GET /default-headers"),
    ask("GET /default-headers?fail=1"),
    ask("GET /async"),
    ask("HEAD /async"),
]
for to in ("/x", "x", "http://b/", "//b/", "/\u00e9", "/a b", "", "?q", "/a%20b", "/a%0d%0aX: y", "#f"):
    MAIN.append(ask(f"GET /redirects?to={quote(to)}"))
for extra in (
    "permanent=1",
    "status=303",
    "status=307",
    "status=200",
    "status=400",
    "status=301&permanent=1",
):
    MAIN.append(ask(f"GET /redirects?to=/x&{extra}"))
MAIN += [ask("POST /redirects?to=/x"), ask("GET /redirects?to=/x HTTP/1.0"), ask("HEAD /redirects?to=/x")]
for what in ("list", "none", "int", "str", "bytes", "dict"):
    MAIN += [ask(f"GET /write/{what}"), ask(f"GET /write/{what}?finish=1")]
for what in (
    "write",
    "finish",
    "flush",
    "set_header",
    "render",
    "redirect",
    "set_cookie",
    "set_status",
    "send_error",
):
    MAIN.append(ask(f"GET /twice/{what}"))

# Methods.
for verb in (
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "FOO",
    "get",
    "CONNECT",
):
    MAIN += [ask(f"{verb} /"), ask(f"{verb} /extra")]
MAIN += [
    ask("HEAD /head-only"),
    ask("GET /head-only"),
    ask("OPTIONS /options"),
    ask("OPTIONS /none"),
    ask("HEAD /none"),
    ask("DELETE /none"),
    ask("FOO /none"),
    ask("HEAD /page/plain"),
]

# Freshness.
for tag in ("", '"a"', "*", 'W/"x"', "%", '"a", "b"', "garbage", '"\xe9"'):
    for path in ("/etag", "/own-etag", "/no-etag", "/set-etag", "/files/a.txt"):
        MAIN.append(ask(f"GET {path}", f"If-None-Match: {tag}"))
MAIN += [
    ask("GET /own-etag", 'If-None-Match: "x", "mine"'),
    ask("GET /own-etag", 'If-None-Match: W/"mine"'),
    ask("GET /own-etag", "If-None-Match: mine"),
    ask("GET /set-etag", 'If-None-Match: "own"'),
    ask("HEAD /own-etag", 'If-None-Match: "mine"'),
    ask("HEAD /etag"),
    ask("HEAD /etag", "If-None-Match: *"),
    ask("GET /own-etag", 'If-Match: "other"'),
    ask("GET /etag", "If-Modified-Since: Thu, 04 Mar 2021 05:06:07 GMT"),
]

# Errors.
HOWS = [
    "plain",
    "log",
    "percent",
    "reason",
    "html_reason",
    "bad_reason",
    "unknown",
    "strange",
    "no_content",
    "not_modified",
    "ok",
    "missing",
    "finish",
    "finish_with",
    "finish_dict",
    "zero",
    "key",
    "send",
    "send_reason",
    "send_twice",
    "after_flush",
    "after_finish",
    "cancelled",
    "assertion",
    "none",
]
for how in HOWS:
    MAIN += [ask(f"GET /errors/{how}"), ask(f"GET /async-errors/{how}")]
MAIN += [
    ask("HEAD /errors/plain"),
    ask("POST /errors/plain"),
    ask("GET /errors/plain HTTP/1.0"),
    ask("GET /own-errors/http"),
    ask("GET /own-errors/reason"),
    ask("GET /own-errors/send"),
    ask("GET /own-errors/other"),
    ask("GET /bad-errors"),
    ask("GET /bad-errors?late=1"),
    ask("GET /late-errors"),
    ask("POST /own-errors/x"),
]
for where in [
    "initialize",
    "prepare",
    "prepare-value",
    "on_finish",
    "value",
    "str",
    "list",
    "wrong",
    "none",
    "fine",
    "fine?fail=1",
    "on_finish?fail=1",
]:
    MAIN.append(ask(f"GET /hooks/{where}"))

# Hooks, users, slashes.
for path in ("/prepared", "/async-prepared"):
    for query in ("", "?stop=1", "?deny=1", "?away=1"):
        MAIN.append(ask(f"GET {path}{query}"))
    MAIN += [
        ask(f"POST {path}", body="x"),
        ask(f"PUT {path}"),
        ask(f"PUT {path}?stop=1"),
        ask(f"FOO {path}?stop=1"),
    ]
MAIN += [
    ask("GET /members"),
    ask("GET /members?a=b&c=d/e"),
    ask("HEAD /members"),
    ask("POST /members"),
    ask("GET /members", "Cookie: user=bad"),
    ask("GET http://b.example/members"),
    ask("GET /own-login"),
    ask("GET /own-login?x=y"),
    ask("GET /login?next=/members"),
    ask("POST /login"),
]
for path in ("/slash", "/no-slash"):
    for tail in ("", "/", "?a=b", "/?a=b", "?", "/?a=b&c=%20"):
        MAIN.append(ask(f"GET {path}{tail}"))
    MAIN += [ask(f"HEAD {path}"), ask(f"HEAD {path}/"), ask(f"POST {path}"), ask(f"POST {path}/")]
MAIN += [
    ask("GET /gone"),
    ask("GET /gone?a=b"),
    ask("HEAD /gone"),
    ask("POST /gone"),
    ask("GET /gone-for-now"),
    ask("GET /gone-for-now?a=b&a=c"),
    ask("GET /gone/a/b%20c"),
    ask("GET /gone/a/b?q=%C3%A9"),
    ask("GET /gone-by-name/anna?x"),
    ask("GET /gone-far/x"),
    ask("GET /gone-far//evil"),
    ask("GET /gone-far@evil"),
    ask("GET /gone//evil.example/x"),
    ask("GET /gone-sub/x"),
    ask("GET /gone-sub/evil.example%2F"),
    ask("GET /gone-any/x"),
    ask("GET /gone-any//x"),
    ask("GET /gone-any/http://evil.example"),
    ask("GET /error"),
    ask("POST /error"),
    ask("HEAD /error"),
    ask("FOO /error"),
    ask("GET /fallback/x"),
    ("fallback body", ask("POST /fallback", body="body")),
    ask("FOO /fallback"),
]

# Cookies.
for text in (
    "a=b",
    "a=b; c=d",
    "a=b;c=d",
    "a=b; a=c",
    'a="b c"',
    'a="b\\"c\\073"',
    "a=b=c",
    "a",
    "a=",
    "=b",
    "a=b; ; c=d",
    "$Version=1; a=b; $Path=/",
    "a b=c",
    "a=\xe9",
    "a=\xc3\xa9",
    "a=b, c=d",
    " a = b ;c= d",
    "a=b;",
    "a=%20",
    "[x]=y",
    'a="b; c="d"',
    "expires=1; path=2; secure",
    "a:b=c; d=e",
    "; ".join(f"c{i}={i}" for i in range(100)),
    'a={"b":1}',
):
    MAIN.append(ask("GET /cookies", f"Cookie: {text}"))
for how in [
    "plain",
    "two",
    "attributes",
    "samesite",
    "falsy",
    "days",
    "expires",
    "expires_number",
    "quoted",
    "unicode",
    "empty",
    "bad_name",
    "control",
    "bad_path",
    "bad_domain",
    "bad_samesite",
    "bad_max_age",
    "unknown",
    "partitioned",
    "clear",
    "clear_expires",
    "clear_all",
    "set_and_clear",
    "then_fail",
    "signed",
    "signed_v1",
    "secure",
]:
    MAIN.append(ask(f"GET /set-cookie/{how}"))
MAIN += [
    ask("GET /set-cookie/clear_all", "Cookie: a=b; c=d"),
    ask("GET /signed"),
    *(
        ask("GET /signed", f"Cookie: s={value}")
        for value in (
            "x",
            "2|1:0|10:1700000000|1:s|4:dg==|" + "0" * 64,
            "dg==|1700000000|" + "0" * 40,
            "a|b|c",
            "|||",
            "2|",
            "3|1:0|10:1700000000|1:s|4:dg==|" + "0" * 64,
            "2|99:0|",
            '""',
        )
    ),
]

# Pages.
for name in [
    "plain",
    "page",
    "modules",
    "template_module",
    "form",
    "broken",
    "fails",
    "undefined",
    "raw",
    "none",
]:
    MAIN.append(ask(f"GET /page/{name}"))
MAIN += [
    ask("GET /page/page?name=%3Cb%3E%26%22'%C3%A9"),
    ask("GET /page/..%2Fapp"),
    ask("GET /page-string"),
    ask("GET /namespace"),
    ask("GET /links"),
    ask("GET /links", host="b:81"),
    *(
        ask("GET /language", f"Accept-Language: {text}")
        for text in (
            "de",
            "en-US,en;q=0.5",
            "xx",
            "fr;q=0.1,de;q=0.9",
            "de;q=x",
            "*",
            "pt-br",
            "es-mx, es;q=0",
            "en-GB",
        )
    ),
    ask("GET /language", "Cookie: lang=de"),
]

# Streams.
for how in ("plain", "length", "fail", "finish"):
    MAIN += [ask(f"GET /stream/{how}"), ask(f"GET /stream/{how} HTTP/1.0")]
MAIN += [
    ask("HEAD /stream/plain"),
    ask("GET /stream/plain HTTP/1.0", "Connection: keep-alive"),
    ask("GET /stream/length HTTP/1.0", "Connection: keep-alive"),
    ask("GET /detach"),
    ask("GET /cancelled"),
    ask("GET /cancelled?caught=1"),
    ask("GET /timed-out"),
    ask("GET /wrong-length/5"),
    ask("GET /wrong-length/3"),
    ask("GET /wrong-length/9"),
    ask("GET /wrong-length/x"),
    ask("GET /wrong-length/-1"),
]
for path in ("/receive", "/receive-slowly"):
    MAIN += [
        (f"{path} streamed", ask(f"POST {path}?a=q", body="x" * 1000)),
        (f"{path} streamed form", form("a=1", f"POST {path}")),
        (f"{path} streamed large", ask(f"POST {path}", body=b"x" * 200000)),
        (
            f"{path} streamed chunked",
            ask(f"POST {path}", "Transfer-Encoding: chunked", body=chunked(b"abc", b"de")),
        ),
        (f"{path} streamed nothing", ask(f"POST {path}")),
        (f"{path} streamed get", ask(f"GET {path}")),
        (f"{path} streamed put", ask(f"PUT {path}", body="abc")),
        (f"{path} streamed not allowed", ask(f"DELETE {path}", body="abc")),
        (f"{path} streamed early", ask(f"POST {path}?early=1", body="abc")),
        (f"{path} streamed failing", ask(f"POST {path}?fail=1", body="abc")),
        (f"{path} streamed limit kept", ask(f"POST {path}?limit=10", body="abc")),
        (
            f"{path} streamed limit passed",
            ask(f"POST {path}?limit=10", "Transfer-Encoding: chunked", body=chunked(b"x" * 20)),
        ),
    ]

# Static files.
FILES = (
    "a.txt",
    "digits.bin",
    "style.css",
    "code.js",
    "data.json",
    "noextension",
    "empty.txt",
    "sp%20ace.txt",
    "some.tar.gz",
    "sub",
    "sub/",
    "",
    "sub/index.html",
    "none",
    "../app.py",
    "..%2fapp.py",
    "%2e%2e/app.py",
    "a.txt/",
    "a.txt/x",
    ".",
    "..",
    "sub/../a.txt",
    "/etc/passwd",
    "//etc/passwd",
    "a.txt%00",
    "%E9",
    "A.TXT",
    "sub%2Findex.html",
    "link",
    "link-out",
    "a.txt?v=",
    "a.txt?v=123",
    "a.txt?x=y",
)
for file in FILES:
    MAIN.append(ask(f"GET /files/{file}"))
    MAIN.append(ask(f"GET /index/{file}"))
MAIN += [
    ask("HEAD /files/a.txt"),
    ask("HEAD /files/none"),
    ask("HEAD /files/digits.bin", "Range: bytes=2-4"),
    ask("POST /files/a.txt"),
    ask("OPTIONS /files/a.txt"),
    ask("GET /static/a.txt"),
    ask("GET /static/none"),
    ask("GET /static/a.txt?v=abc"),
    ask("GET /robots.txt"),
    ask("GET /favicon.ico"),
    ask("GET /one-file"),
    ask("GET /one-file/"),
    ask("GET /one-file/x"),
]
for ranges in (
    "bytes=0-3",
    "bytes=2-",
    "bytes=-3",
    "bytes=0-",
    "bytes=0-0",
    "bytes=-0",
    "bytes=9-",
    "bytes=10-",
    "bytes=5-2",
    "bytes=0-99",
    "bytes=-99",
    "bytes=a-b",
    "bytes=-",
    "bytes=",
    "bytes",
    "lines=1-2",
    "bytes=0-1,3-4",
    "bytes=0-9",
    "bytes=99-100",
    "bytes = 1 - 2",
    "BYTES=1-2",
    "bytes=+1-2",
    "bytes=1--2",
    "bytes=1-2,",
    "bytes=00-01",
    "bytes=0-3;x",
):
    MAIN.append(ask("GET /files/digits.bin", f"Range: {ranges}"))
MAIN += [
    ask("GET /files/empty.txt", "Range: bytes=0-"),
    ask("GET /files/empty.txt", "Range: bytes=-1"),
    ask("GET /files/digits.bin", "Range: bytes=0-3", 'If-Range: "x"'),
    ask("GET /files/digits.bin", "Range: bytes=0-3", "If-None-Match: *"),
]
for date in (
    "Thu, 04 Mar 2021 05:06:07 GMT",
    "Thu, 04 Mar 2021 05:06:06 GMT",
    "Fri, 05 Mar 2021 05:06:07 GMT",
    "yesterday",
    "",
    "Thursday, 04-Mar-21 05:06:07 GMT",
    "Thu Mar  4 05:06:07 2021",
    "Thu, 04 Mar 2021 05:06:07 +0200",
    "0",
    "Thu, 04 Mar 2021 05:06:07",
):
    MAIN.append(ask("GET /files/a.txt", f"If-Modified-Since: {date}"))
MAIN += [
    ask("GET /files/a.txt", "If-Unmodified-Since: Thu, 04 Mar 2020 05:06:07 GMT"),
    ask("GET /files/a.txt", 'If-Match: "x"'),
    ask("GET /files/a.txt", 'If-None-Match: "x"', "If-Modified-Since: Fri, 05 Mar 2021 05:06:07 GMT"),
]

# The protocol.
MAIN += [
    ask("GET / HTTP/1.0"),
    ask("GET / HTTP/1.0", "Connection: keep-alive"),
    ask("GET / HTTP/1.0", "Connection: Keep-Alive"),
    ask("GET / HTTP/1.0", "Connection: close"),
    ("HTTP/1.0 without host", ask("GET / HTTP/1.0", host=None)),
    ("HTTP/1.0 post", ask("POST /request HTTP/1.0", body="abc")),
    ("HTTP/1.0 post without length", b"POST /request HTTP/1.0\r\n\r\n"),
    ("HTTP/1.0 head keep-alive", ask("HEAD / HTTP/1.0", "Connection: keep-alive")),
    ask("GET /", "Connection: close"),
    ask("GET /", "Connection: Close"),
    ask("GET /", "Connection: keep-alive"),
    ask("GET /", "Connection: close, x"),
    ask("GET /", "Connection: x"),
    ask("POST /", "Connection: close"),
    ("no host", ask("GET /", host=None)),
    ("two hosts", ask("GET /", "Host: b")),
    ask("GET /", host=""),
    ask("GET /", host="a b"),
    ask("GET /", host="a/b"),
    ask("GET /", host="a,b"),
    ask("GET /", host="u@b"),
    ask("GET /", host="a:x"),
    ask("GET /", host="b:99999"),
    ("no length", b"POST /request HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("chunked", ask("POST /request", "Transfer-Encoding: chunked", body=chunked(b"hello", b" world"))),
    ("chunked upper case", ask("POST /request", "Transfer-Encoding: Chunked", body=chunked(b"hello"))),
    (
        "chunked form",
        ask(
            "POST /args",
            "Content-Type: application/x-www-form-urlencoded",
            "Transfer-Encoding: chunked",
            body=chunked(b"a=", b"1"),
        ),
    ),
    ("chunked empty", ask("POST /request", "Transfer-Encoding: chunked", body=chunked())),
    (
        "chunked leading zeros",
        ask("POST /request", "Transfer-Encoding: chunked", body=b"0005\r\nhello\r\n0\r\n\r\n"),
    ),
    ("chunked hex", ask("POST /request", "Transfer-Encoding: chunked", body=b"A\r\n0123456789\r\n0\r\n\r\n")),
    (
        "chunked extension",
        ask("POST /request", "Transfer-Encoding: chunked", body=b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    ),
    (
        "chunked trailers",
        ask("POST /request", "Transfer-Encoding: chunked", body=chunked(b"hello", end=b"0\r\nX: y\r\n\r\n")),
    ),
    ("chunked bad size", ask("POST /request", "Transfer-Encoding: chunked", body=b"x\r\nhello\r\n0\r\n\r\n")),
    ("chunked sign", ask("POST /request", "Transfer-Encoding: chunked", body=b"+5\r\nhello\r\n0\r\n\r\n")),
    ("chunked prefix", ask("POST /request", "Transfer-Encoding: chunked", body=b"0x5\r\nhello\r\n0\r\n\r\n")),
    (
        "chunked underscore",
        ask("POST /request", "Transfer-Encoding: chunked", body=b"1_0\r\n0123456789012345\r\n0\r\n\r\n"),
    ),
    ("chunked no crlf", ask("POST /request", "Transfer-Encoding: chunked", body=b"5\r\nhelloX\r\n0\r\n\r\n")),
    ("chunked in upper GET", ask("GET /request", "Transfer-Encoding: chunked", body=chunked(b"hello"))),
    (
        "chunked and length",
        ask("POST /request", "Transfer-Encoding: chunked", "Content-Length: 3", body=chunked(b"hello")),
    ),
    ("gzip coding", ask("POST /request", "Transfer-Encoding: gzip", body=b"x")),
    ("gzip, chunked", ask("POST /request", "Transfer-Encoding: gzip, chunked", body=chunked(b"hello"))),
    ("identity", ask("POST /request", "Transfer-Encoding: identity", body=b"")),
    (
        "chunked twice",
        ask("POST /request", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=chunked(b"a")),
    ),
    ("chunked HTTP/1.0", ask("POST /request HTTP/1.0", "Transfer-Encoding: chunked", body=chunked(b"hello"))),
    ("two equal lengths", ask("POST /request", "Content-Length: 3", "Content-Length: 3", body=b"abc")),
    ("two lengths", ask("POST /request", "Content-Length: 3", "Content-Length: 4", body=b"abc")),
    ("list of equal lengths", ask("POST /request", "Content-Length: 3, 3", body=b"abc")),
    ("length sign", ask("POST /request", "Content-Length: +3", body=b"abc")),
    ("length negative", ask("POST /request", "Content-Length: -3", body=b"abc")),
    ("length text", ask("POST /request", "Content-Length: abc", body=b"abc")),
    ("length underscore", ask("POST /request", "Content-Length: 1_0", body=b"0123456789")),
    ("length zeros", ask("POST /request", "Content-Length: 0003", body=b"abc")),
    ("length empty", ask("POST /request", "Content-Length:", body=b"abc")),
    ("length unicode digit", ask("POST /request", "Content-Length: \xb2", body=b"ab")),
    ("length too large", ask("POST /request", "Content-Length: 999999999999", body=b"")),
    ("short body", ask("POST /request", "Content-Length: 5", body=b"abc")),
    ("short head", b"GET / HTTP/1.1\r\nHost: a\r\n"),
    ("expect", ask("POST /request", "Expect: 100-continue", body="abc")),
    ("expect other", ask("POST /request", "Expect: tea", body="abc")),
    ("expect without body", ask("GET /request", "Expect: 100-continue")),
    ("expect HTTP/1.0", ask("POST /request HTTP/1.0", "Expect: 100-continue", body="abc")),
    ("upgrade", ask("GET /", "Connection: Upgrade", "Upgrade: websocket")),
    ("lf only", b"GET / HTTP/1.1\nHost: a\n\n"),
    ("one lf", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    ("cr in value", ask("GET /request", "X: a\rb")),
    ("nul in value", ask("GET /request", "X: a\0b")),
    ("folded", ask("GET /request", "X: a\r\n b")),
    ("folded tab", ask("GET /request", "X: a\r\n\tb")),
    ("space before colon", ask("GET /request", "X : a")),
    ("space before name", ask("GET /request", " X: a")),
    ("no colon", ask("GET /request", "no colon here")),
    ("empty name", ask("GET /request", ": a")),
    ("name with space", ask("GET /request", "X Y: a")),
    ("name latin", ask("GET /request", "X\xe9: a")),
    ("name symbols", ask("GET /request", "!#$%&'*+-.^_`|~: a")),
    ("name bracket", ask("GET /request", "X(: a")),
    ("leading crlf", b"\r\n" + ask("GET /")),
    ("leading crlfs", b"\r\n\r\n" + ask("GET /")),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no version", b"GET /\r\nHost: a\r\n\r\n"),
    ("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("version 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ("version lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("version x", b"GET / HTTP/x\r\nHost: a\r\n\r\n"),
    ("trailing space", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("garbage", b"\x16\x03\x01\x02\x00\x01\r\n\r\n"),
    ("method symbols", ask("G@T /")),
    ("method long", ask("A" * 30 + " /")),
    ("tab in line", b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    ("http2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("control in target", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("long target", ask("GET /request/" + "a" * 40000)),
    ("large head", ask("GET /request", *[f"X-{i}: {'v' * 900}" for i in range(80)])),
    ("many fields", ask("GET /request", *[f"X-{i}: v" for i in range(99)])),
    ("too many fields", ask("GET /request", *[f"X-{i}: v" for i in range(150)])),
]

#: Requests to other servers of the site.
OTHERS: dict[str, list[bytes | tuple[str, bytes]]] = {
    "proxied": [
        *(
            ask("GET /request", *fields)
            for fields in (
                (),
                ("X-Real-Ip: 1.2.3.4",),
                ("X-Forwarded-For: 1.2.3.4",),
                ("X-Forwarded-For: 1.2.3.4, 5.6.7.8",),
                ("X-Forwarded-For: 1.2.3.4, 10.0.0.1",),
                ("X-Forwarded-For: 10.0.0.1",),
                ("X-Forwarded-For: garbage",),
                ("X-Forwarded-For: 1.2.3.4, garbage",),
                ("X-Forwarded-For: ",),
                ("X-Forwarded-For: 1.2.3.4", "X-Real-Ip: 9.9.9.9"),
                ("X-Real-Ip: garbage", "X-Forwarded-For: 1.2.3.4"),
                ("X-Forwarded-For: ::1",),
                ("X-Forwarded-For: [::1]:80",),
                ("X-Forwarded-For: 1.2.3.4:80",),
                ("X-Real-Ip: 4.4.4.4.",),
                ("X-Scheme: https",),
                ("X-Forwarded-Proto: https",),
                ("X-Forwarded-Proto: http, https",),
                ("X-Forwarded-Proto: https, http",),
                ("X-Scheme: ftp",),
                ("X-Scheme: http", "X-Forwarded-Proto: https"),
                ("X-Forwarded-Host: evil",),
                ("Forwarded: for=1.2.3.4",),
            )
        ),
        ("gzip body", ask("POST /request", "Content-Encoding: gzip", body=gzip.compress(b"hello", mtime=0))),
        ("gzip form", form("", "POST /args", "Content-Encoding: gzip")),
        (
            "gzip form filled",
            ask(
                "POST /args",
                "Content-Type: application/x-www-form-urlencoded",
                "Content-Encoding: gzip",
                body=gzip.compress(b"a=1", mtime=0),
            ),
        ),
        (
            "gzip members",
            ask(
                "POST /request",
                "Content-Encoding: gzip",
                body=gzip.compress(b"a", mtime=0) + gzip.compress(b"b", mtime=0),
            ),
        ),
        (
            "gzip chunked",
            ask(
                "POST /request",
                "Content-Encoding: gzip",
                "Transfer-Encoding: chunked",
                body=chunked(gzip.compress(b"hello", mtime=0)[:9], gzip.compress(b"hello", mtime=0)[9:]),
            ),
        ),
        ("gzip garbage", ask("POST /request", "Content-Encoding: gzip", body=b"not gzip")),
        (
            "gzip cut",
            ask("POST /request", "Content-Encoding: gzip", body=gzip.compress(b"hello", mtime=0)[:-3]),
        ),
        (
            "gzip and more",
            ask("POST /request", "Content-Encoding: gzip", body=gzip.compress(b"hello", mtime=0) + b"x"),
        ),
        (
            "gzip upper case",
            ask("POST /request", "Content-Encoding: GZIP", body=gzip.compress(b"hello", mtime=0)),
        ),
        ("deflate body", ask("POST /request", "Content-Encoding: deflate", body=zlib.compress(b"hello"))),
        ("identity body", ask("POST /request", "Content-Encoding: identity", body=b"hello")),
        ("unknown coding", ask("POST /request", "Content-Encoding: x", body=b"hello")),
        (
            "gzip streamed",
            ask("POST /receive", "Content-Encoding: gzip", body=gzip.compress(b"x" * 1000, mtime=0)),
        ),
    ],
    "https": [
        ask("GET /request"),
        ask("GET /links"),
        ask("GET /slash"),
        ask("GET /members"),
        ask("GET /gone"),
    ],
    "xsrf": [
        ask("GET /token"),
        ask("GET /form"),
        ask("POST /form"),
        form(
            "_xsrf=0123456789abcdef0123456789abcdef",
            "POST /form",
            "Cookie: _xsrf=0123456789abcdef0123456789abcdef",
        ),
        form(
            "_xsrf=0123456789abcdef0123456789abcdee",
            "POST /form",
            "Cookie: _xsrf=0123456789abcdef0123456789abcdef",
        ),
        form("_xsrf=", "POST /form", "Cookie: _xsrf=0123456789abcdef0123456789abcdef"),
        form("_xsrf=x", "POST /form", "Cookie: _xsrf=x"),
        form("_xsrf=x", "POST /form"),
        form("a=b", "POST /form", "Cookie: _xsrf=0123456789abcdef0123456789abcdef"),
        *(
            ask(line, *fields, "Cookie: _xsrf=0123456789abcdef0123456789abcdef")
            for line, *fields in (
                ("POST /form", "X-XSRFToken: 0123456789abcdef0123456789abcdef"),
                ("POST /form", "X-CSRFToken: 0123456789abcdef0123456789abcdef"),
                ("POST /form", "X-XSRFToken: 2|01020304|00214365889abcdef0123456789abcde|1700000000"),
                ("POST /form", "X-XSRFToken: 2|garbage"),
                ("POST /form", "X-XSRFToken: 3|1|2|3"),
                ("POST /form?_xsrf=0123456789abcdef0123456789abcdef",),
                ("PUT /form",),
                ("DELETE /form",),
                ("DELETE /form", "X-XSRFToken: 0123456789abcdef0123456789abcdef"),
                ("HEAD /form",),
                ("OPTIONS /form",),
                ("GET /form",),
                ("GET /token",),
            )
        ),
        ask("GET /token", "Cookie: _xsrf=garbage"),
        ask("GET /token", "Cookie: _xsrf=2|zz|zz|zz"),
        ask("POST /no-check"),
        ask("POST /none"),
        ask("POST /receive"),
        ask("POST /fallback"),
        ask("POST /error"),
        ask("POST /nested/call"),
        ask("FOO /form"),
    ],
    "xsrf1": [
        ask("GET /token"),
        ask("GET /form"),
        ask("GET /form", "Cookie: tok=0123456789abcdef0123456789abcdef"),
        form(
            "_xsrf=0123456789abcdef0123456789abcdef",
            "POST /form",
            "Cookie: tok=0123456789abcdef0123456789abcdef",
        ),
        form("_xsrf=abc", "POST /form", "Cookie: tok=abc"),
        form(
            "_xsrf=0123456789abcdef0123456789abcdef",
            "POST /form",
            "Cookie: _xsrf=0123456789abcdef0123456789abcdef",
        ),
    ],
    "origin": [
        ask("GET /form"),
        ask("GET /form", "Origin: http://evil.example"),
        *(
            ask("POST /form", *fields)
            for fields in (
                (),
                ("Sec-Fetch-Site: same-origin",),
                ("Sec-Fetch-Site: none",),
                ("Sec-Fetch-Site: same-site",),
                ("Sec-Fetch-Site: cross-site",),
                ("Sec-Fetch-Site: nonsense",),
                ("Sec-Fetch-Site: cross-site", "Origin: http://a"),
                ("Sec-Fetch-Site: cross-site", "Origin: https://good.example"),
                ("Sec-Fetch-Site: same-origin", "Origin: http://evil.example"),
                ("Sec-Fetch-Site: SAME-ORIGIN",),
                ("Origin: http://a",),
                ("Origin: https://a",),
                ("Origin: http://a:80",),
                ("Origin: http://A",),
                ("Origin: http://a:81",),
                ("Origin: http://evil.example",),
                ("Origin: https://good.example",),
                ("Origin: http://good.example",),
                ("Origin: https://good.example:443",),
                ("Origin: https://good.example/",),
                ("Origin: null",),
                ("Origin: ",),
                ("Origin: garbage",),
                ("Referer: http://evil.example/x",),
            )
        ),
        ask("DELETE /form", "Origin: http://evil.example"),
        ask("PUT /form", "Origin: http://evil.example"),
        ask("OPTIONS /form", "Origin: http://evil.example"),
        ask("HEAD /form", "Origin: http://evil.example"),
        ask("FOO /form", "Origin: http://evil.example"),
        ask("POST /none", "Origin: http://evil.example"),
        ask("POST /no-check", "Origin: http://evil.example"),
        ask("POST /receive", "Origin: http://evil.example"),
    ],
    "gzip": [
        *(
            ask(f"GET {path}", "Accept-Encoding: gzip")
            for path in (
                "/",
                "/page/page",
                "/json",
                "/files/code.js",
                "/files/digits.bin",
                "/stream/plain",
                "/errors/plain",
                "/status/204?body=0",
                "/status/304?body=0",
                "/request/" + "a" * 2000,
                "/headers/type",
                "/no-etag",
                "/own-etag",
                "/files/style.css",
                "/files/big.css",
                "/index/big.css",
                "/args?a=" + "x" * 1500,
                "/args?a=" + "x" * 800,
                "/stream/length",
                "/page/raw",
                "/members",
                "/errors/after_flush",
            )
        ),
        *(
            ask("GET /args?a=" + "x" * 1500, f"Accept-Encoding: {coding}")
            for coding in (
                "deflate",
                "gzip;q=0",
                "identity",
                "gzip, deflate, br",
                "*",
                "GZIP",
                "x-gzip",
                "br",
                "",
            )
        ),
        ask("GET /args?a=" + "x" * 1500),
        ask("HEAD /page/page", "Accept-Encoding: gzip"),
        ask("HEAD /args", "Accept-Encoding: gzip"),
        ask("GET /stream/plain HTTP/1.0", "Accept-Encoding: gzip"),
        ask("GET /own-etag", "Accept-Encoding: gzip", 'If-None-Match: "mine"'),
        ask("GET /files/code.js", "Accept-Encoding: gzip", "Range: bytes=0-2"),
        ask("GET /files/big.css", "Accept-Encoding: gzip", "Range: bytes=0-1999"),
        ask("HEAD /files/big.css", "Accept-Encoding: gzip"),
        ask("GET /files/big.css"),
        ask("GET /request/" + "b" * 3000, "Accept-Encoding: gzip"),
    ],
    "transform": [
        ask("GET /"),
        ask("GET /stream/plain"),
        ask("HEAD /"),
        ask("GET /none"),
        ask("GET /stream/finish"),
        ask("GET /etag"),
        ask("GET /own-etag", 'If-None-Match: "mine"'),
        ask("GET /redirects?to=/x"),
        ask("GET /files/a.txt"),
    ],
    "custom": [
        ask("GET /"),
        ask("GET /none"),
        ask("POST /none"),
        ask("HEAD /none"),
        ask("FOO /none"),
        ask("GET /assets/a.txt"),
        ask("GET /static/a.txt"),
        ask("GET /robots.txt"),
        ask("GET /assets/none"),
        ask("GET /errors/plain"),
    ],
    "bare": [
        ask("GET /"),
        ask("GET /members"),
        ask("GET /links"),
        ask("GET /robots.txt"),
        ask("GET /static/a.txt"),
        ask("GET /try?what=signed%20value"),
        ask("GET /try?what=static%20url%20none"),
        ask("GET /try?what=login%20url"),
        ask("GET /try?what=template%20path"),
        ask("GET /try?what=xsrf%20token"),
        ask("GET /try?what=check%20xsrf"),
    ],
    "keys": [
        ask("GET /set-cookie/signed"),
        ask("GET /set-cookie/signed_v1"),
        ask("GET /signed"),
        ask("GET /signed", "Cookie: s=2|1:9|10:1700000000|1:s|4:dg==|" + "0" * 64),
    ],
    "hosts": [
        ask(f"GET {path}", host=host)
        for path in ("/", "/only", "/default", "/x")
        for host in (
            "www.example.com",
            "www.example.com:80",
            "WWW.EXAMPLE.COM",
            "sub.other.example",
            "default.example",
            "unknown.example",
            "wwwxexample.com",
            "127.0.0.1",
            "xwww.example.com",
            "www.example.com.",
        )
    ]
    + [ask("GET /default", "X-Real-Ip: 1.1.1.1", host="unknown.example")],
    "rules": [
        ask("GET /", host="a.example"),
        ask("GET /x", host="b.example"),
        ask("GET /any", host="c.example"),
        ask("GET /", host="c.example"),
        ask("POST /", host="c.example", body="abc"),
        ask("GET /", host="b.example:81"),
    ],
    "callable": [
        ask("GET /x"),
        ask("POST /x", body="abc"),
        ask("HEAD /x"),
        ask("FOO /x"),
        ask("GET / HTTP/1.0"),
        ask("GET / HTTP/1.0", "Connection: keep-alive"),
        ask("POST /x", "Transfer-Encoding: chunked", body=chunked(b"ab", b"c")),
    ],
    "small": [
        ("body at the limit", ask("POST /uploads", body=b"x" * 1000)),
        ("body over the limit", ask("POST /uploads", body=b"x" * 1001)),
        (
            "chunked over the limit",
            ask("POST /uploads", "Transfer-Encoding: chunked", body=chunked(b"x" * 600, b"y" * 600)),
        ),
        (
            "chunked at the limit",
            ask("POST /uploads", "Transfer-Encoding: chunked", body=chunked(b"x" * 600, b"y" * 400)),
        ),
        ("streamed over the limit", ask("POST /receive", body=b"x" * 1001)),
        ("streamed raised limit", ask("POST /receive?limit=5000", body=b"x" * 1001)),
        ("streamed lowered limit", ask("POST /receive?limit=5", body=b"x" * 10)),
        ("slowly raised limit", ask("POST /receive-slowly?limit=5000", body=b"x" * 3001)),
        ("head at the limit", ask("GET /request", "X: " + "v" * 1900)),
        ("head over the limit", ask("GET /request", "X: " + "v" * 2100)),
    ],
    "no keep-alive": [
        ask("GET /"),
        ask("GET /", "Connection: keep-alive"),
        ask("GET / HTTP/1.0", "Connection: keep-alive"),
        ask("GET /stream/plain"),
        ask("POST /request", body="abc"),
    ],
}

GET = ask("GET /")
SPLIT = ask("POST /request", "Expect: 100-continue", "Content-Length: 3")

#: What takes more than one request.
LONGER = [
    Case("pipelined", GET * 5, count=5),
    Case("pipelined async", ask("GET /async") * 3 + GET, count=4),
    Case("pipelined posts", ask("POST /request", body="abc") * 3, count=3),
    Case(
        "pipelined chunked",
        ask("POST /request", "Transfer-Encoding: chunked", body=chunked(b"a")) * 2 + GET,
        count=3,
    ),
    Case("pipelined errors", ask("GET /errors/zero") + ask("GET /none") + GET, count=3),
    Case("pipelined heads", ask("HEAD /") + ask("HEAD /stream/plain") + GET, count=3),
    Case("pipelined after close", ask("GET /", "Connection: close") + GET, count=2),
    Case("pipelined after garbage", GET + b"garbage\r\n\r\n" + GET, count=3),
    Case("pipelined stream", ask("GET /stream/plain") * 2, count=2),
    Case(
        "pipelined files",
        ask("GET /files/a.txt") * 2 + ask("GET /files/digits.bin", "Range: bytes=1-2"),
        count=3,
    ),
    Case("pipelined after early", ask("POST /receive?early=1", body="abc") + GET, count=2),
    Case("pipelined HTTP/1.0", ask("GET / HTTP/1.0", "Connection: keep-alive") * 2, count=2),
    Case("crlf after body", ask("POST /request", body="abc") + b"\r\n" + GET, count=2),
    Case("one after the other", [GET, ask("GET /async"), ask("POST /request", body="abc")], count=3),
    Case("expect in two parts", [SPLIT, b"abc"], count=2),
    Case("expect refused", ask("POST /none", "Expect: 100-continue", "Content-Length: 3"), count=2),
    Case("expect early", ask("POST /receive?early=1", "Expect: 100-continue", "Content-Length: 3"), count=2),
    Case(
        "expect over the limit",
        ask("POST /none", "Expect: 100-continue", "Content-Length: 3000"),
        "small",
        count=2,
    ),
    Case("etag again", ask("GET /etag", "If-None-Match: %ETAG%"), first=ask("GET /etag")),
    Case("etag weak", ask("GET /etag", "If-None-Match: W/%ETAG%"), first=ask("GET /etag")),
    Case("etag in list", ask("GET /etag", 'If-None-Match: "x", %ETAG%'), first=ask("GET /etag")),
    Case("etag head", ask("HEAD /etag", "If-None-Match: %ETAG%"), first=ask("GET /etag")),
    Case(
        "etag gzip",
        ask("GET /page/page", "Accept-Encoding: gzip", "If-None-Match: %ETAG%"),
        "gzip",
        first=ask("GET /page/page", "Accept-Encoding: gzip"),
    ),
    Case("etag file", ask("GET /files/a.txt", "If-None-Match: %ETAG%"), first=ask("GET /files/a.txt")),
    Case(
        "modified file",
        ask("GET /files/a.txt", "If-Modified-Since: %MODIFIED%"),
        first=ask("GET /files/a.txt"),
    ),
    Case(
        "range if etag",
        ask("GET /files/digits.bin", "Range: bytes=1-2", "If-Range: %ETAG%"),
        first=ask("GET /files/digits.bin"),
    ),
    Case(
        "range if other",
        ask("GET /files/digits.bin", "Range: bytes=1-2", "If-None-Match: %ETAG%"),
        first=ask("GET /files/digits.bin"),
    ),
    Case("signed again", ask("GET /signed", "Cookie: %COOKIES%"), first=ask("GET /set-cookie/signed")),
    Case("signed 1 again", ask("GET /signed", "Cookie: %COOKIES%"), first=ask("GET /set-cookie/signed_v1")),
    Case("secure again", ask("GET /signed", "Cookie: %COOKIES%"), first=ask("GET /set-cookie/secure")),
    Case(
        "signed by key", ask("GET /signed", "Cookie: %COOKIES%"), "keys", first=ask("GET /set-cookie/signed")
    ),
    Case("user", ask("GET /members", "Cookie: %COOKIES%"), first=ask("GET /login?name=%C3%A9va")),
    Case("user head", ask("HEAD /members", "Cookie: %COOKIES%"), first=ask("GET /login")),
    Case("user on page", ask("GET /page/modules", "Cookie: %COOKIES%"), first=ask("GET /login")),
    Case("cookies again", ask("GET /cookies", "Cookie: %COOKIES%"), first=ask("GET /set-cookie/quoted")),
    Case(
        "form taken",
        ask("POST /form", "Cookie: %COOKIES%", "X-XSRFToken: %XSRF%"),
        "xsrf",
        first=ask("GET /form"),
    ),
    Case(
        "form taken 1",
        ask("POST /form", "Cookie: %COOKIES%", "X-XSRFToken: %XSRF%"),
        "xsrf1",
        first=ask("GET /form"),
    ),
    Case("form with cookie again", ask("GET /form", "Cookie: %COOKIES%"), "xsrf", first=ask("GET /form")),
    Case("multipart form forged", multipart(part('form-data; name="a"'), line="POST /form"), "xsrf"),
    Case("debug traceback", ask("GET /errors/zero"), "debug"),
    Case("debug autoescape", ask("GET /page/plain?name=%3C"), "debug"),
]


#: The cases in which one of the servers, or both, wait for more.
WAITING = {
    "GET /set-cookie/unicode",
    "GET /stream/plain HTTP/1.0 | Connection: keep-alive",
    "GET /wrong-length/x",
    "GET /wrong-length/-1",
    "short body",
    "short head",
    "expect refused",
}


def name_of(request: bytes) -> str:
    """A name for a request: its line, and the first field after Host."""
    line, _, rest = request.partition(b"\r\n")
    fields = [
        text
        for text in rest.split(b"\r\n\r\n")[0].split(b"\r\n")
        if not text.startswith((b"Host: a", b"Content-"))
    ]
    body = rest.partition(b"\r\n\r\n")[2]
    words = [line.replace(b" HTTP/1.1", b""), *fields[:3], *([body] if body else [])]
    return b" | ".join(word[:70] for word in words).decode("latin-1")


def cases() -> list[Case]:
    """All of them, each with a name of its own."""
    found = {}
    for server, requests in {"main": MAIN, **OTHERS}.items():
        for request in requests:
            name, data = request if isinstance(request, tuple) else (name_of(request), request)
            if server != "main":
                name = f"{server}: {name}"
            found[name] = Case(name, data, server)
    for case in LONGER:
        name = case.name if case.server == "main" else f"{case.server}: {case.name}"
        found[name] = Case(name, case.data, case.server, case.count, case.first)
    return [replace(case, patience=0.7) if name in WAITING else case for name, case in found.items()]


#: The routes of the wrong calls, whose names app.py knows.
def tries(names: list[str]) -> list[Case]:
    return [Case(f"try {name}", ask(f"GET /try?what={quote(name)}")) for name in names]


def logged() -> list[Case]:
    """Cases whose log records are compared; they are played one after the other."""
    paths = (
        "/",
        "/none",
        "/json",
        "/quiet",
        "/own-log",
        "/bad-errors",
        "/late-errors",
        "/required",
        "/stream/fail",
        "/hooks/value",
        "/hooks/prepare",
        "/hooks/initialize",
        "/hooks/wrong",
        "/files/none",
        "/files/..%2fx",
        "/page/none",
        "/page/undefined",
        "/args?a=%E9",
        "/members",
        "/gone-any/http://evil.example",
        "/detach",
        *(f"/errors/{how}" for how in HOWS),
        *(f"/async-errors/{how}" for how in HOWS),
    )
    found = [Case(f"GET {path}", ask(f"GET {path}"), "logs") for path in paths]
    found += [
        Case("POST /", ask("POST /"), "logs"),
        Case("signed bad", ask("GET /signed", "Cookie: s=dg==|1700000000|" + "0" * 40), "logs"),
        Case("signed future", ask("GET /signed", "Cookie: s=x|99999999999|x"), "logs"),
        Case("bad form", ask("POST /uploads", "Content-Type: multipart/form-data", body="x"), "logs"),
        Case("bad json", ask("POST /json", "Content-Type: application/json", body="x"), "logs"),
        Case("garbage", b"garbage\r\n\r\n", "logs"),
        Case("bad header", ask("GET /", "X Y: z"), "logs"),
        Case("bad length", ask("POST /", "Content-Length: x"), "logs"),
        Case("too large", ask("POST /", "Content-Length: 999999999999"), "logs"),
        Case("bad chunk", ask("POST /", "Transfer-Encoding: chunked", body=b"x\r\n"), "logs"),
        Case("no host", ask("GET /", host=None), "logs"),
        Case("own log_request", ask("GET /"), "custom"),
        Case("own log_request 404", ask("GET /nothing"), "custom"),
        Case("log_function", ask("GET /"), "logged"),
        Case("log_function error", ask("GET /e/zero"), "logged"),
    ]
    return found
