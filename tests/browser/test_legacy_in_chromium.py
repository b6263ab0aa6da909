"""The page of demos/legacy in a real browser: what Flask and Django do appears on it, and its ticks go on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

selenium = pytest.importorskip("selenium")
pytest.importorskip("flask")
pytest.importorskip("django")

from selenium.webdriver.common.by import By  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.slow]

TEXT = "<img src=x onerror=\"document.title='bad'\">"


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    command = webfw_module_command(
        *("serve", "demos.legacy:app", "--app-dir", str(ROOT)),
        *("--bind", "127.0.0.1:0", "--log-level", "error"),
    )
    return command.url().rstrip("/")


@pytest.fixture
def page(chromium: Any, url: str) -> Iterator[Any]:
    """The live page; what goes wrong on it fails the test."""
    chromium.get(url)
    chromium.get_log("browser")
    yield chromium
    complaints = [entry["message"] for entry in chromium.get_log("browser")]
    assert [text for text in complaints if "favicon.ico" not in text] == []


def texts(page: Any, css: str) -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)", css
    )


def test_the_guest_book_is_heard_of(page: Any, eventually: Callable[..., Any]) -> None:
    eventually(lambda: texts(page, "#status") == ["Live"])
    page.find_element(By.ID, "name").send_keys("Ada")
    page.find_element(By.ID, "text").send_keys(TEXT)
    page.find_element(By.CSS_SELECTOR, "#sign button").click()
    eventually(lambda: f"Ada: {TEXT}" in texts(page, "#news .flask span"))
    eventually(lambda: page.find_element(By.ID, "text").get_attribute("value") == "")
    assert page.title == "One port, three applications"
    assert not page.find_element(By.ID, "empty").is_displayed()
    page.find_element(By.LINK_TEXT, "The guest book").click()
    eventually(lambda: f"Ada {TEXT}" in [" ".join(entry.split()) for entry in texts(page, ".entries li")])


def test_notes_are_heard_of_in_another_window(page: Any, url: str, eventually: Callable[..., Any]) -> None:
    eventually(lambda: texts(page, "#status") == ["Live"])
    live = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(url + "/django/")
    page.find_element(By.ID, "text").send_keys(TEXT)
    page.find_element(By.CSS_SELECTOR, "form button").click()
    eventually(lambda: any(TEXT in entry for entry in texts(page, ".entries li")))
    page.close()
    page.switch_to.window(live)
    eventually(lambda: f"New note: {TEXT}" in texts(page, "#news .django span"))


def test_ticks_go_on_while_flask_is_blocked(page: Any, eventually: Callable[..., Any]) -> None:
    eventually(lambda: len(texts(page, "#ticks i")) > 2)
    page.find_element(By.ID, "slow").click()
    eventually(lambda: "sleep in Flask" in texts(page, "#slow-result")[0])
    before = len(texts(page, "#ticks i"))
    eventually(lambda: "8 requests took" in texts(page, "#slow-result")[0])
    assert len(texts(page, "#ticks i")) >= before + 8
    assert int(texts(page, "#gap")[0].split()[0]) < 1000


def test_it_fits_a_small_screen(page: Any) -> None:
    metrics = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
