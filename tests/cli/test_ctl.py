"""Tests of webfw.cli.ctl: a real tree of tests/process, asked and told by the command."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.test_control import Controlled
from webfw.cli import ctl as module
from webfw.cli.ctl import duration, stacks_text, status_text
from webfw.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0

Start = Callable[..., Controlled]


@pytest.fixture(autouse=True)
def nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Servers of whoever runs the tests are not found; those of the test are in this directory."""
    servers = tmp_path / "servers"
    servers.mkdir(0o700)
    monkeypatch.setattr(module, "directories", lambda: [servers])
    monkeypatch.setattr("webfw.process.controlclient.directories", lambda: [servers])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEBFW_CONTROL", raising=False)
    return servers


@pytest.fixture
def tree(tmp_path: Path, nobody_else: Path) -> Iterator[Start]:
    started: list[Controlled] = []

    def start(*arguments: str, name: str = "1000.sock", **environ: str) -> Controlled:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(Controlled(directory, arguments, {"CONTROL": str(nobody_else / name), **environ}))
        started[-1].path = nobody_else / name
        started[-1].expect("all ready")
        return started[-1]

    yield start
    for made in started:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        assert made.process.stdout is not None
        made.process.stdout.close()


class Told:
    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def run(*arguments: str) -> Told:
        capsys.readouterr()
        status = main(["ctl", *arguments])
        captured = capsys.readouterr()
        return Told(status, captured.out, captured.err)

    return run


Ctl = Callable[..., Told]


# --- which server ---


def test_no_server(ctl: Ctl) -> None:
    told = ctl("status")
    assert (told.status, told.output) == (1, "")
    assert told.errors == (
        "webfw: no server of yours is running; if its control socket is elsewhere, say where with --control\n"
    )


def test_the_only_server_is_meant(tree: Start, ctl: Ctl) -> None:
    tree()
    assert ctl().status == 0
    assert ctl("status").status == 0
    assert ctl("--pid", "1000").status == 0


def test_one_of_several_is_to_be_named(tree: Start, ctl: Ctl) -> None:
    first, second = tree(name="1000.sock"), tree(name="1001.sock")
    told = ctl("status")
    assert (told.status, told.output) == (2, "")
    assert told.errors == (
        "webfw: 2 servers are running; say which one:\n"
        f"  webfw ctl --pid 1000  (a tree on port {first.port})\n"
        f"  webfw ctl --pid 1001  (a tree on port {second.port})\n"
    )
    assert f"port {second.port}" in ctl("--pid", "1001").output
    assert f"port {first.port}" in ctl("--control", str(first.path), "status").output
    assert f"port {first.port}" in ctl("status", "--control", str(first.path)).output
    assert f"port {second.port}" in ctl("status", "--pid", "1001").output


def test_a_process_that_is_no_server(ctl: Ctl, nobody_else: Path) -> None:
    told = ctl("--pid", "4711", "reload")
    assert told.status == 1
    assert (
        f"process 4711 is no server of yours that can be controlled (looked in {nobody_else})" in told.errors
    )


def test_a_socket_that_is_none(ctl: Ctl, tmp_path: Path) -> None:
    told = ctl("--control", str(tmp_path / "nothing"), "drain")
    assert told.status == 1
    assert told.errors == f"webfw: no server is controlled at {tmp_path}/nothing: there is no such socket\n"


def test_the_settings_say_where_it_is(
    tree: Start, ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tree(name="elsewhere")
    assert ctl("status").status == 1
    (tmp_path / "webfw.toml").write_text(f'control = "{made.path}"\n')
    assert f"port {made.port}" in ctl("status").output
    (tmp_path / "webfw.toml").write_text('control = "off"\n')
    assert "no server of yours is running" in ctl("status").errors
    monkeypatch.setenv("WEBFW_CONTROL", str(made.path))
    assert f"port {made.port}" in ctl("status").output


def test_settings_that_are_wrong_do_not_keep_anybody_from_a_server(
    tree: Start, ctl: Ctl, tmp_path: Path
) -> None:
    tree()
    (tmp_path / "webfw.toml").write_text("workres = 2\n")
    told = ctl("status")
    assert told.status == 0
    assert "the settings are not looked at: " in told.errors
    assert "workres" in told.errors


def test_a_server_that_is_stuck_is_still_in_the_list(tree: Start, ctl: Ctl, nobody_else: Path) -> None:
    tree(name="1000.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(nobody_else / "999.sock"))
        other.listen()

        def hang_up() -> None:
            for _ in range(2):
                other.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        told = ctl("status")
        thread.join()
    assert "  webfw ctl --pid 999\n" in told.errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dance"], "invalid choice: 'dance'"),
        (["--pid", "x"], "invalid int value"),
        (["--pid", "1", "--control", "x"], "not allowed with argument"),
        (["status", "--pid", "1", "--control", "x"], "not allowed with argument"),
        (["workers"], "the following arguments are required: N|+N|-N"),
        (["status", "--watch", "0"], "a number of seconds from 0.1 to 3600 is wanted, not '0'"),
        (["status", "--watch", "often"], "a number of seconds from 0.1 to 3600 is wanted, not 'often'"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ctl", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


# --- commands ---


def test_status(tree: Start, ctl: Ctl) -> None:
    made = tree("workers=2")
    lines = ctl("status").output.splitlines()
    assert re.fullmatch(
        rf"webfw \S+, process {made.process.pid}: ready, up \d+s, generation 1, 2 of 2 workers ready",
        lines[0],
    )
    assert lines[1:3] == [f"serving a tree on port {made.port}", ""]
    assert lines[3].split("  ")[0] == "worker"
    assert len({len(line) for line in lines[3:]}) == 1
    assert re.fullmatch(r" +0 +\d+  ready +\d+s +1 +- +- +- +\d+\.\d ms +\d+\.\d MiB", lines[4])
    answer = json.loads(ctl("status", "--json").output)
    assert answer["pid"] == made.process.pid
    assert json.loads(ctl("--json", "status").output)["pid"] == made.process.pid
    assert json.loads(ctl("--json").output)["pid"] == made.process.pid


def test_reload(tree: Start, ctl: Ctl) -> None:
    made = tree("workers=2")
    made.application.write_text("VERSION = 2")
    told = ctl("reload")
    assert re.fullmatch(r"reloaded in \d\.\d s: 2 workers serve generation 2\n", told.output)
    while made.ask()[1] != "2":  # who is replaced may take one more
        pass
    made.application.write_text("raise ValueError('broken')")
    told = ctl("reload")
    assert (told.status, told.output) == (1, "")
    assert re.fullmatch(r"webfw: worker 0 \(process \d+\) cannot serve: ValueError: broken\n", told.errors)
    assert "\nthe last reload failed: worker 0 " in ctl().output


@pytest.mark.slow
def test_who_has_to_wait_is_told_why(tree: Start, ctl: Ctl) -> None:
    made = tree()
    made.application.write_text("VERSION = 2\nDELAY = 1.3")
    told = ctl("reload")
    assert told.errors == "waiting until every worker is replaced ...\n"
    assert told.output.endswith("1 worker serves generation 2\n")


def test_workers(tree: Start, ctl: Ctl) -> None:
    tree()
    assert ctl("workers", "+2").output == "workers: 3 from now on, 1 before\n"
    assert ctl("workers", "-1").output == "workers: 2 from now on, 3 before\n"
    assert json.loads(ctl("workers", "1", "--json").output)["workers"] == 1
    told = ctl("workers", "-1")
    assert (told.status, told.errors) == (1, "webfw: there can be 1 to 1024 workers, not 0\n")


def test_drain(tree: Start, ctl: Ctl) -> None:
    made = tree()
    assert ctl("drain").output == "the server has ended\n"
    assert made.end() == 0
    assert "no server of yours is running" in ctl("drain").errors


def test_stacks(tree: Start, ctl: Ctl) -> None:
    made = tree("workers=2")
    output = ctl("stacks").output
    assert re.match(r"worker 0 \(process \d+\):\nthread ", output)
    assert re.search(r"\n\nworker 1 \(process \d+\):\n", output)
    assert made.process.poll() is None


def test_logs(tree: Start, ctl: Ctl) -> None:
    made = tree()
    assert ctl("reopen-logs").output == "log files are opened anew\n"
    made.expect("supervisor reopens")


SUCCESSOR = """
import os, sys
sys.path.insert(0, os.getcwd())
from webfw.process.control import ControlServer
from webfw.process.program import Program, TreeSettings
from webfw.process.supervisor import Supervisor
supervisor = Supervisor(Program(), TreeSettings(workers=0))
server = ControlServer(supervisor, os.path.join(os.path.dirname(os.environ["CONTROL"]), PLACE), TAKE_OVER)
supervisor.guests.append(server)
supervisor.ready = True
sys.exit(supervisor.run())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "take_over"), [("str(os.getpid()) + '.sock'", "False"), ("'1000.sock'", "True")]
)
def test_upgrade(tree: Start, ctl: Ctl, place: str, take_over: str) -> None:
    script = SUCCESSOR.replace("PLACE", place).replace("TAKE_OVER", take_over)
    made = tree(SUCCESSOR=script)
    try:
        told = ctl("upgrade")
        lines = told.output.splitlines()
        match = re.fullmatch(r"process (\d+) is started in the place of (\d+)", lines[0])
        assert match is not None
        assert int(match[2]) == made.process.pid
        assert lines[1] == f"upgraded: process {match[1]} serves, the former has ended"
        assert made.end() == 0
        assert json.loads(ctl("status", "--json").output)["pid"] == int(match[1])
    finally:
        ctl("drain")


def test_an_upgrade_that_fails(tree: Start, ctl: Ctl) -> None:
    made = tree(SUCCESSOR="import sys; sys.exit(3)")
    told = ctl("upgrade")
    assert told.status == 1
    assert re.fullmatch(
        r"webfw: process \d+ has ended before it served: the former server goes on, see its log\n",
        told.errors,
    )
    assert made.ask()


# --- watching ---


def test_watching_into_a_pipe(tree: Start) -> None:
    made = tree()
    command = [sys.executable, "-m", "webfw", "ctl", "--control", str(made.path), "status", "--watch", "0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        for _ in range(2):
            assert re.match(r"\d\d:\d\d:\d\d webfw ", watching.stdout.readline())
            while watching.stdout.readline() != "\n":  # behind the first line and the table
                pass
            while watching.stdout.readline() != "\n":
                pass
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
        assert watching.wait(PATIENCE) == 0


@pytest.mark.slow
def test_watching_as_json_until_the_server_ends(tree: Start) -> None:
    made = tree()
    command = [
        sys.executable,
        "-m",
        "webfw",
        "ctl",
        "--control",
        str(made.path),
        "status",
        "--watch",
        "--json",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["state"] == "ready"
        made.signal(signal.SIGTERM)
        output, errors = watching.communicate(timeout=PATIENCE)
        assert all(json.loads(line) for line in output.splitlines())
        assert watching.returncode == 1
        assert errors.startswith(f"webfw: the server at {made.path} ")


@pytest.mark.slow
def test_watching_on_a_terminal(tree: Start) -> None:
    made = tree()
    terminal, end = os.openpty()
    command = [sys.executable, "-m", "webfw", "ctl", "--control", str(made.path), "status", "--watch", "0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=end, stderr=end) as watching:
        shown = b""
        deadline = time.monotonic() + PATIENCE
        while shown.count(b"\x1b[H") < 3:
            assert time.monotonic() < deadline
            shown += os.read(terminal, 4096)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE) == 0
    os.close(end)
    os.close(terminal)
    assert shown.startswith(b"\x1b[H\x1b[2Jwebfw ")
    assert shown.count(b"\x1b[2J") == 1
    assert b"\x1b[K\r\n" in shown


@pytest.mark.slow
def test_somebody_who_has_seen_enough(tree: Start) -> None:
    made = tree()
    command = [sys.executable, "-m", "webfw", "ctl", "--control", str(made.path), "status", "--watch", "0.1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.stdout.close()
        assert watching.stderr is not None
        assert watching.stderr.read() == ""
        assert watching.wait(PATIENCE) == 0


# --- how it looks ---


def status_of(**changes: Any) -> dict[str, Any]:
    return {
        "version": "1",
        "pid": 7,
        "state": "ready",
        "uptime": 3.2,
        "generation": 2,
        "target": 2,
        "workers": [],
        **changes,
    }


def worker_of(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "worker": number,
        "pid": 100 + number,
        "state": "ready",
        "generation": 2,
        "age": 65.0,
        "silent": 0.2,
        "blocked": False,
        "memory": 35_000_000,
        **changes,
    }


def test_a_status_in_full() -> None:
    former = worker_of(1, state="leaving", generation=1, age=90061, pid=55)
    busy = worker_of(1, lag=0.0123, requests=12345, connections=17, in_flight=3)
    blocked = worker_of(0, blocked=True, silent=12.3, memory=None)
    status = status_of(
        successor=4711,
        reload_error="no reason",
        serving="a:b",
        generation=3,  # which could not be loaded
        workers=[former, busy, blocked],
    )
    assert status_text(status).splitlines() == [
        "webfw 1, process 7: ready, up 3s, generation 2, 2 of 2 workers ready",
        "serving a:b",
        "an upgrade is under way: process 4711",
        "the last reload failed: no reason",
        "",
        "worker  pid        state     age  generation  requests  connections  in flight      lag    memory",
        "     0  100  blocked 12s  1m 05s           2         -            -          -        -         -",
        "     1   55      leaving  1d 01h           1         -            -          -        -  33.4 MiB",
        "     1  101        ready  1m 05s           2     12345           17          3  12.3 ms  33.4 MiB",
    ]


def test_stacks_of_workers_that_cannot_say() -> None:
    worker = {"worker": 1, "pid": 9, "stacks": None}
    assert stacks_text(worker) == "worker 1 (process 9) is loading the application"
    silent = {**worker, "silent": 12.0, "blocked": None}
    assert stacks_text(silent) == "worker 1 (process 9) does not answer; its last sign of life was 12s ago"
    assert stacks_text({**silent, "blocked": "File x\n"}).endswith(
        "12s ago.\nWhat blocks its event loop:\nFile x"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "59s"),
        (60, "1m 00s"),
        (3599.9, "59m 59s"),
        (3600, "1h 00m"),
        (86399, "23h 59m"),
        (86400, "1d 00h"),
        (1e7, "115d 17h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
