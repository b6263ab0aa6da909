"""Django's admin in a real browser, served by ``webfw serve``: log in, add, search, change, delete, log out."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

selenium = pytest.importorskip("selenium")
pytest.importorskip("django")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.slow]

TITLE = "Größe & <script>document.title = 'bad'</script>"


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("library")
    env = {"LIBRARY_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    prepare = "from tests.wsgi.real import library; library.prepare()"
    subprocess.run([sys.executable, "-c", prepare], env={**os.environ, **env}, check=True, timeout=50)
    command = webfw_module_command(
        *("serve", "tests.wsgi.real.library:app", "--app-dir", str(ROOT)),
        *("--bind", "127.0.0.1:0", "--log-level", "error"),
        **env,
    )
    return command.url().rstrip("/")


class Admin:
    """The admin as its user sees it."""

    def __init__(self, driver: Any, url: str, eventually: Callable[..., Any]) -> None:
        self.driver = driver
        self.url = url
        self.eventually = eventually

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def find(self, css: str) -> Any:
        found = self.eventually(lambda: self.driver.find_elements(By.CSS_SELECTOR, css))
        return found[0]

    def texts(self, css: str) -> list[str]:
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, css)]

    def submit(self, css: str, **fields: str) -> None:
        """Fill in a form and press a button of it; wait for the next page."""
        for name, value in fields.items():
            field = self.find(f"[name={name}]")
            if field.get_attribute("type") != "file":
                field.clear()
            field.send_keys(value)
        before = self.find("html")
        self.find(css).click()
        self.eventually(lambda: self.find("html") != before)
        self.eventually(lambda: self.driver.execute_script("return document.readyState") == "complete")


@pytest.fixture
def admin(chromium: Any, url: str, eventually: Callable[..., Any]) -> Iterator[Admin]:
    """A visitor who is not logged in; what goes wrong in the page fails the test."""
    chromium.delete_all_cookies()
    chromium.get_log("browser")
    yield Admin(chromium, url, eventually)
    assert [
        entry["message"] for entry in chromium.get_log("browser") if "favicon.ico" not in entry["message"]
    ] == []


def log_in(admin: Admin) -> None:
    admin.open("/admin/")
    admin.submit("input[type=submit]", username="ada", password="lovelace")
    assert admin.texts("#content h1") == ["Site administration"]


def test_the_page_is_styled(admin: Admin) -> None:
    admin.open("/admin/")
    assert admin.driver.current_url == f"{admin.url}/admin/login/?next=/admin/"
    header = admin.find("#header")
    assert header.value_of_css_property("background-color") == "rgba(65, 118, 144, 1)"
    sheets = "return [...document.styleSheets].map((sheet) => sheet.cssRules.length)"
    assert all(admin.driver.execute_script(sheets))


def test_a_wrong_password_is_refused(admin: Admin) -> None:
    admin.open("/admin/")
    admin.submit("input[type=submit]", username="ada", password="byron")
    assert "Please enter the correct username and password" in admin.texts(".errornote")[0]


def test_a_book_from_its_beginning_to_its_end(admin: Admin, tmp_path: Path) -> None:
    cover = tmp_path / "cover.bin"
    cover.write_bytes(bytes(range(256)) * 4000)
    log_in(admin)

    admin.open("/admin/library/book/add/")
    admin.submit("[name=_save]", title="", pages="-1")
    assert "Please correct the errors below." in admin.texts(".errornote")
    admin.submit("[name=_save]", title=TITLE, pages="64", cover=str(cover))
    assert "was added successfully" in admin.texts(".success")[0]
    assert admin.texts("#result_list .field-title") == [TITLE] or TITLE in admin.texts(
        "#result_list tbody th"
    )
    assert admin.driver.title.startswith("Select book to change")

    admin.submit("#changelist-search [type=submit]", q="Größe")
    assert admin.texts("#result_list tbody th") == [TITLE]
    admin.submit("#result_list tbody th a")
    assert admin.find("[name=title]").get_attribute("value") == TITLE
    assert admin.texts(".file-upload a") == ["covers/cover.bin"]
    admin.submit("[name=_continue]", title="Changed")
    assert "was changed successfully" in admin.texts(".success")[0]
    admin.submit(".historylink")
    assert "Changed Title." in admin.texts("#change-history tbody td")

    admin.open("/admin/library/book/")
    admin.find("#action-toggle").click()  # the page's own script
    Select(admin.find("[name=action]")).select_by_value("delete_selected")
    admin.submit("[name=index]")
    admin.submit("#content [type=submit]")
    assert "Successfully deleted 1 book." in admin.texts(".success")
    assert admin.texts("#result_list tbody th") == []


def test_who_logs_out_is_out(admin: Admin) -> None:
    log_in(admin)
    admin.submit("#logout-form button")
    assert admin.texts("#content h1") == ["Logged out"]
    admin.open("/admin/library/book/")
    assert admin.driver.current_url.startswith(f"{admin.url}/admin/login/")
