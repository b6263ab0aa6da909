"""The chat in a real browser: two windows talk by each transport, and a restart loses nothing that is remembered."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.needs("chromium", "chromedriver")

LABELS = {"websocket": "WebSocket", "events": "Server-sent events", "poll": "Long polling"}


class Window:
    """A window of the browser with one visitor in it."""

    def __init__(self, driver: Any, eventually: Callable[..., Any]) -> None:
        self.driver = driver
        self.eventually = eventually
        driver.switch_to.new_window("tab")
        self.handle = driver.current_window_handle

    def run(self, script: str, *args: Any) -> Any:
        self.driver.switch_to.window(self.handle)
        return self.driver.execute_script(script, *args)

    def find(self, css: str) -> Any:
        self.driver.switch_to.window(self.handle)
        return self.driver.find_element("css selector", css)

    def texts(self, css: str) -> list[str]:
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", css)

    def enter(self, url: str, name: str, room: str = "lobby") -> "Window":
        self.driver.switch_to.window(self.handle)
        self.driver.get(f"{url.rstrip('/')}/rooms/{room}")
        self.find("#name").clear()  # of the name that the last window had
        self.find("#name").send_keys(name)
        self.find("#who button").click()
        self.until_open()
        return self

    def choose(self, transport: str) -> None:
        self.find(f"#transports input[value={transport}]").click()
        self.until_open(transport)

    def until_open(self, transport: str = "") -> None:
        state = "const s = document.getElementById('status'); return [s.dataset.state, s.textContent]"
        label = LABELS.get(transport)
        self.eventually(lambda: (s := self.run(state))[0] == "open" and label in (None, s[1]))

    def say(self, text: str) -> None:
        field = self.find("#text")
        field.send_keys(text)
        field.send_keys("\ue007")  # Enter

    def until_said(self, *texts: str) -> None:
        """Until exactly these messages are shown, none of them on its way any more."""
        said = "#messages .message:not(.pending) .text"
        self.eventually(lambda: self.texts(said) == list(texts))

    def until_here(self, *names: str) -> None:
        self.eventually(lambda: self.texts("#people .who") == list(names))

    def close(self) -> None:
        self.driver.switch_to.window(self.handle)
        self.driver.close()


@pytest.fixture
def window(chromium: Any, eventually: Callable[..., Any]) -> Iterator[Callable[[], Window]]:
    """Opens windows; what goes wrong in one of them, except on the network, fails the test."""
    first = chromium.current_window_handle
    opened: list[Window] = []

    def open_window() -> Window:
        opened.append(Window(chromium, eventually))
        return opened[-1]

    yield open_window
    for one in opened:
        if one.handle in chromium.window_handles:
            one.run("localStorage.clear()")
            one.close()
    chromium.switch_to.window(first)
    complaints = [entry["message"] for entry in chromium.get_log("browser") if entry["source"] != "network"]
    assert [text for text in complaints if "WebSocket connection to" not in text] == []


def serve(start: Callable[..., Any], bind: str = "127.0.0.1:0", **env: str) -> Any:
    command = start(
        *("serve", "demos.chat:app", "--app-dir", str(ROOT), "--bind", bind, "--log-level", "error"), **env
    )
    command.address = command.url()
    return command


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    return serve(webfw_module_command).address


@pytest.fixture(params=list(LABELS))
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.slow
def test_two_windows_talk(window: Callable[[], Window], url: str, transport: str) -> None:
    room = f"talk-{transport}"
    ada = window().enter(url, "Ada", room)
    ada.choose(transport)
    grace = window().enter(url, "Grace", room)
    grace.until_open("websocket")
    ada.until_here("Ada", "Grace")
    grace.until_here("Ada", "Grace")
    ada.say("Hello?")
    grace.until_said("Hello?")
    grace.say("Hello, Ada!")
    ada.until_said("Hello?", "Hello, Ada!")
    ada.say("Good.")
    grace.until_said("Hello?", "Hello, Ada!", "Good.")
    ada.until_said("Hello?", "Hello, Ada!", "Good.")
    assert ada.texts("#messages .mine .text") == ["Hello?", "Good."]
    assert grace.texts("#messages .message:not(.mine) b") == ["Ada", "Ada"]
    assert ada.texts(".divider.lost") == grace.texts(".divider.lost") == []
    grace.close()
    ada.until_here("Ada")


def test_a_newcomer_sees_what_was_said(window: Callable[[], Window], url: str, transport: str) -> None:
    room = f"late-{transport}"
    ada = window().enter(url, "Ada", room)
    ada.say("first")
    ada.say("second")
    ada.until_said("first", "second")
    grace = window().enter(url, "Grace", room)
    grace.until_said("first", "second")
    grace.choose(transport)
    ada.say("third")
    # The other transport goes on where the first was: nothing twice.
    grace.until_said("first", "second", "third")


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=\"document.title='bad'\">",
        "<script>document.title='bad'</script>",
        "javascript:alert(1) http://x/\"onmouseover=\"document.title='bad'",
        "https://example.org/<b>'&amp;",
    ],
)
def test_markup_stays_text(window: Callable[[], Window], url: str, text: str) -> None:
    ada = window().enter(url, "<b>Ada</b>", "markup")
    count = len(ada.eventually(lambda: [*ada.texts("#messages .text"), ""]))
    ada.say(text)
    ada.eventually(lambda: ada.texts("#messages .message:not(.pending) .text")[-1:] == [text])
    assert ada.texts("#messages img, #messages script, #messages .text b") == []
    links = "return [...document.querySelectorAll('#messages a')].map((a) => a.protocol)"
    assert set(ada.run(links)) <= {"http:", "https:"}
    assert ada.texts("#messages .head b")[-1] == "<b>Ada</b>"
    ada.until_here("<b>Ada</b>")
    assert ada.run("return document.title") == "markup · Chat"
    assert count >= 1


def test_a_link_is_a_link(window: Callable[[], Window], url: str) -> None:
    ada = window().enter(url, "Ada", "links")
    ada.say("See https://example.org/a?b=c#d, and (http://localhost:1/x).")
    ada.until_said("See https://example.org/a?b=c#d, and (http://localhost:1/x).")
    links = "return [...document.querySelectorAll('.message:not(.pending) a')].map((a) => [a.href, a.rel])"
    rel = "noopener noreferrer nofollow"
    assert ada.run(links) == [["https://example.org/a?b=c#d", rel], ["http://localhost:1/x", rel]]


@pytest.mark.slow
def test_a_name_can_be_changed_and_is_kept(window: Callable[[], Window], url: str) -> None:
    ada = window().enter(url, "Ada", "names")
    ada.say("as Ada")
    ada.until_said("as Ada")
    ada.find("#rename").click()
    ada.find("#name").clear()
    ada.find("#name").send_keys("Countess")
    ada.find("#who button").click()
    ada.until_here("Countess")
    ada.say("as Countess")
    ada.until_said("as Ada", "as Countess")
    ada.driver.refresh()
    ada.until_open()
    ada.until_said("as Ada", "as Countess")
    assert ada.texts("#messages b") == ["Ada", "Countess"]
    other = window()
    other.driver.get(f"{url.rstrip('/')}/rooms/names")
    assert other.find("#name").get_attribute("value") == "Countess"


def test_keyboard_and_small_screen(window: Callable[[], Window], url: str) -> None:
    ada = window().enter(url, "Ada", "keys")
    field = ada.find("#text")
    field.send_keys("one")
    field.send_keys("\ue008\ue007\ue000")  # Shift and Enter
    field.send_keys("two\ue007")
    ada.until_said("one\ntwo")
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    ada.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert ada.run("return document.documentElement.scrollWidth <= innerWidth")
        ada.eventually(lambda: not ada.find("#people").is_displayed())
        ada.find("#menu").click()
        ada.eventually(lambda: ada.find("#people").is_displayed())
        ada.find("body").send_keys("\ue00c")  # Escape
        ada.eventually(lambda: not ada.find("#people").is_displayed())
        assert ada.find("#menu").get_attribute("aria-expanded") == "false"
    finally:
        ada.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_first_page_counts_people(window: Callable[[], Window], url: str) -> None:
    ada = window().enter(url, "Ada", "help")
    home = window()
    home.driver.get(url)
    counts = home.texts(".here")
    assert counts[1] == "1 here"
    home.find("#room").send_keys("Größe & Co.\ue007")
    home.eventually(lambda: home.driver.current_url.endswith("/rooms/groe-co"))
    ada.close()


def test_what_was_not_sent_can_be_sent_again(window: Callable[[], Window], url: str) -> None:
    ada = window().enter(url, "Ada", "again")
    ada.run("window.send = live.send; live.send = async () => { throw new Error('no <b>way</b>'); }")
    ada.say("important")
    ada.eventually(lambda: ada.texts(".failed .trouble") == ["Not sent: no <b>way</b>. Try again"])
    ada.run("live.send = window.send")
    ada.find(".failed button").click()
    ada.until_said("important")


# --- restarts ---


@pytest.mark.slow
def test_a_restart_without_memory_is_told(
    window: Callable[[], Window], webfw_command: Callable[..., Any], transport: str
) -> None:
    server = serve(webfw_command)
    ada = window().enter(server.address, "Ada")
    ada.choose(transport)
    ada.say("before")
    ada.until_said("before")
    assert server.stop(signal.SIGTERM)[0] == 0
    ada.eventually(lambda: ada.run("return document.getElementById('status').dataset.state") != "open")
    ada.say("meanwhile")
    assert ada.texts(".message.pending .text") == ["meanwhile"]
    serve(webfw_command, server.address.rstrip("/").rpartition("/")[2])
    ada.until_said("before", "meanwhile")
    assert ada.texts(".divider.lost") == ["Messages may have been lost here"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a redis-server of this test's own."""
    program = shutil.which("redis-server")
    assert program is not None
    path = tmp_path / "redis.sock"
    save = ["--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    with subprocess.Popen(
        [program, "--port", "0", "--unixsocket", path, *save], stdout=subprocess.DEVNULL
    ) as process:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield f"unix://{path}"
        process.terminate()


@pytest.mark.slow
@pytest.mark.needs("redis-server")
def test_a_restart_loses_nothing_that_is_remembered(
    window: Callable[[], Window], webfw_command: Callable[..., Any], redis: str, transport: str
) -> None:
    """Two servers share the rooms; one is restarted while the other goes on."""
    pytest.importorskip("redis")
    one = serve(webfw_command, WEBFW_BROKER=redis)
    two = serve(webfw_command, WEBFW_BROKER=redis)
    ada = window().enter(one.address, "Ada")
    ada.choose(transport)
    grace = window().enter(two.address, "Grace")
    ada.until_here("Ada", "Grace")
    ada.say("before")
    grace.until_said("before")
    ada.until_said("before")
    one.process.kill()
    one.end()
    ada.eventually(lambda: ada.run("return document.getElementById('status').dataset.state") != "open")
    grace.say("while you were away")
    ada.say("while I was away")
    serve(webfw_command, one.address.rstrip("/").rpartition("/")[2], WEBFW_BROKER=redis)
    everything = ["before", "while you were away", "while I was away"]
    ada.until_said(*everything)
    grace.until_said(*everything)
    assert ada.texts(".divider.lost") == grace.texts(".divider.lost") == []
    grace.say("welcome back")
    ada.until_said(*everything, "welcome back")
