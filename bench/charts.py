"""The charts of README.md, drawn from the figures in bench/results: bars, one panel for each load.

    python -m bench charts

writes docs/_static/bench-NAME.svg for each file there; README.md beside this file says what the figures are.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.drawing import Bar, Drawing, Line, Text, width_of, wrapped
from bench.peers import HERE, ROOT

__all__ = ["RESULTS", "draw", "main", "provenance"]

RESULTS = HERE / "results"
CHARTS = ROOT / "docs" / "_static"

WIDTH, MARGIN, GAP = 880.0, 24.0, 36.0
ROW, THICK = 24.0, 14.0
#: Of the texts: headings, panels, everything else, what is said below.
TITLE, HEAD, BODY, SMALL = 18.0, 14.0, 12.0, 11.5
#: Pages in which uvicorn runs Starlette are the bars of that name.
FRAMEWORK = {"starlette": "uvicorn + Starlette"}

Row = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One bar: the figure, and the range over the rounds."""

    name: str
    value: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Panel:
    """The bars of one load, on an axis of its own unless it is given the end of another one."""

    title: str
    unit: str
    figures: Sequence[Figure]
    end: float | None = None

    @property
    def scale(self) -> tuple[float, float]:
        """The end of the axis, and the distance of its ticks."""
        return axis(self.end or max(max(one.value, one.highest) for one in self.figures))


@dataclass(frozen=True)
class Chart:
    """Panels with a title, and sentences below them."""

    title: str
    panels: Sequence[Panel]
    notes: Sequence[str]


def axis(most: float) -> tuple[float, float]:
    """Where an axis ends that has room for `most`, and the distance of its ticks: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit * 5 >= most)
    return step * math.ceil(most / step - 1e-9), step


def ours(name: str) -> bool:
    return name.startswith("webfw")


def shown(value: float) -> str:
    """A figure with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


# --- drawing ---


def draw(chart: Chart) -> Drawing:
    """Panels in two columns, as high as they need to be."""
    about = "; ".join(
        f"{panel.title}: "
        + ", ".join(f"{one.name} {shown(one.value)}" for one in panel.figures)
        + f" {panel.unit}"
        for panel in chart.panels
    )
    drawing = Drawing(WIDTH, chart.title, about)
    columns = 1 if len(chart.panels) == 1 else 2
    room = (WIDTH - 2 * MARGIN - GAP * (columns - 1)) / columns
    names = (
        max(width_of(one.name, BODY, ours(one.name)) for panel in chart.panels for one in panel.figures) + 10
    )
    top = MARGIN + TITLE
    drawing.add(Text(MARGIN, top, chart.title, TITLE, kind="title"))
    top += 18
    for first in range(0, len(chart.panels), columns):
        bottoms = [
            draw_panel(drawing, panel, MARGIN + number * (room + GAP), top, room, names)
            for number, panel in enumerate(chart.panels[first : first + columns])
        ]
        top = max(bottoms) + 14
    for note in chart.notes:
        for line in wrapped(note, SMALL, WIDTH - 2 * MARGIN):
            top += 16
            drawing.add(Text(MARGIN, top, line, SMALL, kind="quiet"))
    drawing.height = round(top + MARGIN * 0.75)
    return drawing


def draw_panel(drawing: Drawing, panel: Panel, left: float, top: float, room: float, names: float) -> float:
    """One panel, whose names stand left of its axis, and whose values right of the bars; returns its bottom."""
    end, step = panel.scale
    drawing.add(Text(left, top + HEAD + 4, panel.title, HEAD, kind="title"))
    begin = left + names
    values = max(width_of(shown(one.value), BODY, True) for one in panel.figures) + 14
    length = left + room - values - begin
    first = top + HEAD + 16
    bottom = first + ROW * len(panel.figures)
    for number in range(round(end / step) + 1):
        x = begin + length * number * step / end
        drawing.add(Line(x, first, x, bottom, "axis" if number == 0 else "grid"))
        drawing.add(Text(x, bottom + 14, f"{number * step:,g}", SMALL - 0.5, "middle", "quiet"))
    drawing.add(Text(begin + length / 2, bottom + 29, panel.unit, SMALL - 0.5, "middle", "quiet"))
    for number, one in enumerate(panel.figures):
        draw_bar(drawing, one, begin, first + ROW * number, length / end)
    return bottom + 34


def draw_bar(drawing: Drawing, one: Figure, begin: float, top: float, scale: float) -> None:
    kind = "ours" if ours(one.name) else "floor" if one.name.startswith("floor") else ""
    y, middle = top + (ROW - THICK) / 2, top + ROW / 2
    drawing.add(
        Text(begin - 8, middle + BODY * 0.36, one.name, BODY, "end", kind="ours" if kind == "ours" else ""),
        Bar(begin, y, one.value * scale, THICK, f"bar {kind}".strip()),
    )
    if one.highest > one.lowest:
        low, high = begin + one.lowest * scale, begin + one.highest * scale
        drawing.add(Line(low, middle, high, middle, "range"))
        drawing.add(*(Line(x, middle - 3, x, middle + 3, "range") for x in (low, high)))
    x = begin + max(one.value, one.highest) * scale + 6
    drawing.add(Text(x, middle + BODY * 0.36, shown(one.value), BODY, kind="ours" if kind == "ours" else ""))


# --- from the figures ---


def panel(
    title: str,
    unit: str,
    rows: Mapping[str, Row],
    keys: tuple[str, str, str] = ("total_us", "lowest_us", "highest_us"),
    end: float | None = None,
    only: Sequence[str] = (),
) -> Panel | None:
    """The bars of one load, the lowest first; None where nobody took part."""
    figures = [
        Figure(FRAMEWORK.get(name, name), *(row[key] for key in keys))
        for name, row in rows.items()
        if not only or name in only
    ]
    figures.sort(key=lambda one: one.value)
    return Panel(title, unit, figures, end) if figures else None


def present(*panels: Panel | None) -> list[Panel]:
    return [one for one in panels if one is not None]


#: The share of the machine from which on it is said that others were at work.
QUIET = 0.05
CPU = "CPU µs a request, user and system"
#: Panels of the chart of shapes: the load, and what it is called there.
SHAPES = {
    "hello, 1 field": "a handler that writes a string",
    "JSON": "a handler that writes JSON",
    "awaits once": "a handler that awaits once",
    "form of 4 fields": "a form of 4 fields, posted",
    "200 routes": "a path with an argument, 200 routes",
    "file of 10 KiB": "a static file of 10 KiB",
}
BARE = (
    "uvicorn and granian run a bare ASGI application, without a framework; webfw, aiohttp and Tornado a handler behind "
    "a router."
)
FLOOR = "floor: a loop in C with a fixed answer, which is the kernel's share."
LESS = "Less is better. Median over the rounds; the thin line is lowest to highest."


def http(figures: Mapping[str, Any]) -> dict[str, Chart]:
    shapes = figures["shapes"]
    notes = [LESS, *provenance(figures)]
    widths = [title for title in shapes if title.endswith((" connection", " connections"))]
    most = max((row["highest_us"] for title in widths for row in shapes[title].values()), default=0.0)
    wide = [panel(title, CPU, shapes[title], end=most) for title in widths]
    memory = panel(
        "memory of an idle connection",
        "KiB, after one request",
        figures["memory"],
        ("kib", "lowest_kib", "highest_kib"),
    )
    asgi = [panel(title, CPU, shapes[title]) for title in shapes if title.startswith("ASGI")]
    charts = {
        "http": Chart(
            "What a request costs the server",
            present(*(panel(head, CPU, shapes.get(title, {})) for title, head in SHAPES.items())),
            [f"{BARE} {FLOOR}", *notes],
        ),
        "connections": Chart(
            "What a request costs with more connections, and what a connection costs",
            present(*wide, memory),
            [f"One request at a time on each connection. {FLOOR}", *notes],
        ),
        "asgi": Chart("What a request of an ASGI application costs", present(*asgi), notes),
    }
    return {name: chart for name, chart in charts.items() if chart.panels}


def websocket(figures: Mapping[str, Any]) -> dict[str, Chart]:
    loads: dict[str, dict[str, Row]] = dict(figures["loads"])
    memory = loads.pop("memory", {})
    heads = {"broadcast to 500": "broadcast to 500 connections"}
    units = {"broadcast to 500": "CPU µs a delivery, user and system"}
    panels = [
        panel(heads.get(title, title), units.get(title, "CPU µs a message, user and system"), rows)
        for title, rows in loads.items()
    ]
    keys = (
        "opened_kib",
        "opened_kib",
        "opened_kib",
    )  # the range in the file is of before and after a message
    panels.append(panel("memory of an open connection", "KiB, before the first message", memory, keys))
    notes = ["picows is Cython, and has frames and no messages.", LESS, *provenance(figures)]
    return {"websocket": Chart("What a WebSocket costs the server", present(*panels), notes)}


def wsgi(figures: Mapping[str, Any]) -> dict[str, Chart]:
    panels = [panel(title, CPU, rows) for title, rows in figures.get("requests", {}).items()]
    notes = ["webfw-0 runs the application on the loop, webfw-8 in threads.", LESS, *provenance(figures)]
    return {"wsgi": Chart("What a request of a WSGI application costs", present(*panels), notes)}


KINDS = {"http": http, "websocket": websocket, "wsgi": wsgi}


def when(figures: Mapping[str, Any]) -> str:
    date = datetime.fromisoformat(figures["machine"]["time"])
    return f"{date.day} {date:%B %Y}"


def provenance(figures: Mapping[str, Any]) -> list[str]:
    """Where figures come from: the day, the machine, the command; and the versions of those who take part."""
    machine = figures["machine"]
    where = [when(figures), machine["cpu"], f"{machine['cpus']} cores", f"Linux {machine['kernel']}"]
    where += [f"Python {machine['python']}"]
    if machine["busy_before"] >= QUIET:
        where.append(f"others took {machine['busy_before']:.0%} of the machine before")
    extent = f"{figures['rounds']} round{'s' if figures['rounds'] > 1 else ''} of {figures['seconds']:g} s"
    lines = [f"{', '.join(where)}; {figures['command']}, {extent}."]
    taking_part = {word for word in words(figures) if word in figures.get("versions", {})}
    named = ", ".join(f"{name} {figures['versions'][name]}" for name in sorted(taking_part))
    return [*lines, f"Versions: {named}."] if named else lines


def words(figures: Mapping[str, Any]) -> set[str]:
    """What the names of those who take part are made of, and what all of them run on."""
    found = {"uvloop"}
    for key in ("shapes", "loads", "requests"):
        for title, rows in figures.get(key, {}).items():
            found.update(word for text in (title, *rows) for word in re.split(r"[^a-z]+", text.lower()))
    return found


def files(results: Path = RESULTS) -> dict[str, str]:
    """The charts by the name of their file, from all results that there are."""
    found = {}
    for kind, charts in KINDS.items():
        path = results / f"{kind}.json"
        if path.exists():
            for name, chart in charts(json.loads(path.read_text(encoding="utf-8"))).items():
                found[f"bench-{name}.svg"] = draw(chart).svg()
    return found


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(
        prog="python -m bench charts", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--results", type=Path, default=RESULTS, help="where the figures are, not %(default)s")
    made.add_argument("--to", type=Path, default=CHARTS, help="where the charts go, not %(default)s")
    options = made.parse_args(argv)
    options.to.mkdir(parents=True, exist_ok=True)
    for name, text in files(options.results).items():
        (options.to / name).write_text(text, encoding="utf-8")
        print(options.to / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
