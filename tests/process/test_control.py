"""Tests of webfw.process.control: the socket in a loop that the test turns, and the commands on a real tree."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.process.treerunner import Tree
from webfw.process import control
from webfw.process.channel import channel_pair
from webfw.process.control import ControlError, ControlServer, default_path, directories
from webfw.process.program import Program, TreeSettings
from webfw.process.roster import Member, State
from webfw.process.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0


class Site:
    """A control server whose supervisor is turned by hand, and clients that never wait."""

    def __init__(self, path: str) -> None:
        self.supervisor = Supervisor(Program(), TreeSettings(workers=2))
        self.server = ControlServer(self.supervisor, path)
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self.server.path)
        client.setblocking(False)
        self.clients.append(client)
        return client

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            for key, _ in self.supervisor.selector.select(0):
                key.data()
            self.server.turned()

    def ask(self, client: socket.socket, line: bytes) -> list[Any]:
        client.sendall(line)
        self.turn()
        return self.answers(client)

    def answers(self, client: socket.socket) -> list[Any]:
        data = b""
        try:
            while chunk := client.recv(65536):
                data += chunk
        except BlockingIOError:
            pass
        assert data == b"" or data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def is_closed(self, client: socket.socket) -> bool:
        self.turn()
        try:
            while chunk := client.recv(65536):
                assert chunk
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    def end(self) -> None:
        self.server.ended(0)
        self.supervisor.selector.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(str(tmp_path / "control"))
    yield made
    if made.server._socket.fileno() >= 0:
        made.end()


# --- the socket ---


def test_only_the_owner_can_enter(site: Site) -> None:
    found = os.lstat(site.server.path)
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert os.listdir(os.path.dirname(site.server.path)) == ["control"]


def test_the_socket_is_removed_at_the_end(site: Site) -> None:
    site.end()
    assert not os.path.exists(site.server.path)


def test_a_socket_that_somebody_else_has_put_there_stays(site: Site) -> None:
    os.unlink(site.server.path)
    Path(site.server.path).touch()
    site.end()
    assert os.path.exists(site.server.path)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    made = Site(path)
    assert made.ask(made.connect(), b'{"command":"status"}\n')[0]["ok"]
    made.end()


def test_the_socket_of_another_server_is_not(site: Site) -> None:
    with pytest.raises(ControlError, match="another server is controlled through it"):
        ControlServer(site.supervisor, site.server.path)
    assert site.ask(site.connect(), b'{"command":"status"}\n')[0]["ok"]


def test_an_upgrade_takes_over_when_it_is_ready(site: Site) -> None:
    client = site.connect()
    site.turn()
    supervisor = Supervisor(Program(), TreeSettings())
    successor = ControlServer(supervisor, site.server.path, take_over=True)
    successor.turned()
    assert sorted(os.listdir(os.path.dirname(site.server.path))) == ["control", "control.2"]
    assert site.ask(site.connect(), b'{"command":"status"}\n')[0]["target"] == 2
    supervisor.ready = True
    successor.turned()
    assert os.listdir(os.path.dirname(site.server.path)) == ["control"]
    # Who was connected still speaks to the former; its end leaves the socket alone.
    assert site.ask(client, b'{"command":"status"}\n')[0]["target"] == 2
    site.end()
    assert os.path.exists(successor.path)
    successor.ended(0)
    assert not os.path.exists(successor.path)
    supervisor.selector.close()


def test_an_upgrade_that_fails_leaves_the_former_socket(site: Site) -> None:
    supervisor = Supervisor(Program(), TreeSettings())
    ControlServer(supervisor, site.server.path, take_over=True).ended(3)
    supervisor.selector.close()
    assert os.listdir(os.path.dirname(site.server.path)) == ["control"]
    assert site.ask(site.connect(), b'{"command":"status"}\n')[0]["target"] == 2


def test_an_upgrade_of_a_server_that_is_gone_needs_no_other_name(tmp_path: Path) -> None:
    supervisor = Supervisor(Program(), TreeSettings())
    server = ControlServer(supervisor, str(tmp_path / "control"), take_over=True)
    assert os.listdir(tmp_path) == ["control"]
    server.ended(0)
    supervisor.selector.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("file", "no control socket at .*/file: something else than a socket is there"),
        ("nowhere/control", "no control socket at .*/nowhere/control: no such file or directory"),
        ("x" * 200, "no control socket at .*x: the path is longer than 103 bytes"),
    ],
)
def test_places_where_none_can_be(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "file").touch()
    supervisor = Supervisor(Program(), TreeSettings())
    with pytest.raises(ControlError, match=sentence):
        ControlServer(supervisor, str(tmp_path / name))
    supervisor.selector.close()
    assert os.listdir(tmp_path) == ["file"]


def test_a_platform_without_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ControlError, match="this platform has no UNIX sockets"):
        ControlServer(Supervisor(Program(), TreeSettings()), str(tmp_path / "control"))


# --- where it is by default ---


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    (tmp_path / "run").mkdir()
    (tmp_path / "tmp").mkdir()
    found = [tmp_path / "run" / "webfw", tmp_path / "tmp" / "webfw-0"]
    monkeypatch.setattr(control, "directories", lambda: found)
    return found


def test_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/somewhere")
    uid = os.getuid()
    usual = [Path(f"/run/user/{uid}/webfw"), Path(f"/tmp/webfw-{uid}")]
    assert directories() == [Path("/run/somewhere/webfw"), *usual]
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"/run/user/{uid}")
    assert directories() == usual
    for nothing in ("", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", nothing)
        assert directories() == usual


def test_the_directory_is_made_for_one_user(places: list[Path]) -> None:
    former = os.umask(0)
    try:
        assert default_path() == str(places[0] / f"{os.getpid()}.sock")
    finally:
        os.umask(former)
    assert stat.S_IMODE(places[0].stat().st_mode) == 0o700
    assert default_path() == str(places[0] / f"{os.getpid()}.sock")


def test_without_a_directory_of_the_session_it_is_in_tmp(places: list[Path]) -> None:
    places[0].parent.rmdir()
    assert default_path() == str(places[1] / f"{os.getpid()}.sock")


def test_a_directory_that_others_can_enter_is_not_used(places: list[Path]) -> None:
    places[0].mkdir(0o755)
    with pytest.raises(ControlError, match=r"run/webfw is not a directory that only this user can enter"):
        default_path()
    places[0].rmdir()
    places[0].touch(0o700)
    with pytest.raises(ControlError, match="is not a directory that only"):
        default_path()
    places[0].unlink()
    (places[0].parent / "elsewhere").mkdir(0o700)
    places[0].symlink_to("elsewhere")
    with pytest.raises(ControlError, match="is not a directory that only"):
        default_path()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_not_used(places: list[Path]) -> None:
    places[0].mkdir(0o700)
    os.chown(places[0], 65534, 65534)
    with pytest.raises(ControlError, match="is not a directory that only this user can enter"):
        default_path()


def test_no_directory_can_be_made(places: list[Path]) -> None:
    places[0].parent.rmdir()
    places[1].parent.rmdir()
    with pytest.raises(ControlError, match="no directory .*webfw-0 for the control socket: no such file"):
        default_path()


# --- who may ---

CONNECT = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(b'{"command":"drain"}\\n')
try:
    print(sock.recv(1000))
except ConnectionError:
    print(b"")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_listened_to(tmp_path: Path) -> None:
    path = Path(f"/tmp/webfw-test-{os.getpid()}.sock")  # where anybody can come to
    site = Site(str(path))
    os.chmod(path, 0o777)
    other = subprocess.Popen([sys.executable, "-c", CONNECT, str(path)], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while other.poll() is None and time.monotonic() < deadline:
        site.turn()
        time.sleep(0.005)
    output, _ = other.communicate(timeout=PATIENCE)
    assert output == "b''\n"
    assert not site.supervisor.stopping
    site.end()


def test_where_the_system_does_not_tell_who_connects_the_mode_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert site.ask(site.connect(), b'{"command":"status"}\n')[0]["ok"]


# --- lines ---


def test_status(site: Site) -> None:
    (answer,) = site.ask(site.connect(), b'{"command":"status"}\n')
    assert answer["ok"]
    assert answer["pid"] == os.getpid()
    assert (answer["state"], answer["target"], answer["workers"]) == ("starting", 2, [])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"\n", "a line with a JSON object is wanted"),
        (b"status\n", "a line with a JSON object is wanted"),
        (b"[1]\n", "a line with a JSON object is wanted"),
        (b"\xff\xfe\n", "a line with a JSON object is wanted"),
        (b"[" * 60000 + b"\n", "a line with a JSON object is wanted"),
        (b'{"command":"dance"}\n', "there is no command 'dance'"),
        (b'{"command":{"a":[]}}\n', "there is no command {'a': []}"),
        (b"{}\n", "there is no command None"),
        (b'{"command":"reload"}\n', "the server is still starting"),
    ],
)
def test_what_is_no_command(site: Site, line: bytes, sentence: str) -> None:
    client = site.connect()
    assert site.ask(client, line) == [{"ok": False, "error": sentence}]
    assert site.ask(client, b'{"command":"status"}\n')[0]["ok"]


def test_byte_by_byte_and_many_at_once(site: Site) -> None:
    client = site.connect()
    for byte in b'{"command":"status"}':
        assert site.ask(client, bytes([byte])) == []
    assert len(site.ask(client, b"\n" + b'{"command":"status"}\n' * 2)) == 3
    assert len(site.ask(client, b"\n" * 200)) == 200


@given(st.binary(max_size=300), st.integers(1, 300))
def test_bytes_at_random_do_no_harm(data: bytes, at: int) -> None:
    path = f"/tmp/webfw-test-{os.getpid()}-random.sock"
    site = Site(path)
    try:
        client = site.connect()
        before = site.ask(client, data[:at])
        after = site.ask(client, data[at:] + b"\n")
        answers = before + after
        assert len(answers) == data.count(b"\n") + 1
        assert all(not answer["ok"] for answer in answers)
    finally:
        site.end()


def test_a_line_that_does_not_end(site: Site) -> None:
    client = site.connect()
    client.setblocking(True)
    client.sendall(b"x" * (control.MAX_LINE + 1))
    client.setblocking(False)
    assert site.is_closed(client)


def test_a_client_that_takes_no_answers_holds_nobody_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = site.connect(), site.connect()
    sent = 0
    try:
        for _ in range(1000):
            sent += client.send(b'{"command":"status"}\n' * 50)
            site.turn()
    except BlockingIOError:
        pass
    # No line of it is read any more, and others are answered.
    assert sent < 1000 * 50 * 21
    assert site.ask(other, b'{"command":"status"}\n')[0]["ok"]
    held = site.server._clients[0]
    assert len(held._unsent) < 10_000
    # When it reads after all, it gets everything.
    received = b""
    while received.count(b"\n") < sent // 21:
        try:
            received += client.recv(65536)
        except BlockingIOError:
            site.turn()
    assert json.loads(received.splitlines()[-1])["ok"]
    # And if it never does, its time is over at some point.
    with contextlib.suppress(BlockingIOError):
        for _ in range(1000):
            client.send(b'{"command":"status"}\n' * 50)
            site.turn()
    assert site.server._clients[0]._unsent
    later = time.monotonic() + control.PATIENCE + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert site.is_closed(client)
    assert site.supervisor.selector.get_map().keys() == {site.server._socket.fileno()}


def test_an_idle_client_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.connect()
    site.turn()
    later = time.monotonic() + control.PATIENCE + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert site.is_closed(client)


def test_clients_beyond_the_limit_are_turned_away(site: Site) -> None:
    clients = []
    for _ in range(control.MAX_CLIENTS):
        clients.append(site.connect())
        site.turn()
    assert site.is_closed(site.connect())
    clients[0].close()
    site.turn()
    assert site.ask(site.connect(), b'{"command":"status"}\n')[0]["ok"]


def test_clients_that_go_at_any_moment(site: Site) -> None:
    client = site.connect()
    client.close()
    site.turn()
    client = site.connect()
    site.turn()
    client.sendall(b'{"command":"status"}\n' * 100)
    client.close()
    site.turn()
    assert site.server._clients == []


# --- commands that need no worker ---


def test_numbers_of_workers(site: Site, expect_log: Any) -> None:
    client = site.connect()
    for change, target in (("5", 5), ("+1", 6), ("-2", 4), (1, 1), ("1024", 1024)):
        former = site.supervisor.target
        answer = site.ask(client, json.dumps({"command": "workers", "change": change}).encode() + b"\n")
        assert answer == [{"ok": True, "former": former, "workers": target}]
        assert site.supervisor.target == target


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("0", "there can be 1 to 1024 workers, not 0"),
        ("-2", "there can be 1 to 1024 workers, not 0"),
        ("+1023", "there can be 1 to 1024 workers, not 1025"),
        ("many", "a number of workers, [+]N or -N is wanted, not 'many'"),
        ("", "a number of workers"),
        ("+", "a number of workers"),
        ("--1", "a number of workers"),
        ("99999", "a number of workers"),
        ("٣", "a number of workers"),
        (None, "a number of workers"),
        ([1], "a number of workers"),
    ],
)
def test_numbers_of_workers_that_are_none(site: Site, change: object, sentence: str) -> None:
    line = json.dumps({"command": "workers", "change": change}).encode() + b"\n"
    (answer,) = site.ask(site.connect(), line)
    assert not answer["ok"]
    assert answer["error"].startswith(sentence.replace("[+]", "+"))
    assert site.supervisor.target == 2


def test_a_drain_is_answered_at_the_end_and_nothing_else_is_done_meanwhile(site: Site) -> None:
    client, other, gone = site.connect(), site.connect(), site.connect()
    assert site.ask(client, b'{"command":"drain"}\n') == []
    assert site.ask(gone, b'{"command":"drain"}\n') == []
    gone.close()
    assert site.supervisor.stopping
    assert site.server.patience < 1
    assert site.ask(other, b'{"command":"status"}\n')[0]["state"] == "stopping"
    for command in (b"reload", b"upgrade", b"workers", b"reopen-logs"):
        (answer,) = site.ask(other, b'{"command":"' + command + b'"}\n')
        assert answer == {"ok": False, "error": "the server is ending"}
    site.server.ended(0)
    assert site.answers(client) == [{"ok": True, "status": 0}]
    assert site.answers(other) == []
    site.supervisor.selector.close()
    for made in site.clients:
        made.close()


def test_an_upgrade_that_cannot_be(site: Site) -> None:
    client = site.connect()
    (answer,) = site.ask(client, b'{"command":"upgrade"}\n')
    assert answer["error"] == "the new supervisor cannot be started: see the log"
    site.supervisor.successor = 4711
    (answer,) = site.ask(client, b'{"command":"upgrade"}\n')
    assert answer["error"] == "an upgrade is under way: process 4711"


def test_stacks_of_nobody(site: Site) -> None:
    assert site.ask(site.connect(), b'{"command":"stacks"}\n') == [{"ok": True, "workers": []}]


def test_what_was_asked_by_somebody_who_has_gone_is_brought_to_its_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = channel_pair()
    member = Member(0, 1, os.getpid(), ours)
    member.state = State.READY
    site.supervisor.slots[0] = member
    client, other = site.connect(), site.connect()
    assert site.ask(client, b'{"command":"stacks"}\n') == []
    assert site.ask(other, b'{"command":"stacks"}\n{"command":"status"}\n') == []
    client.close()
    site.turn()
    later = time.monotonic() + control.STACKS_PATIENCE + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    site.turn()
    # What stood behind it is answered after it, in its turn.
    stacks, status = site.answers(other)
    assert stacks["workers"][0]["stacks"] is None
    assert stacks["workers"][0]["silent"] > 2
    assert status["state"] == "starting"
    assert len(site.server._clients) == 1
    assert site.supervisor._answers == {}
    ours.close()
    theirs.close()


# --- a real tree ---


class Controlled(Tree):
    def __init__(self, directory: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        self.path = directory / "control"
        os.environ.update(environ)
        try:
            super().__init__(directory, environ.pop("APPLICATION", "VERSION = 1"), arguments)
        finally:
            for name in environ:
                del os.environ[name]

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        with self.commanded(name, **arguments) as sock:
            return self.answer(sock)

    def commanded(self, name: str, **arguments: Any) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(str(self.path))
        sock.sendall(json.dumps({"command": name, **arguments}).encode() + b"\n")
        return sock

    def answer(self, sock: socket.socket) -> dict[str, Any]:
        data = b""
        while not data.endswith(b"\n"):
            chunk = sock.recv(65536)
            assert chunk, "no answer"
            data += chunk
        found: dict[str, Any] = json.loads(data)
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Callable[..., Controlled]]:
    started: list[Controlled] = []

    def start(*arguments: str, **environ: str) -> Controlled:
        started.append(Controlled(tmp_path, arguments, {"CONTROL": str(tmp_path / "control"), **environ}))
        started[-1].expect("all ready")
        return started[-1]

    yield start
    for made in started:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        assert made.process.stdout is not None
        made.process.stdout.close()


def test_the_status_of_a_tree(tree: Callable[..., Controlled]) -> None:
    made = tree("workers=2")
    made.ask()
    status = made.command("status")
    assert status["ok"]
    assert status["pid"] == made.process.pid
    assert status["serving"] == f"a tree on port {made.port}"
    assert (status["state"], status["generation"], status["target"]) == ("ready", 1, 2)
    assert [(w["worker"], w["state"], w["blocked"]) for w in status["workers"]] == [
        (0, "ready", False),
        (1, "ready", False),
    ]
    assert all(w["memory"] > 1_000_000 and w["lag"] >= 0 for w in status["workers"])


def test_a_reload_is_answered_when_all_are_new(tree: Callable[..., Controlled]) -> None:
    made = tree("workers=2", APPLICATION="VERSION = 1\nDELAY = 0.1")
    made.application.write_text("VERSION = 2\nDELAY = 0.1")
    answer = made.command("reload")
    assert answer["ok"], answer
    assert (answer["generation"], answer["workers"]) == (2, 2)
    assert answer["seconds"] >= 0.2
    assert made.ask()[1] == "2"
    assert all(w["generation"] == 2 for w in made.command("status")["workers"] if w["state"] == "ready")


def test_a_reload_of_a_broken_version_says_why(tree: Callable[..., Controlled]) -> None:
    made = tree("workers=2")
    made.application.write_text("raise ValueError('broken')")
    answer = made.command("reload")
    assert not answer["ok"]
    assert answer["error"].endswith("cannot serve: ValueError: broken")
    assert made.command("status")["reload_error"] == answer["error"]
    assert made.ask()[1] == "1"
    made.application.write_text("VERSION = 3")
    assert made.command("reload")["ok"]
    assert made.command("status")["reload_error"] == ""


def test_a_reload_with_wrong_settings_says_why(tree: Callable[..., Controlled]) -> None:
    made = tree()
    made.application.with_name("settings").write_text("nonsense")
    assert made.command("reload") == {"ok": False, "error": "the settings are wrong: nonsense"}


@pytest.mark.slow
def test_a_reload_overtaken_by_another(tree: Callable[..., Controlled]) -> None:
    made = tree("workers=2", APPLICATION="VERSION = 1\nDELAY = 0.3")
    with made.commanded("reload") as first:
        while made.command("status")["generation"] == 1:
            pass
        assert made.command("reload")["ok"]
        assert made.answer(first) == {"ok": False, "error": "another reload has begun meanwhile"}


def test_a_reload_that_the_end_overtakes(tree: Callable[..., Controlled]) -> None:
    made = tree(APPLICATION="VERSION = 1\nDELAY = 0.3")
    with made.commanded("reload") as first:
        while made.command("status")["generation"] == 1:
            pass
        made.signal(signal.SIGTERM)
        answer = made.answer(first)
        assert answer["error"] in ("the server is ending", "the server has ended")
    assert made.end() == 0


def test_more_and_fewer_workers(tree: Callable[..., Controlled]) -> None:
    made = tree()
    assert made.command("workers", change="+1") == {"ok": True, "former": 1, "workers": 2}
    made.expect("ready 1")
    assert made.command("workers", change="1") == {"ok": True, "former": 2, "workers": 1}
    made.expect("exited 1")


def test_a_tree_is_drained(tree: Callable[..., Controlled]) -> None:
    made = tree()
    request = made.begin("wait 0.3")
    while made.command("stacks")["workers"][0]["stacks"] is None:
        pass
    assert made.command("drain") == {"ok": True, "status": 0}
    assert len(request.recv(1000).split()) == 4
    request.close()
    assert made.end() == 0
    assert not made.path.exists()


@pytest.mark.slow
def test_stacks_of_workers_even_if_one_is_blocked(
    tree: Callable[..., Controlled], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tree("workers=2", "blocked_after=0.1")
    assert all("thread MainThread:" in w["stacks"] for w in made.command("stacks")["workers"])
    request = made.begin("block 6")
    made.expect("has been blocked for")
    status = made.command("status")
    assert sorted(w["blocked"] for w in status["workers"]) == [False, True]
    answer = made.command("stacks")
    blocked, well = sorted(answer["workers"], key=lambda w: w["stacks"] is not None)
    assert blocked["stacks"] is None
    assert blocked["silent"] >= control.STACKS_PATIENCE
    assert "time.sleep(float(rest))" in blocked["blocked"]
    assert "thread MainThread:" in well["stacks"]
    request.close()


def test_logs_are_opened_anew(tree: Callable[..., Controlled]) -> None:
    made = tree()
    assert made.command("reopen-logs") == {"ok": True}
    made.expect("supervisor reopens")
    made.expect("worker 0 reopens")


def test_workers_have_no_part_in_it(tree: Callable[..., Controlled]) -> None:
    made = tree()
    with made.commanded("status") as waiting:
        made.answer(waiting)
        made.command("workers", change="2")
        made.expect("ready 1")
        made.process.kill()
        made.process.wait()
        # A worker that held the connection, too, would keep it open.
        assert waiting.recv(100) == b""
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(str(made.path))
    deadline = time.monotonic() + PATIENCE
    while sum("ends by drain" in line for line in made.lines) < 2:
        assert time.monotonic() < deadline, made.lines
        time.sleep(0.005)
        made._read()
