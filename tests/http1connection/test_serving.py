import asyncio
import itertools
import random
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.http1connection import HTTP1ConnectionParameters, HTTP1ServerConnection
from webfw.httputil import HTTPHeaders, HTTPServerConnectionDelegate, ResponseStartLine
from webfw.iostream import IOStream
from webfw.web import Application, RequestHandler, stream_request_body

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Server(HTTPServerConnectionDelegate):
    def __init__(self, make: Any) -> None:
        self.make = make
        self.closed = asyncio.Event()
        self.conns: list[Any] = []

    def start_request(self, server_conn: Any, request_conn: Any) -> Any:
        self.conns.append(request_conn)
        return self.make(request_conn)

    def on_close(self, server_conn: Any) -> None:
        self.closed.set()


def answer(conn: Any) -> None:
    conn.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders({"Content-Length": "2"}), b"hi")
    conn.finish()


async def test_pipelined_requests_are_answered_in_order(peer: Any, told: Any) -> None:
    far = peer()
    server = Server(lambda conn: told(lambda: answer(conn)))
    serving = HTTP1ServerConnection(far.stream, context="context")
    assert serving.stream is far.stream
    assert serving.context == "context"
    assert serving.params.chunk_size == 65536
    serving.start_serving(server)
    far.send(GET * 3 + GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
    assert (await far.read_until(b"")).count(b"hi") == 4
    await server.closed.wait()
    assert [conn.context for conn in server.conns] == ["context"] * 4
    await serving.close()


async def test_close_waits_for_the_end_of_serving(peer: Any, told: Any) -> None:
    far = peer()
    server = Server(lambda conn: told())
    serving = HTTP1ServerConnection(far.stream)
    serving.start_serving(server)
    await asyncio.sleep(0)
    await serving.close()
    assert server.closed.is_set()
    assert far.stream.closed()


async def test_a_delegate_closes_the_connection_that_it_is_told_of(peer: Any, told: Any) -> None:
    class Closing(told):  # type: ignore[misc]
        async def headers_received(self, start_line: Any, headers: Any) -> None:
            await serving.close()

    far = peer()
    server = Server(lambda conn: Closing())
    serving = HTTP1ServerConnection(far.stream)
    serving.start_serving(server)
    far.send(GET)
    async with asyncio.timeout(5):
        await server.closed.wait()
    assert far.stream.closed()


async def test_close_before_serving(peer: Any) -> None:
    far = peer()
    await HTTP1ServerConnection(far.stream).close()
    assert far.stream.closed()


async def test_what_an_application_raises_is_logged(peer: Any, told: Any, expect_log: Any) -> None:
    def fail() -> None:
        raise ValueError("no")

    far = peer()
    server = Server(lambda conn: told(fail))
    HTTP1ServerConnection(far.stream).start_serving(server)
    with expect_log("webfw.application", "while serving"):
        far.send(GET)
        await server.closed.wait()
    assert far.stream.closed()


async def test_a_detached_stream_is_left_open(peer: Any, told: Any) -> None:
    class Take(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            self.stream = conns[0].detach()

    far = peer()
    conns: list[Any] = []

    def make(conn: Any) -> Any:
        conns.append(conn)
        return Take()

    server = Server(make)
    HTTP1ServerConnection(far.stream).start_serving(server)
    far.send(GET + b"frames")
    await server.closed.wait()
    assert await far.stream.read_bytes(6) == b"frames"
    far.stream.close()


async def test_an_application_on_a_stream_that_a_program_has_accepted(peer: Any) -> None:
    class Echo(RequestHandler):
        def get(self) -> None:
            self.write(f"hello {self.request.remote_ip} {self.request.protocol}")

        async def post(self) -> None:
            await asyncio.sleep(0)
            self.write(self.request.body)

    @stream_request_body
    class Count(RequestHandler):
        size = 0

        def data_received(self, chunk: bytes) -> None:
            self.size += len(chunk)

        def put(self) -> None:
            self.set_status(201)
            self.finish(str(self.size))

    lines: list[int] = []
    app = Application(
        [("/", Echo), ("/count", Count)], log_function=lambda handler: lines.append(handler.get_status())
    )
    far = peer()
    context = SimpleNamespace(remote_ip="192.0.2.1", protocol="https")
    serving = HTTP1ServerConnection(far.stream, HTTP1ConnectionParameters(chunk_size=1000), context)
    serving.start_serving(app)
    client = IOStream(far.sock)
    await client.write(GET)
    assert b"200 OK" in await client.read_until(b"\r\n\r\n")
    assert await client.read_until(b"https") == b"hello 192.0.2.1 https"
    await client.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    await client.read_until(b"\r\n\r\n")
    assert await client.read_bytes(3) == b"abc"
    await client.write(b"PUT /count HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    await client.read_until(b"\r\n\r\n")
    assert await client.read_bytes(4) == b"5000"
    await client.write(b"GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"404 Not Found" in await client.read_until_close()
    assert lines == [200, 200, 201, 404]
    await serving.close()


@pytest.mark.parametrize("chunk_size", [1, 3, 65536])
async def test_however_the_bytes_come(peer: Any, told: Any, chunk_size: int) -> None:
    """Whole, byte by byte, and cut anywhere: always the same messages."""
    requests = (
        GET
        + b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        + b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n"
        + b"GET /end HTTP/1.0\r\n\r\n"
    )
    chance = random.Random(chunk_size)
    cuts = [[], list(range(1, len(requests)))] + [
        sorted(chance.sample(range(1, len(requests)), 5)) for _ in range(10)
    ]
    for places in cuts:
        far = peer()
        seen: list[Any] = []

        def make(conn: Any, seen: list[Any] = seen) -> Any:
            message = told(lambda: (seen.append((message.events[0][:2], message.body)), answer(conn)))
            return message

        server = Server(make)
        HTTP1ServerConnection(far.stream, HTTP1ConnectionParameters(chunk_size=chunk_size)).start_serving(
            server
        )
        for start, stop in itertools.pairwise([0, *places, len(requests)]):
            far.send(requests[start:stop])
            await asyncio.sleep(0)
        assert (await far.read_until(b"")).count(b"\r\n\r\nhi") == 4
        await server.closed.wait()
        assert seen == [
            (("GET", "/"), b""),
            (("POST", "/a"), b"hello"),
            (("PUT", "/b"), b"abcd"),
            (("GET", "/end"), b""),
        ]
