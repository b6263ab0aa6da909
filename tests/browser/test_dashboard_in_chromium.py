"""The dashboard in a real browser: its charts draw what the stream brings, and go on after a restart."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.slow]

CHARTS = ["requests", "lag", "cpu", "memory", "streams", "greenhouse"]

POINTS = """
    const lines = document.querySelectorAll(`[data-chart=${arguments[0]}] .line`);
    const look = (line) => [Number(line.dataset.points), line.getTotalLength(), getComputedStyle(line).stroke];
    return [...lines].map(look);
"""


def serve(start: Callable[..., Any], bind: str = "127.0.0.1:0") -> Any:
    command = start(
        *("serve", "demos.dashboard:app", "--app-dir", str(ROOT), "--bind", bind, "--log-level", "error")
    )
    command.address = command.url()
    return command


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    return serve(webfw_module_command).address


class Page:
    def __init__(self, driver: Any, eventually: Callable[..., Any]) -> None:
        self.driver = driver
        self.eventually = eventually

    def run(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(script, *args)

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.eventually(lambda: self.status() == "Live")

    def status(self) -> str:
        return self.run("return document.getElementById('status').textContent")

    def lines(self, chart: str) -> list[tuple[int, float, str]]:
        """Each line of a chart: how many points it has, its length on the screen, its colour."""
        return self.run(POINTS, chart)

    def value(self, chart: str) -> float:
        return float(
            self.run(
                "return document.querySelector(arguments[0]).textContent", f"[data-chart={chart}] .value"
            ).split("\u202f")[0]
        )

    def click(self, button: str) -> None:
        self.driver.find_element("id", button).click()


@pytest.fixture
def page(chromium: Any, eventually: Callable[..., Any]) -> Iterator[Page]:
    yield Page(chromium, eventually)
    chromium.get("about:blank")
    complaints = [entry["message"] for entry in chromium.get_log("browser") if entry["source"] != "network"]
    assert complaints == []


def test_charts_draw_their_points(page: Page, url: str) -> None:
    page.open(url)
    page.eventually(lambda: page.lines("requests") and page.lines("requests")[0][0] >= 4)
    for chart in CHARTS:
        lines = page.lines(chart)
        assert len(lines) == (3 if chart == "greenhouse" else 1), chart
        assert all(points >= 4 and length > 5 for points, length, _ in lines), chart
    assert len({colour for _, _, colour in page.lines("greenhouse")}) == 3
    assert 10 < page.value("memory") < 1000
    label = page.run("return document.querySelector('[data-chart=memory] svg').getAttribute('aria-label')")
    assert label.startswith("Memory: ")
    assert "MiB" in label


def test_buttons_make_it_move(page: Page, url: str) -> None:
    page.open(url)
    page.eventually(lambda: page.lines("lag"))
    page.click("requests")
    page.eventually(lambda: page.value("requests") > 20)
    page.click("streams")
    page.eventually(lambda: page.value("streams") >= 4)
    page.click("hold-up")
    page.eventually(lambda: page.value("lag") > 100)
    page.eventually(lambda: page.value("streams") == 1)
    page.eventually(lambda: page.run("return document.querySelector('button:disabled') === null"))


def test_pointer_shows_one_moment_in_all_charts(page: Page, url: str) -> None:
    page.open(url)
    page.eventually(lambda: page.lines("cpu") and page.lines("cpu")[0][0] >= 2)
    page.run(
        "const chart = document.querySelector('[data-chart=cpu] svg'); const box = chart.getBoundingClientRect();"
        "chart.dispatchEvent(new PointerEvent('pointermove', {clientX: box.right - 2, clientY: box.top + 50}))"
    )
    assert page.run("return document.querySelectorAll('.cursor').length") == len(CHARTS)
    page.run("document.querySelector('[data-chart=cpu] svg').dispatchEvent(new PointerEvent('pointerleave'))")
    assert page.run("return document.querySelectorAll('.cursor').length") == 0


def test_phone_shows_one_column(page: Page, url: str) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.open(url)
        page.eventually(lambda: page.lines("lag"))
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        lefts = page.run(
            "return [...document.querySelectorAll('.card')].map((c) => c.getBoundingClientRect().left)"
        )
        assert len(set(lefts)) == 1
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_goes_on_after_a_restart(page: Page, webfw_command: Callable[..., Any]) -> None:
    server = serve(webfw_command)
    page.open(server.address)
    page.eventually(lambda: page.lines("memory"))
    assert server.stop(signal.SIGTERM)[0] == 0
    page.eventually(lambda: page.status() == "Connecting")
    page.run("window.before = samples.length")
    serve(webfw_command, server.address.rstrip("/").rpartition("/")[2])
    page.eventually(lambda: page.status() == "Live")
    page.eventually(lambda: page.run("return samples.length > before + 1"))
