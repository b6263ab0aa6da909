"""Tests of webfw.observe.metrics: what is counted of real requests, and the sum over real processes."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.httpserver import conftest
from webfw.httpserver import HTTPServer
from webfw.observe import counts
from webfw.observe.metrics import BUCKETS, FAMILIES, Metrics, MetricsHandler, SharedMetrics, check_metrics
from webfw.observe.shared import VARIABLE
from webfw.pubsub import MemoryBroker
from webfw.testing.client import Client
from webfw.web import Application, RequestHandler
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer

prometheus_client = pytest.importorskip("prometheus_client")

talk = conftest.talk  # the fixture

ExpectLog = Callable[..., Any]
Series = dict[str, float]


def parsed(text: str | bytes) -> Series:
    """The samples of an exposition, by what stands before the value, without ``webfw_``."""
    text = text.decode() if isinstance(text, bytes) else text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("webfw_"): float(value) for name, _, value in lines}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(registry=prometheus_client.CollectorRegistry())


async def counted(metrics: Metrics) -> Series:
    text, _ = await metrics.exposition()
    return parsed(text)


class Item(RequestHandler):
    def get(self, number: str) -> None:
        if number == "13":
            self.set_status(418)
        self.write("x" * 10)

    def post(self, number: str) -> None:
        self.write(self.request.body)

    def delete(self, number: str) -> None:
        raise RuntimeError("on purpose")


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


ROUTES: list[Any] = [(r"/items/(\d+)", Item), ("/echo", Echo)]


def application(**settings: Any) -> Application:
    settings.setdefault("log_function", lambda handler: None)
    return Application(ROUTES, **settings)


def watched(metrics: Metrics, app: Any = None, **options: Any) -> Client:
    return Client(HTTPServer(app or application(), observer=metrics, **options))


# --- requests ---


async def test_requests_are_counted_by_method_route_and_status(metrics: Metrics) -> None:
    client = watched(metrics)
    for number in (1, 2, 13):
        await client.get(f"/items/{number}")
    await client.post("/items/1", body=b"12345")
    series = await counted(metrics)
    route = r'route="/items/(\\d+)"'
    assert series[f'http_requests_total{{method="GET",{route},status="200"}}'] == 2
    assert series[f'http_requests_total{{method="GET",{route},status="418"}}'] == 1
    assert series[f'http_requests_total{{method="POST",{route},status="200"}}'] == 1
    assert series[f'http_request_duration_seconds_count{{method="GET",{route}}}'] == 3
    assert series["http_received_bytes_total"] == 5
    assert series["http_sent_bytes_total"] == 35


async def test_connections_that_were_one_too_many(metrics: Metrics) -> None:
    for limit in ("max_connections", "max_connections", "max_connections_per_address"):
        metrics.turned_away(limit)
    seen = await counted(metrics)
    assert seen['refused_connections_total{limit="max_connections"}'] == 2
    assert seen['refused_connections_total{limit="max_connections_per_address"}'] == 1


async def test_an_application_that_fails(metrics: Metrics, expect_log: ExpectLog) -> None:
    with expect_log("webfw.application", "DELETE /items/1"):
        client = watched(metrics)
        client.raise_app_exceptions = False
        await client.delete("/items/1")
    series = await counted(metrics)
    assert series[r'http_requests_total{method="DELETE",route="/items/(\\d+)",status="500"}'] == 1


async def test_clients_cannot_make_series(metrics: Metrics) -> None:
    client = watched(metrics)
    for number in range(20):
        await client.get(f"/nothing/{number}")
        await client.request(f"MADEUP{number}", "/items/1")
    series = {name: value for name, value in (await counted(metrics)).items() if "requests_total" in name}
    assert series == {
        'http_requests_total{method="GET",route="none",status="404"}': 20,
        r'http_requests_total{method="_OTHER",route="/items/(\\d+)",status="405"}': 20,
    }
    assert len(metrics._series) == 2


async def test_durations_have_classes() -> None:
    clock = iter([0.0, 0.001, 0.0011, 3.0, 100.0])
    metrics = Metrics(registry=prometheus_client.CollectorRegistry(), buckets=(0.001, 1, 10))
    client = watched(metrics)
    await client.get("/items/1")
    (histogram,) = metrics._durations.values()
    histogram.classes, histogram.total = [0] * 4, 0.0
    for duration in clock:
        histogram.observe(duration)
    series = await counted(metrics)
    name, labels = "http_request_duration_seconds", r'method="GET",route="/items/(\\d+)"'
    found = [series[f'{name}_bucket{{le="{le}",{labels}}}'] for le in ("0.001", "1.0", "10.0", "+Inf")]
    assert found == [2, 3, 4, 5]
    assert series[f"{name}_count{{{labels}}}"] == 5
    assert series[f"{name}_sum{{{labels}}}"] == pytest.approx(103.0021)


@pytest.mark.parametrize("buckets", [(1, 1), (2, 1)])
def test_classes_must_ascend(buckets: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        Metrics(registry=prometheus_client.CollectorRegistry(), buckets=buckets)


async def test_what_is_no_request(talk: Any, metrics: Metrics) -> None:
    t = talk(application(), observer=metrics, max_header_size=1000)
    assert t.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 2000).startswith(b"HTTP/1.1 431")
    t = talk(application(), observer=metrics)
    assert t.send(b"\x16\x03\x01 not HTTP\r\n\r\n").startswith(b"HTTP/1.1 400")
    series = await counted(metrics)
    assert series['http_requests_total{method="none",route="none",status="431"}'] == 1
    assert series['http_requests_total{method="none",route="none",status="400"}'] == 1
    assert series["http_requests_in_flight"] == 0


async def test_connections_and_requests_in_flight(talk: Any, metrics: Metrics) -> None:
    held = []
    talks = [talk(held.append, observer=metrics) for _ in range(3)]
    series = await counted(metrics)
    assert series['connections{state="idle"}'] == series["accepted_connections_total"] == 3
    talks[0].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    talks[1].send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")
    series = await counted(metrics)
    assert len(held) == 1
    assert series["http_requests_in_flight"] == series['connections{state="active"}'] == 2
    assert series['connections{state="idle"}'] == 1
    for t in talks[:2]:
        t.wire.lose()
    series = await counted(metrics)
    assert series["http_requests_in_flight"] == series['connections{state="active"}'] == 0
    assert series['connections{state="idle"}'] == 1
    assert series["accepted_connections_total"] == 3
    # Nobody waited for these.
    assert series['http_requests_total{method="GET",route="none",status="499"}'] == 1
    assert series['http_requests_total{method="POST",route="none",status="499"}'] == 1


async def test_websockets(metrics: Metrics) -> None:
    client = watched(metrics)
    async with client.websocket("/echo") as one, client.websocket("/echo") as two:
        for message in ("hello", "world"):
            await one.send(message)
            assert await one.receive() == message
        await two.send(b"bytes")
        await two.receive()
        series = await counted(metrics)
        assert series["websocket_connections"] == series['connections{state="upgraded"}'] == 2
        assert series['websocket_messages_total{direction="in"}'] == 3
        assert series['websocket_messages_total{direction="out"}'] == 3
        assert series["http_requests_in_flight"] == 0
        assert series['http_requests_total{method="GET",route="/echo",status="101"}'] == 2
        before = series['websocket_bytes_total{direction="in"}']
        assert before >= 15
    for _ in range(20):
        await asyncio.sleep(0)
    series = await counted(metrics)
    assert series["websocket_connections"] == series['connections{state="upgraded"}'] == 0
    assert series['websocket_messages_total{direction="in"}'] == 3
    assert series['websocket_bytes_total{direction="in"}'] > before
    assert series['http_request_duration_seconds_count{method="GET",route="/echo"}'] == 0


# --- what is looked at ---


async def test_wsgi_threads_and_queue(metrics: Metrics) -> None:
    gate = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gate.wait(20)
        start_response("200 OK", [])
        return [b"done"]

    container = WSGIContainer(app, threads=2, log_function=lambda entry: None)
    metrics.watch(Application([("/.*", RequestHandler)]))
    metrics.watch(container)
    client = watched(metrics, container)
    asked = [asyncio.ensure_future(client.get("/")) for _ in range(3)]
    try:
        while container.load()["waiting"] != 1:
            await asyncio.sleep(0.001)
        series = await counted(metrics)
        names = ("wsgi_threads", "wsgi_busy_threads", "wsgi_queue_length")
        assert [series[name] for name in names] == [2, 2, 1]
    finally:
        gate.set()
        await asyncio.gather(*asked)
        container.close()
    series = await counted(metrics)
    assert series['http_requests_total{method="GET",route="none",status="200"}'] == 3


async def test_brokers(metrics: Metrics) -> None:
    broker = MemoryBroker()
    app = Application(broker=broker)
    metrics.watch(app)
    assert not [name for name in await counted(metrics) if name.startswith("broker")]  # nobody has used it
    await app.broker.publish("a", 0)
    await broker.publish("a", 1)
    async with broker.subscribe("a") as events:
        await broker.publish("a", 2)
        await anext(events)
    broker.stats.reconnects = 4
    series = await counted(metrics)
    assert series['broker_events_total{event="published"}'] == 3
    assert series['broker_events_total{event="delivered"}'] == 1
    assert series['broker_events_total{event="dropped"}'] == 0
    assert series["broker_reconnects_total"] == 4
    assert series["brokers_disconnected"] == 0
    await broker.close()


async def test_nothing_is_told_of_what_there_is_not(metrics: Metrics) -> None:
    series = await counted(metrics)
    assert not [name for name in series if name.startswith(("wsgi", "broker", "worker"))]
    assert [name for name in series if name.startswith("build_info")] == [
        f'build_info{{python="{sys.version.split()[0]}",version="{__import__("webfw").version}"}}'
    ]


async def test_the_lag_of_the_loop(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webfw.observe.metrics.INTERVAL", 0.01)
    metrics.start()
    metrics.start()
    await asyncio.sleep(0)
    time.sleep(0.07)  # the loop stands still
    while (series := await counted(metrics))["loop_lag_seconds_count"] < 3:
        await asyncio.sleep(0.001)
    assert series["loop_lag_seconds_sum"] > 0.055  # uvloop counts whole milliseconds
    assert series['loop_lag_seconds_bucket{le="+Inf"}'] > series['loop_lag_seconds_bucket{le="0.05"}']
    metrics.stop()
    metrics.stop()
    assert metrics._timer is None


# --- the exposition ---


async def test_the_applications_metrics_are_in_the_same_answer() -> None:
    registry = prometheus_client.CollectorRegistry()
    orders = prometheus_client.Counter("shop_orders", "Orders.", registry=registry)
    orders.inc(7)
    one, two = Metrics(registry=registry), Metrics(registry=registry)
    app = Application([("/metrics", MetricsHandler, {"metrics": one})])
    await watched(two, app).get("/metrics")
    answer = await watched(one, app).get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "shop_orders_total 7.0" in answer.text
    plain = await watched(one, app).get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain")
    series = parsed(plain.text)
    assert series['http_requests_total{method="GET",route="/metrics",status="200"}'] == 2  # both, added up


async def test_every_family_follows_the_conventions(metrics: Metrics) -> None:
    for name, family in FAMILIES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert family.text.endswith(".")
        assert family.kind in ("counter", "gauge", "histogram")
        assert not name.endswith("_total")
    assert sorted(BUCKETS) == list(BUCKETS)


async def test_rows_of_another_version_are_left_out(metrics: Metrics) -> None:
    metrics._inherited = {("from_the_future", ()): [1], ("loop_lag_seconds", ()): [1, 2]}
    series = await counted(metrics)
    assert not [name for name in series if "future" in name]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install webfw\[metrics\]"):
        Metrics()
    with pytest.raises(ImportError, match=r"pip install webfw\[metrics\]"):
        SharedMetrics()
    with pytest.raises(ImportError, match=r"pip install webfw\[metrics\]"):
        check_metrics()


def test_a_check_counts_nothing() -> None:
    code = (
        "import prometheus_client, webfw.observe.metrics as m; m.check_metrics(); "
        "print(prometheus_client.generate_latest().decode())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "webfw" not in done.stdout


def test_the_default_registry() -> None:
    code = (
        "import prometheus_client, webfw.observe.metrics as m; m.Metrics(); m.Metrics(); "
        "print(prometheus_client.generate_latest().decode())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "webfw_accepted_connections_total 0.0" in done.stdout


# --- several processes: in this one ---


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedMetrics]:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = SharedMetrics()
    yield made
    made.remove()


async def test_the_supervisors_part(shared: SharedMetrics) -> None:
    metrics = Metrics(shared=shared)
    for pid in (11, 12, 13):
        shared.worker_ready(pid)
    shared.worker_gone(11, asked=False)
    shared.worker_gone(12, asked=True)
    shared.worker_gone(14, asked=False)  # it was never ready
    shared._mine = shared.file_of("99")  # it is another process in truth
    shared._write()
    series = await counted(metrics)
    assert series["workers"] == 1
    assert series['worker_exits_total{reason="crashed"}'] == 2
    assert series['worker_exits_total{reason="asked"}'] == 1


async def test_a_successor_counts_on(shared: SharedMetrics) -> None:
    key = ("http_requests", ("GET", "/", "200"))
    counts.write(shared.file_of("0"), {key: [5], ("http_requests_in_flight", ()): [3]})
    series = await counted(Metrics(shared=shared))
    assert series['http_requests_total{method="GET",route="/",status="200"}'] == 5
    assert series["http_requests_in_flight"] == 0


async def test_a_file_that_cannot_be_written_is_told_of_once(
    shared: SharedMetrics, expect_log: ExpectLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(shared=shared)
    client = watched(metrics)

    def full(path: str, rows: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webfw.observe.metrics.write", full)
    with expect_log("webfw.general", "metrics of this process cannot be written: .*No space left", count=1):
        for _ in range(3):
            await client.get("/items/1")
            metrics.stop()
    shared.worker_ready(11)  # says nothing


async def test_nothing_new_is_not_written(shared: SharedMetrics) -> None:
    metrics = Metrics(shared=shared)
    metrics.stop()
    os.unlink(shared.file_of_mine())
    metrics._lag.observe(0.1)
    metrics.stop()
    assert not os.path.exists(shared.file_of_mine())
    await watched(metrics).get("/items/1")
    metrics.stop()
    assert os.path.exists(shared.file_of_mine())


# --- several processes: real ones ---

APPLICATION = """
import os
import prometheus_client
from webfw.web import Application, RequestHandler

ORDERS = prometheus_client.Counter("shop_orders", "Orders.", ["kind"])
RUNNING = prometheus_client.Gauge("shop_running", "Running.", multiprocess_mode="livesum")
LATEST = prometheus_client.Gauge("shop_latest", "Latest.")
RUNNING.inc()

class Order(RequestHandler):
    def get(self):
        ORDERS.labels("book").inc()
        LATEST.inc()
        self.write(str(os.getpid()))

class Die(RequestHandler):
    def get(self):
        os.kill(os.getpid(), 9)

app = Application([("/order", Order), ("/die", Die)])
"""


class Tree:
    def __init__(self, directory: Path, workers: int, *options: str, **env: str) -> None:
        (directory / "app.py").write_text(APPLICATION)
        self.unread: list[list[str]] = []
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("metricstree.py")),
                str(directory / "app.py"),
                str(workers),
                *options,
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd(), "TMPDIR": str(directory), **env},
        )
        self.directory = self.line("directory")[0]
        self.port = int(self.line("port")[0])
        self.pids = [int(self.line("ready")[1]) for _ in range(workers)]

    def line(self, word: str) -> list[str]:
        """The next line that begins with a word; lines of others are kept for those who ask for them."""
        for line in self.unread:
            if line[0] == word:
                self.unread.remove(line)
                return line[1:]
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line = text.split()
            if line[0] == word:
                return line[1:]
            self.unread.append(line)
        raise AssertionError(f"no {word}")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def series(self, wanted: Callable[[Series], bool]) -> Series:
        """What is counted, once it is what is wanted: processes tell of it a second later."""
        end = time.monotonic() + 15
        while True:
            series = parsed(self.get("/metrics"))
            if wanted(series):
                return series
            if time.monotonic() > end:
                raise AssertionError(f"not in {series}")
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    made: list[Tree] = []

    def make(*arguments: Any, **env: str) -> Tree:
        made.append(Tree(tmp_path, *arguments, **env))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


ASKED = 'http_requests_total{method="GET",route="/order",status="200"}'
ORDERS = 'shop_orders_total{kind="book"}'


def of_all(tree: Tree) -> None:
    """Have every worker answer, so that each has something to tell."""
    tree.asked = 0  # type: ignore[attr-defined]
    seen: set[int] = set()
    while seen != set(tree.pids):
        seen.add(int(tree.get("/order")))
        tree.asked += 1  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("preload",)], ids=["each", "preload"])
def test_the_sum_over_workers(tree: Callable[..., Tree], how: tuple[str, ...], tmp_path: Path) -> None:
    one = tree(2, *how)
    of_all(one)
    asked = one.asked  # type: ignore[attr-defined]
    series = one.series(lambda series: series.get(ASKED) == asked)
    assert series[ORDERS] == asked
    assert series["workers"] == 2
    # Preloaded, the module has run once, in the supervisor.
    assert series["shop_running"] == (1 if how else 2)
    assert sum(value for name, value in series.items() if name.startswith("shop_latest")) == asked
    # A worker dies: what it has counted stays, what it was does not.
    victim = one.pids[0]
    os.kill(victim, signal.SIGKILL)
    assert one.line("exited")[1] == str(victim)
    one.pids[0] = int(one.line("ready")[1])
    series = one.series(lambda series: series["workers"] == 2)
    assert series['worker_exits_total{reason="crashed"}'] == 1
    assert series[ORDERS] == asked
    assert series[ASKED] == asked
    assert series["shop_running"] == (1 if how else 2)
    # Its successor writes to the same files.
    of_all(one)
    asked += one.asked  # type: ignore[attr-defined]
    series = one.series(lambda series: series[ASKED] == asked)
    assert series[ORDERS] == asked
    # So do those after reloads.
    for turn in (1, 2, 3):
        one.process.send_signal(signal.SIGHUP)
        one.pids = [int(one.line("ready")[1]) for _ in range(2)]
        for _ in range(2):
            one.line("exited")
        of_all(one)
        asked += one.asked  # type: ignore[attr-defined]
        series = one.series(lambda series, asked=asked: series[ASKED] == asked and series["workers"] == 2)
        assert series[ORDERS] == asked
        assert series['worker_exits_total{reason="asked"}'] == 2 * turn
    one.series(lambda series: series["http_requests_in_flight"] == 1)  # this one
    numbers = {name.split(".")[0] for name in os.listdir(one.directory) if name.endswith(".slot")}
    assert len(numbers) <= 5  # the supervisor, two workers, and their successors
    assert one.stop() == 0
    assert os.listdir(tmp_path) == ["app.py"] or sorted(os.listdir(tmp_path)) == ["__pycache__", "app.py"]


@pytest.mark.slow
def test_a_worker_that_dies_at_a_request(tree: Callable[..., Tree]) -> None:
    one = tree(1)
    assert int(one.get("/order")) == one.pids[0]
    one.series(lambda series: series.get(ASKED) == 1)
    with pytest.raises((OSError, urllib.error.URLError)):
        one.get("/die")
    one.line("ready")
    series = one.series(lambda series: series["workers"] == 1)
    assert series[ASKED] == 1
    one.series(lambda series: series["http_requests_in_flight"] == 1)
    assert one.get("/healthz") == "ok\n"
    assert one.get("/readyz") == '{"status": "ready"}'
    assert one.stop() == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
def test_workers_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor is root, with a umask that lets nobody read."""
    monkeypatch.delenv(VARIABLE, raising=False)
    code = """
import asyncio, os, sys
os.umask(0o077)
from webfw.observe.metrics import Metrics, SharedMetrics
from webfw.process.identity import Identity

nobody = Identity(65534, 65534)
shared = SharedMetrics(nobody)
import prometheus_client
orders = prometheus_client.Counter("orders", "Orders.")
orders.inc()  # as where the application is loaded beforehand
shared.forking()
shared.worker_ready(1)
pid = os.fork()
if pid == 0:
    nobody.assume()
    orders.inc()
    metrics = Metrics(shared=shared)
    metrics.stop()
    text, _ = asyncio.run(metrics.exposition())
    os.write(1, text)
    os._exit(0)
status = os.waitpid(pid, 0)[1]
shared.worker_gone(pid, asked=False)
shared.remove()
assert not os.path.exists(shared.path)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    series = parsed(done.stdout)
    assert series["orders_total"] == 2
    assert series["workers"] == 1
    assert done.returncode == 0


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_in_reloads_under_load(tree: Callable[..., Tree]) -> None:
    one = tree(2)
    answered = [0] * 3
    over = threading.Event()

    def ask(number: int) -> None:
        while not over.is_set():
            one.get("/order")
            answered[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            one.process.send_signal(signal.SIGHUP)
            for word in ("ready", "ready", "exited", "exited"):
                one.line(word)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    asked = sum(answered)
    series = one.series(lambda series: series[ASKED] >= asked)
    assert series[ASKED] == series[ORDERS] == asked
    assert series["workers"] == 2
    assert one.stop() == 0
