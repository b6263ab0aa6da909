"""The suite passes what conforms, and names every check that fails."""

import asyncio
from typing import Any

import pytest

from tests.testing.brokers import broken
from webfw.pubsub import MemoryBroker
from webfw.testing import check_broker
from webfw.testing.brokers import bench, delivery, leaving, recovery, suite


async def test_a_memory_broker_conforms() -> None:
    await check_broker(MemoryBroker, shared=False)


async def test_make_may_be_a_coroutine_function() -> None:
    made = []

    async def make(**options: Any) -> MemoryBroker:
        await asyncio.sleep(0)
        made.append(MemoryBroker(**options))
        return made[-1]

    await check_broker(make, shared=False)
    assert len(made) > len(suite.CHECKS) - 5
    assert all(broker._closed for broker in made)


async def test_all_failures_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PATIENCE", 1.0)
    with pytest.raises(AssertionError) as caught:
        await check_broker(broken.Complete, shared=False)
    text = str(caught.value)
    lines = text.splitlines()
    assert lines[0].startswith("3 of ")
    assert "  since_an_unknown_id: the history since '' must not say that it is complete" in lines
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "since_an_unknown_id",
        "history_has_a_size",
        "history_has_an_age",
    }
    assert isinstance(caught.value.__cause__, AssertionError)


async def test_a_check_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(MemoryBroker):
        async def publish(self, channel: str, message: Any) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(suite, "LIMIT", 0.05)
    error = await suite.attempt(delivery.ids_and_order, bench.Bench(Hangs, shared=False))
    assert isinstance(error, AssertionError)
    assert str(error) == "it has not ended within 0.05 s"


async def test_a_failure_to_close_is_a_failure() -> None:
    class Sticks(MemoryBroker):
        async def close(self) -> None:
            raise RuntimeError("stuck")

    error = await suite.attempt(delivery.ids_and_order, bench.Bench(Sticks, shared=False))
    assert isinstance(error, RuntimeError)


async def test_brokers_that_see_each_other_are_checked_for_it() -> None:
    core = MemoryBroker()
    for check in suite.SHARED_ONLY:
        assert await suite.attempt(check, bench.Bench(lambda: broken.View(core), shared=True)) is None


def test_every_check_says_what_it_demands_and_is_run() -> None:
    for module in (delivery, recovery, leaving):
        named = [
            value
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        ]
        assert [value for value in named if callable(value)] == module.CHECKS
        assert all(check.__doc__ and check.__doc__.count("\n") == 0 for check in module.CHECKS)
    assert [*delivery.CHECKS, *recovery.CHECKS, *leaving.CHECKS] == suite.CHECKS
