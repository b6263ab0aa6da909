"""Tests of webfw.process.systemd: against a fake service manager, and with descriptors passed as systemd does."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webfw.process.systemd import Notifier, activated_sockets, notify_socket

ROOT = Path(__file__).resolve().parents[2]


class Manager:
    """A service manager's end of ``NOTIFY_SOCKET``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self.socket.recv(65536).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def phases(self) -> list[str]:
        """What was said but for status lines and signs of life."""
        return [next(iter(m)) for m in self.heard() if not m.keys() & {"STATUS", "WATCHDOG"}]


class FakeTree:
    ready = False
    stopping = False
    reloads = 0
    reloading = False
    well = True
    successor: int | None = None
    line = "no worker yet"

    def summary(self) -> str:
        return self.line


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Callable[..., Notifier]]:
    made: list[Notifier] = []

    def make(tree: FakeTree, **environ: str) -> Notifier:
        made.append(Notifier(tree, {"NOTIFY_SOCKET": manager.name, **environ}))
        return made[-1]

    yield make
    for each in made:
        each.ended(0)


def test_nobody_to_tell() -> None:
    environ = {"WATCHDOG_USEC": "1000"}
    tree = FakeTree()
    tree.ready = True
    notifier = Notifier(tree, environ)
    notifier.turned()
    assert not notifier.send(STATUS="anybody?")
    notifier.forked()


@pytest.mark.parametrize("name", ["", "relative/path", "vsock:2:1234", "/is/not/there", "@" + "x" * 200])
def test_addresses_that_are_none(name: str) -> None:
    assert notify_socket({"NOTIFY_SOCKET": name}) is None


def test_an_abstract_address() -> None:
    manager = Manager(f"@webfw-test-{os.getpid()}")
    notifier = Notifier(FakeTree(), {"NOTIFY_SOCKET": manager.name})
    assert notifier.send(STATUS="two\nlines")
    assert manager.heard() == [{"STATUS": "two lines"}]
    notifier.ended(0)
    manager.socket.close()


def test_a_platform_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert notify_socket({"NOTIFY_SOCKET": "/run/notify"}) is None


def test_a_whole_life(manager: Manager, notifier: Callable[..., Notifier]) -> None:
    tree = FakeTree()
    told = notifier(tree)
    told.turned()
    assert manager.heard() == [{"STATUS": "no worker yet"}]
    tree.ready = True
    told.turned()
    told.turned()
    assert manager.heard() == [{"READY": "1", "MAINPID": str(os.getpid())}]
    tree.reloads, tree.reloading = 1, True
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    told.turned()
    told.turned()
    (message,) = manager.heard()
    assert message.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    tree.reloading = False
    told.turned()
    assert manager.phases() == ["READY"]
    tree.stopping, tree.ready = True, True
    told.turned()
    told.turned()
    assert manager.heard() == [{"STOPPING": "1"}]


def test_a_reload_that_is_over_at_once_is_told_nevertheless(
    manager: Manager, notifier: Callable[..., Notifier]
) -> None:
    tree = FakeTree()
    tree.ready = True
    told = notifier(tree)
    told.turned()
    tree.reloads = 1
    told.turned()
    assert manager.phases() == ["READY", "RELOADING", "READY"]
    told.turned()
    assert manager.phases() == []


def test_a_status_line_is_sent_when_it_changes_and_not_too_often(
    manager: Manager, notifier: Callable[..., Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tree = FakeTree()
    told = notifier(tree)
    told.turned()
    tree.line = "1 worker"
    told.turned()
    assert manager.heard() == [{"STATUS": "no worker yet"}]
    now += 1.1
    told.turned()
    told.turned()
    assert manager.heard() == [{"STATUS": "1 worker"}]
    now += 1.1
    told.turned()
    assert manager.heard() == []


def test_signs_of_life_come_twice_in_the_time_there_is_while_all_is_well(
    manager: Manager, notifier: Callable[..., Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tree = FakeTree()
    told = notifier(tree, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid()))
    assert told.patience == 2.0
    told.turned()
    told.turned()
    now += 1.9
    told.turned()
    assert [m for m in manager.heard() if "WATCHDOG" in m] == [{"WATCHDOG": "1"}]
    now += 0.2
    tree.well = False
    told.turned()
    assert manager.heard() == []
    tree.well = True
    told.turned()
    assert manager.heard() == [{"WATCHDOG": "1"}]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "much"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "9" * 30},
        {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"},
    ],
)
def test_no_signs_of_life_for_who_waits_for_none(
    manager: Manager, notifier: Callable[..., Notifier], environ: dict[str, str]
) -> None:
    told = notifier(FakeTree(), **environ)
    assert told.patience == 60.0
    told.turned()
    assert [m for m in manager.heard() if "WATCHDOG" in m] == []


def test_an_upgrade_goes_on_with_the_watchdog_and_speaks_for_the_service(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "2", "WATCHDOG_PID": str(os.getpid())}
    tree = FakeTree()
    tree.ready = True
    told = Notifier(tree, environ)
    assert environ == {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "2"}
    told.turned()
    assert manager.phases() == ["READY"]
    tree.successor = 4711
    tree.stopping, tree.line = True, "the old one"
    told.turned()
    assert [list(message) for message in manager.heard()] == [["WATCHDOG"]]
    tree.successor = None
    told.turned()
    assert manager.phases() == ["STOPPING"]
    told.ended(0)


def test_workers_do_not_speak_to_the_manager(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "2000000", "PATH": "/bin"}
    told = Notifier(FakeTree(), environ)
    told.forked()
    assert environ == {"PATH": "/bin"}
    assert not told.send(STATUS="me")
    assert manager.heard() == []


def test_nobody_waits_for_a_manager_that_does_not_read(
    manager: Manager, notifier: Callable[..., Notifier]
) -> None:
    told = notifier(FakeTree())
    sent = 0
    while told.send(STATUS="x" * 1000):
        sent += 1
        assert sent < 100_000
    assert len(manager.heard()) == sent
    assert told.send(STATUS="x")
    manager.socket.close()
    assert not told.send(STATUS="x")


# --- sockets ---

ACTIVATED = """
import json, os, socket, sys
from webfw.process.systemd import activated_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    found = activated_sockets()
except ValueError as error:
    print(json.dumps(str(error)))
else:
    names = [[label, sock.getsockname()[1], sock.get_inheritable(), sock.getblocking()] for label, sock in found]
    print(json.dumps([names, sorted(name for name in os.environ if name.startswith("LISTEN_"))]))
"""


def activated(*sockets: socket.socket, **environ: str) -> object:
    """Start a program to which these are passed as descriptors from 3 on."""
    moves = "".join(f"os.dup2({sock.fileno()}, {index + 103}); " for index, sock in enumerate(sockets))
    moves += "".join(f"os.dup2({index + 103}, {index + 3}); " for index in range(len(sockets)))
    start = f"import os, sys; {moves} os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", start, ACTIVATED],
        cwd=ROOT,
        env={**os.environ, **environ},
        pass_fds=[sock.fileno() for sock in sockets],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    found: object = json.loads(done.stdout)
    return found


@pytest.fixture
def listening() -> Iterator[Callable[[], socket.socket]]:
    made: list[socket.socket] = []

    def make() -> socket.socket:
        made.append(socket.create_server(("127.0.0.1", 0)))
        return made[-1]

    yield make
    for sock in made:
        sock.close()


def test_sockets_that_were_opened_for_us(listening: Callable[[], socket.socket]) -> None:
    first, second = listening(), listening()
    names = [["web", first.getsockname()[1], False, False], ["admin", second.getsockname()[1], False, False]]
    assert activated(first, second, LISTEN_FDS="2", LISTEN_FDNAMES="web:admin") == [names, []]


def test_sockets_without_names(listening: Callable[[], socket.socket]) -> None:
    first = listening()
    assert activated(first, LISTEN_FDS="1") == [[["unknown", first.getsockname()[1], False, False]], []]


def test_descriptors_that_are_no_listening_sockets(
    listening: Callable[[], socket.socket], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        said = activated(listening(), datagrams, LISTEN_FDS="2")
        assert said == (
            "systemd has passed descriptor 4, which is no listening stream socket: the socket unit needs "
            "ListenStream= and Accept=no"
        )
    assert re.match(
        "systemd has passed descriptor 4, which is no socket: ", str(activated(listening(), LISTEN_FDS="2"))
    )


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert activated_sockets(environ) == []
    assert environ == {"HOME": "/"}
    assert activated_sockets({}) == []


@pytest.mark.parametrize("count", ["", "-1", "many", "100000"])
def test_a_number_of_sockets_that_is_none(count: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS is the number of sockets"):
        activated_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})
