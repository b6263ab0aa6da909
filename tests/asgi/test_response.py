"""What an application sends, alone: headers and bodies of odd types, and the limits of what is remembered."""

import asyncio
from typing import Any

import pytest

from tests.asgi.apps import Part, body, start
from tests.web.conftest import Site
from webfw.asgi import ApplicationError, ASGIContainer, ClientDisconnected, response
from webfw.asgi.response import add_field, header_list, type_of
from webfw.httputil import HTTPHeaders, serverfields


async def ask(*messages: Any) -> Any:
    return await Site(ASGIContainer(Part(*messages), lifespan="off")).ask("/")


@pytest.mark.parametrize("headers", [None, (), iter([]), [], [[b"a", b"b"]], {b"a": b"b"}.items()])
async def test_headers_are_any_iterable_of_pairs(headers: Any) -> None:
    answer = await ask({"type": "http.response.start", "status": 200, "headers": headers}, body(b"x"))
    assert (answer.status, answer.body) == (200, b"x")


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc")])
async def test_a_body_may_be_any_bytes(data: Any) -> None:
    assert (await ask(start(), body(data))).body == b"abc"
    assert b"abc" in (await ask(start(), body(data, True), body(data))).body


async def test_a_body_may_be_left_out() -> None:
    assert (await ask(start(), {"type": "http.response.body"})).headers["Content-Length"] == "0"


async def test_a_status_may_be_one_of_the_enumeration() -> None:
    from http import HTTPStatus

    answer = await ask({"type": "http.response.start", "status": HTTPStatus.CREATED}, body())
    assert (answer.status, answer.reason) == (201, "Created")
    answer = await ask({"type": "http.response.start", "status": 299}, body())
    assert (answer.status, answer.reason) == (299, "Unknown")


def test_names_are_remembered_up_to_a_bound() -> None:
    for number in range(3000):
        header_list([(b"x-%d" % number, b"")])
    assert len(response._names) <= 1024
    long = b"x" * 1000
    assert header_list([(long, b"v")])[0][1] == "v"
    assert long not in response._names


def test_helpers_refuse_what_is_wrong() -> None:
    for message in (None, 7, [], "x", {"type": None}):
        with pytest.raises(ApplicationError):
            type_of(message)
    with pytest.raises(ApplicationError):
        add_field(HTTPHeaders(), "A", "b\0")
    assert issubclass(ClientDisconnected, OSError)


async def test_a_date_is_made_anew_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000.0]
    monkeypatch.setattr(serverfields, "time", lambda: now[0])
    monkeypatch.setattr(serverfields, "_second", 0.0)
    assert response.default_fields()["Date"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    now[0] += 0.9
    assert response.default_fields()["Date"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    now[0] += 0.2
    assert response.default_fields()["Date"] == "Sun, 09 Sep 2001 01:46:41 GMT"
    now[0] -= 100
    assert response.default_fields()["Date"] == "Sun, 09 Sep 2001 01:45:01 GMT"


async def test_a_path_whose_file_shrinks_is_cut(tmp_path: Any, expect_log: Any, monkeypatch: Any) -> None:
    import os

    file = tmp_path / "file"
    file.write_bytes(b"0" * 100)
    real = os.fstat

    def larger(descriptor: int) -> Any:
        found = real(descriptor)
        return os.stat_result((*found[:6], 1000, *found[7:]))

    monkeypatch.setattr(response.os, "fstat", larger)
    container = ASGIContainer(
        Part(start(), {"type": "http.response.pathsend", "path": str(file)}),
        lifespan="off",
        log_function=lambda entry: None,
    )
    site = Site(container)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        from tests.web.conftest import request

        await site.send(request("/"))
        while container.running:
            await asyncio.sleep(0.001)
    assert site.wire.aborted
