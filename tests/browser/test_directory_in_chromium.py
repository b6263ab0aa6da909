"""The pages of ``webfw static`` in a real browser: names as they are, sorting, both colour schemes, a clean console."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

selenium = pytest.importorskip("selenium")

from selenium.webdriver.common.by import By  # noqa: E402

pytestmark = pytest.mark.needs("chromium", "chromedriver")


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    root: Path = tmp_path_factory.mktemp("root")
    (root / "pictures" / "2026").mkdir(parents=True)
    (root / "<img src=x onerror=document.title=1>").write_text("1")
    (root / "größe & name.txt").write_text("this one")
    (root / "a:b.bin").write_bytes(b"x" * 2_000_000)
    (root / ("long" * 50 + ".txt")).write_text("")
    return str(webfw_module_command("static", str(root), "--bind", "127.0.0.1:0").url())


@pytest.fixture
def page(chromium: Any, url: str) -> Iterator[Any]:
    chromium.get(url)
    chromium.get_log("browser")
    yield chromium
    messages = [entry["message"] for entry in chromium.get_log("browser")]
    # Chromium asks for one with a text file, and there is none.
    assert [message for message in messages if "/favicon.ico" not in message] == []


def texts(page: Any, css: str) -> list[str]:
    # In one step: between finding an element and reading it, the page may be replaced by the next one.
    found: list[str] = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((found) => found.innerText)", css
    )
    return found


def names(page: Any) -> list[str]:
    return texts(page, "tbody td:first-child a")


def test_names_are_text(page: Any, eventually: Callable[..., Any]) -> None:
    assert page.title == "Home - directory"
    assert names(page)[:3] == ["pictures/", "<img src=x onerror=document.title=1>", "a:b.bin"]
    page.find_element(By.LINK_TEXT, "größe & name.txt").click()
    eventually(lambda: texts(page, "body") == ["this one"])


def test_columns_sort(page: Any, eventually: Callable[..., Any]) -> None:
    page.find_element(By.LINK_TEXT, "Size").click()
    eventually(lambda: texts(page, "th.size[aria-sort=ascending]"))
    page.find_element(By.LINK_TEXT, "Size").click()
    eventually(lambda: texts(page, "th.size[aria-sort=descending]"))
    assert names(page)[:2] == ["pictures/", "a:b.bin"]


def test_the_way_down_and_up(page: Any, eventually: Callable[..., Any]) -> None:
    page.find_element(By.LINK_TEXT, "pictures/").click()
    eventually(lambda: texts(page, "h1") == ["pictures"])
    page.find_element(By.LINK_TEXT, "2026/").click()
    eventually(lambda: texts(page, "h1") == ["2026"])
    page.find_element(By.CSS_SELECTOR, "a[rel=up]").click()
    eventually(lambda: texts(page, "h1") == ["pictures"])
    page.find_element(By.LINK_TEXT, "Home").click()
    eventually(lambda: "pictures/" in names(page))


def test_nothing_is_wider_than_the_page(page: Any) -> None:
    try:
        for width in (1200, 500):
            page.set_window_size(width, 800)
            assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        page.set_window_size(1200, 1000)
