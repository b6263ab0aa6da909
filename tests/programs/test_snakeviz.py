"""snakeviz: shows where a profile says that time went.

Chosen as one that is started by hand: ``IOLoop.instance().start()`` on the main thread, debug mode, Ctrl-C to end it.
"""

import cProfile
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.programs.drive import Client, Program, free_port

pytestmark = pytest.mark.slow


def test_a_profile_is_shown(run_on_webfw: Callable[..., Program], tmp_path: Path) -> None:
    profile = tmp_path / "a profile & more.prof"
    profiler = cProfile.Profile()
    profiler.runcall(json.dumps, {"a": list(range(100))})
    profiler.dump_stats(profile)
    (tmp_path / "no profile").write_text("")
    program = run_on_webfw("-m", "snakeviz", "-s", "-p", str(free_port()), str(profile))
    url = program.read_until(r"^http://\S+")[0]
    client = Client(url)

    page = client("GET", url)
    assert page.status == 200
    assert re.search(r"<td[^>]*>.*encoder\.py|encoder\.py", page.text)
    assert "<title>a profile &amp; more</title>" in page.text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert client("GET", path).status == 200, path
    assert len(page.body) > 2_000

    listing = client("GET", "/snakeviz/" + quote(str(tmp_path), safe=""))
    assert listing.status == 200
    assert quote(str(profile), safe="") in listing.text

    # In debug mode the error's traceback is the page.
    answer = client("GET", "/snakeviz/" + quote(str(tmp_path / "no profile"), safe=""))
    assert answer.status == 500
    assert "RuntimeError: Could not read" in answer.text
    program.read_until("RuntimeError: Could not read")
    program.read_until("^500 GET")

    assert program.stop(signal.SIGINT) == 0
    assert program.lines[-1] == "Bye!"
    assert program.log.count("Uncaught exception") == 1, program.log
