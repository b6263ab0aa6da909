"""A TCP proxy between brokers and their server, which can be cut, held and shut."""

import asyncio
import random
from typing import Any
from urllib.parse import urlsplit


class Proxy:
    """Passes TCP on to a server, as a context manager; ``url`` is what brokers connect to instead of the server's."""

    def __init__(self, url: str) -> None:
        self.target = urlsplit(url)
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        #: What is under way waits while this is not set.
        self.flowing = asyncio.Event()
        self.flowing.set()
        #: Whether new connections are passed on, or ended at once.
        self.whole = True
        self.cuts = 0

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.url = f"{self.target.scheme}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.whole = False
        self.server.close()
        self.cut()
        self.flowing.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.writers.add(writer)
        try:
            if self.whole:
                there, back = await asyncio.open_connection("127.0.0.1", self.target.port)
                self.writers.add(back)
                await asyncio.gather(self.pump(reader, back), self.pump(there, writer))
        except (OSError, RuntimeError):  # uvloop says RuntimeError of a transport that is closed
            pass
        finally:
            self.writers.discard(writer)
            writer.transport.abort()
            self.tasks.discard(task)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):  # uvloop says RuntimeError of a transport that is closed
            pass
        finally:
            writer.transport.abort()
            self.writers.discard(writer)

    def cut(self, share: float = 1.0) -> None:
        """Break that share of the connections, with what is under way in them."""
        for writer in list(self.writers):
            if random.random() < share:
                self.cuts += 1
                writer.transport.abort()

    def shut(self) -> None:
        """Break all connections, and let none through until `open`."""
        self.whole = False
        self.cut()

    def open(self) -> None:
        """Let connections through again."""
        self.whole = True
