"""Counts and times of all that happens, for Prometheus (extra ``metrics``); what is done about them may not enter.

`Metrics` counts in one process.  Where a supervisor has several, `SharedMetrics` gives them a directory to write to,
and whichever is asked answers for all.
"""

import asyncio
import os
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary, ref

from webfw._version import __version__
from webfw.httpserver.observer import Observer, Record
from webfw.log import gen_log
from webfw.observe.atoms import shown_status
from webfw.observe.counts import Rows, add, read, write
from webfw.observe.health import Probe
from webfw.observe.parts import broker_of, parts_of
from webfw.observe.shared import SharedDirectory
from webfw.process.identity import Identity
from webfw.web import Application
from webfw.wsgi import WSGIContainer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["BUCKETS", "Metrics", "MetricsHandler", "SharedMetrics", "check_metrics"]

#: Upper bounds of the classes that durations of requests are counted in, in seconds: 1, 2.5 and 5 of each power of ten,
#: so that a quantile is known to a factor of 2.5, from what a handler needs that only looks something up to what nobody
#: waits for.  Each is one more series for every route.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Likewise for the lag of the event loop: whoever asks how often it was above 10 ms has an answer.
LAG_BUCKETS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

#: Seconds between two looks at what tells nothing by itself (the loop's lag, WSGI threads, brokers, WebSockets), and
#: between two times at which a process lets others know what it has counted.
INTERVAL: Final = 1.0

#: What the label ``route`` says where there is none, and ``method`` of what was no request.
NONE: Final = "none"

#: Methods with a series of their own (RFC 9110, RFC 5789, and QUERY): clients can think up any other.
METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE", NONE)
)


class _Family(NamedTuple):
    kind: str
    text: str
    labels: tuple[str, ...] = ()


#: Everything that is counted, by its name without ``webfw_`` in front, and without ``_total`` behind.
FAMILIES: Final = {
    "http_requests": _Family(
        "counter", "Requests that were answered, or ended without.", ("method", "route", "status")
    ),
    "http_request_duration_seconds": _Family(
        "histogram", "From the head of a request to the last byte of its response.", ("method", "route")
    ),
    "http_requests_in_flight": _Family("gauge", "Requests that are being read or answered."),
    "http_received_bytes": _Family("counter", "Bytes of the bodies of requests."),
    "http_sent_bytes": _Family("counter", "Bytes of the bodies of responses."),
    "accepted_connections": _Family("counter", "Connections that clients have made."),
    "refused_connections": _Family("counter", "Connections that were one too many.", ("limit",)),
    "connections": _Family("gauge", "Open connections.", ("state",)),
    "websocket_connections": _Family("gauge", "Open WebSockets."),
    "websocket_messages": _Family("counter", "Messages of WebSockets.", ("direction",)),
    "websocket_bytes": _Family("counter", "Bytes of WebSockets, framing included.", ("direction",)),
    "loop_lag_seconds": _Family("histogram", "How late the event loop came to what it had been asked to do."),
    "wsgi_threads": _Family("gauge", "Threads that WSGI applications may use."),
    "wsgi_busy_threads": _Family("gauge", "Threads that run a WSGI application."),
    "wsgi_queue_length": _Family("gauge", "Requests for which no WSGI thread is free."),
    "broker_events": _Family("counter", "What brokers of publish/subscribe have done.", ("event",)),
    "broker_reconnects": _Family("counter", "Connections of brokers that were lost and are back."),
    "brokers_disconnected": _Family("gauge", "Brokers that have no connection now."),
    "workers": _Family("gauge", "Workers that serve."),
    "worker_exits": _Family("counter", "Workers that are gone.", ("reason",)),
}
_GAUGES: Final = frozenset(name for name, family in FAMILIES.items() if family.kind == "gauge")

_WSGI: Final = {"threads": "wsgi_threads", "busy": "wsgi_busy_threads", "waiting": "wsgi_queue_length"}
_SESSION: Final = (
    ("messages_in", "websocket_messages", "in"),
    ("messages_out", "websocket_messages", "out"),
    ("bytes_in", "websocket_bytes", "in"),
    ("bytes_out", "websocket_bytes", "out"),
)
_BROKER_EVENTS: Final = ("published", "delivered", "recovered", "gaps", "dropped", "closed")


def _prometheus() -> Any:
    try:
        import prometheus_client
        import prometheus_client.core
        import prometheus_client.exposition
        import prometheus_client.multiprocess
        import prometheus_client.values
    except ImportError as error:
        raise ImportError("metrics need the package prometheus-client: pip install webfw[metrics]") from error
    return prometheus_client


def check_metrics() -> None:
    """Find out whether anything can be counted, without beginning to.

    :raises ImportError: prometheus-client is not installed.
    """
    _prometheus()


class _Histogram:
    """Durations, by class."""

    __slots__ = ("bounds", "classes", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.classes = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.classes[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def row(self) -> list[float]:
        return [*self.classes, self.total]


class _Series:
    """Requests of one method, route and status."""

    __slots__ = ("count", "durations")

    def __init__(self, durations: _Histogram) -> None:
        self.count = 0
        self.durations = durations


class Metrics(Observer):
    """Counts what a server does, and tells prometheus-client, which may have metrics of the application too::

        metrics = Metrics()
        server = HTTPServer(app, observer=metrics)
        metrics.watch(app)
        metrics.start()

    :param registry: where to show it; by default where prometheus-client's own metrics are.  Several `Metrics` of one
        registry are added up.
    :param shared: what the supervisor has made, in a worker; then `start` is needed.
    :param buckets: upper bounds of the classes of durations, in seconds, in ascending order.
    :raises ImportError: prometheus-client is not installed.
    :raises ValueError: the bounds do not ascend.
    """

    def __init__(
        self,
        *,
        registry: "CollectorRegistry | None" = None,
        shared: "SharedMetrics | None" = None,
        buckets: Iterable[float] = BUCKETS,
    ) -> None:
        self._api = _prometheus()
        self.buckets = tuple(buckets)
        if list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"buckets must ascend, unlike {self.buckets}")
        self.registry: CollectorRegistry = self._api.REGISTRY if registry is None else registry
        self._shared = shared
        #: What processes have counted that had our number before.
        self._inherited: Rows = {}
        self._written: Rows = {}
        self._complained = False
        self._series: dict[tuple[str, str | None, int], _Series] = {}
        self._durations: dict[tuple[str, str], _Histogram] = {}
        self._lag = _Histogram(LAG_BUCKETS)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._containers: list[WSGIContainer] = []
        self._applications: list[Application] = []
        #: The records of what was HTTP, and is not any more.
        self._upgraded: set[Record] = set()
        self._past_sessions = dict.fromkeys((name for name, _, _ in _SESSION), 0)
        self._turned_away: dict[str, int] = {}
        self._in_flight = self._connections = self._accepted = self._received = self._sent = 0
        if shared is None:
            _Collector.of(self.registry).members.append(self)
        else:
            self._inherited = read(shared.file_of_mine(), but=_GAUGES)

    # What happens (`Observer`).

    def connected(self, connection: object) -> None:
        """A connection more."""
        self._connections += 1
        self._accepted += 1

    def closed(self, connection: object) -> None:
        """A connection less."""
        self._connections -= 1

    def turned_away(self, limit: str) -> None:
        """A connection was not let in."""
        self._turned_away[limit] = self._turned_away.get(limit, 0) + 1

    def begun(self, record: Record) -> None:
        """A request more is under way."""
        self._in_flight += 1

    def upgraded(self, record: Record) -> None:
        """A request has been answered by another protocol; how long that lasts is no duration of a request."""
        self._in_flight -= 1
        self._upgraded.add(record)
        self._series_of(record).count += 1

    def ended(self, record: Record) -> None:
        """A request is over."""
        if record.upgraded:
            self._upgraded.discard(record)
            if record.session is not None:
                for name in self._past_sessions:
                    self._past_sessions[name] += getattr(record.session, name)
            return
        self._in_flight -= 1
        self._received += record.bytes_in
        self._sent += record.bytes_out
        series = self._series_of(record)
        series.count += 1
        series.durations.observe(record.ended_at - record.begun_at)  # type: ignore[operator]  # it has ended

    def refused(self, record: Record) -> None:
        """What was no request has been answered."""
        self._series_of(record).count += 1

    def _series_of(self, record: Record) -> _Series:
        request = record.request
        method = NONE if request is None else request.method
        series = self._series.get((method, record.route, record.status))
        if series is not None:
            return series
        # The first of its kind, or of a kind that has no series of its own.
        key = (method if method in METHODS else "_OTHER", record.route, shown_status(record))
        series = self._series.get(key)
        if series is None:
            # Durations know no status, so that there are few series: what fails is counted.
            labels = (key[0], NONE if record.route is None else record.route)
            durations = self._durations.get(labels)
            if durations is None:
                durations = self._durations[labels] = _Histogram(self.buckets)
            series = self._series[key] = _Series(durations)
        return series

    # What is asked for.

    def watch(self, callback: Any) -> None:
        """Look at WSGI containers and brokers too.

        :param callback: what a server was given; all that is in it is found.
        """
        for part in parts_of(callback):
            if isinstance(part, WSGIContainer):
                self._containers.append(part)
            else:
                self._applications.append(part)

    def start(self) -> None:
        """Measure the lag of the running loop from now on, and let other processes know what is counted here."""
        if self._timer is None:
            self._due = asyncio.get_running_loop().time()
            self._tick()

    def stop(self) -> None:
        """Measure no more, and let others know the last."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._publish()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._lag.observe(max(0.0, now - self._due))
        self._due = now + INTERVAL
        self._timer = loop.call_at(self._due, self._tick)
        self._publish()

    def _publish(self) -> None:
        """Write the file that other processes read, if there is something new in it."""
        if self._shared is None:
            return
        rows = self.rows()
        lag = rows.pop(("loop_lag_seconds", ()))  # it grows even where nothing happens
        if rows == self._written:
            return
        self._written = rows
        try:
            write(self._shared.file_of_mine(), {**rows, ("loop_lag_seconds", ()): lag})
        except OSError as error:
            if not self._complained:
                self._complained = True
                gen_log.error("metrics of this process cannot be written: %s", error)

    def rows(self) -> Rows:
        """All that has been counted here."""
        connections, upgraded = self._connections, len(self._upgraded)
        # HTTP/1 has one request on a connection at a time.
        active = max(0, min(self._in_flight, connections - upgraded))
        rows: Rows = {
            ("http_requests_in_flight", ()): [self._in_flight],
            ("http_received_bytes", ()): [self._received],
            ("http_sent_bytes", ()): [self._sent],
            ("accepted_connections", ()): [self._accepted],
            ("connections", ("active",)): [active],
            ("connections", ("idle",)): [max(0, connections - upgraded - active)],
            ("connections", ("upgraded",)): [upgraded],
            ("loop_lag_seconds", ()): self._lag.row(),
        }
        for limit, count in self._turned_away.items():
            rows["refused_connections", (limit,)] = [count]
        for (method, route, status), series in self._series.items():
            labels = (method, NONE if route is None else route)
            rows["http_requests", (*labels, str(status))] = [series.count]
        for labels, durations in self._durations.items():
            rows["http_request_duration_seconds", labels] = durations.row()
        self._add_sessions(rows)
        self._add_watched(rows)
        add(rows, self._inherited)
        return rows

    def _add_sessions(self, rows: Rows) -> None:
        sessions = [record.session for record in self._upgraded if record.session is not None]
        rows["websocket_connections", ()] = [len(sessions)]
        for name, family, direction in _SESSION:
            total = self._past_sessions[name] + sum(getattr(session, name) for session in sessions)
            rows[family, (direction,)] = [total]

    def _add_watched(self, rows: Rows) -> None:
        if self._containers:
            loads = [container.load() for container in self._containers]
            for name, family in _WSGI.items():
                rows[family, ()] = [sum(load[name] for load in loads)]
        brokers = [broker for app in self._applications if (broker := broker_of(app)) is not None]
        if brokers:
            for name in _BROKER_EVENTS:
                rows["broker_events", (name,)] = [sum(getattr(broker.stats, name) for broker in brokers)]
            rows["broker_reconnects", ()] = [sum(broker.stats.reconnects for broker in brokers)]
            rows["brokers_disconnected", ()] = [sum(not broker.connected for broker in brokers)]

    async def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics as text, of all processes where there are several, the application's own included.

        :param accept: the ``Accept`` of who asks: it may be for OpenMetrics, or Prometheus' older format.
        :returns: the text and its media type.
        """
        encode, media_type = self._api.exposition.choose_encoder(accept)
        shared = self._shared
        if shared is None:
            return encode(self.registry), media_type
        self._publish()
        registry = self._api.CollectorRegistry()
        self._api.multiprocess.MultiProcessCollector(registry, path=shared.path)
        registry.register(_Collector(self._api, shared.rows, self.buckets))
        # It reads the files of all processes, which may take some milliseconds.
        text = await asyncio.get_running_loop().run_in_executor(None, encode, registry)
        return text, media_type


class _Collector:
    """Shows rows to prometheus-client (its interface of collectors).

    :ivar members: whose rows.
    """

    #: The registries that have one, and keep it.
    _known: "WeakKeyDictionary[CollectorRegistry, ref[_Collector]]" = WeakKeyDictionary()

    def __init__(
        self, api: Any, rows: "Callable[[], Rows] | None" = None, buckets: Sequence[float] = BUCKETS
    ) -> None:
        self._api = api
        self._rows = rows
        self._buckets = buckets
        self.members: list[Metrics] = []

    @classmethod
    def of(cls, registry: "CollectorRegistry") -> "_Collector":
        """The one of a registry."""
        known = cls._known.get(registry)
        found = None if known is None else known()
        if found is None:
            found = cls(_prometheus())
            registry.register(found)
            cls._known[registry] = ref(found)
        return found

    def describe(self) -> "Iterable[Metric]":
        """Nothing beforehand."""
        return ()

    def collect(self) -> "Iterator[Metric]":
        """All families that have rows."""
        core = self._api.core
        rows: Rows = {}
        if self._rows is not None:
            rows = self._rows()
        for member in self.members:
            self._buckets = member.buckets
            add(rows, member.rows())
        made: dict[str, Any] = {}
        kinds = {
            "counter": core.CounterMetricFamily,
            "gauge": core.GaugeMetricFamily,
            "histogram": core.HistogramMetricFamily,
        }
        for (name, labels), values in sorted(rows.items()):
            family = FAMILIES.get(name)
            if family is None:
                continue  # of another version
            if name not in made:
                made[name] = kinds[family.kind]("webfw_" + name, family.text, labels=family.labels)
            if family.kind == "histogram":
                bounds = LAG_BUCKETS if name == "loop_lag_seconds" else self._buckets
                if len(values) == len(bounds) + 2:
                    made[name].add_metric(labels, *_cumulative(bounds, values))
            else:
                made[name].add_metric(labels, values[0])
        yield from made.values()
        build = core.GaugeMetricFamily(
            "webfw_build_info", "What serves here; always 1.", labels=["version", "python"]
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build


def _cumulative(bounds: Sequence[float], values: list[float]) -> tuple[list[tuple[str, float]], float]:
    """A histogram as Prometheus has it: how many were not above each bound, and the sum."""
    *classes, total = values
    names = ["+Inf" if bound == inf else repr(float(bound)) for bound in (*bounds, inf)]
    return list(zip(names, accumulate(classes), strict=True)), total


class MetricsHandler(Probe):
    """Answers with all metrics; for an address that only Prometheus reaches.

    :param metrics: whom to ask.
    """

    def initialize(self, metrics: Metrics) -> None:
        self.metrics = metrics

    async def get(self) -> None:
        text, media_type = await self.metrics.exposition(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", media_type)
        self.finish(text)


class SharedMetrics(SharedDirectory):
    """Has all processes of a tree count together; for the supervisor, before it loads an application or forks.

    What each process counts is in files of a directory that all can read; metrics of the application are too
    (prometheus-client's multi-process mode).  The files go by the lowest number that is free, and not by process id: a
    successor counts on where its predecessor has ended, and files do not pile up with every reload.

    :param identity: who the workers will be, if not who this process is.
    :raises ImportError: prometheus-client is not installed.
    :raises OSError: there can be no such directory.

    The environment variable ``PROMETHEUS_MULTIPROC_DIR`` names the directory.  One that is set already is used: it is
    that of the tree which this one follows, or the user's, and then not removed at the end.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        api = _prometheus()
        super().__init__()
        self._multiprocess, self._values = api.multiprocess, api.values
        self._former = self._values.ValueClass
        # At the risk the documentation speaks of: its rule is that no two running processes have the same.
        self._values.ValueClass = self._values.MultiProcessValue(self.slots.mine)
        self._mine = self.file_of_mine()
        self._serving: set[int] = set()
        self._rows = read(self._mine, but=_GAUGES)
        for reason in ("asked", "crashed"):
            self._rows.setdefault(("worker_exits", (reason,)), [0])
        self._write()
        self._identity = identity
        self.hand_over(identity)

    # In the supervisor.

    def forking(self) -> None:
        """A worker is about to be made."""
        self.hand_over(self._identity)

    def worker_ready(self, pid: int) -> None:
        """A worker serves."""
        self._serving.add(pid)
        self._write()

    def worker_gone(self, pid: int, *, asked: bool) -> None:
        """A worker has ended: what its gauges say no longer holds.

        :param asked: whether it was told to end.
        """
        self._serving.discard(pid)
        self._rows["worker_exits", ("asked" if asked else "crashed",)][0] += 1
        self._write()
        self.clean()

    def _write(self) -> None:
        self._rows["workers", ()] = [len(self._serving)]
        # The supervisor has more important things to do than to complain of a full disk.
        with suppress(OSError):
            write(self._mine, self._rows)

    def number_free(self, number: str) -> None:
        """The process with this number is gone."""
        with suppress(OSError):
            self._multiprocess.mark_process_dead(number, path=self.path)
            path = self.file_of(number)
            if os.path.exists(path):
                write(path, read(path, but=_GAUGES))

    def remove(self) -> None:
        """All workers are gone: remove the directory, unless it is needed by others."""
        super().remove()
        self._values.ValueClass = self._former

    # In any process.

    def file_of(self, number: str) -> str:
        """Where the counts of a process are."""
        return os.path.join(self.path, number + ".counts")

    def file_of_mine(self) -> str:
        """Where the counts of this process are."""
        return self.file_of(self.slots.mine())

    def rows(self) -> Rows:
        """What all processes have counted."""
        total: Rows = {}
        for name in sorted(os.listdir(self.path)):
            if name.endswith(".counts"):
                add(total, read(os.path.join(self.path, name)))
        return total
