"""luigi: a task runs to its end through the central scheduler, which is a Tornado application.

Chosen because others build on it for real work: an HTTP API of JSON, pages, sockets bound by hand (also UNIX ones), a
`PeriodicCallback`, an end by ``sys.exit`` in a signal handler, and names taken from modules it never imports.
"""

import json
import signal
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.drive import ENVIRONMENT, Client, Program, free_port

pytestmark = pytest.mark.slow

LUIGID = str(ENVIRONMENT / "bin" / "luigid")
TASKS = """\
import luigi

class Words(luigi.Task):
    count = luigi.IntParameter()

    def output(self):
        return luigi.LocalTarget("words.txt")

    def run(self):
        with self.output().open("w") as file:
            file.write(" ".join(["word"] * self.count))

class Count(luigi.Task):
    count = luigi.IntParameter()

    def requires(self):
        return Words(count=self.count)

    def output(self):
        return luigi.LocalTarget("count.txt")

    def run(self):
        self.set_status_message("counting")
        with self.input().open() as file, self.output().open("w") as out:
            out.write(str(len(file.read().split())))

class Fails(luigi.Task):
    def run(self):
        raise ValueError("as it must")
"""


class Scheduler:
    def __init__(self, run_on_webfw: Callable[..., Program]) -> None:
        port = free_port()
        self.program = run_on_webfw(
            LUIGID, "--address", "127.0.0.1", "--port", str(port), "--state-path", "state"
        )
        self.url = f"http://127.0.0.1:{port}"
        self.program.wait_for_port(self.url)
        self.client = Client(self.url)

    def ask(self, method: str, **data: Any) -> Any:
        answer = self.client("GET", f"/api/{method}?data={urllib.parse.quote(json.dumps(data))}")
        assert answer.status == 200, answer
        return answer.json["response"]


@pytest.fixture(scope="module")
def scheduler(run_on_webfw: Callable[..., Program]) -> Iterator[Scheduler]:
    server = Scheduler(run_on_webfw)
    yield server
    assert server.program.stop(signal.SIGTERM) == 0
    assert server.program.trouble() == [], server.program.log


def test_a_task_and_what_it_requires_run_through_the_scheduler(
    run_on_webfw: Callable[..., Program], scheduler: Scheduler
) -> None:
    home = scheduler.program.home
    (home / "some_tasks.py").write_text(TASKS)
    worker = run_on_webfw(
        *("-m", "luigi", "--module", "some_tasks", "Count", "--count", "3", "--scheduler-url", scheduler.url)
    )
    assert worker.end() == 0
    assert (home / "count.txt").read_text() == "3"
    assert "This progress looks :)" in worker.log
    tasks = scheduler.ask("task_list", status="DONE", upstream_status="")
    assert sorted(task["name"] for task in tasks.values()) == ["Count", "Words"]
    count = next(key for key in tasks if key.startswith("Count"))
    graph = scheduler.ask("dep_graph", task_id=count)
    assert len(graph) == 2
    assert scheduler.ask("get_task_status_message", task_id=count)["statusMessage"] == "counting"

    worker = run_on_webfw("-m", "luigi", "--module", "some_tasks", "Fails", "--scheduler-url", scheduler.url)
    worker.end()
    (failed,) = scheduler.ask("task_list", status="FAILED", upstream_status="")
    assert "as it must" in scheduler.ask("fetch_error", task_id=failed)["error"]


def test_its_pages(scheduler: Scheduler) -> None:
    client = scheduler.client
    answer = client("GET", "/")
    assert (answer.status, answer.headers["Location"]) == (302, "static/visualiser/index.html")
    assert client("HEAD", "/").status == 204
    page = client("GET", "/static/visualiser/index.html", headers={"Accept-Encoding": "gzip"})
    assert (page.status, page.headers["Content-Encoding"]) == (200, "gzip")
    assert client("GET", "/api/no_such_method").status == 404
    assert client("OPTIONS", "/api/task_list").status == 204
    assert client("GET", "/metrics").status == 200
    assert client("POST", "/api/ping", form={"data": json.dumps({"worker": "w"})}).status == 200


def test_a_unix_socket_and_the_end_by_a_signal(run_on_webfw: Callable[..., Program], tmp_path: Path) -> None:
    path = tmp_path / "luigi.sock"
    program = run_on_webfw(LUIGID, "--unix-socket", str(path), "--state-path", str(tmp_path / "state"))
    program.read_until("Scheduler starting up")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert program.stop(signal.SIGTERM) == 0
    assert "Scheduler instance shutting down" in program.log
    assert (tmp_path / "state").exists()
    assert program.trouble() == [], program.log
