"""What is shown of samples: medians, ranges, ratios, tables."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import peers, report
from bench.peers import Cast


@dataclass
class Sample:
    user: float
    system: float


def test_each_column_has_its_own_median_and_the_range_is_of_the_totals() -> None:
    found = report.costs([Sample(10, 2), Sample(30, 1), Sample(20, 9)])
    assert found == {
        "user_us": 20,
        "system_us": 2,
        "total_us": 29,
        "lowest_us": 12,
        "highest_us": 31,
    }
    assert report.costs([Sample(1, 2), Sample(3, 4)])["total_us"] == 5


def test_a_ratio_says_how_many_times_as_much_the_other_one_needs() -> None:
    rows = {"mine": {"total_us": 20.0, "elapsed_us": 3.0}, "other": {"total_us": 50.0, "elapsed_us": 6.0}}
    assert report.ratio("other", rows).cell(rows["mine"]) == "2.5"
    assert report.ratio("other", rows, 2).cell(rows["other"]) == "1.00"
    elapsed = report.ratio("other", rows, 1, "elapsed_us")
    assert (elapsed.head, elapsed.cell(rows["mine"])) == ("other's time ÷", "2.0")
    assert report.ratio("nobody", rows).cell(rows["mine"]) == ""


def test_a_table_is_sorted_and_square() -> None:
    rows = {"b": {"kib": 2.0}, "a": {"kib": 1.0}}
    columns = [report.Column("KiB", lambda row: f"{row['kib']:.1f}")]
    text = report.table("memory", rows, columns, key="kib", label=str.upper)
    assert text.splitlines() == ["| memory | KiB |", "|---|---:|", "| A | 1.0 |", "| B | 2.0 |"]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([0, 0], "0"),
        ([0.5, 0.25, 1.0], "0.50 (0.25 to 1.00)"),
        ([20.25], "20.2"),
        ([1000.4, 3000.0], "2,000 (1,000 to 3,000)"),
    ],
)
def test_spread(found: list[float], text: str) -> None:
    assert report.spread(found) == text


def test_expectations() -> None:
    assert report.expectation("x", 1.25, False, "at most 1") == "MISSED: x: 1.25, at most 1 expected"
    assert report.expectation("x", 0.5, True, "at most 1").startswith("met: x: 0.50")


def test_what_is_written_says_who_was_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "prepare", lambda: (tmp_path / "python", {"bjoern==1": "error: no libev"}))
    monkeypatch.setattr(peers, "versions", lambda python: {"tornado": "6"})
    monkeypatch.setattr(report, "machine", lambda: {"cpu": "C", "cpus": 2, "python": "3.11"})
    cast = Cast()
    assert cast.able([], [], lambda peer: None) == []
    document = report.document("python -m bench x", 2, 0.5, cast, more=1)
    cast.left_out["late"] = "does not serve"
    report.write(tmp_path / "new" / "x.json", document)
    found = json.loads((tmp_path / "new" / "x.json").read_text())
    assert found["left_out"] == {"late": "does not serve"}
    assert found["not_installed"] == {"bjoern==1": "error: no libev"}
    assert (found["command"], found["versions"], found["more"]) == ("python -m bench x", {"tornado": "6"}, 1)
    assert (
        report.headline(found, "64 connections")
        == "C, 2 cores, Python 3.11, 64 connections, 2 rounds of 0.5 s"
    )
    assert cast.absent().splitlines() == [
        "left out: late (does not serve)",
        "not installed: bjoern==1 (error: no libev)",
    ]
