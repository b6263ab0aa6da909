"""A Panel application: its page, its files, and a session over the WebSocket."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs.drive import BY, Client, Program, free_port

pytestmark = pytest.mark.slow

APPLICATION = """\
import panel
import tornado.web

slider = panel.widgets.IntSlider(name="factor", start=1, end=5, value=2)

def shown(factor):
    print("shown", factor, "by", tornado.web.__name__, flush=True)
    return f"times {factor}"

panel.Column("# A title of the test", slider, panel.bind(shown, slider)).servable()
"""

PULL = """\
import sys
import panel.models.layout, panel.models.markup  # what the page is made of
from bokeh.client import pull_session

session = pull_session(url=sys.argv[1])
(slider,) = session.document.select({"title": "factor"})
slider.value = 4
session.force_roundtrip()
session.close()
"""


def test_its_page_and_a_session(run_on_webfw: Callable[..., Program], tmp_path: Path) -> None:
    (tmp_path / "dashboard.py").write_text(APPLICATION)
    (tmp_path / "pull.py").write_text(PULL)
    base = f"http://127.0.0.1:{free_port()}"
    program = run_on_webfw(
        *("-m", "panel", "serve", str(tmp_path / "dashboard.py"), "--address", "127.0.0.1"),
        *("--port", base.rpartition(":")[2], "--liveness"),
    )
    program.wait_for_port(base, 60)
    client = Client(base)
    moved = client("GET", "/")
    assert (moved.status, moved.headers["Location"]) == (302, "./dashboard")
    page = client("GET", "/dashboard")
    assert page.status == 200
    assert "<title>Panel Application</title>" in page.text
    program.read_until(f"shown 2 by {BY}")
    scripts = re.findall(r'src="(static/[^"]+\.js[^"]*)"', page.text)
    assert len(scripts) >= 3
    for script in scripts:
        assert client("GET", f"/{script}").status == 200
    assert client("GET", "/liveness").json == {"/liveness": True}

    other = run_on_webfw(str(tmp_path / "pull.py"), f"{base}/dashboard")
    assert other.end(60) == 0, other.log
    assert other.trouble() == []
    program.read_until(f"shown 4 by {BY}")
    assert program.stop(signal.SIGTERM) == 0
    assert program.trouble() == [], program.log
