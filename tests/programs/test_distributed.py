"""Dask's distributed: a scheduler, two workers and a client, each a process of its own, over each of its transports.

Chosen as the hardest: raw TCP and TLS over `IOStream`, whose buffer it fills from outside to save a copy, loops in
threads, and a dashboard that is a Bokeh application.  (Its third transport, WebSockets, always listens on every
interface, and so has no test.)
"""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.programs.drive import BY, Client, Program

pytestmark = pytest.mark.slow

CLIENT = """\
import json, operator, os, sys, time
import numpy, tornado.web
from distributed import Client, Event, Lock, Queue, as_completed, wait
from distributed.security import Security

address, tls = sys.argv[1], sys.argv[2:]
security = Security(tls_ca_file=tls[0], tls_client_cert=tls[1], tls_client_key=tls[1]) if tls else None
seen = {"by": tornado.web.__name__}

def square(x):
    return x * x

def where():
    import tornado.web
    return tornado.web.__name__

def fails():
    raise LookupError("as it must")

with Client(address, security=security, timeout=20) as client:
    client.wait_for_workers(2, timeout=20)
    seen["workers"] = sorted(set(client.run(where).values()))
    squares = client.map(square, range(200))
    seen["sum"] = client.submit(sum, squares).result(timeout=30)
    seen["completed"] = sum(1 for _ in as_completed(squares))

    # Megabytes to the workers, from one to the other, and back.
    ones = numpy.arange(3_000_000, dtype="float64")
    workers = sorted(client.scheduler_info()["workers"])
    far = client.scatter(ones, workers=[workers[0]])
    doubled = client.submit(operator.mul, far, 2.0, workers=[workers[1]], allow_other_workers=False)
    back = doubled.result(timeout=30)
    seen["arrays"] = [bool((back == ones * 2).all()), back.flags.writeable]

    failed = client.submit(fails)
    wait(failed, timeout=20)
    seen["error"] = repr(failed.exception())

    # Between client and workers: a queue, an event.
    queue, event = Queue("q"), Event("e")
    def answer():
        Event("e").wait(timeout=20)
        Queue("q").put("from the worker")
    waiting = client.submit(answer, pure=False)
    event.set()
    seen["queue"] = queue.get(timeout=20)
    waiting.result(timeout=20)
    running = client.submit(time.sleep, 0.3, workers=[workers[0]])
    pending = client.submit(operator.add, running, 1, workers=[workers[0]])
    pending.cancel()
    seen["cancelled"] = pending.cancelled()
    wait(running, timeout=20)
print("SEEN " + json.dumps(seen))
"""

EXPECTED = {
    "by": BY,
    "workers": [BY],
    "sum": sum(x * x for x in range(200)),
    "completed": 200,
    "arrays": [True, True],
    "error": "LookupError('as it must')",
    "queue": "from the worker",
    "cancelled": True,
}


class Cluster:
    """A scheduler and its workers."""

    def __init__(
        self, run_on_webfw: Callable[..., Program], protocol: str, tls: list[str], directory: Path
    ) -> None:

        def run(*arguments: str) -> Program:
            return run_on_webfw(*arguments, env={"DASK_TEMPORARY_DIRECTORY": str(directory)})

        self._run = run
        options = ["--tls-ca-file", tls[0], "--tls-cert", tls[1], "--tls-key", tls[1]] if tls else []
        self.scheduler = run(
            *("-m", "distributed.cli.dask_scheduler", "--host", f"{protocol}://127.0.0.1"),
            *("--port", "0", "--dashboard-address", "127.0.0.1:0", *options),
        )
        self.address = self.scheduler.read_until(rf"Scheduler at:\s+({protocol}://127\.0\.0\.1:\d+)")[1]
        self.dashboard = self.scheduler.read_until(r"dashboard at:\s+(http://127\.0\.0\.1:\d+)")[1]
        self.workers = [self.start_worker(*options) for _ in range(2)]
        for worker in self.workers:
            worker.read_until(r"Registered to:")

    def start_worker(self, *options: str) -> Program:
        return self._run(
            *("-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1"),
            *("--memory-limit", "1GB", "--no-dashboard", "--host", self.address.rpartition(":")[0], *options),
        )

    def stop(self) -> list[int]:
        """End all of it, and return their statuses."""
        return [program.stop(signal.SIGINT) for program in (*self.workers, self.scheduler)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The authority's, and one with its key for everybody."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(directory / "all.pem")
    return [str(directory / "ca.pem"), str(directory / "all.pem")]


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_cluster_computes(
    run_on_webfw: Callable[..., Program], protocol: str, certificates: list[str], tmp_path: Path
) -> None:
    tls = certificates if protocol == "tls" else []
    cluster = Cluster(run_on_webfw, protocol, tls, tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    client = run_on_webfw(str(tmp_path / "client.py"), cluster.address, *tls)
    assert client.end(50) == 0, client.log
    seen = json.loads(next(line for line in client.lines if line.startswith("SEEN ")).removeprefix("SEEN "))
    assert seen == EXPECTED

    visitor = Client(cluster.dashboard)
    assert visitor("GET", "/health").text == "ok"
    assert visitor("GET", "/status").status == 200
    assert "dask_scheduler_workers" in visitor("GET", "/metrics").text
    assert visitor("GET", "/info/main/workers.html").status == 200
    for program in (client, cluster.scheduler, *cluster.workers):
        assert program.trouble(r"LookupError|as it must|Compute Failed") == [], program.log
    # Not looked at after the signal: a worker's heartbeat that is on its way then fails, and it says so at length.
    assert cluster.stop() == [0, 0, 0]
