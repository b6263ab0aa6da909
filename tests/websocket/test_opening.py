"""Tests of webfw.websocket.opening."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from webfw.httpclient import HTTPClientError, HTTPRequest, HTTPStreamClosedError, HTTPTimeoutError
from webfw.httputil import HTTPHeaders
from webfw.iostream import StreamClosedError
from webfw.sansio.websocket import accept_value
from webfw.tcpclient import TCPClient
from webfw.websocket import WebSocketError, opening
from webfw.websocket.opening import Opening, open_websocket

SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


class Request:
    """What a server has got."""

    def __init__(self, head: bytes) -> None:
        line, _, fields = str(head, "latin-1").partition("\r\n")
        self.line = line
        self.headers = HTTPHeaders.parse(fields)

    def accept(self, fields: str = "") -> bytes:
        """The response that opens the WebSocket."""
        value = accept_value(self.headers["Sec-WebSocket-Key"])
        return f"{SWITCH}Sec-WebSocket-Accept: {value}\r\n{fields}\r\n".encode()


class Server:
    """Answers each request by a function of it; then waits until the client has closed."""

    def __init__(self, answers: list[Callable[[Request], bytes | None]]) -> None:
        self.answers = answers
        self.requests: list[Request] = []
        self.address = ""
        self.connections = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self.hang_up = False
        self.bit_by_bit = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = Request(await reader.readuntil(b"\r\n\r\n"))
            self.requests.append(request)
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1](request)
            for piece in self.pieces(answer or b""):
                writer.write(piece)
                await writer.drain()
            if not self.hang_up:
                await reader.read()
        writer.close()

    def pieces(self, answer: bytes) -> list[bytes]:
        return [answer[i : i + 1] for i in range(len(answer))] if self.bit_by_bit else [answer]

    def url(self, rest: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://{self.address}{rest}"


@contextlib.asynccontextmanager
async def serving(*answers: Callable[[Request], bytes | None], **kwargs: Any) -> AsyncIterator[Server]:
    made = Server(list(answers) or [Request.accept])
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, **kwargs)
    made.address = "{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield made
    finally:
        server.close()
        if made.tasks:
            await asyncio.wait(made.tasks)


def says(text: str | bytes) -> Callable[[Request], bytes]:
    return lambda _: text.encode("latin-1") if isinstance(text, str) else text


async def open_url(url: str, *args: Any, **kwargs: Any) -> Opening:
    """Open a WebSocket and cut it."""
    return await open_request(HTTPRequest(url, **kwargs), *args)


async def open_request(request: HTTPRequest, *args: Any) -> Opening:
    client = TCPClient()
    try:
        opened = await open_websocket(request, client, *args)
    finally:
        client.close()
    opened.wire.abort()
    return opened


# --- the request ---


async def test_what_is_sent() -> None:
    async with serving() as server:
        await open_url(server.url("/a/b?c=d#e"))
        request = server.requests[0]
    assert request.line == "GET /a/b?c=d HTTP/1.1"
    headers = dict(request.headers.get_all())
    assert headers.pop("User-Agent").startswith("webfw/")
    assert len(headers.pop("Sec-Websocket-Key")) == 24
    assert headers == {
        "Host": server.address,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-Websocket-Version": "13",
    }


async def test_fields_of_the_program() -> None:
    async with serving() as server:
        fields = {"Origin": "http://a.test", "Host": "b.test", "Connection": "close", "User-Agent": "me"}
        request = HTTPRequest(server.url(), headers=fields, user_agent="other")
        await open_request(request)
        got = server.requests[0].headers
    assert (got["Origin"], got["Host"], got["User-Agent"]) == ("http://a.test", "b.test", "me")
    assert got["Connection"] == "Upgrade"
    assert request.headers["Connection"] == "close"
    async with serving() as server:
        await open_url(server.url(), user_agent="other")
        assert server.requests[0].headers["User-Agent"] == "other"


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        ("", "/"),
        ("?a", "/?a"),
        ("/ä b", "/%C3%A4%20b"),
        ("/%C3%A4?x=ü y", "/%C3%A4?x=%C3%BC%20y"),
        ("/a%20b", "/a%20b"),
    ],
)
async def test_targets(rest: str, target: str) -> None:
    async with serving() as server:
        await open_url(server.url(rest))
        assert server.requests[0].line == f"GET {target} HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("ws://a.test", ("a.test", 80, "a.test", False)),
        ("WS://A.test:80/", ("a.test", 80, "a.test", False)),
        ("ws://a.test:443/", ("a.test", 443, "a.test:443", False)),
        ("wss://a.test", ("a.test", 443, "a.test", True)),
        ("wss://[::1]:8000/x", ("::1", 8000, "[::1]:8000", True)),
        ("ws://münchen.test/", ("xn--mnchen-3ya.test", 80, "xn--mnchen-3ya.test", False)),
    ],
)
def test_where_a_url_points(url: str, place: tuple[str, int, str, bool]) -> None:
    got = opening.Place.of(url, opening._PORTS)
    assert (got.host, got.port, got.authority, got.secure) == place


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://a.test/", "the scheme must be ws or wss, not 'http' as in 'http://a.test/'"),
        ("ftp://a.test/", "not 'ftp'"),
        ("a.test/x", "not ''"),
        ("127.0.0.1:80/", "the scheme"),
        ("", "not ''"),
        ("ws:///x", "there is no host in 'ws:///x'"),
        ("ws://a.test:x/", "Port"),
        ("ws://a.test:70000/", "Port"),
        ("ws://[::1/", "IPv6"),
    ],
)
async def test_a_url_that_is_none(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await open_url(url)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"method": "POST"}, "opened by GET"),
        ({"body": "x"}, "no body"),
        ({"body_producer": print}, "no body"),
        ({"proxy_host": "p", "proxy_port": 1}, "proxies are not supported"),
        ({"auth_username": "u", "auth_mode": "digest"}, "'digest' is not supported"),
        ({"headers": {"X-Y": "a\u20acb"}}, "field 'X-Y'|X-Y"),
        ({"headers": {"Sec-WebSocket-Protocol": "a b"}}, "Sec-WebSocket-Protocol"),
        ({"network_interface": "eth0"}, "source_ip must be an IP address"),
    ],
)
async def test_requests_that_cannot_open_one(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await open_url("ws://127.0.0.1:1/", **kwargs)


async def test_subprotocols_must_be_tokens_and_compression_options_known() -> None:
    for subprotocols in (["a b"], ["a", "a"], [""]):
        with pytest.raises(ValueError, match="subprotocol"):
            await open_url("ws://127.0.0.1:1/", subprotocols)
    with pytest.raises(ValueError, match="no compression option is called 'level'"):
        await open_url("ws://127.0.0.1:1/", None, {"level": 3})


@pytest.mark.parametrize(
    ("userinfo", "kwargs", "value"),
    [
        ("user:p%40ss@", {}, "Basic dXNlcjpwQHNz"),
        ("user@", {}, "Basic dXNlcjo="),
        ("", {"auth_username": "user", "auth_password": "p@ss"}, "Basic dXNlcjpwQHNz"),
        ("user:p%40ss@", {"auth_username": "other", "auth_password": "x"}, "Basic dXNlcjpwQHNz"),
        ("", {"auth_username": "user", "auth_mode": "basic"}, "Basic dXNlcjo="),
        ("user:x@", {"headers": {"Authorization": "Bearer y"}}, "Bearer y"),
    ],
)
async def test_credentials(userinfo: str, kwargs: dict[str, Any], value: str) -> None:
    async with serving() as server:
        await open_url(f"ws://{userinfo}{server.address}/", **kwargs)
        got = server.requests[0].headers
    assert (got.get_list("Authorization"), got["Host"]) == ([value], server.address)


async def test_where_it_connects_from() -> None:
    async with serving() as server:
        await open_url(server.url(), network_interface="127.0.0.1", allow_ipv6=False)
        assert server.connections == 1


# --- the answer ---


@pytest.mark.parametrize("bit_by_bit", [False, True])
async def test_all_of_an_answer(bit_by_bit: bool) -> None:
    fields = "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX: y\r\n"
    async with serving(lambda request: request.accept(fields)) as server:
        server.bit_by_bit = bit_by_bit
        opened = await open_url(server.url(), ["a", "b"], {})
        got = server.requests[0].headers
    assert got["Sec-WebSocket-Protocol"] == "a, b"
    assert got["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
    assert opened.subprotocol == "b"
    assert opened.deflate is not None
    assert opened.headers["X"] == "y"
    assert opened.early == b""


async def test_subprotocols_may_stand_in_the_fields() -> None:
    async with serving(lambda request: request.accept("Sec-WebSocket-Protocol: b\r\n")) as server:
        opened = await open_url(server.url(), headers={"Sec-WebSocket-Protocol": "a, b"})
        assert server.requests[0].headers.get_list("Sec-WebSocket-Protocol") == ["a, b"]
    assert opened.subprotocol == "b"


async def test_nothing_was_agreed_on() -> None:
    async with serving() as server:
        opened = await open_url(server.url(), ["a"], {})
    assert (opened.subprotocol, opened.deflate) == (None, None)


async def test_the_first_frames_are_not_lost() -> None:
    async with serving(lambda request: request.accept() + b"\x81\x02hi") as server:
        assert (await open_url(server.url())).early == b"\x81\x02hi"


async def test_interim_responses_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with serving(lambda request: early * opening.MAX_INTERIM + request.accept()) as server:
        await open_url(server.url())
    async with serving(lambda request: early * (opening.MAX_INTERIM + 1) + request.accept()) as server:
        with pytest.raises(WebSocketError, match="too many interim responses"):
            await open_url(server.url())


GOOD = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("HTTP/1.1 101 X\r\n\r\n", "missing Upgrade"),
        (f"{SWITCH}\r\n", "missing Sec-WebSocket-Accept"),
        (f"{SWITCH}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "wrong Sec-WebSocket-Accept"),
        ("hello\r\n\r\n", "malformed|status line|not"),
        ("HTTP/1.1 101 X\r\nbad field\r\n\r\n", ""),
        ("HTTP/1.1 101 X\r\nA: " + "x" * 70_000 + "\r\n\r\n", ""),
        ("HTTP/1.1 101 X\r\nA: " + "x" * 700_000, ""),
        ("x" * 700_000, ""),
    ],
)
async def test_an_answer_that_opens_nothing(answer: str, message: str) -> None:
    async with serving(says(answer)) as server:
        with pytest.raises(
            WebSocketError, match=f"^{server.address} does not open a WebSocket: .*({message})"
        ):
            await open_url(server.url())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("Sec-WebSocket-Protocol: c\r\n", "'c' was not offered"),
        ("Sec-WebSocket-Extensions: x-unknown\r\n", "x-unknown"),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", "permessage-deflate"),
    ],
)
async def test_what_was_not_offered(fields: str, message: str) -> None:
    async with serving(lambda request: request.accept(fields)) as server:
        with pytest.raises(WebSocketError, match=message):
            await open_url(server.url(), ["a", "b"])


async def refused(answer: str | bytes, **kwargs: Any) -> HTTPClientError:
    async with serving(says(answer)) as server:
        server.hang_up = bool(kwargs.pop("hang_up", False))
        with pytest.raises(HTTPClientError) as caught:
            await open_url(server.url(), **kwargs)
    return caught.value


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 2\r\n\r\nno", b"no"),
        ("Content-Length: 2\r\n\r\nno, and more", b"no"),
        ("Content-Length: 0\r\n\r\n", b""),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nn\r\n1\r\no\r\n0\r\n\r\n", b"no"),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nn\r\nnonsense\r\n", b""),
    ],
)
async def test_a_refusal_comes_with_its_response(framing: str, body: bytes) -> None:
    error = await refused(f"HTTP/1.1 403 No way\r\nX: y\r\n{framing}")
    assert (str(error), error.code) == ("HTTP 403: No way", 403)
    assert error.response is not None
    assert (error.response.body, error.response.headers["X"]) == (body, "y")
    assert error.response.effective_url.startswith("ws://127.0.0.1:")


async def test_a_refusal_without_a_length() -> None:
    error = await refused("HTTP/1.1 404 Not Found\r\n\r\nno", hang_up=True)
    assert error.response is not None
    assert error.response.body == b"no"


async def test_a_refusal_that_is_cut() -> None:
    error = await refused("HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno", hang_up=True)
    assert error.response is not None
    assert error.code == 404


async def test_a_refusal_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "REFUSAL_TIME", 0.05)
    error = await refused("HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nno", request_timeout=0.3)
    assert error.code == 500


async def test_a_refusal_that_is_too_long() -> None:
    error = await refused(b"HTTP/1.1 500 Oops\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
    assert error.response is not None
    assert error.response.body == b"x" * opening.MAX_REFUSAL


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "426 Upgrade Required"])
async def test_any_status_but_101(status: str) -> None:
    error = await refused(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
    assert str(error) == f"HTTP {status[:3]}: {status[4:]}"


@given(st.binary(max_size=200))
async def test_any_answer_ends_in_an_error_that_was_announced(answer: bytes) -> None:
    async with serving(says(answer)) as server:
        server.hang_up = True
        with pytest.raises((WebSocketError, HTTPClientError)):
            await open_url(server.url())


# --- no answer ---


@pytest.mark.parametrize("answer", ["", "HTTP/1.1 101 Swi", "HTTP/1.1 101 X\r\nFoo: bar\r\n"])
async def test_the_server_hangs_up(answer: str) -> None:
    async with serving(says(answer)) as server:
        server.hang_up = True
        with pytest.raises(HTTPStreamClosedError, match=f"^{server.address} has closed the connection"):
            await open_url(server.url())


@pytest.mark.parametrize("answer", ["", "HTTP/1.1 101 Swi", "HTTP/1.1 103 Early\r\n\r\n"])
async def test_the_server_says_no_more(answer: str) -> None:
    async with serving(says(answer)) as server:
        with pytest.raises(
            HTTPTimeoutError, match=f"^Timeout while waiting for the answer of {server.address}"
        ):
            await open_url(server.url(), request_timeout=0.3)


async def test_cancelled_while_waiting() -> None:
    async with serving(says("")) as server:
        task = asyncio.create_task(open_url(server.url()))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The end of the block waits until the server has seen the end of the connection.


async def test_nobody_listens() -> None:
    async with serving() as server:
        pass
    with pytest.raises(ConnectionRefusedError) as caught:
        await open_url(server.url())
    assert server.address in caught.value.__notes__[0]


# --- redirects ---


def redirect(location: str, status: int = 302) -> Callable[[Request], bytes]:
    return says(f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("follow", [None, False])
async def test_redirects_are_not_followed(follow: bool | None) -> None:
    async with serving(redirect("/b"), Request.accept) as server:
        with pytest.raises(HTTPClientError, match="HTTP 302: Found") as caught:
            await open_url(server.url(), follow_redirects=follow)
        assert server.connections == 1
    assert caught.value.response is not None
    assert caught.value.response.headers["Location"] == "/b"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_that_are_followed(status: int) -> None:
    async with serving(redirect("/b?c=d", status), redirect("e"), Request.accept) as server:
        fields = {"Cookie": "a=b"}
        await open_url(server.url("/x/y"), follow_redirects=True, headers=fields, auth_username="u")
        assert [request.line.split()[1] for request in server.requests] == ["/x/y", "/b?c=d", "/e"]
        # To the same server with what was meant for it, and with a new key.
        assert [request.headers.get("Cookie") for request in server.requests] == ["a=b"] * 3
        assert [request.headers.get("Authorization") for request in server.requests] == ["Basic dTo="] * 3
        assert len({request.headers["Sec-WebSocket-Key"] for request in server.requests}) == 3


@pytest.mark.parametrize("scheme", ["ws", "http", "HTTP"])
async def test_to_another_server_without_secrets(scheme: str) -> None:
    async with serving() as other, serving(redirect(f"{scheme}://{other.address}/b")) as server:
        fields = {"Cookie": "a=b", "Authorization": "x", "X": "y", "Host": "me.test"}
        request = HTTPRequest(f"ws://u:p@{server.address}/", headers=fields, follow_redirects=True)
        await open_request(request)
        got = other.requests[0].headers
        assert (got["Host"], got["X"]) == (other.address, "y")
        assert "Cookie" not in got
        assert "Authorization" not in got
        assert request.headers["Cookie"] == "a=b"


async def test_too_many_redirects() -> None:
    async with serving(redirect("/again")) as server:
        with pytest.raises(HTTPClientError, match="302"):
            await open_url(server.url(), follow_redirects=True, max_redirects=3)
        assert server.connections == 4


@pytest.mark.parametrize("location", ["ftp://a.test/", "ws://", "mailto:a@b.test", "ws://[::1/"])
async def test_redirects_to_nowhere(location: str) -> None:
    async with serving(redirect(location)) as server:
        with pytest.raises(HTTPClientError, match="302"):
            await open_url(server.url(), follow_redirects=True)
        assert server.connections == 1


async def test_other_statuses_are_no_redirects() -> None:
    async with serving(redirect("/b", 300)) as server:
        with pytest.raises(HTTPClientError, match="300"):
            await open_url(server.url(), follow_redirects=True)


# --- TLS ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_certs(authority: trustme.CA, tmp_path: Any) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


async def test_tls(server_context: ssl.SSLContext, ca_certs: str) -> None:
    async with serving(ssl=server_context) as server:
        await open_url(server.url(scheme="wss"), ca_certs=ca_certs)
        await open_url(server.url(scheme="wss"), validate_cert=False)
        context = ssl.create_default_context(cafile=ca_certs)
        await open_url(server.url(scheme="wss"), ssl_options=context)
        await open_url(server.url(scheme="wss"), ssl_options={"ca_certs": ca_certs}, validate_cert=False)
        assert server.connections == 4


async def test_certificates_are_checked(server_context: ssl.SSLContext, expect_log: Any) -> None:
    async with serving(ssl=server_context) as server:
        for _ in range(2):
            with expect_log("webfw.general", "SSL Error"), pytest.raises(ssl.SSLCertVerificationError):
                await open_url(server.url(scheme="wss"))


async def test_a_certificate_of_the_client(authority: trustme.CA, ca_certs: str, tmp_path: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca_certs)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    mine = authority.issue_cert("me@a.test")
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    async with serving(ssl=context) as server:
        await open_url(
            server.url(scheme="wss"),
            ca_certs=ca_certs,
            client_cert=str(tmp_path / "cert.pem"),
            client_key=str(tmp_path / "key.pem"),
        )
        assert server.connections == 1


async def test_no_redirect_leads_out_of_tls(server_context: ssl.SSLContext, ca_certs: str) -> None:
    async with serving() as other, serving(redirect(other.url()), ssl=server_context) as server:
        with pytest.raises(HTTPClientError, match="302"):
            await open_url(server.url(scheme="wss"), ca_certs=ca_certs, follow_redirects=True)
        assert other.connections == 0


# --- the way there ---


class Unreachable(TCPClient):
    """A client whose connections fail as they are told to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        self.asked = (args, kwargs)
        raise self.error


async def unreachable(error: Exception, **kwargs: Any) -> tuple[Any, Any]:
    client = Unreachable(error)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await open_websocket(HTTPRequest("wss://a.test/", **kwargs), client)
    client.close()
    return caught.value, client.asked


async def test_the_time_for_connecting() -> None:
    error, (args, options) = await unreachable(TimeoutError("Timeout while connecting to a.test:443"))
    assert isinstance(error, HTTPTimeoutError)
    assert str(error) == "Timeout while connecting to a.test:443"
    assert args == ("a.test", 443)
    assert options["timeout"] == datetime.timedelta(seconds=20)
    _, (_, options) = await unreachable(TimeoutError("x"), connect_timeout=0)
    assert options["timeout"] is None
    _, (_, options) = await unreachable(TimeoutError("x"), connect_timeout=1.5)
    assert options["timeout"] == datetime.timedelta(seconds=1.5)


async def test_the_error_of_the_way_there() -> None:
    why = ConnectionRefusedError(111, "refused")
    assert (await unreachable(StreamClosedError(real_error=why)))[0] is why
    alone = StreamClosedError()
    assert (await unreachable(alone))[0] is alone
    other = OSError("no such name")
    assert (await unreachable(other))[0] is other
