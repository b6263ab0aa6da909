"""Clients that leave: in the middle of an answer, and in the moment between its last byte and its end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.real.site import Site, contain


@pytest.mark.parametrize("mode", ["threads", "inline"])
def test_a_client_that_closes_its_side_leaves_no_connection(sites: Callable[..., Site], mode: str) -> None:
    """It closes as soon as it has all of the body: the server may not have ended the response by then."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        yield b"hello"

    site = sites(lambda: contain(app, mode))
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", site.port)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b"hello"):
                answer += sock.recv(1000)
    site.stop()


@pytest.mark.parametrize("mode", ["threads", "inline"])
@pytest.mark.parametrize("framing", ["whole", "pieces", "file"])
def test_a_client_that_has_nothing_more_to_ask_is_answered(
    sites: Callable[..., Site], tmp_path: Path, mode: str, framing: str
) -> None:
    """It closes its side behind the request (``nc -N`` does): the application is told, and its answer is sent."""
    content = b"x" * 300_000
    (tmp_path / "file").write_bytes(content)
    told = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", str(len(content)))])
        if mode == "threads":
            while not environ["webfw.client_disconnected"]():
                time.sleep(0.001)
            told.set()
        if framing == "whole":
            return [content]
        if framing == "file":
            return environ["wsgi.file_wrapper"]((tmp_path / "file").open("rb"))
        return (content[i : i + 10_000] for i in range(0, len(content), 10_000))

    site = sites(lambda: contain(app, mode))
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n" + content)
    assert told.is_set() == (mode == "threads")
    site.stop()


def test_a_thread_is_free_again_when_its_client_leaves(sites: Callable[..., Site]) -> None:
    """More clients than threads ask for an endless answer and leave: whoever comes next is answered."""
    closed = threading.Semaphore(0)

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.release()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return endless() if environ["PATH_INFO"] == "/endless" else [b"quick"]

    site = sites(lambda: contain(app, "threads", max_response_backlog=1_000_000))
    leaving = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(12)]
    for sock in leaving:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    for sock in leaving[:4]:
        assert sock.recv(1000)
    for sock in leaving:
        sock.close()
    with site.visitor() as visitor:
        assert visitor.get("/").body == b"quick"
    for _ in range(4):
        assert closed.acquire(timeout=10)
    site.stop()
