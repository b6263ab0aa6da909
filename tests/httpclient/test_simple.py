"""Tests of webfw.httpclient.simple."""

import asyncio
import contextlib
import gc
import re
import socket
import subprocess
import sys
import threading
import weakref
from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.httpclient.conftest import Call, serving, using
from webfw import simple_httpclient
from webfw.httpclient import AsyncHTTPClient, HTTPClient, HTTPRequest, HTTPStreamClosedError
from webfw.ioloop import IOLoop
from webfw.netutil import Resolver
from webfw.simple_httpclient import SimpleAsyncHTTPClient


class Turns:
    """A server that answers when told, and knows how many wait."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self.go = asyncio.Semaphore(0)

    async def talk(self, call: Call) -> None:
        while True:
            head, _ = await call.request()
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.go.acquire()
            self.waiting -= 1
            call.answer(head.split()[1].encode())

    async def until(self, number: int) -> None:
        while self.waiting != number:
            await asyncio.sleep(0)


# --- which client ---


async def test_the_default() -> None:
    client = AsyncHTTPClient()
    assert isinstance(client, SimpleAsyncHTTPClient)
    assert AsyncHTTPClient.configured_class() is SimpleAsyncHTTPClient
    assert simple_httpclient.SimpleAsyncHTTPClient is SimpleAsyncHTTPClient


@pytest.mark.parametrize(
    "name",
    [
        "tornado.simple_httpclient.SimpleAsyncHTTPClient",
        "webfw.simple_httpclient.SimpleAsyncHTTPClient",
        "webfw.httpclient.simple.SimpleAsyncHTTPClient",
    ],
)
async def test_by_name(name: str) -> None:
    saved = AsyncHTTPClient._save_configuration()
    try:
        AsyncHTTPClient.configure(name, max_clients=3)
        client = AsyncHTTPClient(force_instance=True)
        assert isinstance(client, SimpleAsyncHTTPClient)
        assert client.max_clients == 3
        client.close()
    finally:
        AsyncHTTPClient._restore_configuration(saved)


async def test_arguments() -> None:
    async with using() as client:
        assert (client.max_clients, client.max_buffer_size, client.max_body_size) == (
            10,
            104857600,
            104857600,
        )
        assert client.max_header_size is None
        assert client.own_resolver
        assert client.tcp_client.resolver is client.resolver
    async with using(max_buffer_size=7, max_header_size=8) as client:
        assert (client.max_body_size, client.max_header_size) == (7, 8)
    for name in ("max_clients", "max_connections_per_origin"):
        with pytest.raises(ValueError, match=f"{name} must be 1 or more, not 0"):
            SimpleAsyncHTTPClient(force_instance=True, **{name: 0})
    with pytest.raises(TypeError):
        SimpleAsyncHTTPClient(force_instance=True, nonsense=1)


async def test_resolvers_are_closed_by_their_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Mine(Resolver):
        def close(self) -> None:
            closed.append(self)

    mine = Mine()
    SimpleAsyncHTTPClient(force_instance=True, resolver=mine).close()
    assert closed == []
    client = SimpleAsyncHTTPClient(force_instance=True)
    monkeypatch.setattr(client.resolver, "close", lambda: closed.append(client.resolver))
    client.close()
    client.close()
    assert closed == [client.resolver]


async def test_names_that_mean_others() -> None:
    async with serving() as server:
        mapping = {"a.test": "127.0.0.1", ("b.test", 80): ("127.0.0.1", server.port)}
        async with using(hostname_mapping=mapping) as client:
            assert (await client.fetch(f"http://a.test:{server.port}/x")).body == b"/x"
            assert (await client.fetch("http://b.test/y")).body == b"/y"
            assert "Host: b.test\r\n" in server.heads[1]


# --- limits ---


async def test_so_many_at_a_time() -> None:
    turns = Turns()
    async with serving(turns.talk) as server, using(max_clients=3) as client:
        futures = [client.fetch(f"{server.url}/{number}") for number in range(10)]
        assert (len(client.active), len(client.queue), len(client.waiting)) == (3, 7, 7)
        await turns.until(3)
        for _ in range(10):
            turns.go.release()
        bodies = [(await future).body for future in futures]
        assert bodies == [b"/%d" % number for number in range(10)]
        assert turns.most == 3
        assert len(server.calls) == 3
        assert client.pool.idle == 3


async def test_so_many_to_one_origin() -> None:
    turns = Turns()
    limits = {"max_clients": 5, "max_connections_per_origin": 2}
    async with serving(turns.talk) as server, serving() as other, using(**limits) as client:
        futures = [client.fetch(f"{server.url}/{number}") for number in range(4)]
        # Those that wait for one origin are in nobody's way.
        assert (await client.fetch(f"{other.url}/other")).body == b"/other"
        await turns.until(2)
        for _ in range(4):
            turns.go.release()
        for future in futures:
            await future
        assert turns.most == 2
        assert len(server.calls) == 2


async def test_who_waits_may_give_up() -> None:
    turns = Turns()
    async with serving(turns.talk) as server, using(max_clients=1) as client:
        first, second, third = (client.fetch(f"{server.url}/{number}") for number in range(3))
        second.cancel()
        turns.go.release()
        turns.go.release()
        assert (await first).body == b"/0"
        assert (await third).body == b"/2"


async def test_unused_connections_are_closed() -> None:
    closed = asyncio.Event()

    async def talk(call: Call) -> None:
        await call.request()
        call.answer()
        assert await call.reader.read() == b""
        closed.set()

    async with serving(talk) as server, using(idle_timeout=0.3) as client:
        await client.fetch(server.url)
        assert client.pool.idle == 1
        await closed.wait()
        assert client.pool.idle == 0
        assert len(client.sweeper) == 0


async def test_no_connection_is_kept() -> None:
    async with serving() as server, using(idle_timeout=0) as client:
        await client.fetch(server.url)
        await client.fetch(server.url)
        assert len(server.calls) == 2


async def test_a_connection_the_server_closes_is_forgotten() -> None:
    async def talk(call: Call) -> None:
        await call.request()
        call.answer()
        await call.writer.drain()

    async with serving(talk) as server, using() as client:
        await client.fetch(server.url)
        while client.pool.idle:
            await asyncio.sleep(0)
        await client.fetch(server.url, method="POST", body="x")
        assert len(server.calls) == 2


# --- the end ---


async def test_closing_fails_what_waits() -> None:
    turns = Turns()
    async with serving(turns.talk) as server:
        client = SimpleAsyncHTTPClient(force_instance=True, max_clients=1)
        futures = [client.fetch(server.url) for _ in range(3)]
        await turns.until(1)
        client.close()
        for future in futures:
            with pytest.raises(HTTPStreamClosedError, match="the HTTP client was closed"):
                await future
        with pytest.raises(RuntimeError):
            client.fetch(server.url)


async def test_closing_while_connecting() -> None:
    async with serving() as server:
        for turns in range(8):
            client = SimpleAsyncHTTPClient(force_instance=True)
            future = client.fetch(server.url)
            for _ in range(turns):
                await asyncio.sleep(0)
            client.close()
            if not future.done():
                pytest.fail("left waiting")
            future.exception()


async def test_a_client_that_is_forgotten() -> None:
    async def talk(call: Call) -> None:
        await call.request()
        call.answer()
        assert await call.reader.read() == b""
        closed.set()

    closed = asyncio.Event()
    async with serving(talk) as server:
        # It is kept while a request is under way.
        assert (await SimpleAsyncHTTPClient(force_instance=True).fetch(server.url)).body == b"ok"
        gc.collect()
        await closed.wait()


async def test_a_client_is_collected() -> None:
    async with serving() as server:
        client = SimpleAsyncHTTPClient(force_instance=True)
        await client.fetch(server.url)
        known = weakref.ref(client)
        client.close()
        del client
        await asyncio.sleep(0)
        gc.collect()
        assert known() is None


PROGRAMS = {
    "idle": "asyncio.run(main())",
    "under way": "async def main(): AsyncHTTPClient().fetch(url); await asyncio.sleep(0.05)\nasyncio.run(main())",
    "just begun": "async def main(): AsyncHTTPClient().fetch(url)\nasyncio.run(main())",
    "waiting": "async def main(): [AsyncHTTPClient().fetch(url) for _ in range(30)]\nasyncio.run(main())",
    "awaited": (
        "async def main():\n"
        "    t = asyncio.create_task(wait()); await asyncio.sleep(0.05)\n"
        "async def wait(): await AsyncHTTPClient().fetch(url + 'never')\n"
        "asyncio.run(main())"
    ),
    "twice": "asyncio.run(main()); asyncio.run(main())",
    "own": "async def main(): await AsyncHTTPClient(force_instance=True).fetch(url)\nasyncio.run(main())",
    "run_sync": "l = IOLoop(); l.run_sync(main); l.close(all_fds=True)",
    "begun with run_sync": (
        "async def main(): AsyncHTTPClient().fetch(url)\nl = IOLoop(); l.run_sync(main); l.close(all_fds=True)"
    ),
    "blocking": "HTTPClient().fetch(url)",
}


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
async def test_programs_that_never_close(name: str, tls: bool, server_context: Any, ca_certs: str) -> None:
    """No warning of a thing left open, and no task: all programs leave their client as it is."""

    async def talk(call: Call) -> None:
        while True:
            head, _ = await call.request()
            if "never" not in head:
                call.answer()

    async with serving(talk, context=server_context if tls else None) as server:
        program = (
            "import asyncio\n"
            "from webfw.httpclient import AsyncHTTPClient, HTTPClient\n"
            "from webfw.ioloop import IOLoop\n"
            f"url = {server.url + '/'!r}\n"
            f"AsyncHTTPClient.configure(None, defaults={{'ca_certs': {ca_certs!r}}})\n"
            f"async def main(): await AsyncHTTPClient().fetch(url)\n{PROGRAMS[name]}\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "error", "-c", program),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        # What asyncio's debug mode says of a machine that was busy is no fault.
        said = re.sub(r"(?m)^Executing <.* took [\d.]+ seconds\n", "", output.decode())
        assert said == ""
        assert process.returncode == 0


def test_blocking() -> None:
    loop = IOLoop(make_current=False)
    started: list[Any] = []

    async def serve() -> None:
        started.append(serving())
        started.append(await started[0].__aenter__())

    async def end() -> None:
        await started[0].__aexit__(None, None, None)

    async def fetch() -> list[bytes]:
        def work() -> list[bytes]:
            with HTTPClient(max_clients=1) as client:
                return [client.fetch(HTTPRequest(f"{started[1].url}/{number}")).body for number in range(3)]

        return await asyncio.to_thread(work)

    async def shut_down() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()

    try:
        loop.run_sync(serve)
        assert loop.run_sync(fetch) == [b"/0", b"/1", b"/2"]
        assert len(started[1].calls) == 1
        loop.run_sync(end)
        loop.run_sync(shut_down)
    finally:
        loop.close()


async def test_blocking_between_requests_sees_nothing() -> None:
    """The farewell of the server is then in the system's hands, and the next request must not go by that way."""
    ended = asyncio.Event()

    async def talk(call: Call) -> None:
        for _ in range(2):
            await call.request()
            call.answer()
        await call.writer.drain()
        call.writer.close()
        await call.writer.wait_closed()
        asyncio.get_running_loop().call_soon(ended.set)

    async with serving(talk) as server:
        with await asyncio.to_thread(HTTPClient) as client:
            for _ in range(2):
                await asyncio.to_thread(client.fetch, server.url)
            await ended.wait()
            response = await asyncio.to_thread(client.fetch, server.url, method="POST", body="x")
            assert response.body == b"ok"
            assert len(server.calls) == 2
            await asyncio.to_thread(client.close)


async def test_what_came_while_the_loop_was_busy_is_no_answer() -> None:
    """What nobody has asked for must not be taken for the answer to the request that comes next."""
    late = threading.Event()

    def serve(listening: socket.socket) -> None:
        for number in (1, 2):
            sock, _ = listening.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
                if number == 1:
                    asked.wait()
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                    late.set()
                with contextlib.suppress(ConnectionResetError):
                    sock.recv(65536)

    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        async with using() as client:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            assert (await client.fetch(url)).body == b"1"
            asked.set()
            late.wait()  # in which the loop reads nothing
            assert (await client.fetch(url)).body == b"2"
        await asyncio.to_thread(thread.join)


# --- everything at once ---


class Moody:
    """A server in changing moods; what it answers names the request."""

    def __init__(self, random: Random) -> None:
        self.random = random

    async def talk(self, call: Call) -> None:
        random = self.random
        while True:
            head, _ = await call.request()
            body = head.split()[1].encode()
            for _ in range(random.choice((0, 0, 0, 1, 5))):
                await asyncio.sleep(0)
            mood = random.randrange(12)
            if mood == 0:
                return  # without an answer
            if mood == 1:
                call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + body)
                return
            if mood == 2:
                call.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
                await call.writer.drain()
                call.writer.write_eof()
                await call.reader.read()
                return
            if mood == 3:
                call.answer(body)
                call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            elif mood == 4:
                call.send(b"hello, world")
                return
            elif mood == 5:
                call.answer(body, Connection="close")
            elif mood == 6:
                call.answer(b"", "302 Found", Location=body.decode())
            elif mood == 7:
                size = b"%x\r\n" % len(body)
                call.send(
                    b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size
                )
                await asyncio.sleep(0)
                call.send(body + b"\r\n0\r\n\r\n")
            elif mood == 8:
                call.answer(body)
                await call.writer.drain()
                return  # without a word
            else:
                call.answer(body)
            await call.writer.drain()


@pytest.mark.parametrize("seed", range(6))
async def test_no_answer_goes_to_another(seed: int) -> None:
    """Whatever servers and programs do, a response that comes is that of its request, and no place is lost."""
    random = Random(seed)
    moody = Moody(random)
    outcomes: Counter[str] = Counter()
    pieces: list[bytes] = []

    async def one(client: SimpleAsyncHTTPClient, url: str, number: int) -> None:
        path = f"/{number}"
        arguments: dict[str, Any] = {}
        if number % 5 == 0:
            arguments = {"method": "POST", "body": "x"}
        elif number % 7 == 0:
            arguments = {"streaming_callback": lambda piece: asyncio.sleep(0)}
        elif number % 11 == 0:
            arguments = {"streaming_callback": pieces.append}
        future = client.fetch(url + path, max_redirects=50, **arguments)
        if number % 13 == 0:
            for _ in range(random.randrange(10)):
                await asyncio.sleep(0)
            future.cancel()
        try:
            response = await future
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1
        except HTTPStreamClosedError:
            outcomes["closed"] += 1
        else:
            outcomes["answered"] += 1
            if "streaming_callback" not in arguments:
                assert response.body == path.encode()

    limits = {"max_clients": 8, "max_connections_per_origin": 5, "idle_timeout": 0.05}
    async with serving(moody.talk) as server, serving(moody.talk) as other, using(**limits) as client:
        for start in range(0, 400, 40):
            urls = [random.choice((server.url, other.url)) for _ in range(40)]
            await asyncio.gather(*[one(client, url, start + index) for index, url in enumerate(urls)])
            assert not client.active
            assert not client.queue
        assert b"evil" not in b"".join(pieces)
        assert outcomes["answered"] > 200
        assert client.pool.idle <= 8
        assert client.sweeper._watched.keys() <= {client.pool}


async def test_how_many_fields() -> None:
    async def talk(call: Call) -> None:
        while True:
            number = int((await call.head()).split()[1][1:])
            call.answer(b"", **{f"X_{i}": "y" for i in range(number - 1)})  # and Content-Length

    async with serving(talk) as server, using() as client:
        assert len((await client.fetch(f"{server.url}/256")).headers) == 256
        with pytest.raises(HTTPStreamClosedError, match="more than 256 field lines"):
            await client.fetch(f"{server.url}/257")
