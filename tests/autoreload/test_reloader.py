"""Tests of webfw.autoreload.reloader: on made-up watchers here, and as processes whose files are edited."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.autoreload.programs import Program, Programs, running
from webfw import autoreload
from webfw.autoreload import reloader
from webfw.autoreload.reloader import Reloader, ensure_started
from webfw.autoreload.watcher import Watcher
from webfw.ioloop import IOLoop
from webfw.web import Application

posix = pytest.mark.skipif(os.name == "nt", reason="nothing can be replaced here")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    yield from running(tmp_path)


class Source:
    """Changes that a test makes, in place of files."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self._changes: list[set[str]] = []
        self.closed = False
        self.watched: list[str] = []
        self.idle = threading.Event()

    def change(self, *paths: Any) -> None:
        with self._told:
            self._changes.append(set(map(str, paths)))
            self._told.notify_all()

    def wait(self, timeout: float | None = None) -> set[str]:
        with self._told:
            if not self._changes:
                self.idle.set()
                self._told.wait_for(lambda: self._changes or self.closed, 0.02 if timeout else 20)
            return self._changes.pop(0) if self._changes else set()

    def watch(self, path: Any, *, loaded: bool = False) -> None:
        self.watched.append(os.fspath(path))

    def close(self) -> None:
        with self._told:
            self.closed = True
            self._told.notify_all()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """What every watcher of the test is, with the state of the module made new."""
    one = Source()
    monkeypatch.setattr(reloader, "Watcher", lambda **options: one)
    monkeypatch.setattr(reloader, "_reloader", None)
    monkeypatch.setattr(reloader, "_refused", False)
    monkeypatch.setattr(reloader, "_watched", set())
    monkeypatch.setattr(sys, "orig_argv", ["python", "/made/up.py"])
    yield one
    one.close()
    if reloader._reloader is not None:
        reloader._reloader.join()


@pytest.fixture
def restarts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], set[str]]]:
    calls: list[tuple[list[str], set[str]]] = []
    monkeypatch.setattr(reloader, "restart", lambda command, changed: calls.append((command, changed)))
    return calls


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_change_restarts_on_the_loop(
    source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(reloader, "restart", lambda *args: seen.append((*args, threading.current_thread())))
    page = tmp_path / "page.html"
    page.write_text("")
    autoreload.start()
    source.change(page)
    await until(lambda: seen)
    command, changed, thread = seen[0]
    assert command[1:] == ["-m", "webfw.autoreload", "--until-success", "/made/up.py"]
    assert changed == {str(page)}
    assert thread is threading.current_thread()


async def test_a_syntax_error_keeps_the_program_running(
    source: Source, restarts: list[Any], tmp_path: Path, expect_log: Any
) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("x = (")
    two.write_text("")
    autoreload.start()
    with expect_log("webfw.general", "not reloaded.*one.py, line 1", count=3):
        source.change(one)
        source.change(two)  # sound, but the other one still is not
        source.idle.clear()
        source.change(tmp_path / "gone.py")
        await until(source.idle.is_set)
    assert restarts == []
    one.write_text("x = 1")
    source.change(one)
    await until(lambda: restarts)
    assert restarts[0][1] == {str(one), str(two)}


async def test_what_is_gone_restarts_nothing(source: Source, restarts: list[Any], tmp_path: Path) -> None:
    autoreload.start()
    source.change(tmp_path / "gone.py")
    page = tmp_path / "page.html"
    page.write_text("")
    source.change(page)
    await until(lambda: restarts)
    assert [changed for _, changed in restarts] == [{str(page)}]


async def test_started_twice_is_started_once(source: Source) -> None:
    autoreload.start()
    first = reloader._reloader
    autoreload.start(100)
    assert ensure_started()
    assert reloader._reloader is first


async def test_who_stands_down_does_not_start_again(source: Source) -> None:
    autoreload.start()
    first = reloader._reloader
    reloader.stand_down()
    assert source.closed
    autoreload.start()
    assert ensure_started()
    assert reloader._reloader is first
    reloader._reloader = None
    reloader.stand_down()
    autoreload.start()
    assert reloader._reloader is None


async def test_files_watched_before_and_after_the_start(source: Source, tmp_path: Path) -> None:
    autoreload.watch(tmp_path / "early")
    autoreload.start()
    autoreload.watch(str(tmp_path / "late"))
    assert source.watched == [str(tmp_path / "early"), str(tmp_path / "late")]


async def test_no_restart_once_stopped(source: Source, restarts: list[Any], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("")
    autoreload.start()
    assert reloader._reloader is not None
    source.change(page)
    reloader._reloader.stop()
    reloader._reloader.join()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert restarts == []


def test_a_closed_loop_ends_the_thread_and_makes_room(
    source: Source, restarts: list[Any], tmp_path: Path
) -> None:
    async def begin() -> None:
        autoreload.start()

    asyncio.run(begin())
    first = reloader._reloader
    assert first is not None
    assert not first.running
    first.join()
    asyncio.run(begin())
    assert reloader._reloader is not first


def test_a_loop_that_closes_while_something_changes(source: Source, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("")

    class Loop:
        closed = False

        def is_closed(self) -> bool:
            return self.closed

        def call_soon_threadsafe(self, *args: Any) -> None:
            raise RuntimeError("Event loop is closed")

    one = Reloader(Loop(), [], source)  # type: ignore[arg-type]
    source.change(page)
    one.join()


def test_a_loop_that_never_ran_gives_way_to_one_that_runs(source: Source) -> None:
    idle = IOLoop(make_current=True)
    try:
        assert ensure_started()
        first = reloader._reloader
        assert first is not None
        assert first.loop is idle.asyncio_loop

        async def begin() -> None:
            assert ensure_started()
            assert source.closed  # which is the former's, too
            assert reloader._reloader is not first
            assert reloader._reloader is not None
            assert reloader._reloader.loop is asyncio.get_running_loop()

        asyncio.run(begin())
        first.join()
    finally:
        asyncio.set_event_loop(idle.asyncio_loop)
        idle.close()
        asyncio.set_event_loop(None)


def test_no_loop_is_made_for_an_application(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.BaseEventLoop, "__init__", lambda self: pytest.fail("a loop was made"))
    assert Application(debug=True).settings["autoreload"] is True
    assert ensure_started() is False
    assert reloader._reloader is None


async def test_an_application_starts_it_unless_told_not_to(source: Source) -> None:
    Application(debug=True, autoreload=False)
    assert reloader._reloader is None
    Application(autoreload=True)
    assert reloader._reloader is not None


def test_an_application_made_before_the_loop_starts_it_when_it_listens(source: Source) -> None:
    application = Application(autoreload=True)
    assert reloader._reloader is None

    async def serve() -> None:
        application.listen(0, "127.0.0.1").stop()
        assert reloader._reloader is not None
        assert reloader._reloader.loop is asyncio.get_running_loop()

    asyncio.run(serve())


def test_a_server_made_before_the_loop_starts_it_at_the_first_request(source: Source) -> None:
    application = Application(autoreload=True)
    begin = application.begin
    assert begin == application._begin_watched
    assert reloader._reloader is None

    class Stop(Exception):
        pass

    class Exchange:
        @property
        def request(self) -> Any:
            raise Stop

    async def ask() -> None:
        with pytest.raises(Stop):
            begin(Exchange())  # type: ignore[misc, arg-type]
        assert reloader._reloader is not None

    asyncio.run(ask())


async def test_not_in_a_worker(source: Source, monkeypatch: pytest.MonkeyPatch, expect_log: Any) -> None:
    monkeypatch.setattr(reloader, "task_id", lambda: 3)
    with expect_log("webfw.general", "worker 3 does not watch", count=1):
        autoreload.start()
        autoreload.start()
    assert reloader._reloader is None


async def test_not_for_what_was_typed(
    source: Source, monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python"])
    with expect_log("webfw.general", "typed or piped in", count=1):
        autoreload.start()
    with pytest.raises(RuntimeError, match="typed"):
        autoreload.wait()
    assert reloader._reloader is None


async def test_a_fork_does_not_think_it_watches(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    autoreload.start()
    assert reloader._reloader is not None
    assert reloader._reloader.running
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert not reloader._reloader.running


class Restarted(Exception):
    pass


def test_wait(source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def restart(command: list[str], changed: set[str]) -> None:
        calls.append((command, changed))
        if len(calls) == 2:
            raise Restarted

    monkeypatch.setattr(reloader, "restart", restart)
    monkeypatch.setattr(signal, "signal", lambda number, handler: calls and pytest.fail("too late"))
    source.change("/a.py")
    source.change("/b.py")
    # It goes on if the program could not be started.
    with pytest.raises(Restarted):
        autoreload.wait()
    # Not under the wrapper: that is for programs that watch while they run.
    assert calls == [
        ([sys.executable, "/made/up.py"], {"/a.py"}),
        ([sys.executable, "/made/up.py"], {"/b.py"}),
    ]


def test_wait_takes_over_from_start(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        stopped = False

        def stop(self) -> None:
            self.stopped = True

        def join(self) -> None:
            pass

    def restart(command: list[str], changed: set[str]) -> None:
        raise Restarted

    old = Old()
    monkeypatch.setattr(reloader, "_reloader", old)
    monkeypatch.setattr(reloader, "restart", restart)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    source.change("/a.py")
    with pytest.raises(Restarted):
        reloader.wait_for_change({"/read/by.it"})
    assert old.stopped
    assert source.watched == ["/read/by.it"]


def test_the_watcher_is_public() -> None:
    assert autoreload.Watcher is Watcher


# --- as processes ---

SERVER = """
import asyncio, os, socket, stat, sys, pages
from webfw.autoreload import add_reload_hook
from webfw.web import Application
PORT = int(sys.argv[1])
def describe():
    print("started", os.getpid(), PORT, sys.argv[1:], sys.flags.dev_mode, sys.warnoptions, os.getcwd(), flush=True)
def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(int(fd)).st_mode)
    except OSError:  # the listing's own
        return False
async def main():
    app = Application(pages.routes, debug=True)
    app.listen(PORT, "127.0.0.1")
    add_reload_hook(lambda: print("hook", flush=True))
    leaked = socket.create_server(("127.0.0.1", 0))
    leaked.set_inheritable(True)
    os.chdir("/")
    print("sockets", sum(map(is_socket, os.listdir("/dev/fd"))), flush=True)
    await asyncio.Event().wait()
if __name__ == "__main__":
    describe()
    asyncio.run(main())
"""

PAGES = """
from webfw.web import RequestHandler
class Main(RequestHandler):
    def get(self):
        self.write({answer!r})
routes = [("/", Main)]
"""


def pages(answer: str) -> str:
    return PAGES.format(answer=answer)


def serve(programs: Programs, *command: str, **options: Any) -> tuple[Program, str]:
    port = programs.free_port()
    program = programs.start(*command, str(port), "a b", **options)
    return program, f"http://127.0.0.1:{port}/"


@posix
@pytest.mark.slow
@pytest.mark.parametrize("how", ["watchfiles", "polling", "uvloop"])
def test_a_server_shows_what_was_changed(programs: Programs, how: str) -> None:
    if how != "polling":
        pytest.importorskip("watchfiles" if how == "watchfiles" else how)
    programs.write("server.py", SERVER)
    programs.write("pages.py", pages("one"))
    env = {"WEBFW_LOOP": "uvloop"} if how == "uvloop" else {}
    program, url = serve(
        programs, "-X", "dev", "-W", "default", "server.py", without_watchfiles=how == "polling", env=env
    )
    started = program.read_until("started")
    sockets = program.read_until("sockets")
    assert programs.answer(url, "one")

    programs.write("pages.py", pages("two"))
    assert programs.answer(url, "two")
    program.read_until("hook")
    # The same process, arguments, options and directory; and no sockets of the former run.
    assert program.read_until("started") == started
    assert program.read_until("sockets") == sockets

    # Broken in a way that is seen without running it: the old version goes on.
    programs.write("pages.py", "def broken(:")
    program.errors_until("not reloaded")
    assert programs.answer(url, "two")
    programs.write("pages.py", pages("three"))
    assert programs.answer(url, "three")

    # Broken when it runs, twice.
    for trouble in ("import no_such_module_at_all", "1 / 0"):
        programs.write("pages.py", pages("broken") + trouble)
        program.errors_until("runs again after a change")
    programs.write("pages.py", pages("four"))
    assert programs.answer(url, "four")

    # Written again while it starts: the last one counts.
    for turn in range(6):
        programs.write("pages.py", pages(f"turn {turn}"))
        programs.pause(0.05)
    assert programs.answer(url, "turn 5")
    assert program.alive()


@posix
@pytest.mark.slow
def test_a_package_and_a_missing_module(programs: Programs) -> None:
    programs.write("shop/__init__.py", "")
    programs.write(
        "shop/__main__.py",
        SERVER.replace(", pages", "").replace("\nfrom", "\nfrom shop import pages\nfrom", 1),
    )
    programs.write("shop/pages.py", pages("one"))
    program, url = serve(programs, "-m", "shop")
    assert programs.answer(url, "one")
    started = program.read_until("started")
    programs.write("shop/pages.py", "import shop.extra\n" + pages("two"))
    program.errors_until("runs again after a change")
    programs.write("shop/extra.py", "")
    assert programs.answer(url, "two")
    assert program.read_until("started") == started
    # The module that is run is watched as well.
    programs.write("shop/__main__.py", programs.read("shop/__main__.py") + "\n# changed\n")
    assert program.read_until("started") == started


@posix
@pytest.mark.slow
def test_the_serve_command(programs: Programs) -> None:
    programs.write("site_pages.py", pages("one"))
    programs.write("site_app.py", "import site_pages\nfrom webfw.web import Application\n"
                   "app = Application(site_pages.routes, debug=True)\n")  # fmt: skip
    port = programs.free_port()
    url = f"http://127.0.0.1:{port}/"
    options = ("--bind", f"127.0.0.1:{port}", "--workers", "0")
    program = programs.start("-m", "webfw", "serve", "site_app:app", *options)
    assert programs.answer(url, "one")
    programs.write("site_pages.py", pages("two"))
    assert programs.answer(url, "two")
    programs.write("site_pages.py", pages("three") + "1/0")
    program.errors_until("runs again after a change")
    programs.write("site_pages.py", pages("three"))
    assert programs.answer(url, "three")
    # It ends as it does without.
    assert program.signal(signal.SIGTERM) == 0


@posix
@pytest.mark.slow
def test_a_program_that_waits_at_its_end(programs: Programs) -> None:
    programs.write("once.py", "import os, part\nfrom webfw import autoreload\nautoreload.watch('data')\n"
                   "print('ran', os.getpid(), part.X, flush=True)\nautoreload.wait()\n")  # fmt: skip
    programs.write("part.py", "X = 1")
    program = programs.start("once.py")
    ran = program.read_until("ran")
    programs.write("part.py", "X = 2")
    assert program.read_until("ran") == ran[:-1] + "2"
    programs.write("data", "")
    assert program.read_until("ran") == ran[:-1] + "2"
    assert program.signal(signal.SIGINT) == -signal.SIGINT


@posix
@pytest.mark.slow
def test_workers_do_not_reload(programs: Programs) -> None:
    programs.write("forks.py", """
import asyncio, os, sys
from webfw.process import fork_processes
from webfw.web import Application
app = Application(debug=True)
number = fork_processes(2)
async def main():
    app.listen(0, "127.0.0.1")
    os.write(1, b"worker %d\\n" % number)
asyncio.run(main())
""")  # fmt: skip
    program = programs.start("forks.py")
    status, output, errors = program.end()
    assert status == 0
    assert sorted(output.split("\n")) == ["", "worker 0", "worker 1"]
    assert errors.count("autoreload is for one process") == 2
