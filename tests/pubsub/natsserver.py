"""A real nats-server for tests, which can be killed and started again; and a proxy that can be cut."""

import asyncio
import json
import subprocess
from pathlib import Path


class NatsServer:
    """One server on a port that it has chosen itself at its first start."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self.port = -1
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = [
            "nats-server",
            "-js",
            "-a",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-sd",
            str(self.folder / "js"),
        ]
        command += ["--ports_file_dir", str(self.folder), *self.flags]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self.port == -1:
            assert self.process.poll() is None
            for file in self.folder.glob("*.ports"):
                try:
                    ports = json.loads(file.read_text())
                except ValueError:  # half written
                    continue
                self.port = int(ports["nats"][0].rpartition(":")[2])
            await asyncio.sleep(0.02)
        while True:
            assert self.process.poll() is None
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()


class Proxy:
    """Between a client and the server; ``cut`` ends all connections and refuses new ones until ``mend``."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.writers: set[asyncio.StreamWriter] = set()
        self.whole = True
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.cut()
        self.server.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.writers.add(writer)
        try:
            if self.whole:
                from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
                self.writers.add(to_server)
                await asyncio.gather(self.pump(reader, to_server), self.pump(from_server, writer))
                self.writers.discard(to_server)
        finally:
            self.writers.discard(writer)
            writer.close()

    @staticmethod
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self) -> None:
        self.whole = False
        for writer in self.writers:
            writer.transport.abort()

    def mend(self) -> None:
        self.whole = True
