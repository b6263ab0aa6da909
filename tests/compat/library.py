"""Call the library of a framework: ``library.py FRAMEWORK DIRECTORY`` prints what every call gives or raises, as JSON.

The calls stand in `CALLS` by name; those that need a loop are coroutine functions.
"""

import asyncio
import datetime
import importlib
import inspect
import io
import json
import logging
import socket
import threading
import warnings
from types import SimpleNamespace

from framework import NAME

ROOMS = (
    *("concurrent", "escape", "httpserver", "httputil", "ioloop", "iostream", "locale", "log", "netutil"),
    *("routing", "tcpserver", "template", "util", "web"),
)
fw = SimpleNamespace(**{room: importlib.import_module(f"{NAME}.{room}") for room in ROOMS})
h, e, u, r = fw.httputil, fw.escape, fw.util, fw.routing
CALLS = {}


def each(name, function, values):
    """The function called with each value; a tuple stands for several arguments."""
    for value in values:
        arguments = value if isinstance(value, tuple) else (value,)
        CALLS[f"{name} {value!r:.100}"] = lambda arguments=arguments: function(*arguments)


def call(function):
    """The function as one call, under its own name."""
    CALLS[function.__name__.replace("_", " ")] = function
    return function


# --- httputil ---

URLS = ("http://a/b", "/b", "/b?x=y", "/b?x=y#frag", "http://a", "?q", "", "/b?", "/b?x=%20&x", "/b#f?g")
for url in URLS:
    each(
        "url_concat",
        h.url_concat,
        [(url, {"a": "1"}), (url, [("a", "1"), ("a", "2 /")]), (url, None), (url, [])],
    )
each(
    "url_concat",
    h.url_concat,
    [("/b", "a=1"), ("/b", {"a": "\u00e9"}), ("/b", {"a": None}), ("/b", (("a", "b"),))],
)
each(
    "parse_cookie",
    h.parse_cookie,
    [
        "a=b",
        "a=b; c=d",
        "a=b;c",
        "a",
        "",
        ";;",
        "=",
        "a=",
        "=b",
        'a="b"',
        'a="b;c"',
        'a="b\\"c"',
        'a="\\073\\303"',
        " a = b ",
        "a=b=c",
        "a=b,c=d",
        "a=\u00e9",
        "a=b; a=c",
        "$x=1",
        'a="',
        'a="b" c',
        "a\tb=c",
        None,
    ],
)
each(
    "HTTPHeaders.parse",
    lambda text: sorted(h.HTTPHeaders.parse(text).get_all()),
    [
        "A: b",
        "A: b\r\nC: d\r\n",
        "A: b\r\nA: c",
        "A: b\nC: d",
        "A:b",
        "A: ",
        "A:",
        "A:  b\t ",
        "a-bC: d",
        "\r\n",
        "",
        "\n\nA: b",
        "A: b\r\n c",
        " A: b",
        "A",
        "A b: c",
        "A : b",
        ": b",
        "A: b\r\n\r\nC: d",
        "A: \x00",
        "A: \x7f",
        "A: \u20ac",
        "A: \xe9",
        "\xe9: b",
        "A: b\rC: d",
        "A: b\x0bC: d",
        "A: b\u2028C: d",
        "A: b:c",
        "A_b: c",
        "A: b\r\n\tc\r\n d",
        b"A: b",
        None,
    ],
)
each(
    "normalize",
    lambda name: next(iter(h.HTTPHeaders({name: "v"}))),
    ["a-b", "A-B", "coNtent-TYPE", "a--b", "-a", "a_b", "x1-y2"],
)


@call
def headers_as_a_mapping():
    headers = h.HTTPHeaders({"a": "1"}, b="2")
    headers.add("A", "3")
    headers.add("set-cookie", "x=y")
    headers["B"] = "4"
    steps = [
        sorted(headers.items()),
        headers.get_list("a"),
        headers.get_list("none"),
        len(headers),
        "A" in headers,
    ]
    steps += [headers.get("none"), headers["a"], str(headers), sorted(headers.get_all()), "c" in headers]
    other = headers.copy()
    other["a"] = "5"
    del headers["B"]
    steps += [headers["a"], other["a"], sorted(headers), headers == h.HTTPHeaders(headers), headers.pop("A")]
    headers.update({"Q": "r"})
    return [*steps, headers.setdefault("q", "s"), sorted(headers), repr(type(headers.get_all()).__name__)]


each("HTTPHeaders[]", lambda name: h.HTTPHeaders({"A": "b"})[name], ["a", "x", 3, None])
each("HTTPHeaders del", lambda name: h.HTTPHeaders({"A": "b"}).__delitem__(name), ["a", "x"])
each(
    "HTTPHeaders add",
    lambda n, v: h.HTTPHeaders().add(n, v),
    [("a", "b"), ("a", "b\nc"), ("a b", "c"), ("", "c"), ("a", 3)],
)
each(
    "HTTPHeaders parse_line",
    lambda line: h.HTTPHeaders().parse_line(line),
    ["A: b", "A", " x", "A: b\r\n", "", "\r\n"],
)
each(
    "HTTPHeaders of",
    lambda *args: sorted(h.HTTPHeaders(*args).items()),
    [({"a": "b"},), ([("a", "b"), ("A", "c")],), ()],
)
each(
    "parse_request_start_line",
    h.parse_request_start_line,
    [
        "GET / HTTP/1.1",
        "GET / HTTP/1.0",
        "GET  / HTTP/1.1",
        "GET /",
        "GET / HTTP/2.0",
        "GET / HTTP/1.10",
        "get / HTTP/1.1",
        "G@T / HTTP/1.1",
        "",
        "GET /\x00 HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET /\xe9 HTTP/1.1",
    ],
)
each(
    "parse_response_start_line",
    h.parse_response_start_line,
    [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 ",
        "HTTP/1.1 200",
        "HTTP/1.0 404 Not Found",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 abc OK",
        "HTTP/2 200 OK",
        "",
        "HTTP/1.1 200 \xe9",
    ],
)
TIMES = [0, 1_700_000_000, 1e9 + 0.9, -1, (2021, 3, 4, 5, 6, 7), datetime.datetime(2021, 3, 4, 5, 6, 7)]
CALLS.update({f"format_timestamp {when!r}": lambda when=when: h.format_timestamp(when) for when in TIMES})
each(
    "format_timestamp",
    h.format_timestamp,
    [
        datetime.datetime(2021, 3, 4, 5, 6, 7, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        datetime.datetime(2021, 3, 4, tzinfo=datetime.UTC).timetuple(),
        "now",
        None,
    ],
)
each(
    "split_host_and_port",
    h.split_host_and_port,
    ["a", "a:80", "[::1]", "[::1]:80", "::1", "a:", "a:b", "", ":80", "a:80:90", "a:99999"],
)
each(
    "qs_to_qsl",
    lambda qs: list(h.qs_to_qsl(qs)),
    [{}, {"a": ["b", "c"]}, {"a": []}, {"a": [b"b"], "c": ["d"]}],
)
each(
    "encode_username_password",
    h.encode_username_password,
    [("a", "b"), (b"a", "\u00e9"), ("a:b", ""), ("e\u0301", "x")],
)


def body_arguments(kind, body, headers=None):
    arguments, files = {}, {}
    h.parse_body_arguments(kind, body, arguments, files, headers and h.HTTPHeaders(headers))
    return [arguments, {name: [sorted(f.items()) for f in found] for name, found in files.items()}]


FORM, MULTI = "application/x-www-form-urlencoded", "multipart/form-data; boundary=B"
each(
    "parse_body_arguments",
    body_arguments,
    [
        (FORM, b"a=1&b=2&a=3"),
        (FORM, b""),
        (FORM, b"a"),
        (FORM, b"a=%"),
        (FORM, b"a=\xff"),
        (FORM, b"\xff=1"),
        (FORM, b"a=1;b=2"),
        (FORM + "; charset=x", b"a=1"),
        (FORM, b"a=1", {"Content-Encoding": "gzip"}),
        (MULTI, b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\n'),
        (MULTI, b'--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n1\r\n--B--\r\n'),
        (MULTI, b"--B--\r\n"),
        (MULTI, b""),
        (MULTI, b"garbage"),
        (MULTI, b"--B\r\n\r\n--B--"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary", b"x"),
        ("text/plain", b"a=1"),
        ("", b"a=1"),
    ],
)
each(
    "parse_multipart_form_data",
    lambda boundary, data: (lambda a, f: (h.parse_multipart_form_data(boundary, data, a, f), a, sorted(f)))(
        {}, {}
    ),
    [
        (b"B", b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\n'),
        (b'"B"', b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\n'),
        (b"B", b""),
        (b"B", b"--B\r\nX\r\n--B--\r\n"),
        (b"B", b'--B\r\nContent-Disposition: form-data; filename="a"\r\n\r\n1\r\n--B--\r\n'),
    ],
)


def request_of(*args, **kwargs):
    connection = SimpleNamespace(context=SimpleNamespace(remote_ip="1.2.3.4", protocol="http"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        request = h.HTTPServerRequest(*args, connection=kwargs.pop("connection", connection), **kwargs)
    words = [request.method, request.uri, request.path, request.query, request.version, request.host]
    words += [request.host_name, request.remote_ip, request.protocol, request.full_url(), request.body]
    return [*words, request.arguments, request.files, {k: m.value for k, m in request.cookies.items()}]


@call
def requests_made_by_hand():
    line = h.RequestStartLine("POST", "/a?b=c", "HTTP/1.0")
    return [
        request_of("GET", "/a?b=c&d"),
        request_of(method="GET", uri="/", host="h:1", version="HTTP/1.0"),
        request_of(
            method="PUT", uri="/x", headers=h.HTTPHeaders({"Host": "e.f:80", "Cookie": "a=b"}), body=b"x"
        ),
        request_of(start_line=line, headers=h.HTTPHeaders({"Host": "g"})),
    ]


@call
def request_without_anything():
    return request_of()


@call
def request_without_connection():
    request = h.HTTPServerRequest("GET", "/", headers=h.HTTPHeaders({"Host": "a"}))
    return [request.path, request.remote_ip, request.protocol]


@call
def start_lines():
    line = h.RequestStartLine("GET", "/", "HTTP/1.1")
    answer = h.ResponseStartLine("HTTP/1.1", 200, "OK")
    return [
        line.method,
        line.path,
        line.version,
        tuple(line),
        answer.code,
        answer.reason,
        tuple(answer),
        line._fields,
    ]


@call
def response_phrases():
    return [h.responses[200], h.responses[404], 299 in h.responses, len(h.responses) > 50]


@call
def http_file():
    file = h.HTTPFile(filename="a", body=b"b", content_type="c")
    return [file.filename, file["body"], sorted(file), isinstance(file, dict), isinstance(file, u.ObjectDict)]


# --- escape, util ---

TEXTS = (
    "",
    "a",
    "<b>&\"'",
    "\u00e9\u20ac",
    "a b+c/d?e=f&g",
    "\U0001f600",
    "a\nb\t c  d",
    "%41%zz%C3%A9+x",
    "&lt;&#65;&#x42;&bad;&amp",
)
for name in (
    "xhtml_escape",
    "xhtml_unescape",
    "url_escape",
    "url_unescape",
    "squeeze",
    "utf8",
    "to_unicode",
    "native_str",
    "json_encode",
):
    each(name, getattr(e, name), TEXTS)
    each(name, getattr(e, name), [b"bytes <&>", None, 3, b"\xff"])
each("url_escape", e.url_escape, [("a b/c", False), ("a b/c", True)])
each(
    "url_unescape",
    e.url_unescape,
    [("a+b%20c", None), ("a+b", "utf-8", False), ("%E9", "latin-1"), ("%E9", None), ("%E9",)],
)
each(
    "json_encode",
    e.json_encode,
    [{"a": "</script>"}, ["<", {"b": None}], {1: 2}, {"a": {1}}, b"x", float("nan"), ("a",)],
)
each("json_decode", e.json_decode, ['{"a": 1}', b'"\xc3\xa9"', "", "[", "NaN", None, "1 2", " 1 "])
each("recursive_unicode", e.recursive_unicode, [{b"a": [b"b", (b"c", 1)]}, b"x", {"a": {1: b"y"}}, [b"\xff"]])
each(
    "parse_qs_bytes",
    e.parse_qs_bytes,
    ["a=1&b=2", "a=%E9", b"a=%C3%A9", "a=&b", ("a=&b", True), ("a", False, True), "", "&&"],
)
each(
    "linkify",
    e.linkify,
    [
        "hello http://world.com/!",
        "www.example.com and http://a.b/c?d=e&f#g.",
        "(http://a.b/c) <x> http://a.b/c(d)",
        "https://a.b:80/x, ftp://c.d javascript:alert(1)",
        "http://" + "a" * 30 + ".com/" + "b" * 50,
        ("http://" + "a" * 30 + ".com/" + "b" * 50, True),
        ("http://a.b", False, 'rel="nofollow"'),
        ("http://a.b www.c.d", False, "", True),
        ("ftp://a.b http://c.d", False, "", False, ["ftp"]),
        b"bytes http://a.b",
        "http:// www. http://a http://a..b",
        "\u00e9 http://\u00e9.com/\u00e9",
        "http://a.b/'\"<>",
        "",
        None,
    ],
)
each(
    "import_object",
    lambda name: getattr(u.import_object(name), "__name__", None),
    ["os.path", "json.dumps", "json", "no.such", "json.nope"],
)
each("timedelta_to_seconds", u.timedelta_to_seconds, [datetime.timedelta(hours=1, milliseconds=5)])
each("errno_from_exception", u.errno_from_exception, [OSError(5, "x"), OSError(), ValueError(3), Exception()])


@call
def object_dict():
    d = u.ObjectDict(a=1)
    d.b = 2
    return [d.a, d["b"], sorted(d), d]


@call
def object_dict_missing():
    return u.ObjectDict(a=1).b


@call
def gzip_decompressor():
    import gzip

    data = gzip.compress(b"x" * 5000, mtime=0)
    decompressor = u.GzipDecompressor()
    first = decompressor.decompress(data, 100)
    rest = decompressor.decompress(decompressor.unconsumed_tail)
    return [len(first), len(first + rest + decompressor.flush()), bytes(decompressor.unconsumed_tail)]


@call
def arg_replacer():
    def function(a, b, *, c=3):
        """Take some arguments."""

    replacer = u.ArgReplacer(function, "b")
    steps = [
        replacer.get_old_value((1, 2), {}),
        replacer.get_old_value((1,), {"b": 4}),
        replacer.get_old_value((1,), {}, 5),
    ]
    return [
        *steps,
        replacer.replace(9, (1, 2), {}),
        replacer.replace(9, (1,), {"b": 2}),
        replacer.replace(9, (1,), {}),
    ]


@call
def configurable():
    class Base(u.Configurable):
        @classmethod
        def configurable_base(cls):
            return Base

        @classmethod
        def configurable_default(cls):
            return One

        def initialize(self, word="none"):
            self.word = word

    class One(Base):
        pass

    class Two(Base):
        pass

    found = [type(Base()).__name__, Base("w").word]
    Base.configure(Two, word="set")
    found += [type(Base()).__name__, Base().word, type(One()).__name__]
    found.append(Base.configured_class().__name__)
    saved = Base._save_configuration()
    Base.configure(None)
    found.append(type(Base()).__name__)
    Base._restore_configuration(saved)
    return [*found, type(Base()).__name__]


# --- routing ---

PATTERNS = (
    "/",
    "/a",
    "/a/(.*)",
    "/a/([^/]+)/(b|c)",
    r"/(?P<x>\d+)/(?P<y>.*)",
    "/a/?",
    "/a$",
    r"/a\.b/(.*)",
    "/(?:a|b)/(.*)",
    "/((a)b)",
    "/a+/(.*)",
    "",
    "(.*)",
    "/a[bc]",
    r"/\w+",
    "/%20/(.*)",
    "/a(?=b)",
    "(?i)/a/(.*)",
    "/a|/b",
    "/(a)?/b",
)
for pattern in PATTERNS:
    each(
        "reverse",
        lambda p, *args: r.PathMatches(p).reverse(*args),
        [(pattern,), (pattern, "x"), (pattern, "x /\u00e9", 2)],
    )
    CALLS[f"match {pattern!r}"] = lambda pattern=pattern: [
        (found and {key: value for key, value in found.items() if value})
        for path in ("/", "/a", "/a/", "/a/b", "/a/x%20y/c", "/1/z", "/ab", "/a.b/%C3%A9", "/A/b", "/x")
        for found in [r.PathMatches(pattern).match(SimpleNamespace(path=path))]
    ]
each("PathMatches", lambda p: r.PathMatches(p).regex.pattern, ["/a", "/a$", "", "(", "/a(b", None])
each("HostMatches", lambda p: r.HostMatches(p).host_pattern.pattern, ["a.b", "a.b$", ".*", "("])


@call
def url_spec():
    spec = r.URLSpec("/a/(.*)", fw.web.RequestHandler, {"x": 1}, name="n")
    words = [
        spec.name,
        spec.kwargs,
        spec.regex.pattern,
        spec.handler_class.__name__,
        spec.reverse("q"),
        spec.target.__name__,
    ]
    return [*words, repr(spec).split("(")[0], fw.web.url is fw.web.URLSpec]


each("URLSpec", lambda p: r.URLSpec(p, fw.web.RequestHandler), ["/(a)/(?P<b>c)", "(", "/a"])


@call
def named_rules():
    router = r.ReversibleRuleRouter(
        [
            r.Rule(r.PathMatches("/a/(.*)"), object, name="one"),
            (r"/sub/.*", r.ReversibleRuleRouter([r.Rule(r.PathMatches(r"/sub/(\d+)"), object, name="two")])),
            ("/last", object, {}, "three"),
        ]
    )
    return [
        router.reverse_url("one", "x"),
        router.reverse_url("two", 3),
        router.reverse_url("three"),
        router.reverse_url("no"),
    ]


@call
def rule_with_a_wrong_shape():
    return r.RuleRouter([("/a",)])


@call
def rule_with_too_much():
    return r.RuleRouter([("/a", object, {}, "name", "more")])


@call
def application_with_wrong_routes():
    return fw.web.Application([3])


@call
def application_reverse_unknown():
    return fw.web.Application([]).reverse_url("none")


@call
def application_attributes():
    app = fw.web.Application([], debug=True, x=1)
    other = fw.web.Application(None, compress_response=True)
    return [
        sorted(app.settings.items()),
        app.default_host,
        len(app.transforms),
        len(other.transforms),
        sorted(app.ui_modules),
    ]


# --- signed values ---

SECRET, CLOCK = "secret", lambda: 1_700_000_000.0


def sign(version=None, name="n", value="v", secret=SECRET, key_version=None, clock=CLOCK):
    return fw.web.create_signed_value(
        secret, name, value, version=version, clock=clock, key_version=key_version
    )


def read(signed, name="n", secret=SECRET, **kwargs):
    return fw.web.decode_signed_value(secret, name, signed, clock=kwargs.pop("clock", CLOCK), **kwargs)


@call
def signing():
    keys = {1: "one", 2: "two"}
    return [sign(), sign(1), sign(2), sign(value=b"\xff"), sign(value=""), sign(secret=keys, key_version=2)]


each(
    "sign",
    lambda kwargs: sign(**kwargs),
    [
        {"version": 3},
        {"secret": {1: "a"}},
        {"key_version": 1},
        {"name": 3},
        {"value": 3},
        {"secret": {1: "a"}, "key_version": 9},
        {"version": 0},
    ],
)


@call
def reading_signed():
    good, old = sign(), sign(1)
    late = lambda: 1_700_000_000.0 + 86400 * 40  # noqa: E731
    early = lambda: 1_700_000_000.0 - 86400 * 40  # noqa: E731
    found = [read(good), read(old), read(good, "other"), read(good, secret="other"), read(good, clock=late)]
    found += [
        read(good, clock=late, max_age_days=50),
        read(good, clock=early),
        read(old, clock=early),
        read(old, min_version=2),
    ]
    found += [
        read(good, min_version=1),
        read(good[:-1]),
        read(good + b"0"),
        read(b"2|" + good),
        read(old.replace(b"|1", b"1|")),
    ]
    keyed = sign(secret={1: "a", 2: "b"}, key_version=2)
    found += [
        read(keyed, secret={2: "b"}),
        read(keyed, secret={1: "a"}),
        read(keyed, secret="b"),
        read(keyed.decode()),
    ]
    return [
        *found,
        fw.web.get_signature_key_version(keyed),
        fw.web.get_signature_key_version(good),
        fw.web.get_signature_key_version(old),
    ]


each(
    "read signed",
    read,
    [
        "",
        None,
        b"",
        "x",
        "2|",
        "2|1:0",
        "1|2|3",
        "2|1:0|10:1700000000|1:n|4:dg==|bad",
        "|" * 10,
        "2|-1:0|x",
        b"\xff",
    ],
)


@call
def read_signed_wrong_min_version():
    return read(sign(), min_version=3)


# --- templates ---

T = fw.template
TEMPLATES = (
    "plain",
    "{{ x }}",
    "{{ x + 1 }}",
    "{{ '<b>' }}{% raw '<b>' %}",
    "{% if x > 1 %}a{% elif x %}b{% else %}c{% end %}",
    "{% for i in range(3) %}{{ i }},{% end %}",
    "{% while False %}{% end %}",
    "{% set y = x %}{{ y }}",
    "{% comment c %}{# d #}",
    "{% autoescape None %}{{ '<' }}",
    "{% block a %}b{% end %}",
    "{% try %}{{ 1/0 }}{% except %}e{% end %}",
    "{{! x }}{%! x %}",
    "{% apply str.upper %}a{% end %}",
    "{% import json %}{{ json.dumps(x) }}",
    "{% from os import sep %}{{ sep }}",
    "{{ _tt_utf8(x and 'a') }}",
    "{% whitespace oneline %}a   b\n c",
    "{{ None }}{{ b'x' }}{{ 1.5 }}{{ [1] }}",
    "{{ nope }}",
    "{% nope %}",
    "{{ ",
    "{% if x %}",
    "{% end %}",
    "{{ 1 + }}",
    "{% for %}{% end %}",
    "{% include 'none' %}",
    "{% extends 'none' %}",
    "{% else %}",
    "{% if x %}{% for i in x %}{% end %}",
    "{% module M() %}",
    "{{ }}",
    "{% %}",
    "{% block %}{% end %}",
    "{% set %}",
    "{% raw %}",
    "{{ escape('<') }}{{ squeeze(' a  b') }}",
    "{{ datetime.MINYEAR }}",
    "{% break %}",
    "{% for i in range(5) %}{% if i == 2 %}{% continue %}{% end %}{% if i == 4 %}{% break %}{% end %}{{ i }}{% end %}",
)
each("template", lambda text: T.Template(text).generate(x=1), TEMPLATES)
each("template bytes", lambda text: T.Template(text).generate(x=1), [b"{{ x }}", b"\xc3\xa9{{ x }}", b"\xff"])


@call
def template_loader():
    loader = T.DictLoader(
        {
            "base": "<{% block a %}default{% end %}|{% block b %}{% end %}>",
            "child": "{% extends base %}{% block a %}mine {{ x }}{% end %}",
            "grand": "{% extends 'child' %}{% block b %}deep{% end %}ignored",
            "inc": "[{% include 'part' %}]",
            "part": "{{ x }}",
            "dir/a": "{% include 'b' %}",
            "dir/b": "relative",
        },
        namespace={"extra": 7},
    )
    names = ["child", "grand", "inc", "dir/a"]
    return [loader.load(name).generate(x="<") for name in names] + [loader.resolve_path("b", "dir/a")]


@call
def template_loader_unknown():
    return T.DictLoader({}).load("none")


@call
def template_syntax_error():
    try:
        T.Template("a\nb\n{% if %}", name="t.html")
    except T.ParseError as error:
        return [error.filename, error.lineno > 0]


# --- log, locale, netutil ---


@call
def log_formats():
    def line(formatter, **fields):
        record = logging.LogRecord("n", logging.INFO, "/x/mod.py", 7, "say %s", ("\u00e9",), None)
        record.created, record.msecs = 1_700_000_000.0, 0
        vars(record).update(fields)
        return formatter.format(record)

    plain = fw.log.LogFormatter(color=False)
    return [
        line(plain),
        line(plain, levelno=logging.ERROR, levelname="ERROR"),
        line(plain, msg=b"\xff", args=()),
        line(plain, msg="%d", args=("x",))[:40],
        line(plain, exc_text="trace\nback"),
        line(fw.log.LogFormatter(fmt="%(message)s", color=False)),
        line(fw.log.LogFormatter(color=False, datefmt="%H")),
    ]


@call
def loggers():
    return [fw.log.access_log.name, fw.log.app_log.name, fw.log.gen_log.name]


each("locale", lambda *codes: fw.locale.get(*codes).code, [("en_US",), ("de",), (), ("xx", "en")])


@call
def locale_formats():
    english = fw.locale.get("en_US")
    then = datetime.datetime(2021, 3, 4, 5, 6, 7)
    words = [
        english.translate("a"),
        english.translate("a", "as", 2),
        english.list(["a"]),
        english.list(["a", "b", "c"]),
    ]
    words += [
        english.friendly_number(1234567),
        english.format_day(then),
        english.format_day(then, dow=False),
        english.name,
    ]
    words += [
        english.format_date(then, full_format=True),
        english.format_date(then),
        english.pgettext("c", "m"),
        english.list([]),
    ]
    return words


each(
    "is_valid_ip",
    fw.netutil.is_valid_ip,
    ["1.2.3.4", "::1", "a", "", "1.2.3", "1.2.3.4:80", "[::1]", "1.2.3.4\0", "::1%lo", "4.4.4.4."],
)
each(
    "ssl_options_to_context",
    lambda options: type(fw.netutil.ssl_options_to_context(options)).__name__,
    [{}, {"wrong": 1}, {"certfile": "/none"}],
)


@call
def bound_sockets():
    sockets = fw.netutil.bind_sockets(0, "127.0.0.1")
    found = [
        len(sockets),
        sockets[0].getsockname()[0],
        sockets[0].getblocking(),
        sockets[0].family == socket.AF_INET,
    ]
    for one in sockets:
        one.close()
    return found


@call
def bind_a_wrong_address():
    return fw.netutil.bind_sockets(0, "not an address")


# --- the loop ---


@call
async def loop_basics():
    loop, order = fw.ioloop.IOLoop.current(), []
    done = asyncio.Event()
    loop.add_callback(order.append, "callback")
    loop.spawn_callback(order.append, "spawned")
    loop.call_later(0.02, order.append, "later")
    loop.call_at(loop.time() + 0.01, order.append, "at")
    loop.add_timeout(datetime.timedelta(milliseconds=30), done.set)
    removed = loop.call_later(0.005, order.append, "never")
    loop.remove_timeout(removed)
    loop.add_callback_from_signal(order.append, "signal")
    threading.Thread(target=loop.add_callback, args=(order.append, "thread")).start()
    await done.wait()
    in_thread = await loop.run_in_executor(None, lambda: 7)
    return [
        sorted(order),
        order.index("at") < order.index("later"),
        in_thread,
        loop is fw.ioloop.IOLoop.current(),
        loop.asyncio_loop is asyncio.get_running_loop(),
    ]


@call
async def loop_add_future():
    loop, seen = fw.ioloop.IOLoop.current(), []
    future = fw.concurrent.Future()
    loop.add_future(future, lambda f: seen.append(f.result()))
    future.set_result(3)
    for _ in range(5):
        await asyncio.sleep(0)
    return seen


@call
async def loop_wrong_timeout():
    fw.ioloop.IOLoop.current().add_timeout("soon", print)


@call
async def loop_wrong_future():
    fw.ioloop.IOLoop.current().add_future(3, print)


@call
async def loop_handlers():
    loop, events = fw.ioloop.IOLoop.current(), []
    left, right = socket.socketpair()
    left.setblocking(False)
    ready = asyncio.Event()

    def handle(fd, event):
        events.append([fd == left or fd == left.fileno(), event & loop.READ != 0, left.recv(10)])
        ready.set()

    loop.add_handler(left, handle, loop.READ)
    right.send(b"x")
    await asyncio.wait_for(ready.wait(), 5)
    loop.update_handler(left, loop.READ | loop.WRITE)
    loop.remove_handler(left)
    loop.remove_handler(left)
    left.close()
    right.close()
    return [events, loop.READ, loop.WRITE, loop.ERROR]


@call
async def loop_handler_twice():
    loop = fw.ioloop.IOLoop.current()
    left, right = socket.socketpair()
    try:
        loop.add_handler(left, print, loop.READ)
        loop.add_handler(left, print, loop.READ)
    finally:
        loop.remove_handler(left)
        left.close()
        right.close()


@call
async def periodic_callback():
    times, done = [], asyncio.Event()

    def tick():
        times.append(1)
        if len(times) == 3:
            periodic.stop()
            done.set()
        if len(times) == 2:
            raise ValueError("logged")

    periodic = fw.ioloop.PeriodicCallback(tick, 2)
    states = [periodic.is_running()]
    periodic.start()
    states.append(periodic.is_running())
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0.01)
    return [states, periodic.is_running(), len(times), periodic.callback_time]


@call
async def periodic_coroutine():
    done, running, overlaps = asyncio.Event(), [], []

    async def tick():
        overlaps.append(len(running))
        running.append(1)
        await asyncio.sleep(0.005)
        running.pop()
        if len(overlaps) > 2:
            done.set()

    periodic = fw.ioloop.PeriodicCallback(tick, datetime.timedelta(milliseconds=1))
    periodic.start()
    await asyncio.wait_for(done.wait(), 5)
    periodic.stop()
    await asyncio.sleep(0.01)
    return [overlaps[:3], periodic.callback_time]


each(
    "PeriodicCallback",
    lambda *args: fw.ioloop.PeriodicCallback(*args).callback_time,
    [(print, 0), (print, -1), (print, 5, 0.5), (print, 1.5)],
)


def run_sync(function, timeout=None):
    """In a thread, which has no loop yet."""
    found = []

    def run():
        asyncio.set_event_loop(asyncio.new_event_loop())
        loop = fw.ioloop.IOLoop.current()
        try:
            found.append(loop.run_sync(function, timeout=timeout))
        except BaseException as error:
            found.append(error)
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


async def sleepy():
    await asyncio.sleep(5)


async def quick():
    return 3


async def failing():
    raise KeyError("x")


CALLS["run_sync quick"] = lambda: run_sync(quick)
CALLS["run_sync plain"] = lambda: run_sync(lambda: None)
CALLS["run_sync value"] = lambda: run_sync(lambda: 3)
CALLS["run_sync failing"] = lambda: run_sync(failing)
CALLS["run_sync timeout"] = lambda: run_sync(sleepy, 0.01)


@call
def current_without_a_loop():
    return fw.ioloop.IOLoop.current(instance=False) is not None


@call
def start_and_stop():
    found = []

    def run():
        loop = fw.ioloop.IOLoop(make_current=False)
        loop.add_callback(loop.stop)
        loop.start()
        found.append("stopped")
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found


# --- streams ---


def pair(**kwargs):
    left, right = socket.socketpair()
    return fw.iostream.IOStream(left, **kwargs), right


async def within(awaitable):
    return await asyncio.wait_for(awaitable, 5)


@call
async def stream_reads():
    stream, peer = pair()
    peer.sendall(b"line one\r\nabc123 def456 0123456789partial")
    found = [await within(stream.read_until(b"\r\n")), await within(stream.read_until_regex(rb"\d+ "))]
    found += [await within(stream.read_bytes(6)), await within(stream.read_until(b" "))]
    buffer = bytearray(5)
    found += [
        await within(stream.read_into(buffer)),
        bytes(buffer),
        await within(stream.read_bytes(100, partial=True)),
    ]
    peer.sendall(b"the rest")
    peer.close()
    found += [await within(stream.read_until_close()), stream.closed()]
    return found


@call
async def stream_partial_into():
    stream, peer = pair()
    peer.sendall(b"abc")
    buffer = bytearray(10)
    count = await within(stream.read_into(buffer, partial=True))
    stream.close()
    peer.close()
    return [count, bytes(buffer[:3])]


@call
async def stream_zero_bytes():
    stream, peer = pair()
    try:
        return await within(stream.read_bytes(0))
    finally:
        stream.close()
        peer.close()


async def broken_read(read, send=b"", close=True, **kwargs):
    stream, peer = pair(**kwargs)
    peer.sendall(send)
    if close:
        peer.close()
    try:
        value = await within(read(stream))
        return [value, stream.closed()]
    finally:
        stream.close()
        peer.close()


CALLS["stream closed in read_until"] = lambda: broken_read(lambda s: s.read_until(b"\n"), b"abc")
CALLS["stream closed in read_bytes"] = lambda: broken_read(lambda s: s.read_bytes(5), b"abc")
CALLS["stream closed in partial"] = lambda: broken_read(lambda s: s.read_bytes(5, partial=True), b"abc")
CALLS["stream closed in regex"] = lambda: broken_read(lambda s: s.read_until_regex(rb"\n"), b"abc")
CALLS["stream closed in read_until_close"] = lambda: broken_read(lambda s: s.read_until_close(), b"abc")
CALLS["stream max_bytes passed"] = lambda: broken_read(
    lambda s: s.read_until(b"\n", max_bytes=5), b"abcdefgh", False
)
CALLS["stream max_bytes passed with it"] = lambda: broken_read(
    lambda s: s.read_until(b"\n", max_bytes=5), b"abcdefgh\n", False
)
CALLS["stream max_bytes kept"] = lambda: broken_read(
    lambda s: s.read_until(b"\n", max_bytes=5), b"abcd\n", False
)
CALLS["stream max_bytes regex"] = lambda: broken_read(
    lambda s: s.read_until_regex(rb"\n", max_bytes=5), b"abcdefgh", False
)
CALLS["stream bad regex"] = lambda: broken_read(lambda s: s.read_until_regex(rb"("), b"abcdefgh", False)
CALLS["stream read_bytes text"] = lambda: broken_read(lambda s: s.read_bytes("5"), b"abcdefgh", False)
CALLS["stream read_bytes negative"] = lambda: broken_read(lambda s: s.read_bytes(-1), b"abcdefgh", False)
CALLS["stream buffer too small"] = lambda: broken_read(
    lambda s: s.read_bytes(500), b"x" * 600, False, max_buffer_size=100
)
CALLS["stream buffer too small until"] = lambda: broken_read(
    lambda s: s.read_until(b"\n"), b"x" * 600, False, max_buffer_size=100
)
CALLS["stream write text"] = lambda: broken_read(lambda s: s.write("text"), b"", False)
CALLS["stream write none"] = lambda: broken_read(lambda s: s.write(None), b"", False)
CALLS["stream write nothing"] = lambda: broken_read(lambda s: s.write(b""), b"", False)
CALLS["stream write view"] = lambda: broken_read(lambda s: s.write(memoryview(b"abc")), b"", False)
CALLS["stream write array"] = lambda: broken_read(lambda s: s.write(bytearray(b"abc")), b"", False)


@call
async def stream_two_reads():
    stream, peer = pair()
    first = stream.read_bytes(1)
    try:
        stream.read_bytes(1)
    finally:
        peer.sendall(b"x")
        await within(first)
        stream.close()
        peer.close()


@call
async def stream_after_close():
    stream, peer = pair()
    stream.close()
    stream.close()
    peer.close()
    found = [stream.closed(), stream.reading(), stream.writing(), stream.error]
    for action in (
        lambda: stream.write(b"x"),
        lambda: stream.read_bytes(1),
        lambda: stream.read_until_close(),
    ):
        try:
            found.append(await within(action()))
        except Exception as error:
            found.append([type(error).__name__, error.real_error])
    return found


@call
async def stream_buffered_before_close():
    stream, peer = pair()
    peer.sendall(b"abc\ndef")
    peer.close()
    found = [await within(stream.read_until(b"\n"))]
    found.append(await within(stream.read_bytes(3)))
    try:
        await within(stream.read_bytes(1))
    except fw.iostream.StreamClosedError as error:
        found.append(error.real_error)
    return [*found, stream.closed()]


@call
async def stream_close_callback():
    stream, peer = pair()
    closed = asyncio.Event()
    stream.set_close_callback(closed.set)
    pending = stream.read_bytes(10)
    peer.close()
    await within(closed.wait())
    try:
        await within(pending)
    except fw.iostream.StreamClosedError as error:
        return [isinstance(error, OSError), error.real_error, stream.closed(), stream.error]


@call
async def stream_close_callback_after():
    stream, peer = pair()
    stream.close()
    peer.close()
    closed = asyncio.Event()
    stream.set_close_callback(closed.set)
    await asyncio.wait_for(closed.wait(), 0.1)
    return "called"


@call
async def stream_writes():
    stream, peer = pair()
    peer.setblocking(False)
    big = b"x" * 3_000_000
    pending = stream.write(big)
    states = [stream.writing(), pending.done()]
    got, loop = 0, asyncio.get_running_loop()
    while got < len(big):
        got += len(await within(loop.sock_recv(peer, 1 << 20)))
    await within(pending)
    states += [stream.writing(), got]
    await within(asyncio.gather(stream.write(b"a"), stream.write(b"b")))
    states.append(await within(loop.sock_recv(peer, 10)))
    stream.close()
    peer.close()
    return states


@call
async def stream_write_buffer_full():
    stream, peer = pair(max_write_buffer_size=1000)
    try:
        stream.write(b"x" * 10_000_000)
    finally:
        stream.close()
        peer.close()


@call
async def stream_connect():
    server = socket.create_server(("127.0.0.1", 0))
    stream = fw.iostream.IOStream(socket.socket())
    same = await within(stream.connect(server.getsockname())) is stream
    connection, _ = server.accept()
    await within(stream.write(b"hi"))
    stream.set_nodelay(True)
    found = [same, connection.recv(10), stream.closed(), stream.fileno() is not None]
    stream.close()
    connection.close()
    server.close()
    return found


@call
async def stream_connect_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    stream = fw.iostream.IOStream(socket.socket())
    try:
        await within(stream.connect(address))
    except fw.iostream.StreamClosedError as error:
        return [type(error.real_error).__name__, type(stream.error).__name__, stream.closed()]


@call
async def stream_from_another():
    return fw.iostream.IOStream("not a socket")


# --- servers ---


@call
async def tcp_server():
    seen = []

    class Echo(fw.tcpserver.TCPServer):
        async def handle_stream(self, stream, address):
            seen.append(address[0])
            try:
                while True:
                    await stream.write((await stream.read_until(b"\n")).upper())
            except fw.iostream.StreamClosedError:
                seen.append("closed")

    server = Echo()
    sockets = fw.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    client = fw.iostream.IOStream(socket.socket())
    await within(client.connect(sockets[0].getsockname()))
    await within(client.write(b"one\ntwo\n"))
    found = [await within(client.read_until(b"\n")), await within(client.read_until(b"\n"))]
    client.close()
    for _ in range(100):
        if "closed" in seen:
            break
        await asyncio.sleep(0.001)
    server.stop()
    server.stop()
    return [found, seen]


@call
async def tcp_server_without_handler():
    await fw.tcpserver.TCPServer().handle_stream(None, None)


@call
async def http_server_stopped():
    server = fw.httpserver.HTTPServer(fw.web.Application([]))
    server.listen(0, "127.0.0.1")
    server.stop()
    await within(server.close_all_connections())
    return "stopped"


@call
def http_server_wrong_argument():
    return fw.httpserver.HTTPServer(print, nonsense=True)


@call
def tcp_server_wrong_certificate():
    return fw.tcpserver.TCPServer(ssl_options={"certfile": "/none", "keyfile": "/none"})


@call
def tcp_server_no_certificate():
    return fw.tcpserver.TCPServer(ssl_options={})


# --- what comes of it ---


def plain(value):
    """A value as JSON has it, with bytes and objects told apart from text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, dict):
        return {"dict": [[plain(key), plain(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {"object": type(value).__name__}


async def outcome(function):
    try:
        value = function()
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"raises": kinds[: kinds.index("Exception") + 1]}
    return {"gives": plain(value)}


async def main():
    logging.getLogger(NAME).addHandler(logging.StreamHandler(io.StringIO()))
    logging.getLogger(NAME).propagate = False
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    print(json.dumps({name: await outcome(function) for name, function in CALLS.items()}))


if __name__ == "__main__":
    asyncio.run(main())
