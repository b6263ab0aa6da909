"""The conformance suite of publish/subscribe: what every `Broker` must do, whoever has written it; no broker may enter.

    async def test_conforms():
        await check_broker(lambda **options: MyBroker("my://127.0.0.1", **options))

Each check is a function of a list named ``CHECKS``; its docstring says what it demands.
"""

import asyncio
from collections.abc import Awaitable, Callable

from webfw.testing.brokers import delivery, leaving, recovery
from webfw.testing.brokers.bench import Bench, Make

__all__ = ["check_broker"]

#: Seconds a check may take.
LIMIT = 30.0

CHECKS = [*delivery.CHECKS, *recovery.CHECKS, *leaving.CHECKS]

#: Those that need two brokers which see each other.
SHARED_ONLY = {delivery.across_brokers, leaving.closed_brokers_are_absent}


async def check_broker(make: Make, *, shared: bool = True) -> None:
    """Check that a broker does what `Broker` promises; it takes some seconds.

    :param make: called, and awaited if need be, for each broker that is wanted: gives a new one, not started, each time
        on the same engine.  It takes the options of `Broker` (``history_size``, ``history_age``, ``backlog``,
        ``policy``) by name and must hand them on.  Channels have random names, so an engine may keep what it has.
    :param shared: whether the brokers that ``make`` gives see each other, as those of several processes do.
    :raises AssertionError: with the name of every check that has failed and why; its cause is the first of them.
    """
    failures: list[tuple[str, Exception]] = []
    for check in CHECKS:
        if shared or check not in SHARED_ONLY:
            error = await attempt(check, Bench(make, shared))
            if error is not None:
                failures.append((getattr(check, "__name__", str(check)), error))
    if failures:
        lines = [f"  {name}: {error if str(error) else repr(error)}" for name, error in failures]
        text = f"{len(failures)} of {len(CHECKS)} checks of this broker have failed:\n" + "\n".join(lines)
        raise AssertionError(text) from failures[0][1]


async def attempt(check: Callable[[Bench], Awaitable[None]], bench: Bench) -> Exception | None:
    """Run a check, and close what it has made; gives what has failed."""
    failures = [await _failure(check, bench), await _failure(Bench.close, bench)]
    return failures[0] or failures[1]


async def _failure(work: Callable[[Bench], Awaitable[None]], bench: Bench) -> Exception | None:
    limit = asyncio.timeout(LIMIT)
    try:
        async with limit:
            await work(bench)
    except Exception as error:
        # Border: whatever a broker under test raises is a failure of its check, and the next one still runs.
        if limit.expired():
            return AssertionError(f"it has not ended within {LIMIT:g} s")
        return error
    return None
