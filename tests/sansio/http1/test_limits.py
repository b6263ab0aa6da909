"""The limits are fixed once made, and have sane defaults."""

import dataclasses

import pytest

from webfw.sansio.http1 import HeadLimits


def test_defaults() -> None:
    limits = HeadLimits()
    assert (limits.max_header_size, limits.max_fields, limits.max_target) == (65536, 100, 8190)
    assert limits.allow_bare_lf is False


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HeadLimits().max_fields = 5  # type: ignore[misc]
    assert dataclasses.replace(HeadLimits(), max_fields=5).max_fields == 5
