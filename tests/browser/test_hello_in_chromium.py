"""The demo in a real browser: form, upload with its progress, JSON, waiting, and nothing on the console."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

selenium = pytest.importorskip("selenium")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.needs("chromium", "chromedriver")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,1000",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    command = webfw_module_command(
        "serve", "demos.hello:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0", "--log-level", "error"
    )
    return command.url()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The demo's page, freshly loaded; what it writes to the console fails the test."""
    browser.delete_all_cookies()
    browser.get(url)
    browser.get_log("browser")
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def text_of(page: Any, css: str, has: str = "") -> str:
    """The element's text, once it is there and contains ``has``."""

    def there(driver: Any) -> str:
        # In one step: between finding an element and reading it, the page may be replaced by the next one.
        text = driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", css)
        return text if has in text else ""

    return WebDriverWait(page, 20, poll_frequency=0.05).until(there)


def test_page_is_styled_and_fits(page: Any) -> None:
    assert page.title == "Hello from webfw"
    button = page.find_element(By.CSS_SELECTOR, "#form button")
    assert button.value_of_css_property("background-color") == "rgba(15, 118, 110, 1)"
    assert page.execute_script("return document.querySelector('.logo').naturalWidth") > 0
    widths = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]


def test_form_greets(page: Any) -> None:
    field = page.find_element(By.ID, "name")
    field.send_keys("Ada <script>alert(1)</script>")
    page.find_element(By.CSS_SELECTOR, "#form button").click()
    assert text_of(page, "h1", "Ada") == "Hello, Ada <script>alert(1)</script>!"
    assert page.find_element(By.ID, "name").get_attribute("value") == "Ada <script>alert(1)</script>"


def test_upload_reports_size_and_hash(page: Any, tmp_path: Path) -> None:
    big = bytes(range(256)) * 40_000
    (tmp_path / "big.bin").write_bytes(big)
    (tmp_path / "small.txt").write_bytes(b"hello")
    page.execute_script(
        "window.seen = [];"
        "const bar = document.getElementById('upload-progress');"
        "new MutationObserver(() => window.seen.push([bar.hidden, bar.value]))"
        ".observe(bar, {attributes: true});"
    )
    page.find_element(By.ID, "files").send_keys(f"{tmp_path}/big.bin\n{tmp_path}/small.txt")
    page.find_element(By.CSS_SELECTOR, "#upload-form button").click()
    shown = text_of(page, "#upload-result", "small.txt").split("\n")
    assert shown == [
        "big.bin",
        "9.8 MiB (10,240,000 bytes), SHA-256",
        hashlib.sha256(big).hexdigest(),
        "small.txt",
        "5 bytes, SHA-256",
        hashlib.sha256(b"hello").hexdigest(),
    ]
    seen = page.execute_script("return window.seen")
    assert [False, 1] in seen, "the bar was full while it was shown"
    assert seen[-1][0] is True, "the bar is hidden at the end"


def test_json_button(page: Any) -> None:
    page.find_element(By.ID, "json-button").click()
    assert '"server": "webfw ' in text_of(page, "#json-result", "time")


def test_waiting_counts_other_answers(page: Any) -> None:
    page.find_element(By.ID, "wait-button").click()
    words = text_of(page, "#wait-result", "Waited").split()
    assert words[:3] == ["Waited", "2", "seconds;"]
    assert int(words[3]) >= 2
    assert page.find_element(By.ID, "wait-button").is_enabled()


def test_error_page(browser: Any, url: str) -> None:
    browser.get(url + "/nothing/here")
    assert text_of(browser, ".status") == "404"
    assert text_of(browser, "h1") == "Not Found"
    browser.find_element(By.LINK_TEXT, "Back to the first page").click()
    assert text_of(browser, "h1") == "Hello from webfw"
