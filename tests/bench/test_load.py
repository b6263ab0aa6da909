"""The load generator must not be fooled: servers that answer wrongly end it, and what it counts is what was there."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bench import build as programs
from bench import peers
from bench.load import HTTPLoad, Load, build

pytestmark = [
    pytest.mark.needs("cc"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="wsload uses epoll"),
]

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes, first: int = 0x80) -> bytes:
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([first | opcode]) + length + payload


class Server:
    """Shakes hands with `head`, then gives each message to `react`; pings and closes are answered rightly."""

    def __init__(
        self, react: Callable[["Server", asyncio.StreamWriter, int, bytes], None], head: bytes
    ) -> None:
        self.react = react
        self.head = head
        self.writers: list[asyncio.StreamWriter] = []
        self.received = 0
        self.pongs: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.writers.append(writer)
            writer.write(self.head)
            while True:
                first, second = await reader.readexactly(2)
                assert second & 0x80, "a client masks"
                length = second & 127
                if length == 126:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                key = await reader.readexactly(4)
                masked = await reader.readexactly(length)
                payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))
                opcode = first & 15
                if opcode == CLOSE:
                    writer.write(frame(CLOSE, payload))
                    return
                if opcode == PONG:
                    self.pongs.append(payload)
                else:
                    self.received += 1
                    self.react(self, writer, opcode, payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(
    react: Callable[[Server, asyncio.StreamWriter, int, bytes], None], head: bytes = SWITCH
) -> AsyncIterator[tuple[Server, int]]:
    server = Server(react, head)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield server, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        ends = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for writer in server.writers:
            writer.close()
        await asyncio.wait_for(asyncio.gather(*ends, return_exceptions=True), 5)


async def drive(port: int, *commands: str, connections: int = 2) -> list[dict[str, float]]:
    """What the generator answers; `SystemExit` with its complaint."""

    def work() -> list[dict[str, float]]:
        with Load("/", connections, [port]) as load:
            return [load.ask(command) for command in commands]

    def guarded() -> list[dict[str, float]] | SystemExit:
        try:
            return work()
        except SystemExit as stop:  # must not pass through the executor, which takes it for its own end
            return stop

    found = await asyncio.to_thread(guarded)
    if isinstance(found, SystemExit):
        raise found
    return found


def echo(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
    writer.write(frame(opcode, payload))


def to_all(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
    for each in server.writers:
        each.write(frame(opcode, payload))


async def test_echoes_are_counted_as_the_server_counts_them() -> None:
    async with running(echo) as (server, port):
        text, binary = await drive(port, "echo text 64 0.05", "echo binary 16384 0")
    assert text["received"] == text["sent"] > 2
    assert binary["received"] == 2  # no time: one message on each connection
    assert text["received"] + binary["received"] == server.received
    assert 0 < text["p50_us"] <= text["p99_us"] <= text["seconds"] * 1.05e6
    assert 0 < text["busy"] < 1.2


async def test_pings_are_answered_in_between() -> None:
    def ping(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
        writer.write(frame(PING, b"there?") + frame(opcode, payload))

    async with running(ping) as (server, port):
        await drive(port, "echo text 64 0")
    assert server.pongs == [b"there?"] * 2


WRONG_ECHOES = {
    "another byte": (lambda op, p: frame(op, p[:-1] + b"!"), "other bytes came back"),
    "the number of another message": (lambda op, p: frame(op, b"0" * 16 + p[16:]), "other bytes came back"),
    "a shorter one": (lambda op, p: frame(op, p[:-1]), "63 bytes came back for 64"),
    "another opcode": (lambda op, p: frame(BINARY, p), "opcode 2 came back for 1"),
    "twice": (lambda op, p: frame(op, p) * 2, "came"),
    "in fragments": (lambda op, p: frame(op, p[:9], 0) + frame(0, p[9:]), "a fragment came"),
    "with a reserved bit": (lambda op, p: frame(op, p, 0xC0), "a reserved bit"),
    "masked": (lambda op, p: bytes([0x80 | op, 0x80 | len(p)]) + bytes(4) + p, "a masked frame"),
    "with opcode 3": (lambda op, p: frame(3, p), "opcode 3 came"),
    "a close": (lambda op, p: frame(CLOSE, b"\x03\xf3"), "the server closes it with 1011"),
}


@pytest.mark.parametrize("wrong", WRONG_ECHOES)
async def test_a_wrong_echo_ends_it(wrong: str) -> None:
    answer, complaint = WRONG_ECHOES[wrong]

    def react(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
        writer.write(answer(opcode, payload))

    async with running(react) as (_, port):
        with pytest.raises(SystemExit, match=complaint):
            await drive(port, "echo text 64 0.02")


WRONG_HEADS = {
    "an error": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not upgraded: HTTP/1.1 404"),
    "another key": (SWITCH.replace(b"s3p", b"S3p"), "wrong Sec-WebSocket-Accept"),
    "an extension": (SWITCH[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "an extension"),
}


@pytest.mark.parametrize("wrong", WRONG_HEADS)
async def test_a_wrong_handshake_ends_it(wrong: str) -> None:
    head, complaint = WRONG_HEADS[wrong]
    async with running(echo, head) as (_, port):
        with pytest.raises(SystemExit, match=complaint):
            await drive(port)


async def test_published_messages_are_counted_on_every_connection() -> None:
    async with running(to_all) as (server, port):
        window, rate = await drive(port, "publish 64 0.05 0 1", "publish 64 0.1 100 1", connections=5)
    assert window["received"] == window["sent"] * 5
    assert (rate["sent"], rate["received"]) == (10, 50)
    assert server.received == window["sent"] + rate["sent"]
    assert window["lost"] == rate["lost"] == 0


async def test_a_published_message_may_come_in_an_envelope() -> None:
    def wrapped(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
        text = json.dumps({"channel": "room", "id": "7-1", "data": payload.decode()})
        to_all(server, writer, TEXT, text.encode())

    greeting = SWITCH + frame(TEXT, b'{"channel": "room", "id": "7-0", "joined": true}')
    async with running(wrapped, greeting) as (_, port):
        greeted, found = await drive(port, "greeted", "publish 64 0.1 100 1")
    assert greeted == {"greeted": 2}
    assert (found["sent"], found["received"], found["lost"]) == (10, 20, 0)


@pytest.mark.slow
async def test_what_does_not_come_is_lost() -> None:
    def forgetful(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
        if server.received == 3:
            writer.write(frame(TEXT, b'{"channel": "room", "lost": true}'))
        elif server.received == 10:
            writer.write(frame(opcode, payload))
        else:
            to_all(server, writer, opcode, payload)

    async with running(forgetful) as (_, port):
        (found,) = await drive(port, "publish 64 0.1 100 1")
    assert (found["sent"], found["received"], found["lost"], found["notices"]) == (10, 17, 3, 1)


async def test_a_repeated_message_ends_it() -> None:
    def repeating(server: Server, writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
        to_all(server, writer, opcode, payload)
        to_all(server, writer, opcode, payload)

    async with running(repeating) as (_, port):
        with pytest.raises(SystemExit, match="message 0 came when 1 was next"):
            await drive(port, "publish 64 0.05 100 1")


async def test_a_command_that_it_does_not_know_ends_it() -> None:
    async with running(echo) as (_, port):
        with pytest.raises(SystemExit, match="no such command: sing"):
            await drive(port, "sing")
        with pytest.raises(SystemExit, match="SIZE is 16 to"):
            await drive(port, "echo text 15 1")


def test_nobody_listens() -> None:
    with pytest.raises(SystemExit, match="cannot connect to port 1: "), Load("/", 1, [1]):
        pass


def test_it_is_built_once() -> None:
    program = build()
    made = program.stat().st_mtime_ns
    assert build() == program
    assert program.stat().st_mtime_ns == made


# --- HTTP ---


def answering(*answers: bytes) -> tuple[int, socket.socket, threading.Thread]:
    """A server of one connection that gives each request the next of these answers; the last one again and again."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        left = list(answers)
        with connection:
            data = b""
            while more := connection.recv(65536):
                data += more
                while b"\r\n\r\n" in data:
                    data = data.partition(b"\r\n\r\n")[2]
                    answer = left.pop(0) if len(left) > 1 else left[0]
                    half = len(answer) // 2
                    connection.sendall(answer[:half])
                    connection.sendall(answer[half:])
                    if not answer:
                        return

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], listener, thread


def ask(*answers: bytes) -> dict[str, float]:
    port, listener, thread = answering(*answers)
    try:
        with HTTPLoad("/", 1, port) as load:
            once = load.ask("once")
            assert once["requests"] == 1
            return load.ask("run", 0.5)
    finally:
        thread.join(10)
        listener.close()


OK = b"HTTP/1.1 200 OK\r\nX: content-length\r\ncontent-length: 2\r\n\r\nok"


def test_requests_are_counted_over_split_answers() -> None:
    figures = ask(OK)
    assert figures["requests"] > 1
    assert 0.5 <= figures["seconds"] < 15
    assert 0 < figures["busy"] <= 1.01


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ([b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], "answered HTTP/1.1 500 No"),
        ([OK, OK[:-2] + b"no"], "a body that is not the first one's"),
        ([OK, OK.replace(b"length: 2", b"length: 1")[:-1]], "a body that is not the first one's"),
        ([OK, OK + b"!"], "more bytes than were asked for"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], "a response without a Content-Length"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"], "a response of more than 16384 bytes"),
        ([OK, b""], "the server has closed a connection"),
    ],
)
def test_a_wrong_answer_ends_it(answers: list[bytes], complaint: str) -> None:
    with pytest.raises(SystemExit, match=complaint):
        ask(*answers)


def test_forms_and_fields_are_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        heard = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(OK)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        with HTTPLoad("/x", 1, port, fields=["A: b"], form="c=d") as load:
            load.ask("once")
        thread.join(10)
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert body == b"c=d"
    assert head.split(b"\r\n") == [
        b"POST /x HTTP/1.1",
        b"Host: 127.0.0.1:%d" % port,
        b"A: b",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: 3",
    ]


def test_nobody_listens_for_http() -> None:
    with pytest.raises(SystemExit, match="cannot connect to port 1: "), HTTPLoad("/", 1, 1):
        pass


def test_the_floor_answers_each_request_once_however_it_comes() -> None:
    port = peers.free_port()
    process = subprocess.Popen([programs.build("floor"), str(port)])
    try:
        peers.wait_for_connections("floor", process, port)
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            for number in range(len(head)):  # split at every place
                connection.sendall(head[:number])
                connection.sendall(head[number:])
            connection.sendall(head * 100)
            connection.shutdown(socket.SHUT_WR)
            data = b"".join(iter(lambda: connection.recv(65536), b""))
        answers = data.split(b"Hello, world")
        assert len(answers) == len(head) + 100 + 1
        assert set(answers) == {answers[0], b""}
    finally:
        process.terminate()
        process.wait()
