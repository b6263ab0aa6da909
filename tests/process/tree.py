"""A process tree to be driven by the tests: workers that answer ``PID GENERATION NUMBER`` to every connection.

``python tree.py PORT_FILE key=value ...``; it listens on a port that it writes to the file, and prints what happens.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
import traceback
import types
from pathlib import Path
from typing import Any

from webfw.process.control import ControlServer
from webfw.process.daemon import Pidfile, daemonize
from webfw.process.identity import find_identity
from webfw.process.program import Program, TreeSettings
from webfw.process.roster import Member
from webfw.process.supervisor import Supervisor
from webfw.process.systemd import Notifier
from webfw.process.worker import LOAD_FAILED, Order, Worker


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def load(path: Path) -> Any:
    module = types.ModuleType("application")
    # The file changes within the second that is all a cached byte code knows of its age.
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


class Tree(Program):
    def __init__(self, application: Path, sock: socket.socket, settings: TreeSettings) -> None:
        self.application = application
        self.sock = sock
        self.settings = settings
        self.module: Any = None
        self.new_settings: Path = application.with_name("settings")

    def preload(self) -> None:
        self.module = load(self.application)

    def work(self, worker: Worker) -> int:
        identity = find_identity(os.environ.get("BECOME"), None)
        if identity is not None:
            identity.assume()
        try:
            module = self.module or load(self.application)
        except Exception:
            traceback.print_exc()
            worker.failed(traceback.format_exc())
            return LOAD_FAILED
        return asyncio.run(self.serve(worker, module))

    async def serve(self, worker: Worker, module: Any) -> int:
        connections: set[asyncio.Task[Any]] = set()
        answered = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal answered
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            line = (await reader.readline()).decode().strip()
            word, _, rest = line.partition(" ")
            if word == "block":
                time.sleep(float(rest))
            elif word == "wait":
                await asyncio.sleep(float(rest))
            elif word == "die":
                os.kill(os.getpid(), int(rest))
            elif word == "exit":
                os._exit(int(rest))
            elif word == "grow":
                module.kept = bytearray(int(rest))
            elif word == "retire":
                worker.retire(rest)
            answered += 1
            writer.write(f"{os.getpid()} {module.VERSION} {worker.number} {worker.generation}\n".encode())
            writer.close()
            connections.discard(task)

        worker.report = lambda: {"answered": answered}
        worker.reopen_logs = lambda: say("worker", worker.number, "reopens")
        worker.attach()
        server = await asyncio.start_server(answer, sock=self.sock)
        await asyncio.sleep(getattr(module, "DELAY", 0))
        worker.ready()
        order = await worker.order()
        if order is Order.DRAIN:
            asyncio.get_running_loop().remove_reader(self.sock)
            for _ in range(5):  # what has been accepted, but is no connection yet: asyncio would drop it
                await asyncio.sleep(0)
            server.close()
            again = asyncio.ensure_future(worker.order())
            running = asyncio.ensure_future(asyncio.wait(connections)) if connections else None
            if running is not None:
                await asyncio.wait([again, running], return_when=asyncio.FIRST_COMPLETED)
            again.cancel()
        worker.detach()
        say("worker", worker.number, "ends by", order.value)
        return 0

    def worker_ready(self, member: Member) -> None:
        say("ready", member.number, member.pid, member.generation)

    def worker_exited(self, member: Member, status: int) -> None:
        say("exited", member.number, member.pid, status)

    def all_ready(self) -> None:
        say("all ready")

    def reloading(self) -> TreeSettings | None:
        if not self.new_settings.exists():
            return None
        text = self.new_settings.read_text()
        if "=" not in text:
            raise ValueError(f"the settings are wrong: {text}")
        return TreeSettings(**{**as_dict(self.settings), **parsed(text.split())})

    def reopen_logs(self) -> None:
        say("supervisor reopens")

    def upgrade(self) -> int | None:
        command = [sys.executable, "-c", os.environ.get("SUCCESSOR", "import sys; sys.exit(7)")]
        return os.spawnv(os.P_NOWAIT, sys.executable, command)

    def cannot_start(self, member: Member, why: str) -> None:
        say("cannot start", member, why.strip().splitlines()[-1])

    def describe(self) -> dict[str, Any]:
        return {"serving": f"a tree on port {self.sock.getsockname()[1]}"}

    def ending(self) -> None:
        say("ending")


def as_dict(settings: TreeSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in TreeSettings.__slots__}


def parsed(words: list[str]) -> dict[str, Any]:
    pairs = (word.split("=") for word in words)
    return {name: type(getattr(TreeSettings(), name))(float(value)) for name, value in pairs}


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
    application = Path(sys.argv[1])
    settings = TreeSettings(**parsed(sys.argv[2:]))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    say("port", sock.getsockname()[1])
    daemon = daemonize() if "DAEMON" in os.environ else None
    supervisor = Supervisor(Tree(application, sock, settings), settings)
    if daemon is not None:
        daemon.watch(supervisor)
        supervisor.guests.append(daemon)
    if "PIDFILE" in os.environ:
        supervisor.guests.append(Pidfile(os.environ["PIDFILE"]))

    def show_stacks(number: int, frame: object) -> None:
        supervisor.ask(
            "q", "stacks", lambda member, answer: say("stacks", member.number, repr(answer["stacks"]))
        )

    signal.signal(signal.SIGALRM, show_stacks)
    if "CONTROL" in os.environ:
        supervisor.guests.append(ControlServer(supervisor, os.environ["CONTROL"]))
    supervisor.guests.append(Notifier(supervisor))
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
