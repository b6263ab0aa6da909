"""flower: watches Celery's workers and tasks, here one of each over Redis.

Chosen because it is what many have in production: `options`, basic authentication, threads that
call back into the loop, a thread pool as the loop's default executor, named routes with a prefix, templates.
"""

import base64
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.programs.drive import Client, Program, environment, eventually, free_port
from tests.pubsub.conftest import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.needs("redis-server")]

TASKS = """\
import os
from celery import Celery

app = Celery("some_tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True

@app.task
def add(x, y):
    return x + y

@app.task
def fails():
    raise LookupError("as it must")
"""

CELERY = ("-m", "celery", "--app", "some_tasks")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the programs' environment is to say: where Redis is, and the tasks."""
    directory = tmp_path_factory.mktemp("tasks")
    (directory / "some_tasks.py").write_text(TASKS)
    server = RedisServer(tmp_path_factory.mktemp("redis"), False, ())
    yield {
        "BROKER": server.url,
        "PYTHONPATH": os.pathsep.join([str(directory), environment(directory)["PYTHONPATH"]]),
    }
    server.kill()


@pytest.fixture(scope="module")
def worker(run_on_webfw: Callable[..., Program], broker: dict[str, str]) -> Iterator[Program]:
    # Celery's command imports flower's as a plug-in, and flower Tornado.
    program = run_on_webfw(
        *CELERY,
        "worker",
        "--pool",
        "solo",
        "--task-events",
        "--loglevel",
        "info",
        "--hostname",
        "w@here",
        env=broker,
    )
    program.read_until(r"w@here ready")
    yield program
    program.stop(signal.SIGTERM)


def test_workers_and_tasks_are_watched(
    run_on_webfw: Callable[..., Program], worker: Program, broker: dict[str, str]
) -> None:
    port = free_port()
    program = run_on_webfw(
        *CELERY,
        *(
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
            "--url_prefix=flower",
            "--basic_auth=ann:secret",
        ),
        env=broker,
    )
    program.wait_for_port(f"http://127.0.0.1:{port}")
    base = f"http://127.0.0.1:{port}/flower/"
    assert Client(base)("GET", "api/workers").status == 401
    wrong = base64.b64encode(b"ann:wrong").decode()
    answer = Client(base, {"Authorization": f"Basic {wrong}"})("GET", base)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="flower"')
    client = Client(base, {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()})

    # The worker is seen by its events, which a thread brings to the loop.
    eventually(lambda: "w@here" in client("GET", "api/workers?refresh=1").json)
    answer = client("POST", "api/task/async-apply/some_tasks.add", json={"args": [20, 22]})
    assert answer.status == 200, answer
    task = answer.json["task-id"]
    assert client("GET", f"api/task/result/{task}?timeout=10").json["result"] == 42
    assert client("GET", f"api/task/result/{task}").json["state"] == "SUCCESS"
    assert client("POST", "api/task/apply/some_tasks.add", json={"args": [1, 2]}).json["result"] == 3
    failed = client("POST", "api/task/async-apply/some_tasks.fails", json={}).json["task-id"]
    eventually(lambda: client("GET", "api/tasks").json.get(failed, {}).get("state") == "FAILURE")
    assert client("GET", f"api/task/info/{task}").json["worker"] == "w@here"
    assert client("POST", "api/task/async-apply/some_tasks.no_such", json={}).status == 404
    assert client("POST", "api/task/async-apply/some_tasks.add", b"no json").status == 400

    page = client("GET", base)
    assert (page.status, "w@here" in page.text) == (200, True)
    page = client("GET", f"task/{task}")
    assert (page.status, "some_tasks.add" in page.text) == (200, True)
    assert "LookupError" in client("GET", f"task/{failed}").text
    assert client("GET", "tasks").status == 200
    assert client("GET", "broker").status == 200
    assert client("GET", "no/such/page").status == 404
    script = client("GET", "static/js/flower.js")
    assert script.status == 200
    assert (
        client("GET", "static/js/flower.js", headers={"If-None-Match": script.headers["Etag"]}).status == 304
    )
    assert client("GET", "healthcheck").text == "OK"
    assert 'flower_events_total{task="some_tasks.add",type="task-succeeded"' in client("GET", "metrics").text

    assert program.stop(signal.SIGTERM) == 0
    assert program.trouble() == [], program.log
