import asyncio
import gzip
from typing import Any

import pytest

from webfw.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from webfw.httputil import HTTPHeaders, HTTPOutputError, RequestStartLine, ResponseStartLine
from webfw.iostream import StreamClosedError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def client(far: Any, method: str = "GET", **params: Any) -> HTTP1Connection:
    conn = HTTP1Connection(far.stream, True, HTTP1ConnectionParameters(**params), "context")
    conn.write_headers(RequestStartLine(method, "/", ""), HTTPHeaders({"Host": "x"}))
    return conn


def server(far: Any, **params: Any) -> HTTP1Connection:
    return HTTP1Connection(far.stream, False, HTTP1ConnectionParameters(**params), "context")


def answer(conn: HTTP1Connection, headers: dict[str, str] | None = None, status: int = 200) -> None:
    conn.write_headers(ResponseStartLine("", status, "OK"), HTTPHeaders(headers or {}), b"hi")
    conn.finish()


# --- as a client ---


async def test_two_exchanges_on_one_stream(peer: Any, told: Any) -> None:
    far = peer()
    far.send(OK + b"HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n")
    for status, body in ((200, b"hi"), (404, b"ho")):
        conn = client(far)
        assert conn.is_client
        assert conn.context == "context"
        conn.finish()
        delegate = told()
        assert await conn.read_response(delegate)
        assert delegate.events[0][1] == status
        assert delegate.events[1:] == ["finish"]
        assert delegate.body == body
    assert await far.read_until(GET + GET) == GET + GET
    assert not far.stream.closed()
    far.stream.close()


async def test_a_request_with_a_body(peer: Any, told: Any) -> None:
    far = peer()
    far.send(OK)
    conn = client(far, "POST")
    await conn.write(b"abc")
    conn.write(bytearray(b"d"))  # type: ignore[arg-type]
    conn.finish()
    conn.finish()  # may be said again
    assert await conn.read_response(told())
    assert (await far.read_until(b"0\r\n\r\n")).endswith(b"\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
    with pytest.raises(HTTPOutputError, match="between"):
        conn.write(b"more")
    far.stream.close()


async def test_interim_responses_and_their_limit(peer: Any, told: Any) -> None:
    far = peer()
    far.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\n" + OK)
    delegate = told()
    conn = client(far)
    assert await conn.read_response(delegate)
    assert [event[1] for event in delegate.events[:-1]] == [100, 103, 200]
    far.stream.close()
    far = peer()
    far.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 12)
    delegate = told()
    assert not await client(far).read_response(delegate)
    assert delegate.events[-1] == "closed"
    assert far.stream.closed()


async def test_head_has_no_body(peer: Any, told: Any) -> None:
    far = peer()
    far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n")
    delegate = told()
    conn = client(far, "HEAD", decompress=True)
    conn.finish()
    assert await conn.read_response(delegate)
    assert delegate.events[-1] == "finish"
    assert delegate.headers["Content-Encoding"] == "gzip"  # nothing was unpacked
    far.stream.close()


async def test_a_packed_response_in_small_pieces(peer: Any, told: Any) -> None:
    far = peer()
    packed = gzip.compress(b"x" * 1000)
    far.send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    )
    delegate = told()
    assert await client(far, decompress=True, chunk_size=300).read_response(delegate)
    assert delegate.body == b"x" * 1000
    assert max(delegate.sizes) == 300
    assert delegate.headers["X-Consumed-Content-Encoding"] == "gzip"
    far.stream.close()


@pytest.mark.parametrize(
    "response",
    [
        b"junk\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\n" % (b"x" * 1000),
    ],
)
async def test_malformed_responses_close_the_stream(peer: Any, told: Any, response: bytes) -> None:
    far = peer()
    far.send(response)
    delegate = told()
    assert not await client(far, max_body_size=10, max_header_size=500).read_response(delegate)
    assert far.stream.closed()
    assert "finish" not in delegate.events
    assert delegate.events[-1] == "closed"


async def test_deadlines(peer: Any, told: Any) -> None:
    far = peer()
    far.send(b"HTTP/1.1 200")
    delegate = told()
    assert not await client(far, header_timeout=0.02).read_response(delegate)
    assert delegate.events == []
    far = peer()
    far.send(OK[:-1])
    assert not await client(far, body_timeout=0.02).read_response(delegate)
    assert delegate.events[1:] == ["closed"]
    assert far.stream.closed()


async def test_a_deadline_set_while_the_body_is_read(peer: Any, told: Any) -> None:
    class Impatient(told):  # type: ignore[misc]
        def data_received(self, chunk: bytes) -> None:
            conn.set_body_timeout(0.02)

    far = peer()
    far.send(OK[:-1])
    conn = client(far)
    assert not await conn.read_response(Impatient())


async def test_a_deadline_taken_off(peer: Any, told: Any) -> None:
    class Patient(told):  # type: ignore[misc]
        def data_received(self, chunk: bytes) -> None:
            conn.set_body_timeout(0)
            asyncio.get_running_loop().call_later(0.6, far.send, b"i")

    far = peer()
    far.send(OK[:-1])
    conn = client(far, body_timeout=0.3)
    assert await conn.read_response(Patient())
    far.stream.close()


async def test_a_limit_set_with_the_head(peer: Any, told: Any) -> None:
    class Bounded(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            conn.set_max_body_size(limit)

    for limit in (3, 4):
        far = peer()
        far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")
        conn = client(far, max_body_size=1)
        assert await conn.read_response(Bounded()) == (limit == 4)
        far.stream.close()


async def test_a_delegate_may_make_the_sender_wait_and_may_fail(peer: Any, told: Any) -> None:
    class Slow(told):  # type: ignore[misc]
        async def headers_received(self, start_line: Any, headers: Any) -> None:
            self.events.append("begin")
            await asyncio.sleep(0)
            self.events.append("end")

        async def data_received(self, chunk: bytes) -> None:
            self.events.append("data")
            raise error

    for error in (ValueError("no"), TimeoutError("own")):
        far = peer()
        far.send(OK)
        delegate = Slow()
        with pytest.raises(type(error), match=str(error)):
            await client(far).read_response(delegate)
        assert delegate.events == ["begin", "end", "data", "closed"]
        assert far.stream.closed()


async def test_a_delegate_that_fails_at_the_close_as_well(peer: Any, told: Any, expect_log: Any) -> None:
    class Bad(told):  # type: ignore[misc]
        def on_connection_close(self) -> None:
            raise ValueError("late")

    far = peer()
    far.send(OK[:-1])
    far.end()
    with expect_log("webfw.application", "on_connection_close"), pytest.raises(StreamClosedError):
        await client(far).read_response(Bad())


async def test_detach(peer: Any, told: Any) -> None:
    class Upgrade(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            self.stream = conn.detach()

    far = peer()
    far.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\nframes")
    conn = client(far, "POST")
    delegate = Upgrade()
    assert not await conn.read_response(delegate)
    assert delegate.events == []
    assert delegate.stream is far.stream
    assert await far.stream.read_bytes(6) == b"frames"
    assert not await conn.read_response(delegate)
    with pytest.raises(StreamClosedError):
        await conn.write(b"x")
    conn.close()
    assert not far.stream.closed()
    far.stream.close()


async def test_close_callback_of_an_idle_client(peer: Any) -> None:
    far = peer()
    conn = client(far)
    closed = asyncio.Event()
    conn.set_close_callback(closed.set)
    far.end()
    await closed.wait()
    assert far.stream.closed()


async def test_writing_to_a_closed_stream(peer: Any) -> None:
    far = peer()
    conn = client(far, "POST")
    far.stream.close()
    with pytest.raises(StreamClosedError):
        await conn.write(b"a")
    conn.write(b"nobody waits for this one")
    conn.finish()


async def test_misuse(peer: Any) -> None:
    far = peer()
    conn = HTTP1Connection(far.stream, True)
    with pytest.raises(HTTPOutputError, match="before"):
        conn.finish()
    with pytest.raises(HTTPOutputError, match="between"):
        conn.write(b"a")
    with pytest.raises(TypeError, match="other side"):
        conn.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
    conn.write_headers(RequestStartLine("PUT", "/", ""), HTTPHeaders({"Content-Length": "3"}), b"ab")
    with pytest.raises(HTTPOutputError, match="already"):
        conn.write_headers(RequestStartLine("GET", "/", ""), HTTPHeaders())
    with pytest.raises(HTTPOutputError, match="less"):
        conn.finish()
    assert far.stream.closed()
    far = peer()
    conn = HTTP1Connection(far.stream, True)
    conn.write_headers(RequestStartLine("PUT", "/", ""), HTTPHeaders({"Content-Length": "3"}), b"ab")
    with pytest.raises(HTTPOutputError, match="more"):
        conn.write(b"cd")
    assert far.stream.closed()


# --- as a server ---


async def test_a_request_is_read_and_answered(peer: Any, told: Any) -> None:
    far = peer()
    far.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + GET)
    conn = server(far)
    delegate = told(lambda: answer(conn))
    assert await conn.read_response(delegate)
    assert delegate.events == [("POST", "/a", "HTTP/1.1"), "finish"]
    assert delegate.body == b"abc"
    conn = server(far)
    assert await conn.read_response(told(lambda: answer(conn, {"Content-Length": "2"})))
    assert (await far.read_until(b"\r\n\r\nhi")).count(b"200 OK") == 2
    far.stream.close()


async def test_an_answer_that_comes_later(peer: Any, told: Any) -> None:
    far = peer()
    far.send(GET)
    conn = server(far)
    loop = asyncio.get_running_loop()
    assert await conn.read_response(told(lambda: loop.call_soon(answer, conn)))
    far.stream.close()


async def test_a_large_answer_is_waited_for(peer: Any, told: Any) -> None:
    far = peer()
    far.send(GET)
    conn = server(far, no_keep_alive=True)

    def much() -> None:
        conn.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
        conn.write(b"x" * 3_000_000)
        conn.finish()

    reading = asyncio.ensure_future(conn.read_response(told(much)))
    got = await far.read_until(b"0\r\n\r\n")
    assert len(got) > 3_000_000
    assert not await reading
    assert far.stream.closed()


async def test_close_callback_while_the_answer_is_waited_for(peer: Any, told: Any) -> None:
    far = peer()
    far.send(GET)
    conn = server(far)
    closed: list[bool] = []
    delegate = told(lambda: (conn.set_close_callback(lambda: closed.append(True)), far.end()))
    assert not await conn.read_response(delegate)
    assert closed == [True]
    assert delegate.events[-1] == "finish"  # the delegate has its whole message


async def test_continue(peer: Any, told: Any) -> None:
    far = peer()
    far.send(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    conn = server(far)
    delegate = told(lambda: answer(conn))
    reading = asyncio.ensure_future(conn.read_response(delegate))
    assert await far.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    far.send(b"abc")
    assert await reading
    assert delegate.body == b"abc"
    far.stream.close()


async def test_a_refused_expectation_ends_the_connection(peer: Any, told: Any) -> None:
    class Refuse(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            answer(conn, status=417)

    far = peer()
    far.send(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    conn = server(far)
    delegate = Refuse()
    assert not await conn.read_response(delegate)
    assert b"100 Continue" not in await far.read_until(b"")
    assert delegate.events == []


async def test_an_early_answer_drops_the_rest_of_the_body(peer: Any, told: Any) -> None:
    class Early(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            answer(conn)

    far = peer()
    far.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + GET)
    conn = server(far)
    delegate = Early()
    assert await conn.read_response(delegate)
    assert delegate.body == b""
    assert delegate.events == []  # nobody needs the end of it
    conn = server(far)
    assert await conn.read_response(told(lambda: answer(conn)))
    far.stream.close()


async def test_an_early_answer_does_not_drop_without_end(peer: Any, told: Any) -> None:
    class Early(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            answer(conn)

    far = peer()
    conn = server(far)
    reading = asyncio.ensure_future(conn.read_response(Early()))
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(far.sock, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await loop.sock_sendall(far.sock, b"x" * 9_000_000)
    with pytest.raises(StreamClosedError):
        await reading


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"junk\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n%b" % (b"x" * 11), b"413"),
        (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 1000), b"431"),
    ],
)
async def test_malformed_requests_are_answered(
    peer: Any, told: Any, request_bytes: bytes, status: bytes
) -> None:
    far = peer()
    far.send(request_bytes)
    assert not await server(far, max_body_size=10, max_header_size=500).read_response(told())
    assert far.stream.closed()
    assert (await far.read_until(b"")).startswith(b"HTTP/1.1 " + status)


async def test_a_body_that_turns_out_wrong_after_the_answer_has_begun(peer: Any, told: Any) -> None:
    class Begin(told):  # type: ignore[misc]
        def headers_received(self, start_line: Any, headers: Any) -> None:
            conn.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())

    far = peer()
    far.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
    conn = server(far)
    assert not await conn.read_response(Begin())
    assert b"400" not in await far.read_until(b"")


async def test_an_interim_answer_of_the_programs_own(peer: Any, told: Any) -> None:
    def early() -> None:
        conn.write_headers(ResponseStartLine("", 103, "Early Hints"), HTTPHeaders({"Link": "</\xe9>"}))
        answer(conn)

    far = peer()
    far.send(GET)
    conn = server(far)
    assert await conn.read_response(told(early))
    got = await far.read_until(b"0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </\xe9>\r\n\r\nHTTP/1.1 200 OK\r\n")
    far.stream.close()
