"""Between a producer and its client: order, bounds and endings, with a client as slow as told."""

import asyncio
import errno
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wsgi.conftest import Serve, request, until
from webfw.httpserver import DONE
from webfw.wsgi import outlet as room
from webfw.wsgi.outlet import ClientDisconnected, Outlet
from webfw.wsgi.threads import Mailbox


class Exchange:
    """What an outlet writes to: takes everything, or waits until it is told."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.sent: list[bytes] = []
        self.waiting: asyncio.Future[None] | None = None

    def write(self, chunk: bytes) -> Any:
        self.sent.append(chunk)
        if not self.slow:
            return DONE
        self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting

    def take(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.set_result(None)


class Way:
    """An outlet on the running loop."""

    def __init__(self, exchange: Any, ceiling: int = 1 << 30) -> None:
        self.ends: list[BaseException | None] = []
        self.mailbox = Mailbox(asyncio.get_running_loop())
        self.outlet = Outlet(exchange, self.mailbox.post, self.ends.append, ceiling)
        self.failed: BaseException | None = None

    def produce(self, chunks: Any) -> threading.Thread:
        """Put from a thread."""

        def run() -> None:
            try:
                for chunk in chunks:
                    self.outlet.put(chunk)
                self.outlet.complete()
            except ClientDisconnected as error:
                self.failed = error

        thread = threading.Thread(target=run)
        thread.start()
        return thread


async def test_everything_comes_out_in_order() -> None:
    exchange = Exchange()
    way = Way(exchange)
    chunks = [bytes([i]) * (i * 1000) for i in range(1, 100)]
    thread = way.produce(chunks)
    await until(lambda: way.ends)
    thread.join()
    assert way.ends == [None]
    assert b"".join(exchange.sent) == b"".join(chunks)
    assert way.outlet._file is None


async def test_memory_is_bounded_and_the_rest_is_in_a_file() -> None:
    exchange = Exchange(slow=True)
    way = Way(exchange)
    chunks = [bytes([i]) * 50_000 for i in range(100)]
    way.produce(chunks).join()  # the thread is free though nobody takes anything
    await until(lambda: exchange.sent)
    outlet = way.outlet
    assert sum(map(len, outlet._chunks)) == outlet._size <= room.MEMORY
    assert outlet._file is not None
    assert outlet._size + outlet._written - outlet._read + len(exchange.sent[0]) == 5_000_000
    while not way.ends:
        exchange.take()
        await asyncio.sleep(0)
    assert b"".join(exchange.sent) == b"".join(chunks)
    assert max(map(len, exchange.sent)) <= room.PIECE
    assert outlet._file is None


@pytest.mark.parametrize(
    "chunks", [[b"x" * 3_000_000], [b"x" * 50_000] * 60, [b"x"] * 10 + [b"y" * 2_000_000, b"z"]]
)
async def test_a_client_that_is_quick_enough_needs_no_file(
    monkeypatch: pytest.MonkeyPatch, chunks: list[bytes]
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 60.0)
    monkeypatch.setattr(room.tempfile, "TemporaryFile", None)
    exchange = Exchange(slow=True)
    way = Way(exchange)
    thread = way.produce(chunks)
    most = 0
    while not way.ends:
        most = max(most, way.outlet._size)
        exchange.take()
        await asyncio.sleep(0)
    thread.join()
    assert way.ends == [None]
    assert b"".join(exchange.sent) == b"".join(chunks)
    assert most <= room.MEMORY


async def test_a_response_waits_for_its_client_but_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.001)
    exchange = Exchange(slow=True)
    way = Way(exchange)
    way.produce([b"x" * 2_000_000]).join()
    assert way.outlet._file is not None
    assert way.outlet._patience <= 0
    while way.outlet._file is not None or way.outlet._chunks:
        await asyncio.sleep(0)
        exchange.take()
    monkeypatch.setattr(way.outlet._lock, "wait_for", None)
    way.produce([b"x" * 2_000_000]).join()  # to the file, at once
    while not way.ends:
        await asyncio.sleep(0)
        exchange.take()
    assert way.failed is None
    assert len(b"".join(exchange.sent)) == 4_000_000


async def test_who_waits_for_a_quick_client_learns_that_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PATIENCE", 60.0)
    exchange = Exchange(slow=True)
    way = Way(exchange)
    thread = way.produce([b"x" * 2_000_000])
    await until(lambda: way.outlet._lock._waiters)  # type: ignore[attr-defined]  # however many pieces it took
    way.outlet.close()
    thread.join(10)
    assert isinstance(way.failed, ClientDisconnected)
    exchange.take()


async def test_on_the_loop_nobody_waits_for_a_quick_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PATIENCE", 60.0)
    exchange = Exchange()
    way = Way(exchange)
    way.outlet.put(b"x" * 2_000_000)
    assert way.outlet._file is not None
    way.outlet.complete()
    await until(lambda: way.ends)
    assert len(b"".join(exchange.sent)) == 2_000_000


async def test_back_to_memory_when_the_file_has_been_read() -> None:
    exchange = Exchange(slow=True)
    way = Way(exchange)
    expected = b""
    for turn in range(3):
        for size in (1000, room.MEMORY, 7):
            chunk = bytes([turn]) * size
            way.outlet.put(chunk)
            expected += chunk
        assert way.outlet._file is not None
        while way.outlet._file is not None or way.outlet._chunks:
            await asyncio.sleep(0)
            exchange.take()
        await asyncio.sleep(0)
    way.outlet.put(b"end")
    assert way.outlet._file is None
    way.outlet.complete()
    while not way.ends:
        await asyncio.sleep(0)
        exchange.take()
    assert b"".join(exchange.sent) == expected + b"end"


async def test_the_ceiling_holds_the_producer() -> None:
    exchange = Exchange(slow=True)
    way = Way(exchange, ceiling=100_000)
    made: list[int] = []

    def chunks() -> Any:
        for i in range(100):
            made.append(i)
            yield bytes([i]) * 10_000

    thread = way.produce(chunks())
    await until(lambda: way.outlet._full)
    assert len(made) <= 12
    assert way.outlet.has_moved()
    assert way.outlet.has_moved()  # waiting for the client is no fault of the application
    while not way.ends:
        exchange.take()
        await asyncio.sleep(0)
    thread.join()
    assert made == list(range(100))
    assert b"".join(exchange.sent) == b"".join(bytes([i]) * 10_000 for i in range(100))


async def test_whether_something_was_put() -> None:
    way = Way(Exchange())
    assert not way.outlet.has_moved()
    way.outlet.put(b"x")
    assert way.outlet.has_moved()
    assert not way.outlet.has_moved()
    way.outlet.close()


async def test_a_client_that_goes_ends_the_waiting_producer() -> None:
    way = Way(Exchange(slow=True), ceiling=1000)
    thread = way.produce(b"x" * 600 for _ in range(1000))
    await until(lambda: way.outlet._full)
    way.outlet.close()
    thread.join(10)
    assert not thread.is_alive()
    assert way.failed is not None
    with pytest.raises(ClientDisconnected):
        way.outlet.put(b"more")
    assert way.ends == []


async def test_a_client_that_goes_while_a_big_piece_is_put() -> None:
    way = Way(Exchange(slow=True))
    write = way.outlet._write

    def closing(piece: memoryview) -> None:
        write(piece)
        if way.outlet._written == 3 * room.PIECE:
            way.outlet._closed = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outlet, "_write", lambda self, piece: closing(piece))
        with pytest.raises(ClientDisconnected):
            way.outlet.put(b"x" * 1_000_000)
    assert way.outlet._written == 3 * room.PIECE
    way.outlet.close()


async def test_a_write_that_fails_later() -> None:
    exchange = Exchange(slow=True)
    way = Way(exchange)
    way.outlet.put(b"x")
    await until(lambda: exchange.waiting)
    assert exchange.waiting is not None
    exchange.waiting.set_exception(ConnectionError())
    await asyncio.sleep(0.01)
    with pytest.raises(ClientDisconnected):
        way.outlet.put(b"more")
    way.outlet.complete()
    await asyncio.sleep(0.01)
    assert way.ends == []  # its connection tells whoever must know


async def test_a_write_that_fails_at_once() -> None:
    class Broken(Exchange):
        def write(self, chunk: bytes) -> Any:
            raise ValueError("broken")

    way = Way(Broken())
    way.outlet.put(b"x")
    await until(lambda: way.ends)
    assert str(way.ends[0]) == "broken"
    with pytest.raises(ClientDisconnected):
        way.outlet.put(b"more")


async def test_the_loop_has_its_turn() -> None:
    exchange = Exchange()
    way = Way(exchange)
    for _ in range(5):
        for _ in range(16):
            way.outlet.put(b"x" * room.PIECE)
    turns = 0
    way.outlet.complete()
    while not way.ends:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 4
    assert sum(map(len, exchange.sent)) == 80 * room.PIECE


async def test_on_the_loop_nothing_waits() -> None:
    exchange = Exchange()
    way = Way(exchange, ceiling=10)
    for _ in range(10):
        way.outlet.put(b"x" * 100)
    way.outlet.complete()
    await until(lambda: way.ends)
    assert b"".join(exchange.sent) == b"x" * 1000


def test_a_loop_that_is_closed_ends_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_AROUND", 0.01)

    async def begin() -> Way:
        way = Way(Exchange(slow=True), ceiling=1000)
        thread = way.produce(b"x" * 600 for _ in range(1000))
        await until(lambda: way.outlet._full)
        threads.append(thread)
        return way

    threads: list[threading.Thread] = []
    loop = asyncio.new_event_loop()
    way = loop.run_until_complete(begin())
    loop.close()
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert way.failed is not None
    way.outlet.close()
    late = Outlet(Exchange(), way.mailbox.post, way.ends.append, 1000)  # type: ignore[arg-type]
    late.put(b"x")
    with pytest.raises(ClientDisconnected):
        late.put(b"x")


class Full:
    """A disk that takes a little."""

    def __init__(self, **options: Any) -> None:
        self.room = 100_000

    def seek(self, position: int) -> None:
        pass

    def write(self, piece: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(len(piece), self.room)
        self.room -= taken
        return taken

    def read(self, size: int) -> bytes:
        return b"x" * size

    def close(self) -> None:
        pass


async def test_a_full_disk_ends_the_response(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    ended = threading.Event()
    seen: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            for _ in range(1000):
                yield b"x" * 300_000
        except BaseException as error:
            seen.append(error)
            raise
        finally:
            ended.set()

    monkeypatch.setattr(room.tempfile, "TemporaryFile", Full)
    async with serve(app, "threads") as served:
        client = await served.connect()
        with expect_log("webfw.application", "the response was cut:.*No space left", count=1):
            answer = await client.ask()
            assert answer.cut
            await until(ended.is_set)
        assert [type(error) for error in seen] in ([], [GeneratorExit])
        assert served.log == [200]


async def test_a_file_that_cannot_be_read_ends_the_response() -> None:
    class Unreadable(Full):
        def read(self, size: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        def write(self, piece: memoryview) -> int:
            return len(piece)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room.tempfile, "TemporaryFile", Unreadable)
        way = Way(Exchange())
        way.outlet.put(b"x" * 300_000)
        await until(lambda: way.ends)
    assert "Input/output" in str(way.ends[0])


@given(st.data())
async def test_any_sizes_any_speed_any_end(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 1 << 32))
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, least, most in (("MEMORY", 1, 2000), ("BURST", 1, 5000), ("PIECE", 1, 700)):
            patch.setattr(room, name, chance.randint(least, most))
        exchange = Exchange()
        way = Way(exchange, ceiling=chance.choice([0, 100, 5000, 1 << 20]))
        chunks = [chance.randbytes(chance.choice([1, 10, 100, 3000])) for _ in range(chance.randint(0, 60))]
        gone = chance.choice([None, None, chance.randint(0, 30)])
        thread = way.produce(chunks)
        turns = 0
        while thread.is_alive() or not (way.ends or way.outlet._closed):
            exchange.slow = chance.random() < 0.7
            if chance.random() < 0.5:
                exchange.take()
            if turns == gone:
                way.outlet.close()
            turns += 1
            await asyncio.sleep(chance.choice([0, 0, 0, 0.0001]))
        thread.join()
        sent, whole = b"".join(exchange.sent), b"".join(chunks)
        if way.ends:
            assert way.ends == [None]
            assert sent == whole
        else:
            assert whole.startswith(sent)
        assert way.outlet._file is None
        exchange.take()
        await asyncio.sleep(0)


@pytest.mark.parametrize("speed", [1 << 12, 1 << 16])
async def test_fuzzed_over_a_real_socket(serve: Serve, mode: str, speed: int) -> None:
    chance = random.Random(speed)
    bodies = {
        f"/{i}": [chance.randbytes(chance.choice([0, 1, 1000, 70_000, 300_000])) for _ in range(30)]
        for i in range(4)
    }

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter(bodies[environ["PATH_INFO"]])

    async with serve(app, mode, max_response_backlog=200_000) as served:

        async def one(path: str, check: Callable[[bytes], None]) -> None:
            client = await served.connect()
            client.send(request(path))
            await client.reader.readuntil(b"\r\n\r\n")
            body = b""
            while size := int(await client.reader.readuntil(b"\r\n"), 16):
                body += await client.reader.readexactly(size)
                await client.reader.readexactly(2)
                if len(body) % 3 == 0:
                    await asyncio.sleep(0.001)
            check(body)

        def check(path: str) -> Callable[[bytes], None]:
            def compare(body: bytes) -> None:
                assert body == b"".join(bodies[path])

            return compare

        await asyncio.gather(*[one(path, check(path)) for path in bodies])
