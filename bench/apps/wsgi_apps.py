"""Bare WSGI applications: what every server of the WSGI measurements runs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

HELLO = b"Hello, world"
FIELDS = [("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", "12")]

Environ = dict[str, Any]
Start = Callable[..., Any]

#: What downloads consist of; 160 of them are 10 MiB.
PIECE = b"0123456789abcdef" * 4096


def hello(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", FIELDS)
    return [HELLO]


def sleep(environ: Environ, start_response: Start) -> list[bytes]:
    """Wait as for a database: 20 ms without the interpreter's lock."""
    time.sleep(0.02)
    start_response("200 OK", FIELDS)
    return [HELLO]


def spin(environ: Environ, start_response: Start) -> list[bytes]:
    """Compute in Python for 200 ms of wall clock."""
    compute(0.2)
    start_response("200 OK", FIELDS)
    return [HELLO]


def compute(seconds: float) -> int:
    number = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(1000):
            number += 1
    return number


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield PIECE


def mixed(environ: Environ, start_response: Start) -> Any:
    """A page, an upload, and a download of as many pieces as its query says: for slow clients and a quick one."""
    path = environ["PATH_INFO"]
    if path == "/upload":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        answer = str(len(body)).encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
        return [answer]
    if path == "/download":
        count = int(environ["QUERY_STRING"])
        size = str(len(PIECE) * count)
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", size)])
        return pieces(count)
    return hello(environ, start_response)
