"""What is shown of samples and written down: medians, ranges, ratios, tables, and the JSON that figures are kept in."""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.cpu import machine
from bench.peers import Cast

__all__ = ["Row", "costs", "document", "expectation", "ratio", "spread", "table", "write"]

#: The figures of one line of a table.
Row = Mapping[str, float]


class Sample(Protocol):
    """What one load cost: microseconds of CPU time a request or a message."""

    @property
    def user(self) -> float: ...
    @property
    def system(self) -> float: ...


def costs(samples: Sequence[Sample]) -> dict[str, float]:
    """Medians over the rounds, each column for itself, and the range of the totals."""
    totals = [sample.user + sample.system for sample in samples]
    return {
        "user_us": statistics.median(sample.user for sample in samples),
        "system_us": statistics.median(sample.system for sample in samples),
        "total_us": statistics.median(totals),
        "lowest_us": min(totals),
        "highest_us": max(totals),
    }


# --- tables ---


@dataclass(frozen=True)
class Column:
    """One column of figures: its head, and what a row has in it."""

    head: str
    cell: Callable[[Row], str]


COSTS = (
    Column("user µs", lambda row: f"{row['user_us']:.1f}"),
    Column("system µs", lambda row: f"{row['system_us']:.1f}"),
    Column("total µs", lambda row: f"{row['total_us']:.1f}"),
    Column("lowest to highest", lambda row: f"{row['lowest_us']:.1f} to {row['highest_us']:.1f}"),
)
RATE = Column("requests/s", lambda row: f"{row['requests_per_second']:,.0f}")
MESSAGES = Column("messages/s", lambda row: f"{row['messages_per_second']:,.0f}")
ELAPSED = Column("elapsed µs", lambda row: f"{row['elapsed_us']:.1f}")


def ratio(other: str, rows: Mapping[str, Row], digits: int = 1, key: str = "total_us") -> Column:
    """How many times what a row needs another one needs: 2.0 says twice as much; nothing where it did not run."""
    name = f"{other} ÷" if key == "total_us" else f"{other}'s time ÷"
    if other not in rows:
        return Column(name, lambda row: "")
    return Column(name, lambda row: f"{rows[other][key] / row[key]:.{digits}f}")


def table(
    title: str,
    rows: Mapping[str, Row],
    columns: Iterable[Column],
    key: str = "total_us",
    label: Callable[[str], str] = str,
) -> str:
    """Markdown, the line with the lowest `key` first."""
    columns = tuple(columns)
    lines = [
        f"| {' | '.join([title, *(column.head for column in columns)])} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    lines += [
        f"| {' | '.join([label(name), *(column.cell(row) for column in columns)])} |"
        for name, row in sorted(rows.items(), key=lambda item: item[1][key])
    ]
    return "\n".join(lines)


def spread(found: Sequence[float]) -> str:
    """Median and range."""
    middle = statistics.median(found)
    whole = all(float(value).is_integer() for value in found)
    digits = 0 if middle >= 100 or whole else 2 - (middle >= 10)
    shown, low, high = (f"{value:,.{digits}f}" for value in (middle, min(found), max(found)))
    return shown if low == high else f"{shown} ({low} to {high})"


def expectation(what: str, value: float, met: bool, bound: str) -> str:
    """One line of judgement."""
    return f"{'met' if met else 'MISSED'}: {what}: {value:.2f}, {bound} expected"


# --- what is kept ---


def document(
    command: str, rounds: int, seconds: float, cast: Cast | None = None, **figures: object
) -> dict[str, Any]:
    """What is written down: how the figures came about, then the figures.

    To be called before the load, since it says how busy the machine is; figures may be added later.
    """
    return {
        "command": command,
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        **(cast.figures() if cast else {}),
        **figures,
    }


def headline(about: Mapping[str, Any], *more: str) -> str:
    """The line above the tables."""
    where = about["machine"]
    extent = f"{about['rounds']} round{'s' if about['rounds'] != 1 else ''} of {about['seconds']:g} s"
    return ", ".join([where["cpu"], f"{where['cpus']} cores", f"Python {where['python']}", *more, extent])


def write(path: Path, figures: object) -> None:
    """Write figures down, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{path}", file=sys.stderr)
