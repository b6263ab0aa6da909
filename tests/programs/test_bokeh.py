"""A Bokeh application whose plot follows a slider: moved in a browser, heard by Python, drawn again in the browser."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import chromium  # noqa: F401  # the fixture
from tests.programs.drive import BY, ON_TORNADO, Client, Program, eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.needs("chromium", "chromedriver")]

APPLICATION = """\
import numpy
import tornado.web
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Div, Slider
from bokeh.plotting import figure

x = numpy.linspace(0, 10, 2000)
source = ColumnDataSource({"x": x, "y": x})
plot = figure(height=300, width=400, x_range=(0, 10), y_range=(0, 50), output_backend="canvas")
plot.line("x", "y", source=source, name="line", line_width=5)
slider = Slider(start=1, end=5, step=1, value=1, title="factor", name="slider")
ticks = Div(text="0", name="ticks")

def moved(attribute, old, new):
    print("moved from", old, "to", new, "by", tornado.web.__name__, flush=True)
    source.data = {"x": x, "y": x * new}

def tick():
    ticks.text = str(int(ticks.text) + 1)

slider.on_change("value", moved)
curdoc().add_periodic_callback(tick, 100)
curdoc().on_session_destroyed(lambda context: print("session is over", flush=True))
curdoc().add_root(column(slider, plot, ticks))
"""

#: Bokeh's parts stand in shadow trees, which no selector looks into.
FIND = """
const find = (root, selector) => {
  const found = root.querySelector(selector);
  if (found) return found;
  for (const element of root.querySelectorAll("*")) {
    const below = element.shadowRoot && find(element.shadowRoot, selector);
    if (below) return below;
  }
  return null;
};
"""


MODEL = "const model = name => Bokeh.documents[0].get_model_by_name(name);"

#: A session whose document is in Python instead of a browser, over the WebSocket client; and a second client of it.
PULL = """\
import sys
import tornado.websocket
from bokeh.client import pull_session

def last(session):
    return session.document.get_model_by_name("line").data_source.data["y"][-1]

session = pull_session(url=sys.argv[1])
print("pulled", last(session), "by", tornado.websocket.__name__, flush=True)
session.document.get_model_by_name("slider").value = 3
session.force_roundtrip()
other = pull_session(url=sys.argv[1], session_id=session.id)
print("moved", last(other), other.request_server_info()["version_info"]["bokeh"], flush=True)
other.close()
session.close()
print("closed", flush=True)
"""


class Tab:
    """A tab of the browser with the application in it."""

    def __init__(self, chromium: Any, url: str) -> None:  # noqa: F811
        self.chromium = chromium
        chromium.switch_to.new_window("tab")
        self.window = chromium.current_window_handle
        chromium.get(url)
        self.wait()

    def ask(self, script: str) -> Any:
        self.chromium.switch_to.window(self.window)
        return self.chromium.execute_script(FIND + MODEL + script)

    def wait(self) -> None:
        """Until it shows something and its session is there."""
        eventually(
            lambda: self.ask("return window.Bokeh && Bokeh.documents.length && find(document, 'canvas') && 1")
        )
        eventually(lambda: self.ticks() >= 2)

    def press(self, *keys: str) -> None:
        self.ask("return find(document, '.noUi-handle')").send_keys(*keys)

    def last(self) -> float:
        """The last value of the line, in the page's copy of the data."""
        value = self.ask("const y = model('line').data_source.data.y; return y[y.length - 1]")
        assert isinstance(value, int | float)
        return value

    def ticks(self) -> int:
        """What Python counts by itself."""
        return int(self.ask("return model('ticks').text"))

    def shows(self, value: float) -> None:
        """Wait until the line ends there."""
        eventually(lambda: self.last() == value)

    def goes_on(self) -> None:
        """Wait until it is told again what Python does by itself."""
        before = self.ticks()
        eventually(lambda: self.ticks() > before)

    def drawn(self) -> bytes:
        """A picture of the plot, as the browser shows it."""
        element = self.ask("return find(document, '.bk-Canvas') || find(document, 'canvas').parentElement")
        picture: bytes = element.screenshot_as_png
        return picture

    def reload(self) -> None:
        self.chromium.switch_to.window(self.window)
        self.chromium.refresh()
        self.wait()

    def close(self) -> None:
        self.chromium.switch_to.window(self.window)
        self.chromium.close()


@pytest.fixture(scope="module")
def serve(
    run_on_webfw: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Program, str]]:
    """``serve("--flag")`` starts a server and gives it and the application's URL."""
    file = tmp_path_factory.mktemp("application") / "plot.py"
    file.write_text(APPLICATION)

    def start(*more: str) -> tuple[Program, str]:
        port = str(free_port())
        program = run_on_webfw(
            *("-m", "bokeh", "serve", str(file), "--address", "127.0.0.1", "--port", port),
            *("--keep-alive", "1000", "--check-unused-sessions", "200", "--unused-session-lifetime", "200"),
            *more,
        )
        url = f"http://127.0.0.1:{port}/plot"
        program.wait_for_port(url, 40)
        return program, url

    return start


@pytest.fixture(scope="module")
def server(serve: Callable[..., tuple[Program, str]]) -> Iterator[tuple[Program, str]]:
    program, url = serve()
    yield program, url
    # Not SIGINT: Bokeh collects garbage when a session is over, and a weakref's callback loses a KeyboardInterrupt.
    assert program.stop(signal.SIGTERM) == 0
    assert program.trouble() == [], program.log


@pytest.fixture
def open_tab(chromium: Any) -> Iterator[Callable[[str], Tab]]:  # noqa: F811
    """``open_tab(url)``; tabs are closed after the test, and nothing severe stands in the console."""
    blank = chromium.current_window_handle
    tabs: list[Tab] = []

    def open_one(url: str) -> Tab:
        tabs.append(Tab(chromium, url))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        if tab.window in chromium.window_handles:
            tab.close()
    chromium.switch_to.window(blank)


def severe(chromium: Any) -> list[str]:  # noqa: F811
    """What the console says in red, without the browser's own search for an icon."""
    messages = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    return [message for message in messages if "favicon" not in message]


def right(times: int) -> list[str]:
    from selenium.webdriver.common.keys import Keys

    return [Keys.ARROW_RIGHT] * times


def test_a_moved_slider_changes_the_plot(
    server: tuple[Program, str], open_tab: Callable[[str], Tab], tmp_path: Path
) -> None:
    program, url = server
    tab = open_tab(url)
    assert tab.last() == 10
    before = tab.drawn()
    tab.press(*right(1))
    program.read_until(r"moved from 1 to 2 by " + BY)
    tab.shows(20)
    eventually(lambda: tab.drawn() != before)
    tab.press(*right(2))
    tab.shows(40)
    (tmp_path / "before.png").write_bytes(before)  # to be looked at
    (tmp_path / "after.png").write_bytes(tab.drawn())
    assert severe(tab.chromium) == []
    tab.close()
    program.read_until("WebSocket connection closed: code=1001")
    program.read_until("session is over")


def test_two_sessions_do_not_see_each_other(
    server: tuple[Program, str], open_tab: Callable[[str], Tab]
) -> None:
    program, url = server
    first, second = open_tab(url), open_tab(url)
    first.press(*right(1))
    program.read_until("moved from 1 to 2")
    first.shows(20)
    assert second.last() == 10
    second.press(*right(3))
    second.shows(40)
    assert first.last() == 20
    first.goes_on()
    second.goes_on()
    assert severe(first.chromium) == []


def test_a_page_that_is_loaded_again_has_a_session_of_its_own(
    server: tuple[Program, str], open_tab: Callable[[str], Tab]
) -> None:
    program, url = server
    tab = open_tab(url)
    tab.press(*right(1))
    program.read_until("moved from 1 to 2")
    tab.shows(20)
    tab.reload()
    assert tab.last() == 10
    program.read_until("session is over")
    tab.press(*right(1))
    tab.shows(20)
    assert severe(tab.chromium) == []


def test_a_session_pulled_by_python(
    server: tuple[Program, str], run_on_webfw: Callable[..., Program], tmp_path: Path
) -> None:
    (tmp_path / "pull.py").write_text(PULL)
    client = run_on_webfw(str(tmp_path / "pull.py"), server[1])
    assert client.end(40) == 0, client.log
    assert client.trouble() == []
    assert client.lines[0] == f"pulled 10.0 by {BY.replace('.web', '.websocket')}"
    assert re.fullmatch(r"moved 30\.0 3\.\S+", client.lines[1])
    assert client.lines[2] == "closed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_end_with_a_session_open(
    serve: Callable[..., tuple[Program, str]], open_tab: Callable[[str], Tab], number: signal.Signals
) -> None:
    program, url = serve()
    tab = open_tab(url)
    tab.press(*right(1))
    tab.shows(20)
    assert program.stop(number) == 0
    assert program.trouble() == [], program.log
    assert tab.last() == 20


def test_two_processes(serve: Callable[..., tuple[Program, str]], open_tab: Callable[[str], Tab]) -> None:
    """Forked before their loops are there, on one listening socket."""
    program, url = serve("--num-procs", "2")
    eventually(lambda: len(program.pids()) >= 3)
    tabs = [open_tab(url) for _ in range(4)]
    for times, tab in enumerate(tabs, 1):
        tab.press(*right(times))
        tab.shows(10 + 10 * times)
    assert len(program.pids()) == 3
    others = [pid for pid in program.pids() if pid != program.process.pid]
    program.process.send_signal(signal.SIGTERM)
    if ON_TORNADO:  # which leaves them
        for pid in others:
            os.kill(pid, signal.SIGTERM)
    program.end()
    assert program.trouble() == [], program.log


def test_its_files(server: tuple[Program, str]) -> None:
    url = server[1]
    client = Client(url)
    page = client("GET", url)
    assert page.status == 200
    (script,) = re.findall(
        r'src="(/?static/js/bokeh\.min\.js[^"]*)"|src="(http[^"]+bokeh\.min\.js[^"]*)"', page.text
    )[:1]
    answer = client("GET", "".join(script), headers={"Accept-Encoding": "gzip"})
    assert answer.status == 200
    again = client("GET", "".join(script), headers={"If-None-Match": answer.headers["Etag"]})
    assert again.status == 304
