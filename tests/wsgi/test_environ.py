"""What an application learns of a request: asked for as a client does, looked at in the environ."""

import json
import ssl
import sys
from io import BytesIO
from typing import Any

import pytest
import trustme

from tests.wsgi.conftest import Serve, request
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.wsgi import WSGIContainer, to_wsgi_str
from webfw.wsgi.environ import EnvironMaker


def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers with the strings of its environ."""
    shown = {key: value for key, value in environ.items() if isinstance(value, (str, bool))}
    size = int(environ.get("CONTENT_LENGTH") or 0)
    shown["body"] = environ["wsgi.input"].read(size).decode("latin-1")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(shown).encode()]


async def environ_of(serve: Serve, *asked: Any, mode: str = "inline", **options: Any) -> dict[str, Any]:
    path, fields = (asked[0] if asked else "/"), (asked[1] if len(asked) > 1 else {})
    async with serve(show, mode, **options) as served:
        answer = await served.ask(path, **fields)
        assert answer.status == 200
        shown: dict[str, Any] = json.loads(answer.body)
        return shown


async def test_what_every_request_has(serve: Serve, mode: str) -> None:
    async with serve(show, mode) as served:
        client = await served.connect()
        environ = json.loads((await client.ask("/a/b?c=d%20e", User_Agent="x")).body)
        port = client.writer.get_extra_info("sockname")[1]
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d%20e",
        "RAW_URI": "/a/b?c=d%20e",
        "REQUEST_URI": "/a/b?c=d%20e",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "example.com",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(port),
        "HTTP_HOST": "example.com",
        "HTTP_USER_AGENT": "x",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.multithread": mode != "inline",
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "body": "",
    }
    assert expected.items() <= environ.items()
    assert not {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTPS", "SSL_PROTOCOL", "HTTP_CONTENT_LENGTH"} & set(
        environ
    )


@pytest.mark.parametrize(
    ("path", "info"),
    [
        ("/", "/"),
        ("//a//", "//a//"),
        ("/a%2Fb", "/a/b"),
        ("/%C3%A9", "/\xc3\xa9"),
        ("/%E9", "/\xe9"),
        ("/100%", "/100%"),
        ("/%zz", "/%zz"),
        ("/a+b", "/a+b"),
        ("/%00", "/\x00"),
        ("/a?b%2Fc", "/a"),
        ("http://other.example/x%20y?z", "/x y"),
        ("http://other.example", "/"),
        ("http://other.example?z", "/"),
    ],
)
async def test_paths(serve: Serve, path: str, info: str) -> None:
    environ = await environ_of(serve, path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", info)
    assert environ["RAW_URI"] == path


@pytest.mark.parametrize(
    ("mount", "path", "info"),
    [
        ("/shop", "/shop", ""),
        ("/shop", "/shop/", "/"),
        ("/shop", "/shop/a/b?c", "/a/b"),
        ("/shop", "/shop/a%2Fb%20", "/a/b "),
        ("/shop", "/shop//a", "//a"),
        ("/shop", "/%73hop/a", "/a"),
        ("/a/b", "/a/b/c", "/c"),
        ("/größe", "/gr%C3%B6%C3%9Fe/x", "/x"),
        ("/a b", "/a%20b", ""),
        ("/shop", "http://example.com/shop/a", "/a"),
    ],
)
async def test_mounts(serve: Serve, mount: str, path: str, info: str) -> None:
    environ = await environ_of(serve, path, mount=mount)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (mount.encode().decode("latin-1"), info)


@pytest.mark.parametrize(
    "path", ["/", "/shopping", "/sho", "/SHOP", "/shop%2Fa", "/a/shop", "//shop", "/shop%00/a"]
)
async def test_what_is_beside_the_mount_is_not_found(serve: Serve, mode: str, path: str) -> None:
    async with serve(show, mode, mount="/shop") as served:
        client = await served.connect()
        assert (await client.ask(path)).status == 404
        assert (await client.ask("/shop")).status == 200
        assert served.log == [404, 200]


@pytest.mark.parametrize("mount", ["shop", "/", "/shop/"])
def test_mounts_that_are_none(mount: str) -> None:
    with pytest.raises(ValueError, match="a mount begins with a slash"):
        WSGIContainer(show, mount=mount)


async def test_options_of_the_server_and_tunnels(serve: Serve) -> None:
    async with serve(show, "inline") as served:
        environ = json.loads((await served.ask("*", "OPTIONS")).body)
        assert (environ["PATH_INFO"], environ["REQUEST_URI"]) == ("", "*")
        client = await served.connect()
        client.send(b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n")
        assert (await client.answer()).status == 501
    async with serve(show, "inline", mount="/shop") as served:
        assert (await served.ask("*", "OPTIONS")).status == 404


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("example.com", "example.com", "80"),
        ("example.com:8000", "example.com", "8000"),
        ("[::1]:81", "[::1]", "81"),
        ("[::1]", "[::1]", "80"),
    ],
)
async def test_the_name_of_the_server(serve: Serve, host: str, name: str, port: str) -> None:
    environ = await environ_of(serve, "/", {"Host": host})
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["HTTP_HOST"] == host


async def test_a_client_that_does_not_say_whom_it_asks(serve: Serve) -> None:
    async with serve(show, "inline") as served:
        for head in (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            client = await served.connect()
            client.send(head)
            environ = json.loads((await client.answer()).body)
            assert environ["SERVER_NAME"] == "127.0.0.1"
            assert environ["SERVER_PORT"] in ("80", str(served.port))


async def test_the_host_of_an_absolute_target_wins(serve: Serve) -> None:
    environ = await environ_of(serve, "http://other.example:81/", {"Host": "example.com"})
    assert environ["HTTP_HOST"] == "other.example:81"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("other.example", "81")


def raw(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "", ""]).encode("latin-1")


async def fields_of(serve: Serve, *lines: str, **options: Any) -> dict[str, str]:
    async with serve(show, "inline", **options) as served:
        client = await served.connect()
        client.send(raw(*lines))
        environ = json.loads((await client.answer()).body)
        return {key: value for key, value in environ.items() if key.startswith(("HTTP_", "CONTENT_"))}


async def test_repeated_fields(serve: Serve) -> None:
    fields = await fields_of(
        serve, "X-One: a", "cookie: a=1", "x-one:\tb ", "Cookie: b=2", "X-ONE: c", "content-type: text/plain"
    )
    assert fields == {
        "HTTP_HOST": "a",
        "HTTP_X_ONE": "a,b,c",
        "HTTP_COOKIE": "a=1; b=2",
        "CONTENT_TYPE": "text/plain",
    }


async def test_names_with_underscores_are_dropped_unless_wanted(serve: Serve) -> None:
    lines = (
        "X-User: good",
        "X_User: evil",
        "x_user: evil",
        "CONTENT_LENGTH: 9",
        "Content_Type: evil",
        "A_b: c",
    )
    assert await fields_of(serve, *lines) == {"HTTP_HOST": "a", "HTTP_X_USER": "good"}
    kept = await fields_of(serve, "A_b: c", "Content_Type: evil", "Proxy_: x", keep_underscores=True)
    assert kept == {"HTTP_HOST": "a", "HTTP_A_B": "c", "HTTP_PROXY_": "x"}


@pytest.mark.parametrize("spelling", ["Proxy", "proxy", "PROXY"])
async def test_no_client_sets_the_proxy_of_an_application(serve: Serve, spelling: str) -> None:
    assert await fields_of(serve, f"{spelling}: http://evil") == {"HTTP_HOST": "a"}


async def test_values_are_latin_1(serve: Serve) -> None:
    assert (await fields_of(serve, "X-Name: gr\xc3\xb6\xdfe"))["HTTP_X_NAME"] == "gr\xc3\xb6\xdfe"


async def test_any_number_of_names_may_be_invented(serve: Serve) -> None:
    async with serve(show, "inline") as served:
        client = await served.connect()
        for i in range(0, 1200, 40):
            await client.ask("/", **{f"X{i}X{j}": "1" for j in range(40)})
        environ = json.loads((await client.ask("/", X_Last="2")).body)
        assert environ["HTTP_X_LAST"] == "2"
        assert len(served.container._environs._keys) <= 1024


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_length_of_a_body(serve: Serve, mode: str, chunked: bool) -> None:
    async with serve(show, mode) as served:
        client = await served.connect()
        for body in (b"", b"hello"):
            if chunked:
                piece = b"5\r\nhello\r\n" if body else b""
                client.send(request("/", "POST", Transfer_Encoding="chunked") + piece + b"0\r\n\r\n")
                answer = await client.answer()
            else:
                answer = await client.ask("/", "POST", body)
            environ = json.loads(answer.body)
            assert environ["CONTENT_LENGTH"] == str(len(body))
            assert environ["body"] == body.decode()
            assert "HTTP_TRANSFER_ENCODING" not in environ
            assert "HTTP_CONTENT_LENGTH" not in environ


async def test_behind_a_proxy(serve: Serve) -> None:
    fields = {"X_Real_Ip": "192.0.2.7", "X_Scheme": "https"}
    environ = await environ_of(serve, "/", fields, server={"xheaders": True})
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert "REMOTE_PORT" not in environ  # that is the proxy's
    assert (environ["wsgi.url_scheme"], environ["HTTPS"], environ["SERVER_PORT"]) == ("https", "on", "443")
    assert "SSL_PROTOCOL" not in environ
    environ = await environ_of(serve, "/", fields)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")


async def test_the_errors_go_to_standard_error(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("something went wrong\n")
        environ["wsgi.errors"].flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    async with serve(app) as served:
        assert (await served.ask()).status == 200
    assert capsys.readouterr().err == "something went wrong\n"


async def test_several_processes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await environ_of(serve))["wsgi.multiprocess"] is False
    monkeypatch.setattr("webfw.process.fork._task_id", 1)
    assert (await environ_of(serve))["wsgi.multiprocess"] is True


# --- TLS ---


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Acme, Inc.+x", organization_unit_name="Tests")


def contexts(authority: trustme.CA, wanted: ssl.VerifyMode) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    authority.configure_trust(client)
    server.verify_mode = wanted
    return server, client


async def test_tls_without_a_client_certificate(serve: Serve, mode: str, authority: trustme.CA) -> None:
    server, client = contexts(authority, ssl.CERT_OPTIONAL)
    async with serve(show, mode, server={"ssl_options": server}) as served:
        connection = await served.connect(ssl=client, server_hostname="localhost")
        environ = json.loads((await connection.ask("/")).body)
        await connection.close()
    assert (environ["wsgi.url_scheme"], environ["HTTPS"], environ["SERVER_PORT"]) == ("https", "on", "443")
    assert environ["SSL_PROTOCOL"].startswith("TLSv1.")
    assert environ["SSL_CIPHER"]
    assert environ["SSL_CLIENT_VERIFY"] == "NONE"
    assert "SSL_CLIENT_CERT" not in environ


async def test_tls_with_a_client_certificate(serve: Serve, authority: trustme.CA) -> None:
    server, client = contexts(authority, ssl.CERT_REQUIRED)
    one = authority.issue_cert("me@example.com", common_name="Größe, O=evil", organization_name="#A; B ")
    one.configure_cert(client)
    async with serve(show, server={"ssl_options": server}) as served:
        connection = await served.connect(ssl=client, server_hostname="localhost")
        environ = json.loads((await connection.ask("/")).body)
        await connection.close()
    assert environ["SSL_CLIENT_VERIFY"] == "SUCCESS"
    pem = one.cert_chain_pems[0].bytes().decode()
    assert "".join(environ["SSL_CLIENT_CERT"].split()) == "".join(pem.split())
    subject = environ["SSL_CLIENT_S_DN"].encode("latin-1").decode()
    assert subject.startswith("CN=Größe\\, O\\=evil,")
    assert subject.endswith(",O=\\#A\\; B\\ ")
    assert environ["SSL_CLIENT_I_DN"] == "OU=Tests,O=Acme\\, Inc.\\+x"
    assert int(environ["SSL_CLIENT_M_SERIAL"], 16) > 0


# --- by hand ---


def test_a_request_made_by_hand() -> None:
    container = WSGIContainer(show, mount="/shop")
    line = RequestStartLine("POST", "/shop/x?y=z", "HTTP/1.1")
    headers = HTTPHeaders({"Host": "a:81", "X-One": "1", "Content-Length": "4"})
    environ = container.environ(HTTPServerRequest(start_line=line, headers=headers, body=b"body"))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["CONTENT_LENGTH"]) == ("/shop", "/x", "4")
    assert (environ["HTTP_X_ONE"], environ["SERVER_PORT"]) == ("1", "81")
    assert environ["wsgi.input"].read() == b"body"
    assert environ["wsgi.errors"] is sys.stderr
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    with pytest.raises(ValueError, match="/ is not under /shop"):
        container.environ(HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "a"})))
    plain = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": ""}))
    environ = WSGIContainer(show).environ(plain)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")
    assert "CONTENT_LENGTH" not in environ


def test_bytes_as_the_pep_has_them() -> None:
    assert to_wsgi_str("größe".encode()) == "gr\xc3\xb6\xc3\x9fe"
    with pytest.raises(TypeError, match="bytes are needed, not str"):
        to_wsgi_str("text")  # type: ignore[arg-type]


def test_no_environ_shares_anything_with_the_next() -> None:
    maker = EnvironMaker("", multithread=False)
    line = RequestStartLine("GET", "/", "HTTP/1.1")

    def make() -> dict[str, Any]:
        asked = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "a"}))
        environ = maker.make(asked, BytesIO(), None)
        assert environ is not None
        return environ

    make()["SCRIPT_NAME"] = "changed"
    assert make()["SCRIPT_NAME"] == ""


async def test_requests_of_one_connection_do_not_mix(serve: Serve, mode: str) -> None:
    """What is remembered of the fields of a connection's last request holds for equal fields only."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        names = ("PATH_INFO", "HTTP_HOST", "HTTP_X_A", "REQUEST_METHOD", "CONTENT_LENGTH", "HTTP_MINE")
        told = "|".join(str(environ.get(name, "-")) for name in names)
        environ["HTTP_MINE"] = environ["HTTP_X_A"] = "changed by the application"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [told.encode()]

    async with serve(app, mode) as served:
        client = await served.connect()
        for path, fields, expected in [
            ("/1", {"X_A": "a"}, "/1|example.com|a|GET|-|-"),
            ("/2", {"X_A": "a"}, "/2|example.com|a|GET|-|-"),
            ("/3", {"X_A": "b"}, "/3|example.com|b|GET|-|-"),
            ("/4", {}, "/4|example.com|-|GET|-|-"),
            ("http://other.example/5", {}, "/5|other.example|-|GET|-|-"),
            ("/6", {}, "/6|example.com|-|GET|-|-"),
        ]:
            assert (await client.ask(path, **fields)).body.decode() == expected
        answer = await client.ask("/7", "POST", b"xyz", X_A="a")
        assert answer.body.decode() == "/7|example.com|a|POST|3|-"
        assert (await client.ask("/8", X_A="a")).body.decode() == "/8|example.com|a|GET|-|-"
