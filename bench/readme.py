"""The figures in README.md, written between marks from bench/results, so that they are what was measured.

    python -m bench readme [--check]

What stands between ``<!-- bench: NAME -->`` and ``<!-- /bench -->`` is made from bench/results/NAME.json.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.charts import RESULTS, provenance
from bench.peers import ROOT

__all__ = ["filled", "main"]

README = ROOT / "README.md"
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


PARTS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "http": http,
    "websocket": websocket,
    "client": client,
}


def filled(text: str, results: Path = RESULTS) -> str:
    """A page with its marked parts made anew; one whose figures are not there stays as it is."""

    def part(found: re.Match[str]) -> str:
        path = results / f"{found[2]}.json"
        if not path.exists():
            return found[0]
        lines = PARTS[found[2]](json.loads(path.read_text(encoding="utf-8")))
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
    text = README.read_text(encoding="utf-8")
    new = filled(text)
    if options.check:
        print("as measured" if new == text else "differs from bench/results: python -m bench readme")
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    print(README)
    return 0


if __name__ == "__main__":
    sys.exit(main())
