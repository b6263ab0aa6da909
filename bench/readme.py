"""The figures in README.md and other pages, written between marks from bench/results: they are what was measured.

    python -m bench readme [--check]

What stands between ``<!-- bench: NAME -->`` and ``<!-- /bench -->`` is the part of that name, made from bench/results.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import http as http_bench
from bench import report
from bench import stages as stages_bench
from bench.charts import RESULTS, provenance
from bench.peers import ROOT

__all__ = ["filled", "main"]

README = ROOT / "README.md"
PAGES = [README, ROOT / "bench" / "README.md", ROOT / "docs" / "topics" / "performance.md"]
CHARTS = "docs/_static"
PART = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)

Row = Mapping[str, float]
Rows = Mapping[str, Row]

#: Columns of the first table: the load, and its head.
HTTP_COLUMNS = {
    "hello, 1 field": "string",
    "hello, 8 fields": "string, 8 fields",
    "JSON": "JSON",
    "awaits once": "awaits once",
    "form of 4 fields": "form",
    "200 routes": "200 routes",
    "file of 10 KiB": "10 KiB file",
}
#: Its lines: the peer, what it is called, and who stands for it where it runs a framework.
HTTP_LINES = {
    "webfw": ("webfw", ""),
    "uvicorn": ("uvicorn", "starlette"),
    "aiohttp": ("aiohttp", ""),
    "granian-asgi": ("granian, ASGI", ""),
    "tornado": ("Tornado", ""),
    "floor": ("a loop in C, fixed answer", ""),
}


def cell(row: Row | None, key: str = "total_us", digits: int = 1) -> str:
    return "" if row is None else f"{row[key]:,.{digits}f}"


def lines_of(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, without lines that say nothing."""
    shown = [f"| {' | '.join(line)} |" for line in lines if any(line[1:])]
    return [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}", *shown]


def picture(name: str, about: str) -> str:
    return f"![{about}]({CHARTS}/bench-{name}.svg)"


def sentence(figures: Mapping[str, Any]) -> str:
    return textwrap.fill(" ".join(provenance(figures)), 118, break_on_hyphens=False)


def absent(figures: Mapping[str, Any]) -> list[str]:
    """Who was left out, and why."""
    return [f"Left out: {name} ({why})." for name, why in figures.get("left_out", {}).items()]


# --- the parts ---


def http(figures: Mapping[str, Any]) -> list[str]:
    shapes: Mapping[str, Rows] = figures["shapes"]
    titles = [title for title in HTTP_COLUMNS if title in shapes]
    lines = []
    for peer, (name, framework) in HTTP_LINES.items():
        rows = [shapes[title].get(peer) or shapes[title].get(framework) for title in titles]
        rate = shapes.get("hello, 1 field", {}).get(peer)
        memory = figures["memory"].get(peer)
        lines.append([name, *map(cell, rows), cell(rate, "requests_per_second", 0), cell(memory, "kib")])
    head = ["server, one process", *(HTTP_COLUMNS[title] for title in titles)]
    return [
        *lines_of([*head, "strings/s", "KiB, idle connection"], lines),
        "",
        *compared(shapes),
        "",
        picture("http", "CPU time of a request, by what is asked for, of webfw and others"),
        "",
        sentence(figures),
        *absent(figures),
    ]


def compared(shapes: Mapping[str, Rows]) -> list[str]:
    """What a string costs in terms of the others."""
    rows = shapes.get("hello, 1 field", {})
    mine = rows.get("webfw")
    others = {"tornado": "Tornado", "uvicorn": "uvicorn"}
    found = [
        f"{name} {rows[peer]['total_us'] / mine['total_us']:.1f} times"
        for peer, name in others.items()
        if mine and peer in rows
    ]
    return [f"For the string, {' and '.join(found)} the CPU time of webfw."] if found else []


def websocket(figures: Mapping[str, Any]) -> list[str]:
    loads: Mapping[str, Rows] = figures["loads"]
    titles = ["echo of 64 bytes", "echo of 16 KiB", "broadcast to 500"]
    names = {"picows": "picows (Cython)", "tornado": "Tornado"}
    peers = sorted(
        (peer for peer in loads[titles[0]] if not peer.endswith("-uvloop")),
        key=lambda peer: loads[titles[0]][peer]["total_us"],
    )
    lines = [
        [
            names.get(peer, peer),
            *(cell(loads.get(title, {}).get(peer)) for title in titles),
            cell(loads["memory"].get(peer), "opened_kib"),
        ]
        for peer in peers
    ]
    head = ["server, one process", *titles[:2], "broadcast to 500, a delivery", "KiB, idle connection"]
    return [
        *lines_of(head, lines),
        "",
        picture(
            "websocket", "CPU time of a WebSocket message and memory of a connection, of webfw and others"
        ),
        "",
        sentence(figures),
        *absent(figures),
    ]


def client(figures: Mapping[str, Any]) -> list[str]:
    loads: Mapping[str, Rows] = figures["loads"]
    names = {
        "webfw-simple": "webfw",
        "aiohttp": "aiohttp",
        "webfw-curl": "webfw on libcurl",
        "tornado-curl": "Tornado on libcurl",
        "tornado-simple": "Tornado",
    }
    lines = [
        [name, *(cell(loads.get(title, {}).get(peer)) for title in loads)] for peer, name in names.items()
    ]
    return [*lines_of(["client", *loads], lines), "", sentence(figures), *absent(figures)]


def floor(figures: Mapping[str, Any]) -> list[str]:
    """What is below a server, and what some put on top."""
    rows: Rows = figures["shapes"]["hello, 1 field"]
    names = {
        "floor": "a loop on epoll in C, fixed answer",
        "floor-uvloop": "a protocol of five lines on uvloop, fixed answer",
        "granian-rsgi": "granian, HTTP in Rust, a bare application",
        "webfw": "webfw, a handler",
        "uvicorn": "uvicorn, a bare ASGI application",
        "tornado": "Tornado, a handler",
    }
    lines = [
        [name, *(cell(rows.get(peer), key) for key in ("user_us", "system_us", "total_us"))]
        for peer, name in names.items()
    ]
    return [
        *lines_of(["one process, 64 connections", "user µs", "system µs", "total µs"], lines),
        "",
        sentence(figures),
    ]


def stages(figures: Mapping[str, Any]) -> list[str]:
    about = figures["machine"]
    how = f"`python -m bench stages`, the quickest of {figures['rounds']} rounds."
    return [
        stages_bench.table(figures["native"], figures["pure"]),
        "",
        f"{about['cpu']}, Python {about['python']}; {how}",
    ]


def http_tables(figures: Mapping[str, Any]) -> list[str]:
    lines = [sentence(figures), *absent(figures), ""]
    for title, rows in figures["shapes"].items():
        lines += [http_bench.table(title, rows), ""]
    lines += [http_bench.memory_table(figures["memory"]), ""]
    return [*lines, *(f"* {line}" for line in http_bench.verdicts(figures))]


def load_tables(figures: Mapping[str, Any]) -> list[str]:
    """Every load of a measurement, whose rows are costs."""
    lines = [sentence(figures), *absent(figures), ""]
    loads: Mapping[str, Rows] = figures.get("loads") or figures["requests"]
    for title, rows in loads.items():
        if all("total_us" in row for row in rows.values()):
            rates = (report.RATE, report.MESSAGES)
            known = [rate for rate in rates if all(_shows(rate, row) for row in rows.values())]
            lines += [report.table(title, rows, [*report.COSTS, *known]), ""]
    return lines[:-1]


def _shows(column: report.Column, row: Row) -> bool:
    try:
        return bool(column.cell(row))
    except KeyError:
        return False


#: By name, the file each part is made from, and how.
PARTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "http": ("http", http),
    "websocket": ("websocket", websocket),
    "client": ("client", client),
    "floor": ("http", floor),
    "stages": ("stages", stages),
    "http_tables": ("http", http_tables),
    "websocket_tables": ("websocket", load_tables),
    "wsgi_tables": ("wsgi", load_tables),
}


def filled(text: str, results: Path = RESULTS) -> str:
    """A page with its marked parts made anew; one whose figures are not there stays as it is."""

    def part(found: re.Match[str]) -> str:
        name, make = PARTS[found[2]]
        path = results / f"{name}.json"
        if not path.exists():
            return found[0]
        lines = make(json.loads(path.read_text(encoding="utf-8")))
        return found[1] + "\n".join(lines) + "\n" + found[3]

    return PART.sub(part, text)


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(
        prog="python -m bench readme", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument(
        "--check", action="store_true", help="write nothing; fail where it is not what was measured"
    )
    options = made.parse_args(argv)
    differing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            differing.append(page.name)
        if not options.check:
            page.write_text(new, encoding="utf-8")
            print(page)
    if options.check:
        print(
            f"differs from bench/results: {differing}: python -m bench readme" if differing else "as measured"
        )
    return int(bool(differing) and options.check)


if __name__ == "__main__":
    sys.exit(main())
