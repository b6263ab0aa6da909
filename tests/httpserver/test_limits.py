"""The record of limits: what it accepts, and how often it wants the sweep."""

import dataclasses
from typing import Any

import pytest

from webfw.httpserver import Limits
from webfw.sansio.http1 import HeadLimits

NAMES = [field.name for field in dataclasses.fields(Limits) if field.name != "head"]


def test_the_defaults_keep_slow_clients_off() -> None:
    limits = Limits()
    assert (limits.header_timeout, limits.idle_timeout, limits.tls_handshake_timeout) == (10, 75, 10)
    assert (limits.min_body_rate, limits.body_grace, limits.write_timeout) == (240, 20, 60)
    assert (limits.min_write_rate, limits.write_grace) == (240, 60)
    assert limits.body_timeout == 0
    assert limits.head == HeadLimits(max_target=32 * 1024)
    assert limits.shortest() == limits.linger_timeout == 2


def test_they_cannot_be_changed_in_use() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().write_timeout = 5  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_negative(name: str) -> None:
    for value in (-1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} must not be"):
            Limits(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_zero(name: str) -> None:
    """Off, or nothing at all; but a body cannot be handed on in pieces of none."""
    if name in ("chunk_size", "body_grace", "write_grace"):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: 0})
    else:
        assert getattr(Limits(**{name: 0}), name) == 0


def test_the_sweep_is_as_fine_as_the_shortest_deadline() -> None:
    off: dict[str, Any] = dict.fromkeys(
        (
            "header_timeout",
            "idle_timeout",
            "body_timeout",
            "write_timeout",
            "linger_timeout",
            "min_body_rate",
            "min_write_rate",
        ),
        0,
    )
    assert Limits(**off).shortest() == 60
    assert Limits(**off | {"body_timeout": 3.0}).shortest() == 3
    assert Limits(**off | {"min_body_rate": 1, "body_grace": 2}).shortest() == 2
    assert Limits(**off | {"min_write_rate": 1, "write_grace": 2}).shortest() == 2
