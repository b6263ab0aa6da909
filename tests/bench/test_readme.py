"""README.md says what was measured."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import readme
from bench.charts import RESULTS

MACHINE = {
    "cpu": "C",
    "cpus": 2,
    "kernel": "6",
    "python": "3.11",
    "time": "2026-11-02T10:00:00Z",
    "busy_before": 0,
}


def row(cost: float) -> dict[str, float]:
    return {"total_us": cost, "requests_per_second": 1e6 / cost}


@pytest.fixture
def figures() -> dict[str, Any]:
    return {
        "machine": MACHINE,
        "rounds": 4,
        "seconds": 1.0,
        "command": "python -m bench http",
        "shapes": {
            "hello, 1 field": {"tornado": row(100), "webfw": row(10), "uvicorn": row(15)},
            "200 routes": {"starlette": row(55.04), "webfw": row(11)},
        },
        "memory": {"webfw": {"kib": 1.9}},
        "left_out": {"hypercorn: ASGI, bare": "No module named 'hypercorn'"},
    }


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: str(page.relative_to(readme.ROOT)))
def test_a_page_is_as_measured(page: Path) -> None:
    """Mended by `python -m bench readme`."""
    text = page.read_text(encoding="utf-8")
    assert readme.filled(text) == text
    assert {found[2] for found in readme.PART.finditer(text)} <= readme.PARTS.keys()


@pytest.mark.parametrize("name", ["http", "websocket"])
def test_the_readme_has_a_part_for_each_and_its_picture(name: str) -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert f"<!-- bench: {name} -->" in text
    pictures = re.findall(r"!\[[^]]+\]\((docs/_static/bench-[^)]+)\)", text)
    assert f"docs/_static/bench-{name}.svg" in pictures
    assert [path for path in pictures if not (readme.ROOT / path).exists()] == []


def test_figures_of_the_readme_are_those_of_the_results() -> None:
    """Not by way of what writes it: the figures in the line of webfw are medians that stand in the file."""
    found = json.loads((RESULTS / "http.json").read_text(encoding="utf-8"))
    text = readme.README.read_text(encoding="utf-8")
    part = text.partition("<!-- bench: http -->")[2].partition("<!-- /bench -->")[0]
    (line,) = [line for line in part.splitlines() if line.startswith("| webfw |")]
    cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
    hello = found["shapes"]["hello, 1 field"]["webfw"]
    assert float(cells[1]) == pytest.approx(hello["total_us"], abs=0.0501)
    assert float(cells[-2]) == pytest.approx(hello["requests_per_second"], abs=0.501)
    assert float(cells[-1]) == pytest.approx(found["memory"]["webfw"]["kib"], abs=0.0501)


def test_a_part_is_made_anew_and_the_rest_is_left_alone(tmp_path: Path, figures: dict[str, Any]) -> None:
    (tmp_path / "http.json").write_text(json.dumps(figures))
    texts = {"http": "old", "websocket": "kept"}
    parts = [f"<!-- bench: {name} -->\n{text}\n<!-- /bench -->\n" for name, text in texts.items()]
    page = "before\n" + "after\n".join(parts)
    lines = readme.filled(page, tmp_path).splitlines()
    assert lines[:6] == [
        "before",
        "<!-- bench: http -->",
        "| server, one process | string | 200 routes | strings/s | KiB, idle connection |",
        "|---|---:|---:|---:|---:|",
        "| webfw | 10.0 | 11.0 | 100,000 | 1.9 |",
        "| uvicorn | 15.0 | 55.0 | 66,667 |  |",
    ]
    assert lines[6] == "| Tornado | 100.0 |  | 10,000 |  |"
    assert "For the string, Tornado 10.0 times and uvicorn 1.5 times the CPU time of webfw." in lines
    assert "Left out: hypercorn: ASGI, bare (No module named 'hypercorn')." in lines
    assert lines[-4:] == ["after", "<!-- bench: websocket -->", "kept", "<!-- /bench -->"]
    again = "\n".join(lines) + "\n"
    assert readme.filled(again, tmp_path) == again


def test_others_have_parts_too(figures: dict[str, Any]) -> None:
    loads = {"echo of 64 bytes": {"tornado": row(50), "webfw": row(9), "tornado-uvloop": row(49)}}
    echo = readme.websocket({**figures, "loads": {**loads, "memory": {"webfw": {"opened_kib": 5.25}}}})
    assert echo[2:4] == ["| webfw | 9.0 |  |  | 5.2 |", "| Tornado | 50.0 |  |  |  |"]
    client = readme.client({**figures, "loads": {"a": {"webfw-simple": row(1)}, "b": {"aiohttp": row(2)}}})
    assert client[:4] == [
        "| client | a | b |",
        "|---|---:|---:|",
        "| webfw | 1.0 |  |",
        "| aiohttp |  | 2.0 |",
    ]


def test_it_can_be_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- bench: http -->\nmade up\n<!-- /bench -->\n")
    monkeypatch.setattr(readme, "PAGES", [page])
    assert readme.main(["--check"]) == 1
    assert "differs from bench/results" in capsys.readouterr().out
    assert readme.main([]) == 0
    assert readme.main(["--check"]) == 0
