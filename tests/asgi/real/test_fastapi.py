"""FastAPI: dependencies, validation, forms and uploads, background tasks, streams, WebSockets and its documentation."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

pytest.importorskip("fastapi")

from tests.asgi.real.fastapiapp import make_app
from tests.asgi.real.site import Site, wait_for
from tests.wsgi.real.site import Visitor
from webfw.asgi import ASGIContainer
from webfw.routing import PathMatches, Rule
from webfw.web import Application, RequestHandler

Logged = Callable[[str], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def events(kind: str) -> list[str]:
    return []


@pytest.fixture(scope="module")
def site(sites: Callable[..., Site], events: list[str]) -> Site:
    return sites(make_app(events), lifespan="on")


def test_items_from_end_to_end(site: Site, visitor: Visitor) -> None:
    made = visitor.post_json("/items", {"name": "Größe", "price": "1.5", "tags": ["a"]})
    assert made.status == 201
    number = made.json["id"]
    assert made.json == {"id": number, "name": "Größe", "price": 1.5, "tags": ["a"]}
    assert made.headers["Location"] == site.url(f"/items/{number}")
    assert made.headers["X-Seen"] == "/items"
    assert visitor.get(f"/items/{number}").json == made.json
    gone = visitor.fetch("DELETE", f"/items/{number}")
    assert (gone.status, gone.body) == (204, b"")
    assert visitor.fetch("DELETE", f"/items/{number}").json == {"out of stock": str(number)}
    assert visitor.get(f"/items/{number}").json == {"detail": {"no item": number}}
    assert visitor.get("/items/").headers["Location"] == site.url("/items")


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("POST", "/items", {"name": "", "price": 1}, ["body", "name"]),
        ("POST", "/items", {"name": "x", "price": 0}, ["body", "price"]),
        ("POST", "/items", {"name": "x"}, ["body", "price"]),
        ("GET", "/items/0", None, ["path", "number"]),
        ("GET", "/items/x", None, ["path", "number"]),
        ("GET", "/items?limit=101", None, ["query", "limit"]),
    ],
)
def test_what_is_not_valid(visitor: Visitor, method: str, path: str, body: Any, wrong: list[str]) -> None:
    text = None if body is None else json.dumps(body)
    answer = visitor.fetch(method, path, text, Content_Type="application/json")
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, wrong)


def test_a_body_that_is_no_json(visitor: Visitor) -> None:
    answer = visitor.fetch("POST", "/items", b"{", Content_Type="application/json")
    assert (answer.status, answer.json["detail"][0]["type"]) == (422, "json_invalid")


def test_parameters(visitor: Visitor) -> None:
    assert visitor.get("/items?limit=3&tag=a&tag=%C3%A4").json == {"limit": 3, "tags": ["a", "ä"]}
    visitor.connection.putrequest("GET", "/said")
    for name, value in (("User-Agent", "me"), ("X-List", "1"), ("X-List", "2"), ("Cookie", "visits=3")):
        visitor.connection.putheader(name, value)
    visitor.connection.endheaders()
    answer = visitor.connection.getresponse()
    assert json.loads(answer.read()) == {"agent": "me", "list": ["1", "2"], "visits": 3}


def test_who_one_is(visitor: Visitor) -> None:
    assert visitor.get("/me", Authorization="Bearer ada").json == {"user": "ada"}
    for fields in ({}, {"Authorization": "Bearer eve"}):
        answer = visitor.get("/me", **fields)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_dependencies_that_end(visitor: Visitor, events: list[str]) -> None:
    events.clear()
    assert visitor.get("/session").json == {"in": "session"}
    wait_for(lambda: len(events) == 3)
    assert events == ["session begins", "session used", "session ends"]


def test_threads(visitor: Visitor) -> None:
    assert visitor.get("/thread").json == {"dependency": True, "here": True}


def test_a_form_with_files(visitor: Visitor) -> None:
    files = {"files": ("a.bin", b"\0" * 1_500_000), "small": ("s.txt", b"small")}
    answer = visitor.upload("/form", {"title": "ä"}, files)
    assert answer.json == {"title": "ä", "sizes": {"a.bin": 1_500_000}, "small": "small"}
    assert visitor.upload("/form", {"title": "ä"}, {}).status == 422


def test_work_in_the_background(visitor: Visitor, events: list[str]) -> None:
    answer = visitor.get("/background?word=one")
    assert (answer.status, answer.json) == (202, {"begun": "one"})
    wait_for(lambda: "loop one" in events)
    assert events.index("thread one") < events.index("loop one")


def test_streams(visitor: Visitor) -> None:
    expected = "".join(f"{n}\n" for n in range(200))
    for path in ("/stream", "/stream/thread"):
        answer = visitor.get(f"{path}?count=200")
        assert answer.text == expected
        assert answer.headers["Transfer-Encoding"] == "chunked"
    assert visitor.fetch("POST", "/raw", b"x" * 1_000_000).json == {"size": 1_000_000}


def test_head_and_options(visitor: Visitor) -> None:
    for method in ("HEAD", "OPTIONS"):
        answer = visitor.fetch(method, "/me")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert visitor.get("/items?limit=1").status == 200


def test_its_documentation(visitor: Visitor) -> None:
    described = visitor.get("/openapi.json").json
    assert described["info"] == {"title": "Shop", "version": "2"}
    assert {"/items", "/items/{number}", "/form"} <= set(described["paths"])
    assert "/openapi.json" in visitor.get("/docs").text


def test_an_exception(visitor: Visitor, logged: Logged) -> None:
    with logged("uncaught exception in the application"):
        answer = visitor.get("/broken")
        assert (answer.status, answer.text) == (500, "Internal Server Error")


def test_a_websocket_with_a_dependency(site: Site, events: list[str]) -> None:
    with site.socket("/ws/lobby?token=t") as socket:
        for text in ("one", "größer"):
            socket.send(text)
            assert json.loads(socket.recv(15)) == {"room": "lobby", "token": "t", "text": text}
        socket.close(4001)
    wait_for(lambda: "lobby left with 4001" in events)
    with pytest.raises(InvalidStatus) as caught, site.socket("/ws/lobby"):
        pass
    assert caught.value.response.status_code == 403


def test_beside_native_handlers(kind: str, sites: Callable[..., Site]) -> None:
    """Below a path of its own: its documentation and its URLs know of it."""
    if kind != "webfw":
        pytest.skip("only webfw has handlers of its own")

    class Native(RequestHandler):
        def get(self) -> None:
            self.write("native")

    def around(container: ASGIContainer) -> Application:
        rules: list[Any] = [("/", Native), Rule(PathMatches("/api.*"), container)]
        return Application(rules, log_function=lambda handler: None)  # type: ignore[arg-type]

    site = sites(make_app([]), around=around, mount="/api")
    with site.visitor() as visitor:
        assert visitor.get("/").text == "native"
        made = visitor.post_json("/api/items", {"name": "a", "price": 1})
        assert (made.status, made.headers["Location"]) == (201, site.url("/api/items/1"))
        assert "/api/openapi.json" in visitor.get("/api/docs").text
        assert visitor.get("/api/openapi.json").json["servers"] == [{"url": "/api"}]
        assert visitor.get("/apix").status == 404
        assert visitor.get("/api/none").json == {"detail": "Not Found"}
    with site.socket("/api/ws/lobby?token=t") as socket:
        socket.send("x")
        assert json.loads(socket.recv(15))["room"] == "lobby"
