"""Clients that leave: in the middle of an answer, and in the moment between its last byte and its end."""

import socket
from collections.abc import Callable
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
