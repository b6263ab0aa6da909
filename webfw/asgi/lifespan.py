"""The lifespan of an ASGI application: a startup before the first request, a shutdown after the last; no requests."""

import asyncio
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Literal

from webfw.asgi.response import ApplicationError, type_of
from webfw.log import app_log

__all__ = ["Lifespan", "LifespanError", "Mode"]

#: Whether an application has a lifespan: ``auto`` asks it, and goes on without where it has none.
Mode = Literal["auto", "on", "off"]

#: Seconds for an application that has been cancelled.
LAST_WAIT = 1.0

_ASGI = {"version": "3.0", "spec_version": "2.0"}


class LifespanError(Exception):
    """An application cannot start; the text says why."""


class Lifespan:
    """One run of an application's lifespan, on one loop.

    :param app: the application.
    :param mode: ``auto``, or ``on`` where having none is an error.
    :param timeout: seconds for the startup, and again for the shutdown; None for no limit.

    :ivar state: what the application keeps for its requests.
    """

    __slots__ = (
        "_app",
        "_asked",
        "_ending",
        "_mode",
        "_shut_down",
        "_started",
        "_task",
        "_timeout",
        "state",
    )

    def __init__(self, app: Any, mode: Mode, timeout: float | None) -> None:
        self._app = app
        self._mode = mode
        self._timeout = timeout
        self.state: dict[str, Any] = {}
        #: How many messages the application has asked for.
        self._asked = 0
        loop = asyncio.get_running_loop()
        #: Whether it has a lifespan, as soon as that is known; an exception where it cannot start.
        self._started: asyncio.Future[bool] = loop.create_future()
        self._ending: asyncio.Future[None] = loop.create_future()
        #: What the shutdown has come to: an empty text, or what has failed.
        self._shut_down: asyncio.Future[str] = loop.create_future()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Begin: done when the application is ready for requests, or has said that it has no lifespan.

        :raises LifespanError: it cannot start, or has not in time.
        """
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), context=copy_context())
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(self._started)
        except TimeoutError:
            raise LifespanError(f"the application has not started within {self._timeout} seconds") from None
        finally:
            if not self._has_one():
                await self._stop()

    async def shutdown(self) -> None:
        """End: done when the application has ended; what goes wrong is logged."""
        task = self._task
        if task is None or not self._has_one():
            return
        if not self._ending.done():
            self._ending.set_result(None)
        try:
            async with asyncio.timeout(self._timeout):
                failure = await asyncio.shield(self._shut_down)
                if failure:
                    app_log.error("The application's shutdown has failed: %s", failure)
                await asyncio.wait([task])
        except TimeoutError:
            app_log.error("The application has not shut down within %s seconds", self._timeout)
        finally:
            await self._stop()

    def _has_one(self) -> bool:
        started = self._started
        return started.done() and not started.cancelled() and not started.exception() and started.result()

    def _has_failed(self) -> bool:
        """Whether the application has said that its shutdown has failed; frameworks go on to raise the same again."""
        return self._shut_down.done() and bool(self._shut_down.result())

    async def _stop(self) -> None:
        """End the application's task, whatever it is doing."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            # It may ignore that: nobody can wait for it for ever.
            await asyncio.wait([task], timeout=LAST_WAIT)

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            scope = {"type": "lifespan", "asgi": _ASGI, "state": self.state}
            await self._app(scope, self.receive, self.send)
        except asyncio.CancelledError as cause:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = cause  # what it waited for was cancelled, not the application
        except Exception as cause:
            # Border: whatever an application raises here says at most that it has no lifespan.
            error = cause
        finally:
            if not self._started.done():
                self._without(error)
            elif error is not None and self._has_one() and not self._has_failed():
                app_log.error("Uncaught exception in the application's lifespan", exc_info=error)
            if not self._shut_down.done():
                self._shut_down.set_result("")

    def _without(self, error: BaseException | None) -> None:
        """The application has ended without a word about its startup."""
        if self._mode == "on":
            what = (
                "the application's startup has failed" if self._asked else "the application has no lifespan"
            )
            self._fail(what if error is None else f"{what}: {error!r}", error)
            return
        if error is not None and self._asked and not isinstance(error, ApplicationError):
            # It may know what a lifespan is, and this be a mistake in it; "the server must continue" all the same.
            app_log.error("Uncaught exception in the application's startup; going on without", exc_info=error)
        else:
            app_log.debug("The application has no lifespan: %r", error)
        self._started.set_result(False)

    def _fail(self, message: str, cause: BaseException | None = None) -> None:
        error = LifespanError(message)
        error.__cause__ = cause
        self._started.set_exception(error)
        with suppress(LifespanError):
            self._started.result()  # whoever does not wait for it need not be told

    # What the application calls.

    async def receive(self) -> dict[str, Any]:
        """Give the application its next message: that of the startup, then that of the shutdown.

        :raises ApplicationError: there are no others.
        """
        self._asked += 1
        if self._asked == 1:
            return {"type": "lifespan.startup"}
        if self._shut_down.done():
            raise ApplicationError("nothing comes after the shutdown")
        await asyncio.shield(self._ending)
        return {"type": "lifespan.shutdown"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the application.

        :raises ApplicationError: it is none, or not the one whose turn it is.
        """
        kind = type_of(message)
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            if self._started.done():
                raise ApplicationError(f"{kind} comes after the startup")
            if kind == "lifespan.startup.complete":
                self._started.set_result(True)
            else:
                self._fail(str(message.get("message", "")).strip() or "the application's startup has failed")
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            if not self._ending.done() or self._shut_down.done():
                raise ApplicationError(f"{kind} comes before the shutdown, or after it")
            failed = kind == "lifespan.shutdown.failed"
            said = str(message.get("message", "")).strip() or "it does not say why" if failed else ""
            self._shut_down.set_result(said)
        else:
            raise ApplicationError(f"a message of a type that a lifespan does not have: {kind[:100]!r}")
