"""Applications with a beginning and an end: all are begun before the first request; what they do then may not enter."""

import asyncio
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from webfw.asgi import LifespanError
from webfw.cli.errors import LOAD_FAILED, CommandError
from webfw.cli.target import load_failure
from webfw.log import app_log
from webfw.observe.parts import all_of

__all__ = ["LEAST", "Lives", "Living"]

#: Seconds that ends have at least, where requests have used up the time there was.
LEAST = 2.0

_PLACE = re.compile(r'^\s*File "(.+)", line (\d+)', re.MULTILINE)


class Living(Protocol):
    """What has a beginning and an end: an ASGI container, or an application with these methods of its own."""

    async def startup(self) -> None:
        """Be ready for requests; what it raises keeps the server from serving."""

    async def shutdown(self) -> None:
        """Let go of everything; there are no requests any more."""


class Lives:
    """The beginnings and ends of all that is served.

    :param callbacks: what answers requests, each with its name for messages.
    """

    def __init__(self, callbacks: Iterable[tuple[str, Any]]) -> None:
        self._living = list(_living(callbacks))
        self._begun: list[tuple[str, Living]] = []

    async def begin(self) -> None:
        """Begin one after the other.

        :raises CommandError: one could not; those before it have ended again.
        """
        for name, living in self._living:
            try:
                await living.startup()
            except LifespanError as error:
                what, cause = f"the lifespan of {name} failed", error.__cause__
                if cause is not None:  # what the application has raised says more
                    failure = load_failure(what, cause)
                else:
                    failure = CommandError(f"{what}: {_sentence(str(error))}", LOAD_FAILED)
                failure.__cause__ = cause or error
            except (Exception, SystemExit) as error:
                # Border: the application's own code.
                failure = load_failure(f"starting {name} failed", error)
                failure.__cause__ = error
            else:
                self._begun.append((name, living))
                continue
            await self.end(LEAST)
            raise failure

    async def end(self, seconds: float) -> None:
        """End those that have begun, the last one first; what goes wrong is logged.

        :param seconds: that all of them have together; one that hangs does not use up those of the others.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._begun:
            share = max(0.0, until - loop.time()) / len(self._begun)
            name, living = self._begun.pop()
            limit = asyncio.timeout(share)
            try:
                async with limit:
                    await living.shutdown()
            except Exception:
                # Border: the others have to end, too.
                if limit.expired():
                    app_log.warning("%s has not ended within %.3g seconds: it is left", name, share)
                else:
                    app_log.error("ending %s failed", name, exc_info=True)


def _sentence(message: str) -> str:
    """What an application says of its failure, in one line; frameworks send a traceback: its end, and the place."""
    lines = message.strip().splitlines()
    places = _PLACE.findall(message)
    return f"{lines[-1].strip()} ({places[-1][0]}:{places[-1][1]})" if places else " ".join(lines)


def _living(callbacks: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Living]]:
    seen: set[int] = set()
    for name, callback in callbacks:
        for part in all_of(callback):
            if id(part) not in seen and _lives(part):
                seen.add(id(part))
                yield name, part


def _lives(part: Any) -> bool:
    """Whether it is an object with both methods, as coroutines: others of these names are a program's own matter."""
    names = ("startup", "shutdown")
    return not isinstance(part, type) and all(
        inspect.iscoroutinefunction(getattr(part, name, None)) for name in names
    )
