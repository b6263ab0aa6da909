"""What HTTP1Connection says and hears, here and in Tornado: the same bytes over a socket pair, the same calls."""

import asyncio
import gzip
import importlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
PACKED = gzip.compress(b"x" * 1000)

#: Where the two differ, and why.
DIFFERENCES = {
    "cut chunked": "what had come of a chunk is handed on before the cut is known",
    "204 with a length": "a 204 has no body, whatever its fields say (RFC 9112 section 6.3)",
    "same length twice": "refused: two readers may take it for two things",
    "two lengths": "refused with the head, not after it",
    "head too large": "a malformed message, not a lost connection",
    "GET with an unframed body": "a body without framing would be the next request",
    "1.0": "Connection: close is said, and start_request is asked only for what can come",
    "close asked": "start_request is asked only for what can come",
    "no_keep_alive": "start_request is asked only for what can come",
    "expect": "the reason phrase is written as in the registry",
    "junk": "the answer says what was wrong",
    "too large": "413, and the answer says what was wrong",
    "both framings": "refused with the head, not after it",
}


class Library:
    """One of the two, with what a test needs of it."""

    def __init__(self, name: str) -> None:
        self.http = importlib.import_module(f"{name}.http1connection")
        self.util = importlib.import_module(f"{name}.httputil")
        self.stream = importlib.import_module(f"{name}.iostream").IOStream

    def delegate(self, events: list[Any], conn: Any = None, answer: Any = None) -> Any:
        class Delegate(self.util.HTTPMessageDelegate):  # type: ignore[misc, name-defined]
            def headers_received(self, start_line: Any, headers: Any) -> None:
                events.append((tuple(start_line), sorted(headers.get_all())))

            def data_received(self, chunk: bytes) -> None:
                if isinstance(events[-1], bytes):
                    events[-1] += chunk
                else:
                    events.append(chunk)

            def finish(self) -> None:
                events.append("finish")
                if answer is not None:
                    answer(conn)

            def on_connection_close(self) -> None:
                events.append("closed")

        return Delegate()

    async def as_client(self, response: bytes, body: Any, method: str, headers: Any, **params: Any) -> Any:
        near, far = socket.socketpair()
        events: list[Any] = []
        stream = self.stream(near)
        try:
            conn = self.http.HTTP1Connection(stream, True, self.http.HTTP1ConnectionParameters(**params))
            try:
                line = self.util.RequestStartLine(method, "/", "")
                conn.write_headers(line, self.util.HTTPHeaders(headers))
                for chunk in body:
                    conn.write(chunk)
                conn.finish()
                eof = response.endswith(b"EOF")
                far.sendall(response.removesuffix(b"EOF"))
                if eof:
                    far.shutdown(socket.SHUT_WR)
                async with asyncio.timeout(10):
                    events.append(await conn.read_response(self.delegate(events)))
                head, _, rest = far.recv(65536).partition(b"\r\n\r\n")
                events += [sorted(head.split(b"\r\n")), rest]
            except Exception as error:
                events.append(type(error).__name__)
            events.append(stream.closed())
        finally:
            stream.close()
            far.close()
        return events

    async def as_server(self, request: bytes, code: int, headers: Any, chunks: Any, **params: Any) -> Any:
        near, far = socket.socketpair()
        far.setblocking(False)
        events: list[Any] = []
        library = self

        def answer(conn: Any) -> None:
            line = self.util.ResponseStartLine("HTTP/1.1", code, "R")
            conn.write_headers(line, self.util.HTTPHeaders(headers))
            for chunk in chunks:
                conn.write(chunk)
            conn.finish()

        class Server(self.util.HTTPServerConnectionDelegate):  # type: ignore[misc, name-defined]
            def start_request(self, server_conn: Any, request_conn: Any) -> Any:
                events.append("start")
                return library.delegate(events, request_conn, answer)

            def on_close(self, server_conn: Any) -> None:
                events.append("on_close")

        loop = asyncio.get_running_loop()
        stream = self.stream(near)
        conn = self.http.HTTP1ServerConnection(stream, self.http.HTTP1ConnectionParameters(**params))
        conn.start_serving(Server())
        eof = request.endswith(b"EOF")
        far.sendall(request.removesuffix(b"EOF"))
        if eof:
            far.shutdown(socket.SHUT_WR)
        got = b""
        async with asyncio.timeout(10):
            # The events of an answer that keeps the connection end with the start of what may come next.
            while not (
                events[-1:] == ["start"] and got.count(b" R\r\n") == max(1, request.count(b"HTTP/1."))
            ):
                reading = asyncio.ensure_future(loop.sock_recv(far, 65536))
                try:
                    data = await reading
                except ConnectionResetError:
                    break
                if not data:
                    break
                got += data
                for _ in range(5):
                    await asyncio.sleep(0)
        await conn.close()
        while events[-1] != "on_close":
            await asyncio.sleep(0)
        far.close()
        return [*events, got]


async def both(ask: Callable[[Library], Any]) -> tuple[Any, Any]:
    return await ask(Library("tornado")), await ask(Library("webfw"))


def response(head: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body


CLIENT: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (OK, {}),
    "more than the body": (OK + b"extra", {}),
    "chunked": (response(b"Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\n\r\n"), {}),
    "until the close": (b"HTTP/1.1 200 OK\r\n\r\nhi thereEOF", {}),
    "of 1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", {}),
    "close said": (response(b"Connection: close\r\nContent-Length: 2", b"hi"), {}),
    "cut": (response(b"Content-Length: 5", b"hiEOF"), {}),
    "cut chunked": (response(b"Transfer-Encoding: chunked", b"5\r\nhiEOF"), {}),
    "cut in the head": (b"HTTP/1.1 200 OK\r\nConEOF", {}),
    "nothing": (b"EOF", {}),
    "to HEAD": (response(b"Content-Length: 5", b""), {"method": "HEAD"}),
    "304": (b"HTTP/1.1 304 R\r\nContent-Length: 5\r\n\r\n", {}),
    "204": (b"HTTP/1.1 204 R\r\n\r\n", {}),
    "204 with a length": (b"HTTP/1.1 204 R\r\nContent-Length: 5\r\n\r\n", {}),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, {}),
    "103": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, {}),
    "two lengths": (response(b"Content-Length: 2\r\nContent-Length: 3", b"hi"), {}),
    "same length twice": (response(b"Content-Length: 2\r\nContent-Length: 2", b"hi"), {}),
    "no HTTP": (b"garbage\r\n\r\n", {}),
    "bad chunk": (response(b"Transfer-Encoding: chunked", b"zz\r\nhi"), {}),
    "body too large": (response(b"Content-Length: 20", b"x" * 20), {"max_body_size": 10}),
    "chunk too large": (
        response(b"Transfer-Encoding: chunked", b"14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"),
        {"max_body_size": 10},
    ),
    "head too large": (response(b"A: " + b"x" * 2000, b""), {"max_header_size": 1000}),
    "gzip": (
        response(b"Content-Encoding: gzip\r\nContent-Length: %d" % len(PACKED), PACKED),
        {"decompress": True},
    ),
    "gzip left alone": (response(b"Content-Encoding: gzip\r\nContent-Length: %d" % len(PACKED), PACKED), {}),
    "no_keep_alive of a client": (OK, {"no_keep_alive": True}),
    "head late": (b"HTTP/1.1 200 OK\r\n", {"header_timeout": 0.02}),
    "body late": (response(b"Content-Length: 2", b"h"), {"body_timeout": 0.02}),
    "POST": (OK, {"method": "POST", "headers": {"Content-Length": "3"}, "body": [b"abc"]}),
    "POST chunked": (OK, {"method": "POST", "body": [b"abc", b"d"]}),
    "PATCH chunked by name": (
        OK,
        {"method": "PATCH", "headers": {"Transfer-Encoding": "chunked"}, "body": [b"abc", b"d"]},
    ),
    "POST with too much": (OK, {"method": "POST", "headers": {"Content-Length": "3"}, "body": [b"abcd"]}),
    "POST with too little": (OK, {"method": "POST", "headers": {"Content-Length": "3"}, "body": [b"ab"]}),
    "GET with an unframed body": (OK, {"body": [b"ab"]}),
    "DELETE": (OK, {"method": "DELETE"}),
    "close asked of the server": (OK, {"headers": {"Connection": "close"}}),
}


@pytest.mark.parametrize("name", CLIENT)
async def test_as_client(name: str) -> None:
    data, options = CLIENT[name]
    settings: dict[str, Any] = {"method": "GET", "headers": {}, "body": ()} | options
    theirs, ours = await both(lambda library: library.as_client(data, **settings))
    assert (ours == theirs) == (name not in DIFFERENCES), (theirs, ours)


SERVER: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (GET, {}),
    "chunked": (GET, {"headers": {}}),
    "1.0": (GET.replace(b"1.1", b"1.0"), {}),
    "two": (GET + GET, {}),
    "no_keep_alive": (GET, {"no_keep_alive": True}),
    "close asked": (GET[:-2] + b"Connection: close\r\n\r\n", {}),
    "HEAD": (GET.replace(b"GET", b"HEAD"), {"chunks": ()}),
    "304": (GET, {"code": 304, "headers": {}, "chunks": ()}),
    "204": (GET, {"code": 204, "headers": {}, "chunks": ()}),
    "POST": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", {}),
    "POST chunked": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        {},
    ),
    "expect": (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na", {}),
    "junk": (b"junk\r\n\r\n", {}),
    "both framings": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        {},
    ),
    "too large": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n", {"max_body_size": 10}),
    "head late": (b"GET / HTTP/1.1\r\n", {"header_timeout": 0.02}),
    "body late": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n", {"body_timeout": 0.02}),
    "gone at once": (b"EOF", {}),
    "gone in the body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\naEOF", {}),
    "gzip": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(PACKED), PACKED),
        {"decompress": True},
    ),
}


@pytest.mark.parametrize("name", SERVER)
async def test_as_server(name: str) -> None:
    data, options = SERVER[name]
    settings: dict[str, Any] = {"code": 200, "headers": {"Content-Length": "2"}, "chunks": (b"hi",)} | options
    theirs, ours = await both(lambda library: library.as_server(data, **settings))
    assert (ours == theirs) == (name not in DIFFERENCES), (theirs, ours)
