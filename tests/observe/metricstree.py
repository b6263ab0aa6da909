"""A tree of workers that count together, to be driven by the tests: ``python metricstree.py APPLICATION WORKERS``.

Each answers on one port that all share; it prints the port, and what happens to workers.
"""

import asyncio
import importlib.util
import logging
import os
import socket
import sys
from typing import Any

from webfw.httpserver import HTTPServer
from webfw.observe.admin import HealthFront, admin_application
from webfw.observe.health import Readiness
from webfw.observe.metrics import Metrics, SharedMetrics
from webfw.process.program import Program, TreeSettings
from webfw.process.roster import Member, State
from webfw.process.supervisor import Supervisor
from webfw.process.worker import Worker
from webfw.routing import PathMatches, Rule, RuleRouter


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Tree(Program):
    def __init__(self, application: str, sock: socket.socket) -> None:
        self.application = application
        self.sock = sock
        self.shared = SharedMetrics()
        self.module: Any = None

    def preload(self) -> None:
        spec = importlib.util.spec_from_file_location("application", self.application)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def work(self, worker: Worker) -> int:
        if self.module is None:
            self.preload()
        asyncio.run(self.serve(worker))
        return 0

    async def serve(self, worker: Worker) -> None:
        readiness = Readiness()
        metrics = Metrics(shared=self.shared)
        admin = admin_application(readiness, metrics)
        app = self.module.app
        both = RuleRouter([Rule(PathMatches("/metrics"), admin), Rule(PathMatches("/.*"), app)])
        server = HTTPServer(HealthFront(both, readiness), observer=metrics)
        metrics.watch(app)
        metrics.start()
        worker.attach()
        server.add_socket(self.sock)
        readiness.serving()
        worker.ready()
        await worker.order()
        readiness.leaving()
        await server.drain(5, 0.3 if worker.replaced else 0.0)
        metrics.stop()
        worker.detach()

    def forking(self, number: int) -> None:
        self.shared.forking()

    def worker_ready(self, member: Member) -> None:
        self.shared.worker_ready(member.pid)
        say("ready", member.number, member.pid)

    def worker_exited(self, member: Member, status: int) -> None:
        self.shared.worker_gone(member.pid, asked=member.state is State.LEAVING)
        say("exited", member.number, member.pid, status)


def main() -> int:
    logging.basicConfig(level=logging.ERROR)
    application, workers, preload = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["preload"]
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    sock.setblocking(False)
    tree = Tree(application, sock)
    say("directory", tree.shared.path)
    say("port", sock.getsockname()[1])
    supervisor = Supervisor(tree, TreeSettings(workers=workers, preload=preload))
    status = supervisor.run()
    if not supervisor.in_worker:
        tree.shared.remove()
    return status


if __name__ == "__main__":
    sys.exit(main())
