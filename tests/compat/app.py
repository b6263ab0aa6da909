"""One site, written as programs for Tornado are, for either framework: ``fw`` is the one the command line names.

`servers` gives each application with the arguments of its HTTPServer.  Everything a response can depend on is fixed
or is a part of the request.
"""

import asyncio
import datetime
import json
import logging

from framework import SITE, fw
from tries import TRIES

SECRET = "a secret that both know"
THEN = datetime.datetime(2021, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
url = fw.web.url


class Base(fw.web.RequestHandler):
    """What many programs have at the bottom: a user, and JSON out."""

    def get_current_user(self):
        user = self.get_signed_cookie("user")
        return user.decode() if user else None

    def json(self, value):
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(value, sort_keys=True, default=plain))


def plain(value):
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    return repr(value)


# --- requests ---


class Hello(Base):
    def get(self):
        self.write("Hello, world")


class Arguments(Base):
    """Everything a request says, as the documented attributes and methods give it."""

    def get(self):
        request = self.request
        names = sorted(request.arguments)
        self.json(
            {
                "arguments": request.arguments,
                "query": request.query_arguments,
                "body": request.body_arguments,
                "first": {name: self.get_argument(name) for name in names},
                "all": {name: self.get_arguments(name) for name in names},
                "unstripped": {name: self.get_arguments(name, strip=False) for name in names},
                "of query": {name: self.get_query_argument(name, None) for name in names},
                "of body": {name: self.get_body_arguments(name) for name in names},
                "default": [self.get_argument("no", None), self.get_argument("no", "d")],
            }
        )

    post = put = patch = delete = get


class Required(Base):
    def get(self):
        self.write(self.get_argument("name") + "/" + self.get_query_argument("name"))

    def post(self):
        self.write(self.get_body_argument("name"))


class Request(Base):
    def get(self, *args):
        r = self.request
        self.json(
            {
                "method": r.method,
                "uri": r.uri,
                "path": r.path,
                "query": r.query,
                "version": r.version,
                "headers": sorted(r.headers.get_all()),
                "length": len(r.body),
                "body": r.body,
                "remote_ip": r.remote_ip,
                "protocol": r.protocol,
                "host": r.host,
                "host_name": r.host_name,
                "full_url": r.full_url(),
                "files": r.files,
                "cookies": {name: morsel.value for name, morsel in r.cookies.items()},
                "args": args,
            }
        )

    post = put = patch = delete = options = get


class Paths(Base):
    def get(self, *args, **kwargs):
        self.json([args, kwargs, self.path_args, self.path_kwargs])


class Json(Base):
    def prepare(self):
        self.data = None
        if self.request.headers.get("Content-Type", "").startswith("application/json"):
            try:
                self.data = fw.escape.json_decode(self.request.body)
            except ValueError:
                raise fw.web.HTTPError(400, "not JSON: %r", self.request.body) from None

    def get(self):
        self.write({"b": 1, "a": ["</script>", "\u00e9", None, 1.5, True]})

    def post(self):
        self.write({"you sent": self.data})


class Uploads(Base):
    def post(self):
        self.json(
            {
                "files": {
                    name: [[f.filename, f.content_type, f["body"], sorted(f)] for f in files]
                    for name, files in self.request.files.items()
                },
                "arguments": self.request.body_arguments,
                "length": len(self.request.body),
            }
        )

    put = post


# --- what goes out ---


class Headers(Base):
    def get(self, how):
        getattr(self, "do_" + how)()
        self.write("x")

    def do_str(self):
        self.set_header("X-A", "b")

    def do_bytes(self):
        self.set_header("X-A", b"b")

    def do_int(self):
        self.set_header("X-A", 12)

    def do_date(self):
        self.set_header("X-A", THEN)

    def do_naive(self):
        self.set_header("X-A", datetime.datetime(2021, 1, 2, 3, 4, 5))

    def do_float(self):
        self.set_header("X-A", 1.5)

    def do_none(self):
        self.set_header("X-A", None)

    def do_bool(self):
        self.set_header("X-A", True)

    def do_list(self):
        self.set_header("X-A", ["a"])

    def do_latin(self):
        self.set_header("X-A", "\u00e9")

    def do_utf8(self):
        self.set_header("X-A", "\u20ac")

    def do_add(self):
        self.set_header("X-A", "a")
        self.add_header("X-A", "b")
        self.add_header("x-a", 3)

    def do_replace(self):
        self.add_header("X-A", "a")
        self.add_header("X-A", "b")
        self.set_header("X-A", "c")

    def do_clear(self):
        self.set_header("X-A", "a")
        self.clear_header("x-a")
        self.clear_header("X-B")

    def do_case(self):
        self.set_header("x-lower-NAME", "v")

    def do_crlf(self):
        self.set_header("X-A", "a\r\nX-B: c")

    def do_lf(self):
        self.add_header("X-A", "a\nX-B: c")

    def do_nul(self):
        self.set_header("X-A", "a\0b")

    def do_tab(self):
        self.set_header("X-A", "a\tb")

    def do_space(self):
        self.set_header("X-A", "  a  ")

    def do_empty(self):
        self.set_header("X-A", "")

    def do_bad_name(self):
        self.set_header("X A", "b")

    def do_type(self):
        self.set_header("Content-Type", "text/plain")

    def do_no_type(self):
        self.clear_header("Content-Type")

    def do_server(self):
        self.set_header("Server", "mine")

    def do_reset(self):
        self.set_header("X-A", "a")
        self.set_status(201)
        self.write("gone")
        self.clear()

    def do_length(self):
        self.set_header("Content-Length", "1")

    def do_close(self):
        self.set_header("Connection", "close")


class Statuses(Base):
    def get(self, code):
        reason = self.get_argument("reason", None)
        self.set_status(int(code), reason)
        if self.get_argument("body", "1") == "1":
            self.write(f"{self.get_status()}")

    post = put = delete = get


class DefaultHeaders(Base):
    def set_default_headers(self):
        self.set_header("X-Default", "yes")
        self.set_header("Server", "compat")
        self.clear_header("Content-Type")

    def get(self):
        if self.get_argument("fail", None):
            raise fw.web.HTTPError(418)
        self.set_header("Content-Type", "text/css")
        self.write("x")


class Redirects(Base):
    def get(self):
        keywords = {}
        if self.get_argument("permanent", None):
            keywords["permanent"] = True
        if self.get_argument("status", None):
            keywords["status"] = int(self.get_argument("status"))
        self.redirect(self.get_argument("to"), **keywords)

    post = get


class Writes(Base):
    def get(self, what):
        chunk = {"list": [1], "none": None, "int": 3, "str": "\u00e9", "bytes": b"\xff", "dict": {"a": 1}}[
            what
        ]
        self.write("")
        self.finish(chunk) if self.get_argument("finish", None) else self.write(chunk)


class Twice(Base):
    def get(self, what):
        self.finish("once")
        getattr(self, what)("twice")


# --- freshness ---


class Etags(Base):
    def get(self):
        self.write("the same every time")

    def head(self):
        self.write("the same every time")


class OwnEtag(Base):
    def compute_etag(self):
        return '"mine"'

    def get(self):
        self.write("x")


class NoEtag(OwnEtag):
    def compute_etag(self):
        return None


class SetEtag(Base):
    def get(self):
        self.set_etag_header()
        self.set_header("Etag", 'W/"own"')
        self.set_header("Last-Modified", THEN)
        self.write("x")


class HeadOnly(Base):
    def head(self):
        self.set_header("X-Head", "yes")
        self.set_header("Content-Length", "5")


class Options(Base):
    def options(self):
        self.set_status(204)
        self.set_header("Allow", "GET, OPTIONS")


class Extra(Base):
    SUPPORTED_METHODS = (*fw.web.RequestHandler.SUPPORTED_METHODS, "PROPFIND")

    def propfind(self):
        self.write("found")

    def get(self):
        self.write("got")


class AsyncHello(Base):
    async def get(self):
        await asyncio.sleep(0)
        self.write("awaited")
        await self.flush()
        self.write(" and flushed")


# --- errors ---


class Errors(Base):
    def get(self, how):
        self.set_header("X-Before", "set")
        self.set_cookie("before", "set")
        self.write("written before")
        getattr(self, "do_" + how)()

    post = get

    def do_plain(self):
        raise fw.web.HTTPError(403)

    def do_log(self):
        raise fw.web.HTTPError(400, "see %s: %d", "here", 3)

    def do_percent(self):
        raise fw.web.HTTPError(400, "100% of it")

    def do_reason(self):
        raise fw.web.HTTPError(400, reason="My Reason")

    def do_html_reason(self):
        raise fw.web.HTTPError(400, reason="<b>&")

    def do_bad_reason(self):
        raise fw.web.HTTPError(400, reason="a\r\nX-Evil: b")

    def do_unknown(self):
        raise fw.web.HTTPError(599)

    def do_strange(self):
        raise fw.web.HTTPError(499, "odd", reason="Odd")

    def do_no_content(self):
        raise fw.web.HTTPError(204)

    def do_not_modified(self):
        raise fw.web.HTTPError(304)

    def do_ok(self):
        raise fw.web.HTTPError(200)

    def do_missing(self):
        raise fw.web.MissingArgumentError("some")

    def do_finish(self):
        raise fw.web.Finish

    def do_finish_with(self):
        self.set_status(402)
        raise fw.web.Finish("the end")

    def do_finish_dict(self):
        raise fw.web.Finish({"a": 1})

    def do_zero(self):
        return 1 / 0

    def do_key(self):
        return {}["k"]

    def do_send(self):
        self.send_error(409)

    def do_send_reason(self):
        self.send_error(409, reason="Because")

    def do_send_twice(self):
        self.send_error(409)
        self.send_error(410)

    def do_after_flush(self):
        self.flush()
        raise fw.web.HTTPError(500)

    def do_after_finish(self):
        self.finish()
        raise ValueError("after the end")

    def do_cancelled(self):
        raise asyncio.CancelledError

    def do_assertion(self):
        assert not self.request, "no"


class AsyncErrors(Errors):
    async def get(self, how):
        await asyncio.sleep(0)
        Errors.get(self, how)


class OwnErrors(Base):
    def write_error(self, status_code, **kwargs):
        kind, value, _ = kwargs.get("exc_info", (None, None, None))
        self.set_header("Content-Type", "application/json")
        name = kind.__name__ if kind else None
        self.finish(
            {"code": status_code, "reason": self._reason, "kind": name, "text": str(value), "k": len(kwargs)}
        )

    def get(self, how):
        if how == "http":
            raise fw.web.HTTPError(404, "no %s", "such")
        if how == "reason":
            raise fw.web.HTTPError(404, reason="Nope")
        if how == "send":
            self.send_error(503, reason="Later", extra=1)
        else:
            raise ValueError("bad value")


class JsonErrors(OwnErrors):
    """A handler whose arguments cannot be read, with an error page of its own."""

    def post(self):
        self.write({"arguments": sorted(self.request.arguments), "files": sorted(self.request.files)})


class BadErrors(Base):
    def write_error(self, status_code, **kwargs):
        if self.get_argument("late", None):
            self.write("half")
        raise RuntimeError("the error page fails, too")

    def get(self):
        raise fw.web.HTTPError(400)


class LateErrors(Base):
    """An error page that is written asynchronously, without finish."""

    def write_error(self, status_code, **kwargs):
        self.write("page without finish")

    def get(self):
        raise fw.web.HTTPError(400)


class BadHooks(Base):
    def initialize(self, where):
        self.where = where
        if where == "initialize":
            raise fw.web.HTTPError(402)

    def prepare(self):
        if self.where == "prepare":
            raise fw.web.HTTPError(402)
        if self.where == "prepare value":
            return 3
        return None

    def on_finish(self):
        if self.where == "on_finish":
            raise ValueError("in on_finish")

    def set_default_headers(self):
        if self.request.arguments.get("fail"):
            raise ValueError("in set_default_headers")

    def get(self):
        return {"value": 3, "str": "text", "list": []}.get(self.where)


# --- hooks ---


class Prepared(Base):
    def initialize(self, word="none"):
        self.word = word

    def prepare(self):
        self.set_header("X-Prepared", self.word)
        if self.get_argument("stop", None):
            self.finish("stopped")
        if self.get_argument("deny", None):
            raise fw.web.HTTPError(403)
        if self.get_argument("away", None):
            self.redirect("/elsewhere")

    def get(self):
        self.write(self.word)

    post = get


class AsyncPrepared(Prepared):
    async def prepare(self):
        await asyncio.sleep(0)
        Prepared.prepare(self)

    async def get(self):
        await asyncio.sleep(0)
        self.write(self.word)


class Members(Base):
    @fw.web.authenticated
    def get(self):
        self.write(f"hello {self.current_user}")

    post = head = get


class OwnLogin(Base):
    def get_login_url(self):
        return "https://login.example/?a=b"

    @fw.web.authenticated
    def get(self):
        self.write("in")


class Login(Base):
    def get(self):
        self.set_signed_cookie("user", self.get_argument("name", "anna"), expires_days=None)
        self.redirect(self.get_argument("next", "/"))

    def post(self):
        self.clear_cookie("user")
        self.write("out")


class Slashes(Base):
    @fw.web.addslash
    def get(self):
        self.write("slash")

    post = head = get


class NoSlashes(Base):
    @fw.web.removeslash
    def get(self):
        self.write("no slash")

    post = head = get


# --- cookies ---


class Cookies(Base):
    def get(self):
        self.json({name: self.get_cookie(name) for name in sorted(self.cookies)})


class SetCookies(Base):
    def get(self, how):
        getattr(self, "do_" + how)()
        self.write("set")

    def do_plain(self):
        self.set_cookie("a", "b")

    def do_two(self):
        self.set_cookie("a", "b")
        self.set_cookie("c", b"d")
        self.set_cookie("a", "e", path="/sub")

    def do_attributes(self):
        self.set_cookie("a", "b", domain="example.com", path="/p", max_age=60, httponly=True, secure=True)

    def do_samesite(self):
        self.set_cookie("a", "b", samesite="Lax")

    def do_falsy(self):
        self.set_cookie("a", "b", httponly=False, secure=False, path="")

    def do_days(self):
        self.set_cookie("a", "b", expires_days=2)

    def do_expires(self):
        self.set_cookie("a", "b", expires=THEN)

    def do_expires_number(self):
        self.set_cookie("a", "b", expires=1.5e9)

    def do_quoted(self):
        self.set_cookie("a", 'b c"d;e,f\\')

    def do_unicode(self):
        self.set_cookie("a", "\u00e9\u20ac")

    def do_empty(self):
        self.set_cookie("a", "")

    def do_bad_name(self):
        self.set_cookie("a b", "c")

    def do_control(self):
        self.set_cookie("a", "b\nc")

    def do_bad_path(self):
        self.set_cookie("a", "b", path="/; domain=evil")

    def do_bad_domain(self):
        self.set_cookie("a", "b", domain="e\r\nvil")

    def do_bad_samesite(self):
        self.set_cookie("a", "b", samesite="Lax; Secure")

    def do_bad_max_age(self):
        self.set_cookie("a", "b", max_age="1; Secure")

    def do_unknown(self):
        self.set_cookie("a", "b", nonsense=True)

    def do_partitioned(self):
        self.set_cookie("a", "b", partitioned=True)

    def do_clear(self):
        self.clear_cookie("a", path="/p", domain="example.com")

    def do_clear_expires(self):
        self.clear_cookie("a", expires=3)

    def do_clear_all(self):
        self.clear_all_cookies()

    def do_set_and_clear(self):
        self.set_cookie("a", "b")
        self.clear_cookie("a")

    def do_then_fail(self):
        self.set_cookie("a", "b")
        raise fw.web.HTTPError(400)

    def do_signed(self):
        self.set_signed_cookie("s", "value", expires_days=None)

    def do_signed_v1(self):
        self.set_signed_cookie("s", "value", expires_days=None, version=1)

    def do_secure(self):
        self.set_secure_cookie("s", b"v\xff", httponly=True)


class SignedCookies(Base):
    def get(self):
        self.json(
            {
                "s": self.get_signed_cookie("s"),
                "short": self.get_signed_cookie("s", max_age_days=1),
                "v2": self.get_secure_cookie("s", min_version=2),
                "v1": self.get_secure_cookie("s", min_version=1),
                "other": self.get_signed_cookie("t"),
                "given": self.get_signed_cookie("s", self.get_argument("value", None)),
                "key": self.get_signed_cookie_key_version("s"),
            }
        )


# --- forged requests ---


class Form(Base):
    def get(self):
        self.write(self.xsrf_form_html())

    def post(self):
        self.write("taken")

    put = delete = post


class Token(Base):
    def get(self):
        self.json([self.xsrf_token[:2] == b"2|", len(self.xsrf_token), self.get_cookie("_xsrf") is not None])


class NoCheck(Base):
    def check_xsrf_cookie(self):
        pass

    def post(self):
        self.write("unchecked")


# --- pages ---


class Page(Base):
    def get(self, name):
        self.render(name + ".html", items=["a", "<b>", "\u00e9"], name=self.get_argument("name", "you"))


class PageString(Base):
    def get(self):
        self.write(b"[" + self.render_string("plain.html", name="<x>", items=[]) + b"]")


class Namespace(Base):
    def get_template_namespace(self):
        namespace = super().get_template_namespace()
        namespace["extra"] = "more"
        return namespace

    def get(self):
        names = sorted(name for name in self.get_template_namespace() if not name.startswith("_"))
        self.json(names)


class Entry(fw.web.UIModule):
    def render(self, text, level=1):
        return self.render_string("module.html", text=text, level=level)

    def embedded_javascript(self):
        return "var entry = 1;"

    def javascript_files(self):
        return ["entry.js", "/abs.js", "http://cdn.example/x.js"]

    def embedded_css(self):
        return ".entry {}"

    def css_files(self):
        return "entry.css"

    def html_head(self):
        return "<!--head-->"

    def html_body(self):
        return "<!--body-->"


class Who(fw.web.UIModule):
    def render(self):
        return f"{self.current_user}/{self.locale.code}/{self.request.path}"


def shout(handler, text):
    return f"{text.upper()} from {type(handler).__name__}"


class Links(Base):
    def get(self):
        self.json(
            {
                "named": self.reverse_url("paths", "a", "b c"),
                "slash": self.reverse_url("paths", "a/b", "\u00e9"),
                "int": self.reverse_url("paths", 1, 2),
                "plain": self.reverse_url("hello"),
                "of application": self.application.reverse_url("hello"),
                "static": self.static_url("a.txt"),
                "without": self.static_url("a.txt", include_version=False),
                "host": self.static_url("a.txt", include_host=True),
                "missing": self.static_url("none.txt"),
                "login": self.get_login_url(),
            }
        )


class Language(Base):
    def get_user_locale(self):
        code = self.get_cookie("lang")
        return fw.locale.get(code) if code else None

    def get(self):
        self.json([self.locale.code, self.get_browser_locale().code, self.locale.translate("hello")])


# --- streaming ---


class Streams(Base):
    async def get(self, how):
        if how == "length":
            self.set_header("Content-Length", "9")
        for word in ("one", "two", "six"):
            self.write(word)
            await self.flush()
        if how == "fail":
            raise ValueError("in the middle")
        if how == "finish":
            self.finish("end")

    head = get


class Cancelled(Base):
    """A task that the handler awaits is cancelled, not the handler."""

    async def get(self):
        task = asyncio.ensure_future(asyncio.sleep(10))
        asyncio.get_running_loop().call_soon(task.cancel)
        if self.get_argument("caught", None):
            try:
                await task
            except asyncio.CancelledError:
                self.write("caught")
        else:
            await task


class TimedOut(Base):
    async def get(self):
        try:
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0.01)
        except TimeoutError:
            raise fw.web.HTTPError(504) from None


class WrongLength(Base):
    def get(self, how):
        self.set_header("Content-Length", how)
        self.write("12345")


@fw.web.stream_request_body
class Receives(Base):
    def prepare(self):
        self.size = 0
        if self.get_argument("limit", None):
            self.request.connection.set_max_body_size(int(self.get_argument("limit")))
        if self.get_argument("early", None):
            self.set_status(401)
            self.finish("not for you")

    def data_received(self, chunk):
        self.size += len(chunk)
        if self.get_argument("fail", None):
            raise fw.web.HTTPError(422)

    def post(self):
        self.json([self.size, len(self.request.body), self.get_argument("a", None)])

    put = get = post


@fw.web.stream_request_body
class ReceivesSlowly(Receives):
    async def prepare(self):
        await asyncio.sleep(0)
        Receives.prepare(self)

    async def data_received(self, chunk):
        await asyncio.sleep(0)
        Receives.data_received(self, chunk)

    async def put(self):
        await asyncio.sleep(0)
        self.write(str(self.size))


class Detached(Base):
    async def get(self):
        stream = self.detach()
        await stream.write(b"HTTP/1.1 299 Mine\r\nContent-Length: 2\r\n\r\nhi")
        stream.close()


# --- wrong calls ---


class Try(Base):
    """Call something, and say what came of it."""

    def get(self):
        name = self.get_argument("what")
        try:
            value = TRIES[name](self)
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            answer = {"raises": kinds[: kinds.index("Exception")] or ["Exception"]}
        else:
            if asyncio.isfuture(value) or asyncio.iscoroutine(value):
                value = "awaitable"
            answer = {"gives": json.loads(json.dumps(value, default=plain))}
        if not self._finished:
            self.clear()
            self.clear_all_cookies()
            self._write_buffer = []
            self.json(answer)

    post = get


class Logs(Base):
    """The log records since the last call."""

    records: list[logging.LogRecord] = []

    def get(self):
        self.json([[r.name, r.levelname, r.getMessage(), bool(r.exc_info)] for r in self.records])
        self.records.clear()


class Quiet(Base):
    def get(self):
        fw.log.app_log.warning("from the handler")
        self.write("logged")


class OwnLog(Base):
    def log_exception(self, typ, value, tb):
        fw.log.app_log.error("own: %s %s", typ.__name__, value)

    def get(self):
        raise ValueError("x")


# --- routes ---


class Callback(fw.httputil.HTTPMessageDelegate):
    """A delegate that answers without a handler."""

    def __init__(self, connection, text):
        self.connection = connection
        self.text = text
        self.body = b""

    def headers_received(self, start_line, headers):
        self.line = start_line

    def data_received(self, chunk):
        self.body += chunk

    def finish(self):
        text = f"{self.text} {self.line.method} {self.line.path} {self.body!r}".encode()
        self.connection.write_headers(
            fw.httputil.ResponseStartLine("HTTP/1.1", 200, "OK"),
            fw.httputil.HTTPHeaders({"Content-Length": str(len(text))}),
            text,
        )
        self.connection.finish()

    def on_connection_close(self):
        pass


class CustomRouter(fw.routing.Router):
    def find_handler(self, request, **kwargs):
        if "nothing" in request.path:
            return None
        return Callback(request.connection, "router")


def answer_whole(request):
    body = f"callable {request.method} {request.path} {len(request.body)}".encode()
    request.connection.write_headers(
        fw.httputil.ResponseStartLine("", 200, "OK"),
        fw.httputil.HTTPHeaders({"Content-Length": str(len(body)), "X-By": "callable"}),
        body,
    )
    request.connection.finish()


def fallback(request):
    answer_whole(request)


class Static(fw.web.StaticFileHandler):
    def set_extra_headers(self, path):
        self.set_header("X-Static", path)

    def get_cache_time(self, path, modified, mime_type):
        return 60 if path.endswith(".txt") else 0


class Plain404(Base):
    def initialize(self, word="none"):
        self.word = word

    def prepare(self):
        raise fw.web.HTTPError(404, f"nothing ({self.word})")

    def write_error(self, status_code, **kwargs):
        self.finish(f"own {status_code} {self.request.path}")


def routes():
    """The routes of the site; the order matters, as ever."""
    static = {"path": str(SITE / "static")}
    return [
        url("/", Hello, name="hello"),
        ("/args", Arguments),
        ("/required", Required),
        ("/request(?:/(.*))?", Request),
        url("/paths/([^/]*)/([^/]*)", Paths, name="paths"),
        url(r"/named/(?P<number>\d+)", Paths, name="named"),
        ("/optional(?:/([a-z]+))?", Paths),
        ("/optional-named(?:/(?P<word>[a-z]+))?", Paths),
        ("/json", Json),
        ("/uploads", Uploads),
        ("/headers/(.*)", Headers),
        (r"/status/(\d+)", Statuses),
        ("/default-headers", DefaultHeaders),
        ("/redirects", Redirects),
        ("/write/(.*)", Writes),
        ("/twice/(.*)", Twice),
        ("/etag", Etags),
        ("/own-etag", OwnEtag),
        ("/no-etag", NoEtag),
        ("/set-etag", SetEtag),
        ("/head-only", HeadOnly),
        ("/options", Options),
        ("/extra", Extra),
        ("/async", AsyncHello),
        ("/errors/(.*)", Errors),
        ("/async-errors/(.*)", AsyncErrors),
        ("/own-errors/(.*)", OwnErrors),
        ("/json-errors", JsonErrors),
        ("/bad-errors", BadErrors),
        ("/late-errors", LateErrors),
        ("/hooks/initialize", BadHooks, {"where": "initialize"}),
        ("/hooks/prepare", BadHooks, {"where": "prepare"}),
        ("/hooks/prepare-value", BadHooks, {"where": "prepare value"}),
        ("/hooks/on_finish", BadHooks, {"where": "on_finish"}),
        ("/hooks/value", BadHooks, {"where": "value"}),
        ("/hooks/str", BadHooks, {"where": "str"}),
        ("/hooks/list", BadHooks, {"where": "list"}),
        ("/hooks/wrong", BadHooks, {"there": "is no such argument"}),
        ("/hooks/none", BadHooks),
        ("/hooks/fine", BadHooks, {"where": ""}),
        ("/prepared", Prepared, {"word": "sync"}),
        ("/async-prepared", AsyncPrepared, {"word": "async"}),
        ("/members", Members),
        ("/own-login", OwnLogin),
        ("/login", Login),
        ("/slash/?", Slashes),
        ("/no-slash/?", NoSlashes),
        ("/cookies", Cookies),
        ("/set-cookie/(.*)", SetCookies),
        ("/signed", SignedCookies),
        ("/form", Form),
        ("/token", Token),
        ("/no-check", NoCheck),
        ("/page/(.*)", Page),
        ("/page-string", PageString),
        ("/namespace", Namespace),
        ("/links", Links),
        ("/language", Language),
        ("/stream/(.*)", Streams),
        ("/cancelled", Cancelled),
        ("/timed-out", TimedOut),
        (r"/wrong-length/(.*)", WrongLength),
        ("/receive", Receives),
        ("/receive-slowly", ReceivesSlowly),
        ("/detach", Detached),
        ("/try", Try),
        ("/logs", Logs),
        ("/quiet", Quiet),
        ("/own-log", OwnLog),
        ("/gone", fw.web.RedirectHandler, {"url": "/new"}),
        ("/gone-for-now", fw.web.RedirectHandler, {"url": "/new", "permanent": False}),
        ("/gone/(.*)/(.*)", fw.web.RedirectHandler, {"url": "/new/{1}/{0}"}),
        (r"/gone-by-name/(?P<who>.*)", fw.web.RedirectHandler, {"url": "/hi/{who}"}),
        ("/gone-far(.*)", fw.web.RedirectHandler, {"url": "http://other.example{0}"}),
        ("/gone-sub/(.*)", fw.web.RedirectHandler, {"url": "http://{0}.sub.example/"}),
        ("/gone-any/(.*)", fw.web.RedirectHandler, {"url": "{0}"}),
        ("/error", fw.web.ErrorHandler, {"status_code": 410}),
        ("/fallback.*", fw.web.FallbackHandler, {"fallback": fallback}),
        ("/files/(.*)", Static, static),
        ("/index/(.*)", fw.web.StaticFileHandler, {**static, "default_filename": "index.html"}),
        ("/one-file/?()", fw.web.StaticFileHandler, {"path": str(SITE / "static" / "a.txt")}),
        (
            "/nested/.*",
            fw.routing.RuleRouter([("/nested/custom.*", CustomRouter()), ("/nested/call", answer_whole)]),
        ),
        ("/sub/.*", fw.web.Application([("/sub/hello", Hello), (r"/sub/(\d+)", Paths)])),
        ("/listed/.*", [("/listed/a", Hello), (r"/listed/(\d+)/(.*)", Paths)]),
        (fw.routing.Rule(fw.routing.PathMatches("/rule/(?P<x>.*)"), Paths)),
        ("/by-name", f"{__name__}.Hello"),
        (r"/escaped/a\.b", Hello),
        ("/caf\u00e9", Hello),
        ("/dollar$", Hello),
    ]


SETTINGS = {
    "cookie_secret": SECRET,
    "template_path": str(SITE / "templates"),
    "static_path": str(SITE / "static"),
    "login_url": "/login",
    "ui_modules": {"Entry": Entry, "Who": Who},
    "ui_methods": {"shout": shout},
}


class Upper(fw.web.OutputTransform):
    def transform_first_chunk(self, status_code, headers, chunk, finishing):
        headers["X-Transformed"] = f"{status_code} {finishing}"
        return status_code, headers, chunk.upper()

    def transform_chunk(self, chunk, finishing):
        return chunk.upper() + (b"." if finishing else b"")


class Watched(fw.web.Application):
    """Overrides that programs use: the log, and what finds a handler."""

    def log_request(self, handler):
        Logs.records.append(
            logging.makeLogRecord(
                {"name": "own", "levelname": "INFO", "msg": f"{handler.get_status()} {handler.request.uri}"}
            )
        )


def hosts():
    """Routes by host."""
    app = fw.web.Application([("/", Hello), ("/(.*)", Paths)], default_host="default.example", **SETTINGS)
    app.add_handlers(r"www\.example\.com", [("/", Json), (r"/only", Cookies)])
    app.add_handlers(r".*\.other\.example", [(r"/(.*)", Request)])
    app.add_handlers(r"default\.example", [("/default", Json)])
    return app


def servers():
    """Each application of the site: name, application, arguments of its server."""
    web, routing = fw.web, fw.routing
    log_function = {
        "log_function": lambda handler: Logs.records.append(
            logging.makeLogRecord({"name": "function", "levelname": "INFO", "msg": handler.request.path})
        )
    }
    host_rules = [
        (routing.HostMatches("a.example"), web.Application([("/", Hello)])),
        routing.Rule(routing.HostMatches(r"b\.example"), web.Application([("/.*", Request)])),
        (routing.PathMatches("/any"), CustomRouter()),
    ]
    return {
        "main": (web.Application(routes(), **SETTINGS), {}),
        "logs": (web.Application(routes(), **SETTINGS), {}),
        "proxied": (
            web.Application(routes(), **SETTINGS),
            {"xheaders": True, "trusted_downstream": ["10.0.0.1"], "decompress_request": True},
        ),
        "https": (web.Application(routes(), **SETTINGS), {"protocol": "https"}),
        "xsrf": (web.Application(routes(), xsrf_cookies=True, **SETTINGS), {}),
        "xsrf1": (
            web.Application(
                routes(),
                xsrf_cookies=True,
                xsrf_cookie_version=1,
                xsrf_cookie_name="tok",
                xsrf_cookie_kwargs={"httponly": True, "path": "/form"},
                **SETTINGS,
            ),
            {},
        ),
        "origin": (
            web.Application(
                routes(), cross_origin_protection=True, trusted_origins=["https://good.example"], **SETTINGS
            ),
            {},
        ),
        "gzip": (web.Application(routes(), compress_response=True, **SETTINGS), {}),
        "transform": (web.Application(routes(), transforms=[Upper], **SETTINGS), {}),
        "debug": (
            web.Application(
                routes(),
                serve_traceback=True,
                autoescape=None,
                **{**SETTINGS, "template_path": str(SITE / "unescaped")},
            ),
            {},
        ),
        "custom": (
            Watched(
                [("/", Hello), ("/logs", Logs), ("/errors/(.*)", Errors)],
                default_handler_class=Plain404,
                default_handler_args={"word": "given"},
                **{**SETTINGS, "static_url_prefix": "/assets/", "static_handler_class": Static},
            ),
            {},
        ),
        "logged": (web.Application([("/", Hello), ("/logs", Logs), ("/e/(.*)", Errors)], **log_function), {}),
        "bare": (
            web.Application([("/", Hello), ("/members", Members), ("/try", Try), ("/links", Links)]),
            {},
        ),
        "keys": (
            web.Application(
                [("/signed", SignedCookies), ("/set-cookie/(.*)", SetCookies)],
                cookie_secret={0: "zero", 1: "one"},
                key_version=1,
            ),
            {},
        ),
        "hosts": (hosts(), {}),
        "rules": (routing.RuleRouter(host_rules), {}),
        "callable": (answer_whole, {}),
        "small": (
            web.Application(routes(), **SETTINGS),
            {"max_body_size": 1000, "max_header_size": 2000, "max_buffer_size": 4000},
        ),
        "no keep-alive": (web.Application(routes(), **SETTINGS), {"no_keep_alive": True}),
    }
