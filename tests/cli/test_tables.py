"""Tests of webfw.cli.tables: columns, what is left out, what is escaped."""

from webfw.cli.tables import plural, printable, table


def test_numbers_stand_at_the_right() -> None:
    assert table(["a", "long name"], [["123", "4"]], right=True) == "  a  long name\n123          4"


def test_columns_are_aligned_and_nothing_trails() -> None:
    text = table(["NAME", "VALUE"], [["bind", "127.0.0.1:8000"], ["graceful_timeout", "30"]])
    assert text.split("\n") == [
        "NAME              VALUE",
        "bind              127.0.0.1:8000",
        "graceful_timeout  30",
    ]


def test_empty_columns_are_left_out() -> None:
    assert table(["A", "B", "C"], [["1", "", "x"], ["2", "", ""]]) == "A  C\n1  x\n2"
    assert table(["A", "B"], []) == ""


def test_nothing_disturbs_the_terminal() -> None:
    assert printable("a\nb\x1b[2J\u202e\udcff ä") == "a\\nb\\x1b[2J\\u202e\\udcff ä"
    assert "\x1b" not in table(["A"], [["\x1b[31m"]])


def test_plural() -> None:
    assert [plural(number, "route") for number in (0, 1, 2)] == ["0 routes", "1 route", "2 routes"]
