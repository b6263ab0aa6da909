"""A real nats-server for tests, which can be killed and started again."""

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
