"""Tests of webfw.cli.reloading: signals and changes also come through when the loop is blocked; names for people."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webfw.cli import reloading

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

Start = Callable[..., Any]

APP = """
import os, time
import webfw.autoreload
import webfw.web

class Block(webfw.web.RequestHandler):
    def get(self):
        print("blocked", flush=True)
        time.sleep(60)

os.environ["SET_BY_THE_PROGRAM"] = "1"
webfw.autoreload.add_reload_hook(lambda: print("hook", flush=True))
app = webfw.web.Application([("/", Block)])
print("loaded", flush=True)
"""


@pytest.fixture
def blocked(webfw_command: Start, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    (tmp_path / "app.py").write_text(APP)
    command = webfw_command("dev", "--bind", "127.0.0.1:0", WEBFW_LOOP=request.param)
    parts = urlsplit(command.url())
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        command.read_until("^blocked$")
        yield command


def loops() -> list[str]:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return ["asyncio"]
    return ["asyncio", "uvloop"]


@pytest.mark.parametrize("blocked", loops(), indirect=True)
def test_one_signal_ends_a_blocked_loop(blocked: Any) -> None:
    start = time.monotonic()
    status, output, _ = blocked.stop(signal.SIGINT)
    assert (status, output) == (0, "webfw stopped, though the event loop is blocked\n")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("blocked", loops()[:1], indirect=True)
def test_two_signals_end_it_at_once(blocked: Any) -> None:
    # The first one has been taken when a thread counts the time that the loop has.
    threads = Path(f"/proc/{blocked.process.pid}/task")
    if not threads.exists():
        pytest.skip("needs /proc")
    before = len(list(threads.iterdir()))
    blocked.process.send_signal(signal.SIGINT)
    end = time.monotonic() + 0.4
    while len(list(threads.iterdir())) == before and time.monotonic() < end:
        pass
    assert blocked.stop(signal.SIGTERM)[0] in (143, 0)  # 0 where this process was too slow


@pytest.mark.parametrize("blocked", loops(), indirect=True)
def test_a_change_ends_a_blocked_loop(blocked: Any, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("60", "0"))
    blocked.read_until("^webfw: app.py changed, starting again$")
    blocked.read_until("^hook$")
    blocked.read_until("^loaded$")
    blocked.read_until("^webfw serves again")
    assert blocked.stop(signal.SIGINT)[0] == 0


def test_many_files_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(tmp_path / name) for name in ("c.py", "a.py", "b.py")] + ["/x/d.py", "/x/e.py"]
    assert reloading._named(names[:1]) == "c.py"
    assert reloading._named(names[3:]) == "/x/d.py, /x/e.py"
    assert reloading._named(names) == "/x/d.py, /x/e.py, a.py and 2 more"


def test_what_is_gone_was_changed_never(tmp_path: Path) -> None:
    assert reloading._modified(str(tmp_path / "none")) == 0.0
