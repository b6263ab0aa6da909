"""Each check of slow subscribers, presence, coming and going finds the fault it is there for."""

from typing import Any

import pytest

from tests.testing.brokers import broken
from tests.testing.brokers.conftest import find
from webfw.pubsub import MemoryBroker
from webfw.testing.brokers import bench, leaving, suite

FAULTS = [
    (leaving.slow_loses_the_oldest, broken.Forgets, "dropped here"),
    (leaving.slow_is_closed, broken.NeverCloses, "what was kept|Gap"),
    (leaving.recovered_is_no_backlog, broken.CountsRecovered, "were not read in time"),
    (leaving.presence_of_members, broken.LeaksPresence, "present"),
    (leaving.closing, broken.StaysOpen, "history after close"),
    (leaving.closing, broken.LeavesTask, "tasks were left running"),
    (leaving.churn, broken.LeavesListeners, "delivered after detach|what a visitor got|deliveries of one"),
    (leaving.cancelled_readers, broken.LosesAtCancel, "expected within|what was read"),
    (leaving.counted, broken.Miscounts, "published, delivered, recovered"),
    (leaving.closing, broken.Sleepers, "a waiting reader has not ended"),
    (leaving.presence_of_members, broken.PresenceOfOne, "present"),
]


@pytest.mark.parametrize(
    ("check", "broker", "text"), FAULTS, ids=[f"{c.__name__}-{b.__name__}" for c, b, _ in FAULTS]
)
async def test_each_fault_is_found(check: Any, broker: Any, text: str, impatient: None) -> None:
    await find(check, broker, text)


def test_every_check_has_its_fault() -> None:
    without = {"closed_brokers_are_absent"}
    assert {check.__name__ for check in leaving.CHECKS} - {
        check.__name__ for check, _, _ in FAULTS
    } == without


async def test_faults_between_brokers_are_found(impatient: None) -> None:
    core = MemoryBroker()
    error = await suite.attempt(
        leaving.closed_brokers_are_absent, bench.Bench(lambda: broken.ViewKeepsMembers(core), shared=True)
    )
    with pytest.raises(AssertionError, match="after a broker was closed"):
        raise error or LookupError
