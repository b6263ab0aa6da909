"""Each check of recovery and history finds the fault it is there for."""

from typing import Any

import pytest

from tests.testing.brokers import broken
from tests.testing.brokers.conftest import find
from webfw.testing.brokers import recovery

FAULTS = [
    (recovery.recovers_what_was_missed, broken.Doubles, "what came next"),
    (recovery.recovers_what_was_missed, broken.IncludesSince, "recovered since"),
    (recovery.recovered_before_newer, broken.LateRecovery, "when attach returns"),
    (recovery.since_the_newest, broken.IncludesSince, "since the newest id"),
    (recovery.since_an_empty_channel, broken.EmptyHasNoPosition, "since the position that history gave"),
    (recovery.since_an_unknown_id, broken.NoGap, "the first event since ''"),
    (recovery.since_an_unknown_id, broken.Complete, "must not say"),
    (recovery.since_an_unknown_id, broken.RaisesForUnknownIds, "invalid literal"),
    (recovery.recovery_while_publishing, broken.MissesRace, "what one reader got"),
    (recovery.recovery_while_publishing, broken.LosesOne, "what one reader got"),
    (recovery.recovery_while_publishing, broken.Doubles, "what one reader got"),
    (recovery.history_has_a_size, broken.Endless, "the history"),
    (recovery.history_has_a_size, broken.NoGap, "the first event since|expected within"),
    (recovery.history_has_a_size, broken.Complete, "history since message 0"),
    (recovery.history_has_an_age, broken.Ageless, "after its age"),
    (recovery.history_has_an_age, broken.Complete, "too old"),
    (recovery.no_history, broken.KeepsOne, "kept"),
    (recovery.last_messages, broken.OldestFirst, "with last=1"),
    (recovery.history_limits, broken.OldestFirst, "limit=2"),
    (recovery.recovers_what_was_missed, broken.LosesOne, "9 events were expected"),
]


@pytest.mark.parametrize(
    ("check", "broker", "text"), FAULTS, ids=[f"{c.__name__}-{b.__name__}" for c, b, _ in FAULTS]
)
async def test_each_fault_is_found(check: Any, broker: Any, text: str, impatient: None) -> None:
    await find(check, broker, text)


def test_every_check_has_its_fault() -> None:
    without = set()
    assert {check.__name__ for check in recovery.CHECKS} - {
        check.__name__ for check, _, _ in FAULTS
    } == without
