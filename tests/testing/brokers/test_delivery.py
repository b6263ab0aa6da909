"""Each check of publishing, data, channels and delivery finds the fault it is there for."""

from typing import Any

import pytest

from tests.testing.brokers import broken
from tests.testing.brokers.conftest import find
from webfw.pubsub import MemoryBroker
from webfw.testing.brokers import bench, delivery, suite

FAULTS = [
    (delivery.ids_and_order, broken.SameIds, "different ids|what was delivered"),
    (delivery.ids_and_order, broken.Backwards, "what was delivered"),
    (delivery.data_kinds, broken.Text, "data live"),
    (delivery.data_made_plain, broken.SharesObject, "data"),
    (delivery.refused_data, broken.Guest, "should have raised"),
    (delivery.data_is_isolated, broken.SharesObject, "changed"),
    (delivery.many_subscribers, broken.DeliversToOne, "expected within"),
    (delivery.channels_do_not_mix, broken.Mixes, "the history of|delivered on"),
    (delivery.bad_channels, broken.AnyName, "presence with"),
    (delivery.nothing_from_before, broken.FromThePast, "the first to subscribe got"),
    (delivery.detaching_stops, broken.DeafDetach, "what the detached listener got"),
    (delivery.failing_listener, broken.StopsAtFailure, "has not come"),
    (delivery.one_order_for_all, broken.OwnOrder, "different orders|expected within"),
    (delivery.ways_to_subscribe, broken.Sleeper, "has not ended"),
]


@pytest.mark.parametrize(
    ("check", "broker", "text"), FAULTS, ids=[f"{c.__name__}-{b.__name__}" for c, b, _ in FAULTS]
)
async def test_each_fault_is_found(check: Any, broker: Any, text: str, impatient: None) -> None:
    await find(check, broker, text)


def test_every_check_has_its_fault() -> None:
    without = {"across_brokers"}
    assert {check.__name__ for check in delivery.CHECKS} - {
        check.__name__ for check, _, _ in FAULTS
    } == without


async def test_faults_between_brokers_are_found(impatient: None) -> None:
    core = MemoryBroker()
    error = await suite.attempt(delivery.across_brokers, bench.Bench(lambda: broken.Deaf(core), shared=True))
    with pytest.raises(AssertionError, match="subscriber got|expected within"):
        raise error or LookupError
