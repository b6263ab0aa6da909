"""What an application is told of a request: each key of the scope, as the specification has it."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.asgi.apps import Part, body, start
from tests.web.conftest import Site, request
from webfw.asgi import ASGIContainer
from webfw.asgi.scope import ScopeMaker
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPHeaders
from webfw.netutil import bind_sockets, bind_unix_socket
from webfw.observe import RequestIds
from webfw.testing import Client


def site(mount: str = "", **server: Any) -> tuple[Site, Part]:
    app = Part(start(), body())
    container = ASGIContainer(app, lifespan="off", mount=mount, log_function=lambda entry: None)
    return Site(container, **server), app


async def scope_of(path: str = "/", method: str = "GET", mount: str = "", **fields: str) -> dict[str, Any]:
    asked, app = site(mount)
    await asked.send(request(path, method, **fields))
    return app.scope


async def test_every_key_of_a_plain_request() -> None:
    assert await scope_of("/a/b?c=d&e") == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a/b",
        "raw_path": b"/a/b",
        "query_string": b"c=d&e",
        "root_path": "",
        "headers": [(b"host", b"example.com")],
        "client": ("127.0.0.1", 54321),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.trailers": {},
        },
    }


@pytest.mark.parametrize(
    ("target", "path", "raw"),
    [
        ("/caf%C3%A9", "/café", b"/caf%C3%A9"),
        ("/a%2Fb", "/a/b", b"/a%2Fb"),
        ("/%ff", "/\ufffd", b"/%ff"),
        ("/a%", "/a%", b"/a%"),
        ("//a", "//a", b"//a"),
        ("http://example.com/x?y", "/x", b"/x"),
        ("http://example.com?y", "/", b"/"),
    ],
)
async def test_paths_are_decoded_and_kept(target: str, path: str, raw: bytes) -> None:
    scope = await scope_of(target)
    assert (scope["path"], scope["raw_path"]) == (path, raw)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/api", "/api"),
        ("/api/", "/api/"),
        ("/api/x", "/api/x"),
        ("/%61pi/x", "/api/x"),
        ("/apix", None),
        ("/", None),
        ("/api%2Fx", None),
    ],
)
async def test_a_path_includes_its_mount(target: str, path: str | None) -> None:
    asked, app = site("/api")
    answer = await asked.ask(target)
    assert answer.status == (404 if path is None else 200)
    assert app.scope.get("path") == path
    if path is not None:
        assert app.scope["root_path"] == "/api"


async def test_targets_that_are_no_path() -> None:
    asked, app = site()
    assert (await asked.ask("*", "OPTIONS")).status == 200
    assert app.scope["path"] == "*"
    assert (await asked.ask("example.com:80", "CONNECT")).status == 501
    asked, _ = site("/api")
    assert (await asked.ask("*", "OPTIONS")).status == 404


async def test_headers_keep_their_order_and_are_in_lower_case() -> None:
    asked, app = site()
    asked.wire.feed(
        b"GET / HTTP/1.1\r\nX-B:  2 \r\nHOST: a\r\nx-a: \xe9\r\nX-b: 3\r\ncookie: a=b\r\nCookie: c=d\r\nX-E:\r\n\r\n"
    )
    await asked.settle()
    fields = [
        (b"x-b", b"2"),
        (b"host", b"a"),
        (b"x-a", b"\xe9"),
        (b"x-b", b"3"),
        (b"cookie", b"a=b"),
        (b"cookie", b"c=d"),
        (b"x-e", b""),
    ]
    assert app.scope["headers"] == fields
    app.scope["headers"].clear()  # the list is the scope's own
    asked.wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await asked.settle()
    assert app.scope["headers"] == [(b"host", b"a")]


async def test_the_same_fields_again_are_another_list() -> None:
    asked, app = site()
    await asked.ask("/")
    first = app.scope
    await asked.ask("/")
    assert first["headers"] == app.scope["headers"]
    assert first["headers"] is not app.scope["headers"]
    assert first["state"] is not app.scope["state"]


async def test_two_applications_on_one_connection_do_not_share_what_they_know() -> None:
    from webfw.routing import PathMatches, Rule, RuleRouter

    apps = [Part(start(), body()), Part(start(), body())]
    router = RuleRouter(
        [
            Rule(PathMatches(f"/{n}"), ASGIContainer(app, lifespan="off", mount=f"/{n}"))
            for n, app in enumerate(apps)
        ]
    )
    asked = Site(router)
    await asked.ask("/0")
    await asked.ask("/1")
    await asked.ask("/0")
    assert [app.scope["root_path"] for app in apps] == ["/0", "/1"]


async def test_an_older_client() -> None:
    asked, app = site()
    asked.wire.feed(b"GET / HTTP/1.0\r\n\r\n")
    await asked.settle()
    assert (app.scope["http_version"], app.scope["headers"]) == ("1.0", [])


async def test_behind_a_proxy() -> None:
    asked, app = site(xheaders=True)
    await asked.ask("/", X_Forwarded_For="9.9.9.9", X_Forwarded_Proto="https")
    assert (app.scope["client"], app.scope["scheme"]) == (("9.9.9.9", 0), "https")
    await asked.ask("/", X_Forwarded_For="8.8.8.8")
    assert (app.scope["client"], app.scope["scheme"]) == (("8.8.8.8", 0), "http")
    assert (b"x-forwarded-for", b"8.8.8.8") in app.scope["headers"]
    await asked.ask("/")
    assert (app.scope["client"], app.scope["scheme"]) == (("127.0.0.1", 54321), "http")
    assert app.scope["headers"] == [(b"host", b"example.com")]
    assert app.scope["server"] == ("127.0.0.1", 80)


async def test_behind_a_proxy_the_server_is_looked_up_once_a_connection() -> None:
    asked, _ = site(xheaders=True)
    looked: list[str] = []
    real = asked.wire.get_extra_info

    def get_extra_info(name: str, default: Any = None) -> Any:
        looked.append(name)
        return real(name, default)

    asked.wire.get_extra_info = get_extra_info  # type: ignore[method-assign]
    for _ in range(3):
        await asked.ask("/", X_Forwarded_For="9.9.9.9")
    assert looked.count("sockname") == 1


async def test_the_id_of_the_request_is_the_one_of_the_log() -> None:
    asked, app = site(observer=RequestIds())
    answer = await asked.ask("/", X_Request_ID="one two")
    values = [value for name, value in app.scope["headers"] if name == b"x-request-id"]
    assert values == [answer.headers["X-Request-ID"].encode()]


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    app = Part(start(), body())
    server = HTTPServer(ASGIContainer(app, lifespan="off"))
    path = str(tmp_path / "socket")
    server.add_socket(bind_unix_socket(path))
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request("/"))
    await reader.readuntil(b"\r\n\r\n")
    assert (app.scope["client"], app.scope["server"]) == (None, (path, None))
    writer.close()
    server.stop()
    await server.close_all_connections()


async def test_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    app = Part(start(), body())
    server = HTTPServer(ASGIContainer(app, lifespan="off"), ssl_options=context)
    (sock,) = bind_sockets(0, "127.0.0.1", socket.AF_INET)
    server.add_sockets([sock])
    client = ssl.create_default_context()
    authority.configure_trust(client)
    for certificate in (False, True):
        if certificate:
            authority.issue_cert("client@example.com", common_name="Zoë, the client").configure_cert(client)
        port = sock.getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname="localhost"
        )
        writer.write(request("/"))
        await reader.readuntil(b"\r\n\r\n")
        assert app.scope["scheme"] == "https"
        tls = app.scope["extensions"]["tls"]
        assert tls["tls_version"] in (0x0303, 0x0304)
        assert 0 < tls["cipher_suite"] <= 0xFFFF
        assert (tls["server_cert"], tls["client_cert_error"]) == (None, None)
        if certificate:
            assert tls["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")
            assert "CN=Zoë\\, the client" in tls["client_cert_name"]
        else:
            assert (tls["client_cert_chain"], tls["client_cert_name"]) == ([], None)
        writer.close()
    server.stop()
    await server.close_all_connections()


async def test_a_request_whose_headers_somebody_has_read() -> None:
    """A router that looks at a header has its map made, and the block of lines is gone."""
    from webfw.routing import Matcher, Rule, RuleRouter

    class Looks(Matcher):
        def match(self, request: Any) -> dict[str, Any] | None:
            return {} if "X-A" in request.headers else None

    app = Part(start(), body())
    client = Client(RuleRouter([Rule(Looks(), ASGIContainer(app, lifespan="off"))]))
    await client.get("/", headers=HTTPHeaders({"X-A": "1"}))
    assert (b"x-a", b"1") in app.scope["headers"]


def test_a_mount_is_given_decoded() -> None:
    maker = ScopeMaker("/ä b")
    assert maker._is_ours("/%C3%A4%20b/x")
    assert not maker._is_ours("/%C3%A4/x")
