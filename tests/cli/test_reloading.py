"""Tests of webfw.cli.reloading: signals and changes also come through when the loop is blocked; names for people."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webfw.cli import reloading
from webfw.cli.listeners import INHERITED
from webfw.process.worker import Order

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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("blocked", loops(), indirect=True)
def test_a_change_ends_a_blocked_loop(blocked: Any, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("60", "0"))
    blocked.read_until("^webfw: app.py changed, starting again$")
    blocked.read_until("^hook$")
    blocked.read_until("^loaded$")
    blocked.read_until("^webfw serves again")
    assert blocked.stop(signal.SIGINT)[0] == 0


# --- in this process ---


class Restarts:
    """Stands for `restart`, which would replace this process."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.called = threading.Event()

    def __call__(self, command: list[str], changed: set[str], **more: Any) -> None:
        self.calls.append({"command": command, "changed": changed, **more})
        self.called.set()


@pytest.fixture
def restarts(monkeypatch: pytest.MonkeyPatch) -> Restarts:
    restarts = Restarts()
    monkeypatch.setattr(reloading, "restart", restarts)
    monkeypatch.setattr(reloading, "command_line", lambda wrap: ["python", "again"])
    return restarts


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses this process would have ended with."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    return statuses


@pytest.fixture
def listeners() -> Iterator[reloading.KeptListeners]:
    listeners = reloading.KeptListeners(["127.0.0.1:0"])
    yield listeners
    listeners.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "watched.py"
    path.write_text("a = 1\n")
    os.utime(path, (1, 1))
    return path


async def test_a_change_drains_and_starts_again(
    restarts: Restarts, listeners: reloading.KeptListeners, file: Path
) -> None:
    post = reloading.DevPost(listeners, [file])
    post.attach()
    file.write_text("a = 2\n")
    assert await post.order() is Order.DRAIN
    assert not restarts.calls
    copies = listeners.sockets(0)
    for sock in copies:
        sock.close()  # as the server does
    post.detach()
    (call,) = restarts.calls
    (fd,) = call["keep"]
    assert (call["command"], call["changed"]) == (["python", "again"], {str(file)})
    assert call["environ"][INHERITED] == f'{{"127.0.0.1:0": [{fd}]}}'
    assert abs(float(call["environ"][reloading.CHANGED_AT]) - time.time()) < 20
    assert os.fstat(fd)
    assert post.watcher.closed


async def test_a_loop_that_does_not_answer_is_not_waited_for(
    restarts: Restarts, listeners: reloading.KeptListeners, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "PATIENCE", 0.01)
    monkeypatch.setattr(reloading, "GRACE", 0.01)
    post = reloading.DevPost(listeners, [file])
    post.attach()
    file.write_text("a = 2\n")
    assert restarts.called.wait(20)  # blocks the loop
    post.detach()
    assert len(restarts.calls) == 1


async def test_broken_files_are_taken_when_all_are_mended(
    restarts: Restarts, listeners: reloading.KeptListeners, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = file.with_name("other.py")
    other.write_text("")
    post = reloading.DevPost(listeners, [file, other])
    post.attach()
    told = ""

    async def say(text: str) -> None:
        nonlocal told
        while text not in told:
            await asyncio.sleep(0.01)
            told += capfd.readouterr().out

    file.write_text("a = = 2\n")
    await say("watched.py changed, not taken yet: invalid syntax")
    other.write_text("b = 1\n")
    await say("other.py changed, not taken yet: invalid syntax")
    file.write_text("a = 22\n")
    assert await post.order() is Order.DRAIN
    post.detach()
    assert restarts.calls[0]["changed"] == {str(file), str(other)}


async def test_a_broken_application_has_nothing_to_go_on_with(
    restarts: Restarts, listeners: reloading.KeptListeners, file: Path
) -> None:
    post = reloading.DevPost(listeners, [file])
    post.is_broken = True
    post.attach()
    file.write_text("a = = 2\n")
    assert await post.order() is Order.DRAIN
    post.detach()
    assert restarts.calls


async def test_what_was_typed_in_cannot_be_started_again(
    restarts: Restarts,
    listeners: reloading.KeptListeners,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reloading, "command_line", lambda wrap: None)
    post = reloading.DevPost(listeners, [file])
    post.attach()
    file.write_text("a = 2\n")
    told = ""
    while "cannot be started again" not in told:
        await asyncio.sleep(0.01)
        told += capfd.readouterr().out
    post.detach()
    assert not restarts.calls


async def test_signals(
    restarts: Restarts,
    listeners: reloading.KeptListeners,
    left: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reloading, "PATIENCE", 0.01)
    monkeypatch.setattr(reloading, "END_PATIENCE", 0.01)  # where the loop was quicker to hear of it
    before = signal.getsignal(signal.SIGTERM)
    post = reloading.DevPost(listeners)
    post.attach()
    signal.raise_signal(signal.SIGTERM)
    assert await post.order() is Order.STOP
    while not left:
        await asyncio.sleep(0.01)
    assert left == [0]
    assert capfd.readouterr().out == "webfw stopped, though the event loop is blocked\n"
    signal.raise_signal(signal.SIGINT)
    assert left == [0, 130]
    post.detach()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not restarts.calls


def test_streams_may_be_broken_at_the_end(left: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    reloading._leave()
    assert left == [0]


def test_many_files_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(tmp_path / name) for name in ("c.py", "a.py", "b.py")] + ["/x/d.py", "/x/e.py"]
    assert reloading._named(names[:1]) == "c.py"
    assert reloading._named(names[3:]) == "/x/d.py, /x/e.py"
    assert reloading._named(names) == "/x/d.py, /x/e.py, a.py and 2 more"


def test_what_is_gone_was_changed_never(tmp_path: Path) -> None:
    assert reloading._modified(str(tmp_path / "none")) == 0.0
