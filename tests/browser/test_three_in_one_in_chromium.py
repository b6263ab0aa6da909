"""The page of demos/three_in_one in a real browser: it talks to all three applications, and says what goes wrong."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
pytest.importorskip("flask")
pytest.importorskip("fastapi")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.slow]

TEXT = "<img src=x onerror=\"document.title='bad'\">"


@pytest.fixture(scope="module")
def command(webfw_module_command: Callable[..., Any]) -> Any:
    return webfw_module_command(
        *("serve", "demos.three_in_one:app", "--app-dir", str(ROOT)),
        *("--bind", "127.0.0.1:0", "--log-level", "error"),
    )


@pytest.fixture(scope="module")
def url(command: Any) -> str:
    return str(command.url()).rstrip("/")


@pytest.fixture
def page(chromium: Any, url: str, eventually: Callable[..., Any]) -> Iterator[Any]:
    """The page of Ada; what goes wrong on it fails the test."""
    chromium.get(url)
    chromium.get_log("browser")
    eventually(lambda: texts(chromium, "#status") == ["Live"])
    type_in(chromium, "name", "Ada")
    yield chromium
    complaints = [entry["message"] for entry in chromium.get_log("browser")]
    # A refusal that the test asks for is one of the network's; a script that fails is not.
    assert [text for text in complaints if "status of 422" not in text] == []


def texts(page: Any, css: str) -> list[str]:
    found: list[str] = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)", css
    )
    return found


def said(page: Any, source: str) -> list[str]:
    return [
        f"{name}: {text}"
        for name, text in zip(
            texts(page, f"#messages .{source}:not(.pending) b"),
            texts(page, f"#messages .{source}:not(.pending) span"),
            strict=False,
        )
    ]


def type_in(page: Any, name: str, text: str) -> None:
    field = page.find_element(By.ID, name)
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)


def test_the_three_meet_in_the_chat(page: Any, url: str, eventually: Callable[..., Any]) -> None:
    type_in(page, "text", TEXT + Keys.ENTER)
    eventually(lambda: f"Ada: {TEXT}" in said(page, "native"))
    assert not page.find_element(By.ID, "empty").is_displayed()

    pig = '#ballot button[value="pig"]'
    eventually(lambda: texts(page, f"{pig} b") == ["0"])
    page.find_element(By.CSS_SELECTOR, pig).click()
    eventually(lambda: "Ada: votes for Pig" in said(page, "flask"))
    eventually(lambda: texts(page, f'{pig}[aria-pressed="true"] b') == ["1"])
    # It stays so when the page has fetched the ballot anew, since the chat told of a vote.
    type_in(page, "text", "after the vote" + Keys.ENTER)
    eventually(lambda: "Ada: after the vote" in said(page, "native"))
    eventually(lambda: page.execute_async_script("turn.then(() => arguments[0](true))"))
    assert texts(page, f'{pig}[aria-pressed="true"] b') == ["1"]

    type_in(page, "dice", "3")
    type_in(page, "sides", "8")
    page.find_element(By.CSS_SELECTOR, "#roll button").click()
    eventually(lambda: any(text.startswith("Ada: rolls 3 d8: ") for text in said(page, "fastapi")))
    eyes = [int(text) for text in texts(page, "#rolled i")]
    assert len(eyes) == 3
    assert all(1 <= number <= 8 for number in eyes)
    assert said(page, "fastapi")[-1].endswith(f"{' + '.join(map(str, eyes))} = {sum(eyes)}")
    assert page.title == "Game night · Three in one"

    # Somebody else hears and sees it all.
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(url)
    eventually(lambda: "Ada: votes for Pig" in said(page, "flask"))
    eventually(lambda: texts(page, f"{pig} b") == ["1"])
    page.find_element(By.CSS_SELECTOR, '#ballot button[value="yacht"]').click()
    eventually(lambda: "votes for Yacht" in said(page, "flask")[-1])
    page.close()
    page.switch_to.window(first)
    eventually(lambda: "votes for Yacht" in said(page, "flask")[-1])
    eventually(lambda: texts(page, '#ballot button[value="yacht"] b') == ["1"])


def test_live_numbers(page: Any, eventually: Callable[..., Any]) -> None:
    eventually(lambda: len(texts(page, "#lags i")) >= 2)
    assert texts(page, "#people") == ["1"]
    assert texts(page, "#lag")[0].endswith(" ms")
    for part in ("native", "flask", "fastapi"):
        assert int(texts(page, f"#count-{part}")[0]) > 0


def test_what_fastapi_refuses_is_told(page: Any, eventually: Callable[..., Any]) -> None:
    type_in(page, "dice", "11")
    page.find_element(By.CSS_SELECTOR, "#roll button").click()
    eventually(lambda: texts(page, "#roll-trouble") == ["count: Input should be less than or equal to 10"])
    type_in(page, "dice", "1")
    page.find_element(By.CSS_SELECTOR, "#roll button").click()
    eventually(lambda: texts(page, "#roll-trouble") == [""])


def test_flask_alone(page: Any, eventually: Callable[..., Any]) -> None:
    page.find_element(By.LINK_TEXT, "The same as a page").click()
    page.find_element(By.CSS_SELECTOR, 'button[value="craps"]').click()
    eventually(lambda: texts(page, 'button[value="craps"][aria-pressed="true"] b') == ["1"])
    page.find_element(By.LINK_TEXT, "The game night").click()
    eventually(lambda: "Somebody: votes for Craps" in said(page, "flask"))


def test_it_fits_a_small_screen(page: Any) -> None:
    metrics = {"width": 340, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        small = "return [...document.querySelectorAll('button, input')].filter((one) => one.offsetHeight < 40).length"
        assert page.execute_script(small) == 0
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_server_that_is_gone_is_told(
    chromium: Any, command: Any, url: str, eventually: Callable[..., Any]
) -> None:
    """Last, since it is the end."""
    chromium.get(url)
    eventually(lambda: texts(chromium, "#status") == ["Live"])
    os.kill(command.process.pid, signal.SIGTERM)
    command.process.wait(20)
    eventually(lambda: texts(chromium, "#numbers-trouble") == ["The server does not answer."])
    chromium.find_element(By.CSS_SELECTOR, "#roll button").click()
    eventually(lambda: texts(chromium, "#roll-trouble") == ["The server does not answer."])
    assert texts(chromium, "#status") == ["Connecting"]
