"""Tests of webfw.httpserver.observer: the record, the fan-out, and observers that raise."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httpserver import observer as room
from webfw.httpserver.observer import Observer, Observers, Record


class Seen(Observer):
    """Notes the moments."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.moments: list[Any] = []

    def connected(self, connection: object) -> None:
        self.moments.append("connected")

    def begun(self, record: Record) -> None:
        self.moments.append("begun")

    def handling(self, record: Record) -> None:
        self.moments.append(("handling", record.route))

    def answering(self, record: Record) -> None:
        self.moments.append(("answering", record.status))

    def upgraded(self, record: Record) -> None:
        self.moments.append("upgraded")

    def ended(self, record: Record) -> None:
        self.moments.append(("ended", record.why, record.status, record.bytes_out, record.request))

    def refused(self, record: Record) -> None:
        self.moments.append("refused")

    def closed(self, connection: object) -> None:
        self.moments.append("closed")


class Breaks(Observer):
    def ended(self, record: Record) -> None:
        raise ValueError("this observer is broken")


def record_for(*observers: Observer) -> Record:
    watching = Observers.of(observers)
    assert watching is not None
    exchange: Any = SimpleNamespace(bytes_sent=7, bytes_received=3)
    context: Any = None
    request: Any = "the request"
    return Record(watching, context, object(), exchange, request)


def test_nobody_watches() -> None:
    assert Observers.of(None) is None
    assert Observers.of([]) is None


@pytest.mark.parametrize("given", [[print], "abc"])
def test_what_is_no_observer_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"webfw\.httpserver\.Observer, not"):
        Observers.of(given)


def test_a_record_tells_its_observers_in_order() -> None:
    seen = Seen()
    record = record_for(seen)
    record.route = "/x"
    record.handling()
    record.answering(201)
    record.end("complete")
    assert seen.moments == [
        ("handling", "/x"),
        ("answering", 201),
        ("ended", "complete", 201, 7, "the request"),
    ]
    assert record.request is None
    assert record.exchange is None
    assert record.begun_at <= record.handling_at <= record.answering_at <= record.ended_at  # type: ignore[operator]


def test_each_moment_comes_once_and_none_after_the_end() -> None:
    seen = Seen()
    record = record_for(seen)
    record.handling()
    record.handling()
    record.end("client_gone")
    record.end("complete")
    record.answering(200)
    record.handling()
    assert [moment[0] for moment in seen.moments] == ["handling", "ended"]
    assert (record.why, record.status, record.answering_at) == ("client_gone", 0, None)


def test_all_observers_are_told_though_one_raises(
    expect_log: Callable[..., AbstractContextManager[Any]],
) -> None:
    seen = Seen()
    record = record_for(Breaks(), seen)
    with expect_log("webfw.application", r"observer's Breaks\.ended"):
        record.end("complete")
    assert seen.moments[0][0] == "ended"


def test_complaints_come_once_a_minute(
    expect_log: Callable[..., AbstractContextManager[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(room, "monotonic", lambda: now[0])
    watching = Observers([Breaks()])

    def end() -> None:
        context: Any = None
        Record(watching, context, object()).end("complete")

    with expect_log("webfw.application", "uncaught|Uncaught"):
        end()
    now[0] += 59
    end()  # a second complaint would fail the test
    now[0] += 1
    with expect_log("webfw.application", "Uncaught"):
        end()


def test_only_methods_that_are_overridden_are_called() -> None:
    watching = Observers([Breaks(), Observer()])
    assert len(watching.on_ended) == 1
    assert watching.on_begun == watching.on_connected == watching.on_closed == ()


def test_whether_somebody_writes_the_access_log() -> None:
    class Writes(Observer):
        writes_access_log = True

    assert Observers([Observer(), Writes()]).writes_access_log
    assert not Observers([Observer()]).writes_access_log
