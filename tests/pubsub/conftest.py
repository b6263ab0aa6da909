"""Real servers for the brokers that need one: each test has its own, on a free port, ended by its pid."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class RedisServer:
    """A running ``redis-server``; ``url`` is where it listens."""

    def __init__(self, directory: Path, appendonly: bool, arguments: tuple[str, ...]) -> None:
        self.directory = directory
        self.appendonly = appendonly
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        while not self.port:
            self.port = free_port()
            try:
                self.start()
            except AssertionError as error:
                if "Address already in use" not in str(error):
                    raise
                self.port = 0  # another test run was quicker
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)),
                    *("--save", "", "--appendonly", "yes" if self.appendonly else "no"),
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while not self.answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.005)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall(b"PING\r\n")
                answer = sock.recv(100)
                return answer.startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it without giving it time to write anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang, until `resume`."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """``redis_server()`` starts a server; ``appendonly=True`` for one that keeps its data, and its own arguments."""
    started: list[RedisServer] = []

    def start(*arguments: str, appendonly: bool = False) -> RedisServer:
        directory = tmp_path / f"redis{len(started)}"
        directory.mkdir()
        server = RedisServer(directory, appendonly, arguments)
        started.append(server)
        return server

    try:
        yield start
    finally:
        for server in started:
            server.kill()
