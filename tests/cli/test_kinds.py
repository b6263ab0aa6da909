"""How values of settings are read."""

from typing import Any

import pytest

from webfw.cli.kinds import Choice, Flag, Integer, Kind, Many, Seconds, Size, Text, Workers
from webfw.cli.settings import SETTINGS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Text(), "a b", "a b"),
        (Flag(), "On", True),
        (Flag(), "no", False),
        (Integer(), "0", 0),
        (Integer(1, 9), " 9 ", 9),
        (Workers(), "auto", "auto"),
        (Workers(), "4", 4),
        (Seconds(), "0", 0.0),
        (Seconds(), "1.5", 1.5),
        (Seconds(), "250ms", 0.25),
        (Seconds(), "2 min", 120.0),
        (Seconds(), "1h", 3600.0),
        (Size(), "0", 0),
        (Size(), "64KiB", 65536),
        (Size(), "10 MB", 10_000_000),
        (Size(), "1g", 10**9),
        (Size(), "1Gi", 2**30),
        (Choice("a", "b"), "A", "a"),
        (Many(Integer()), "1,2 3", [1, 2, 3]),
        (Many(Text()), "", []),
    ],
)
def test_from_text(kind: Kind, text: str, value: Any) -> None:
    assert kind.parse(text) == value
    assert kind.check(text) == value
    assert kind.parse(kind.show(value)) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Text(), ""),
        (Flag(), "maybe"),
        (Integer(), "-1"),
        (Integer(), "1.5"),
        (Integer(), "٣"),
        (Integer(1, 9), "10"),
        (Integer(), "9" * 5000),
        (Workers(), "-1"),
        (Workers(), "many"),
        (Seconds(), "-1"),
        (Seconds(), "1 day"),
        (Seconds(), "nan"),
        (Seconds(1.0), "0.5"),
        (Size(), "1TB"),
        (Size(1024), "1000"),
        (Choice("a", "b"), "c"),
        (Many(Integer()), "1 x"),
    ],
)
def test_text_that_is_none(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match="is wanted, not"):
        kind.parse(text)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (Flag(), True, True),
        (Integer(), 3, 3),
        (Workers(), 3, 3),
        (Seconds(), 3, 3.0),
        (Seconds(), 0.5, 0.5),
        (Size(), 3, 3),
        (Many(Size()), [1, "1KiB"], [1, 1024]),
    ],
)
def test_from_a_file(kind: Kind, value: Any, read: Any) -> None:
    assert kind.check(value) == read


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Text(), 1),
        (Flag(), 1),
        (Integer(), True),
        (Integer(), 1.0),
        (Integer(1, 9), 0),
        (Workers(), False),
        (Seconds(), True),
        (Seconds(), -1),
        (Seconds(), float("inf")),
        (Seconds(), []),
        (Size(), -1),
        (Size(), 1.5),
        (Choice("a", "b"), 1),
        (Many(Text()), 5),
        (Many(Text()), [5]),
        (Seconds(), 10**400),
    ],
)
def test_a_file_with_the_wrong_type(kind: Kind, value: Any) -> None:
    with pytest.raises(ValueError, match="is wanted, not"):
        kind.check(value)


@pytest.mark.parametrize("value", ["", " , ", []])
def test_a_list_with_too_little(value: Any) -> None:
    with pytest.raises(ValueError, match="a list of 1 or more, each a text, is wanted, not"):
        Many(Text(), 1).check(value)


def test_sizes_are_shown_in_the_unit_that_fits() -> None:
    assert [Size().show(n) for n in (0, 1000, 1024, 100 * 2**20, 2**31)] == [
        "0",
        "1000",
        "1KiB",
        "100MiB",
        "2GiB",
    ]


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_default_is_a_value(name: str) -> None:
    setting = SETTINGS[name]
    if setting.default is not None:
        shown = setting.show(setting.default)
        assert setting.kind.parse(shown) == setting.default
        assert setting.kind.check(setting.default) == setting.default
