"""Whether this process should be sent requests, and why not: `Readiness` and its handlers; addresses may not enter."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any

from webfw.log import app_log, gen_log
from webfw.observe.parts import broker_of, parts_of
from webfw.pubsub import Broker, BrokerError
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer

__all__ = ["Check", "HealthHandler", "Probe", "Readiness", "ReadinessHandler"]

#: What finds out whether something that requests need is there.  All is well when it returns None or True; a text says
#: what is missing, and False that something is; an exception likewise.  It may return an awaitable of these.
Check = Callable[[], object]


class Readiness:
    """Whether this process should be sent requests, as load balancers and orchestrators ask at ``/readyz``.

    :param serving: whether it serves already; if not, it is not ready until `serving` is called.
    :param patience: seconds that asynchronous checks have, all at once.
    :raises ValueError: no patience.
    """

    def __init__(self, *, serving: bool = False, patience: float = 5.0) -> None:
        if not patience > 0:
            raise ValueError(f"patience must be more than 0 seconds, not {patience!r}")
        self.patience = patience
        self._serving = serving
        self._leaving = False
        self._checks: dict[str, Check] = {}
        self._applications: list[Application] = []
        #: Checks that have failed the last time, so that only changes are logged.
        self._failing: set[str] = set()

    # What is told.

    def serving(self) -> None:
        """Requests are answered from now on."""
        self._serving = True

    def leaving(self) -> None:
        """The process is going to end: not ready any more, while it still answers what comes."""
        self._leaving = True

    def add_check(self, name: str, check: Check) -> None:
        """Be ready only while a check says so; it is run at every question, on the loop, and so must not block.

        :param name: what it is called in the answer; one that is taken gets a number.
        :raises TypeError: the check cannot be called.
        """
        if not callable(check):
            raise TypeError(f"the readiness check {name} is a function, not {type(check).__name__}")
        free, number = name, 2
        while free in self._checks:
            free, number = f"{name} {number}", number + 1
        self._checks[free] = check

    def watch(self, callback: Any) -> None:
        """Check what answers requests.

        That is: brokers that applications use; threads of WSGI containers; and the applications' own checks,
        in their setting ``readiness_checks``: a mapping of names to functions, or functions.

        :param callback: what a server was given.
        :raises TypeError: a ``readiness_checks`` is none of these.
        """
        for part in parts_of(callback):
            if isinstance(part, WSGIContainer):
                self.add_check("wsgi", partial(_check_threads, part))
                continue
            self._applications.append(part)
            self.add_check("broker", partial(_check_broker, part))
            for name, check in _own_checks(part.settings.get("readiness_checks")):
                self.add_check(name, check)

    # What is asked.

    async def reasons(self) -> dict[str, str]:
        """Why no requests should be sent here, by what is missing; empty when they should."""
        if self._leaving or any(application.draining for application in self._applications):
            return {"draining": "the server is going away"}
        if not self._serving:
            return {"starting": "the server has not begun to serve yet"}
        found: dict[str, str] = {}
        running: dict[str, asyncio.Future[object]] = {}
        try:
            for name, check in self._checks.items():
                try:
                    said = check()
                except Exception as error:
                    # Border: the check is the application's.
                    found[name] = self._failed(name, error)
                else:
                    if isawaitable(said):
                        running[name] = asyncio.ensure_future(said)
                    else:
                        _note(found, name, said)
            if running:
                await self._wait_for(running, found)
        finally:
            for future in running.values():
                if not future.cancel() and not future.cancelled():
                    future.exception()  # it is known, or nobody waits for it any more
        self._log_changes(found)
        return found

    async def _wait_for(self, running: Mapping[str, "asyncio.Future[object]"], found: dict[str, str]) -> None:
        await asyncio.wait(running.values(), timeout=self.patience)
        for name, future in running.items():
            if not future.done():
                found[name] = f"no answer within {self.patience:g} seconds"
            elif future.cancelled():
                found[name] = "cancelled"
            else:
                error = future.exception()
                if error is None:
                    _note(found, name, future.result())
                else:
                    found[name] = self._failed(name, error)

    def _failed(self, name: str, error: BaseException) -> str:
        """What the client is told of an exception: its text may have what is none of the client's business."""
        if name not in self._failing:
            app_log.error("The readiness check %s has failed", name, exc_info=error)
        return f"failed with {type(error).__name__}"

    def _log_changes(self, found: Mapping[str, str]) -> None:
        for name in found.keys() - self._failing:
            gen_log.warning("not ready: %s: %s", name, found[name])
        for name in self._failing - found.keys():
            gen_log.info("no reason any more not to be ready: %s", name)
        self._failing = set(found)


def _note(found: dict[str, str], name: str, said: object) -> None:
    if said is None or said is True:
        return
    if isinstance(said, str):
        found[name] = said
    elif said is False:
        found[name] = "failed"
    else:
        found[name] = f"no verdict, but {type(said).__name__}"


def _check_threads(container: WSGIContainer) -> str | None:
    load = container.load()
    if not load["threads"] or load["busy"] < load["threads"] or load["waiting"] < load["max_waiting"]:
        return None
    return "as many requests wait for a thread as may"


def _check_broker(application: Application) -> Awaitable[str | None] | None:
    broker = broker_of(application)
    return None if broker is None or broker.connected else _connect(broker)


async def _connect(broker: Broker) -> str | None:
    # One that has never been connected does not try on its own.
    try:
        await broker.start()
    except BrokerError:
        pass  # it has told the log why
    return None if broker.connected else "not connected"


def _own_checks(given: Any) -> Iterable[tuple[str, Check]]:
    """The checks of an application, by name."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        return given.items()
    if callable(given):
        given = [given]
    return [(getattr(check, "__name__", type(check).__name__), check) for check in given]


class Probe(RequestHandler):
    """A handler whose answers nobody should keep."""

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> None:
        """None: nobody should keep the answer."""


class HealthHandler(Probe):
    """Answers 200 as long as the loop turns, and asks nothing else: who does not answer is to be started again."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish("ok\n")

    head = get


class ReadinessHandler(Probe):
    """Answers 200 ``{"status": "ready"}``, or 503 with the reasons, by name, why requests should go elsewhere.

    :param readiness: whom to ask; by default the application's setting ``readiness``, or else one that watches the
        application and is kept as that setting.
    """

    readiness: Readiness

    def initialize(self, readiness: Readiness | None = None) -> None:
        if readiness is None:
            readiness = self.settings.get("readiness")
        if readiness is None:
            readiness = self.settings["readiness"] = Readiness(serving=True)
            readiness.watch(self.application)
        self.readiness = readiness

    async def get(self) -> None:
        reasons = await self.readiness.reasons()
        if reasons:
            self.set_status(503)
            self.finish({"status": "not ready", "reasons": reasons})
        else:
            self.finish({"status": "ready"})

    head = get
