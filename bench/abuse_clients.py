"""Clients that mean no good, many of them in a process of their own: ``-m bench.abuse_clients SHAPE PORT NUMBER``.

It says ``ready`` when all have begun, goes on until its input ends, and then says in JSON what has become of them.
"""

import json
import os
import random
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from webfw.sansio.websocket import encode_frame

RESET = struct.pack("ii", 1, 0)
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HUNDRED = (
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-Field-%d: value\r\n" % n for n in range(98)) + b"\r\n"
)
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 10_000
    + b"0\r\n\r\n"
)
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 30)
FRAMES = encode_frame(2, b"x" * 1000, mask=True) * 64


class One:
    """One client; `closed` when the server has had enough."""

    def __init__(self, port: int, receive: int | None = None, patience: float = 30) -> None:
        self.sent = self.received = 0
        self.closed = False
        self.waiting = memoryview(b"")
        self.socket = socket.socket()
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(patience)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.closed = True
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Send something small."""
        self._try(lambda: self.socket.send(data), "sent")

    def receive(self, most: int = 65536) -> None:
        self._try(lambda: len(self.socket.recv(most)) or -1, "received")

    def pour(self, data: bytes) -> None:
        """Send as much as is taken of something that is sent again and again."""
        if not self.waiting:
            self.waiting = memoryview(data)
        before = self.sent
        self._try(lambda: self.socket.send(self.waiting), "sent")
        self.waiting = self.waiting[self.sent - before :]

    def _try(self, call: Callable[[], int], count: str) -> None:
        if self.closed:
            return
        try:
            size = call()
        except BlockingIOError:
            return
        except OSError:
            size = -1
        if size < 0:
            self.closed = True
            self.socket.close()
        else:
            setattr(self, count, getattr(self, count) + size)


#: What they do: a generator that has begun with all of them at its first value, and goes on at each further one.
Run = Callable[[int, list[One], int], Iterator[None]]


def crowd(port: int, ones: list[One], number: int, hello: bytes, receive: int | None = None) -> None:
    for _ in range(number):
        one = One(port, receive)
        one.send(hello)
        ones.append(one)


def paced(seconds: float) -> Iterator[None]:
    """A step every so often."""
    due = time.monotonic()
    while True:
        due += seconds
        while time.monotonic() < due:
            time.sleep(0.01)
            yield


def slowly(hello: bytes, piece: bytes, reads: int, receive: int | None = None) -> Run:
    """Send a piece, and read so many bytes, once a second."""

    def run(port: int, ones: list[One], number: int) -> Iterator[None]:
        crowd(port, ones, number, hello, receive)
        yield
        while True:
            begin = time.monotonic()
            for one in ones:
                if piece:
                    one.send(piece)
                one.receive(reads)
            while time.monotonic() < begin + 1:
                time.sleep(0.02)
                yield

    return run


def busily(data: bytes, reads: bool = True, hello: bytes = b"", answered: bool = False) -> Run:
    """Send the same again and again, as fast as it is taken, and read the answers, or not.

    :param answered: whether ``hello`` is answered first.
    """

    def run(port: int, ones: list[One], number: int) -> Iterator[None]:
        crowd(port, ones, number, hello, None if reads else 4096)
        if answered:
            for one in ones:
                one.socket.settimeout(10)
                one.receive(200)
                one.socket.setblocking(False)
        yield
        while True:
            there = {one.socket: one for one in ones if not one.closed}
            poll = select.poll()
            numbers = {}
            for sock, one in there.items():
                numbers[sock.fileno()] = one
                poll.register(sock, (select.POLLIN if reads else 0) | select.POLLOUT)
            for descriptor, events in poll.poll(50):
                one = numbers[descriptor]
                if events & (select.POLLERR | select.POLLHUP | select.POLLIN):
                    one.receive()
                if events & select.POLLOUT:
                    one.pour(data)
            if not there:
                time.sleep(0.05)
            yield

    return run


def storm(port: int, ones: list[One], number: int) -> Iterator[None]:
    """Connect, send any part of something, and reset the connection."""
    chance = random.Random(5)
    kinds = (
        GET,
        GET * 20,
        POST + b"x" * 1000,
        CHUNKED[:5000],
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        b"BAD\r\n\r\n",
    )
    yield
    while True:
        for _ in range(20):
            one = One(port, patience=0.2)
            data = chance.choice(kinds)
            one.send(data[: chance.randint(0, len(data))])
            if not one.closed:
                one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.socket.close()
            one.closed = True
            ones.append(one)
        yield


def half_closes(port: int, ones: list[One], number: int) -> Iterator[None]:
    """Say something or nothing, close one side, and stay."""
    for n in range(number):
        one = One(port)
        one.send((b"", GET, b"GET / HT", POST)[n % 4])
        try:
            one.socket.shutdown(socket.SHUT_WR)
        except OSError:
            one.closed = True
        ones.append(one)
    yield
    for _ in paced(0.1):
        for one in ones:
            one.receive()
        yield


@dataclass(frozen=True)
class Shape:
    """One way to misbehave.

    :ivar about: who does what.
    :ivar number: how many do it; with ``--quick`` a tenth of those who are many.
    """

    name: str
    about: str
    number: int
    run: Run
    tls: bool = False


LARGE = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("nothing", "nobody misbehaves", 0, slowly(b"", b"", 1)),
        Shape(
            "heads",
            "5,000 send a byte of a head each second",
            5000,
            slowly(b"GET / HTTP/1.1\r\nX: ", b"x", 1000),
        ),
        Shape("bodies", "500 send 10 bytes of a body each second", 500, slowly(POST, b"x" * 10, 1000)),
        Shape("readers", "500 take 50 bytes a second of 8 MiB", 500, slowly(LARGE, b"", 50, 4096)),
        Shape("pipelines", "20 send pipelines of 1,000 requests", 20, busily(GET * 1000)),
        Shape("unread", "20 send such pipelines, and read nothing", 20, busily(GET * 1000, reads=False)),
        Shape("chunks", "20 send chunks of one byte", 20, busily(CHUNKED)),
        Shape("fields", "20 send heads of 100 fields", 20, busily(HUNDRED)),
        Shape(
            "upload",
            "1 GiB is sent to a handler that takes 64 KiB a millisecond at most",
            1,
            busily(b"x" * 65536, hello=UPLOAD),
        ),
        Shape("resets", "connections are made and reset", 0, storm),
        Shape("half-closes", "500 close their side, and stay", 500, half_closes),
        Shape("handshakes", "500 never go on with TLS", 500, slowly(b"\x16\x03\x01", b"", 1000), tls=True),
        Shape(
            "websockets", "100 WebSockets send, and read nothing", 100, busily(FRAMES, False, UPGRADE, True)
        ),
    )
}


def main() -> int:
    shape, port, number = SHAPES[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, number + 200)), hard))
    ones: list[One] = []
    steps = shape.run(port, ones, number)
    next(steps)
    print("ready", flush=True)
    os.set_blocking(0, False)
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    while not poll.poll(0):
        next(steps)
    held = sum(not one.closed for one in ones)
    for one in ones:
        one.socket.close()
    sent, received = (sum(getattr(one, name) for one in ones) for name in ("sent", "received"))
    print(json.dumps({"clients": len(ones), "held": held, "sent": sent, "received": received}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
