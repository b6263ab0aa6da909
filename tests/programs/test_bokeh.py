"""A Bokeh application whose plot follows a slider: moved in a browser, heard by Python, drawn again in the browser."""

import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import chromium  # noqa: F401  # the fixture
from tests.programs.drive import BY, Client, Program, eventually, free_port

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


@pytest.fixture(scope="module")
def server(
    run_on_webfw: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Program, str]]:
    home = tmp_path_factory.mktemp("application")
    port = str(free_port())
    (home / "plot.py").write_text(APPLICATION)
    program = run_on_webfw(
        *(
            "-m",
            "bokeh",
            "serve",
            str(home / "plot.py"),
            "--address",
            "127.0.0.1",
            "--port",
            port,
            "--keep-alive",
            "1000",
        ),
        *("--check-unused-sessions", "200", "--unused-session-lifetime", "200"),
    )
    yield program, f"http://127.0.0.1:{port}/plot"
    assert program.stop(signal.SIGINT) == 0
    assert program.trouble() == [], program.log


def test_a_moved_slider_changes_the_plot(
    server: tuple[Program, str],
    chromium: Any,  # noqa: F811
) -> None:
    program, url = server
    blank = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    chromium.get(url)

    def ask(script: str) -> Any:
        return chromium.execute_script(FIND + script)

    model = "const model = name => Bokeh.documents[0].get_model_by_name(name);"
    last = model + "const y = model('line').data_source.data.y; return y[y.length - 1]"
    handle = eventually(lambda: ask("return find(document, '.noUi-handle')"))
    before = eventually(lambda: ask("const c = find(document, 'canvas'); return c && c.toDataURL()"))
    assert eventually(lambda: ask(last)) == 10
    # What Python does by itself reaches the page too.
    eventually(lambda: int(ask(model + "return model('ticks').text")) >= 3)

    before = ask("return find(document, 'canvas').toDataURL()")
    from selenium.webdriver.common.keys import Keys

    handle.send_keys(Keys.ARROW_RIGHT)
    program.read_until(r"moved from 1 to 2 by " + BY)
    eventually(lambda: ask(last) == 20)
    eventually(lambda: ask("return find(document, 'canvas').toDataURL()") != before)
    handle.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    eventually(lambda: ask(last) == 40)
    severe = [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry for entry in severe if "favicon" not in entry["message"]] == []

    chromium.close()
    chromium.switch_to.window(blank)
    program.read_until("WebSocket connection closed: code=1001")
    program.read_until("session is over")


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
