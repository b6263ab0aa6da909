"""Charts: XML that is well-formed, bars to scale, texts that do not cover each other, and what was measured."""

import itertools
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import charts, drawing
from bench.charts import Chart, Figure, Panel, axis
from bench.drawing import Drawing, Text, width_of, wrapped

SVG = "{http://www.w3.org/2000/svg}"
KINDS = sorted(path.stem for path in charts.RESULTS.glob("*.json") if path.stem in charts.KINDS)


def panel(*values: float, name: str = "server", unit: str = "µs") -> Panel:
    return Panel(
        "a load", unit, [Figure(f"{name}{n}", value, value, value) for n, value in enumerate(values)]
    )


def all_charts() -> list[Chart]:
    found = [
        chart
        for kind in KINDS
        for chart in charts.KINDS[kind](json.loads((charts.RESULTS / f"{kind}.json").read_text())).values()
    ]
    return [
        *found,
        Chart("extremes", [panel(0.01, 99999.9, name="a server with a <long> name & such ")], ["x" * 300]),
    ]


def overlapping(texts: list[Text]) -> list[tuple[str, str]]:
    pairs = []
    for one, other in itertools.combinations(texts, 2):
        left, top, right, bottom = one.box()
        other_left, other_top, other_right, other_bottom = other.box()
        if left < other_right and other_left < right and top < other_bottom and other_top < bottom:
            pairs.append((one.content, other.content))
    return pairs


@pytest.mark.parametrize("chart", all_charts(), ids=lambda chart: chart.title)
def test_texts_lie_beside_each_other_and_within_the_picture(chart: Chart) -> None:
    drawn = charts.draw(chart)
    assert overlapping(drawn.texts()) == []
    notes = {line for note in chart.notes for line in wrapped(note, charts.SMALL, charts.WIDTH)}
    for text in drawn.texts():
        left, top, right, bottom = text.box()
        assert left >= 0
        assert top >= 0
        assert bottom <= drawn.height
        assert right <= drawn.width or text.content in notes  # one word of 300 letters cannot be broken


def test_the_check_above_sees_texts_that_touch() -> None:
    assert overlapping([Text(0, 20, "one"), Text(10, 25, "other")]) == [("one", "other")]
    assert overlapping([Text(0, 20, "one"), Text(0, 60, "other")]) == []


@pytest.mark.parametrize("chart", all_charts(), ids=lambda chart: chart.title)
def test_it_is_xml_with_a_title_and_words_for_those_who_do_not_see(chart: Chart) -> None:
    root = ET.fromstring(charts.draw(chart).svg())
    assert root.tag == f"{SVG}svg"
    assert root.findtext(f"{SVG}title") == chart.title
    about = root.findtext(f"{SVG}desc") or ""
    for one in chart.panels:
        for figure in one.figures:
            assert f"{figure.name} {charts.shown(figure.value)}" in about
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")


@pytest.mark.parametrize("chart", all_charts(), ids=lambda chart: chart.title)
def test_bars_are_to_scale(chart: Chart) -> None:
    """As long in terms of the axis as the figure is in terms of its last tick."""
    bars = iter(charts.draw(chart).bars())
    for one in chart.panels:
        end, _ = one.scale
        lengths = [next(bars).width for _ in one.figures]
        full = lengths[-1] / one.figures[-1].value * end
        for figure, length in zip(one.figures, lengths, strict=True):
            assert length == pytest.approx(full * figure.value / end)
            assert length <= full * 1.0001
    assert next(bars, None) is None


def test_the_ticks_of_an_axis_lie_where_they_say() -> None:
    drawn = charts.draw(Chart("t", [panel(10, 40)], []))
    ticks = {
        text.content: text.x for text in drawn.texts() if text.anchor == "middle" and text.content.isdigit()
    }
    assert list(ticks) == ["0", "10", "20", "30", "40"]
    small, large = drawn.bars()
    assert small.x == ticks["0"]
    assert small.x + small.width == pytest.approx(ticks["10"])
    assert large.x + large.width == pytest.approx(ticks["40"])


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (40, (40, 10)),
        (41, (50, 10)),
        (0.9, (1.0, 0.2)),
        (163, (200, 50)),
        (831, (1000, 200)),
        (5, (5, 1)),
        (26, (30, 10)),
    ],
)
def test_an_axis_has_few_round_ticks(most: float, expected: tuple[float, float]) -> None:
    assert axis(most) == pytest.approx(expected)


def test_any_axis_has_room_and_between_two_and_six_steps() -> None:
    for number in range(1, 3000):
        most = number * 0.037
        end, step = axis(most)
        assert end >= most * 0.9999
        assert 2 <= round(end / step) <= 6


def test_ours_and_the_floor_stand_out() -> None:
    figures = [Figure("webfw", 2, 1, 3), Figure("floor", 1, 1, 1), Figure("other", 9, 9, 9)]
    drawn = charts.draw(Chart("t", [Panel("p", "µs", figures)], []))
    assert [bar.kind for bar in drawn.bars()] == ["bar ours", "bar floor", "bar"]
    assert sum('class="range"' in part.svg() for part in drawn.parts) == 3  # one range, with its two ends


def test_a_note_is_broken_where_it_has_to_be() -> None:
    lines = wrapped("one two three four", 10, width_of("one two", 10))
    assert lines == ["one two", "three", "four"]
    assert wrapped("x" * 50, 10, 20) == ["x" * 50]


def test_text_is_escaped() -> None:
    made = Drawing(10, "<t>", "a & b", 10)
    made.add(Text(0, 0, "<&>", kind='"'))
    assert ET.fromstring(made.svg()).findtext(f"{SVG}text") == "<&>"


def test_every_class_has_a_style_in_light_and_dark() -> None:
    kinds = set(re.findall(r"\.([a-z]+)(?=[ ,.])", drawing.STYLE))
    assert {"ground", "bar", "ours", "floor", "grid", "axis", "range", "quiet", "title"} <= kinds
    light, dark = drawing.STYLE.split("@media")
    for kind in ("ground", "quiet", "bar", "grid", "axis", "range"):
        assert f".{kind} {{" in light
        assert f".{kind} {{" in dark


def test_where_figures_come_from_is_said() -> None:
    about = {
        "machine": {
            "cpu": "C",
            "cpus": 2,
            "kernel": "6",
            "python": "3.11",
            "time": "2026-11-02T10:00:00Z",
            "busy_before": 0.3,
        },
        "rounds": 1,
        "seconds": 0.6,
        "command": "python -m bench http",
        "versions": {"tornado": "6.6", "uvloop": "1", "flask": "3"},
        "shapes": {"hello": {"tornado-uvloop": {}, "webfw": {}}},
    }
    where, versions = charts.provenance(about)
    assert where == (
        "2 November 2026, C, 2 cores, Linux 6, Python 3.11, others took 30% of the machine before; "
        "python -m bench http, 1 round of 0.6 s."
    )
    assert versions == "Versions: tornado 6.6, uvloop 1."
    about["machine"]["busy_before"] = 0.01  # type: ignore[index]
    assert "others" not in charts.provenance(about)[0]


def test_the_charts_are_what_was_measured() -> None:
    """What lies in docs/_static is what `python -m bench charts` makes of bench/results."""
    files = charts.files()
    assert files
    assert {
        name: (charts.CHARTS / name).read_text(encoding="utf-8") == text for name, text in files.items()
    } == (dict.fromkeys(files, True))


def test_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert charts.main(["--to", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(charts.files())
    assert str(tmp_path) in capsys.readouterr().out
