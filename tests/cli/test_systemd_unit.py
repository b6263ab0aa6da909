"""Tests of webfw.cli.systemd_unit: what stands in the units, and what systemd thinks of them."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from webfw.cli import systemd_unit as module
from webfw.cli.main import main

Made = Callable[..., dict[str, str]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("WEBFW_") or name == "PORT":
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Made:
    def make(*arguments: str) -> dict[str, str]:
        into = tmp_path / "units"
        into.mkdir(exist_ok=True)
        assert main(["systemd-unit", *arguments, "--into", str(into)]) == 0
        return {path.name: path.read_text() for path in into.iterdir()}

    return make


def value(unit: str, key: str) -> str:
    (found,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]
    return found


def has(unit: str, key: str) -> bool:
    return any(line.startswith(f"{key}=") for line in unit.splitlines())


def test_it_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["systemd-unit", "shop.main:app"]) == 0
    unit = capsys.readouterr().out
    assert unit.startswith("# shop.service: made by webfw systemd-unit\n[Unit]\n")
    assert value(unit, "Description") == "shop.main:app, served by webfw"
    assert value(unit, "Type") == "notify"
    assert value(unit, "KillMode") == "mixed"
    assert value(unit, "WorkingDirectory") == str(tmp_path)
    assert value(unit, "ExecStart").endswith(" serve --control=/run/shop/control.sock shop.main:app")
    assert value(unit, "ExecReload").endswith(" ctl --control /run/shop/control.sock reload")
    assert value(unit, "RuntimeDirectory") == "shop"
    assert value(unit, "CapabilityBoundingSet") == ""
    assert unit.endswith("[Install]\nWantedBy=multi-user.target\n")
    assert not has(unit, "ReadWritePaths")


def test_times_follow_the_settings(made: Made) -> None:
    unit = made(
        "a:b", "--graceful-timeout", "2m", "--drain-delay", "0.5", "--boot-timeout", "0", "--timeout", "100"
    )["a.service"]
    assert value(unit, "TimeoutStopSec") == "131"
    assert value(unit, "TimeoutStartSec") == "infinity"
    assert value(unit, "WatchdogSec") == "200"
    assert "--graceful-timeout=120 " in value(unit, "ExecStart")


def test_flags_go_on(made: Made) -> None:
    unit = made(
        "a:b", "--bind", "127.0.0.1:8000", "--bind", ":81", "--workers", "auto", "--preload", "--no-health"
    )["a.service"]
    words = value(unit, "ExecStart").split(" serve ")[1]
    assert words == (
        "--bind=127.0.0.1:8000 --bind=:81 --preload --workers=auto --no-health "
        "--control=/run/a/control.sock a:b"
    )
    assert value(unit, "AmbientCapabilities") == "CAP_NET_BIND_SERVICE"
    assert value(unit, "CapabilityBoundingSet") == "CAP_NET_BIND_SERVICE"


def test_what_the_environment_says_goes_on(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBFW_WORKERS", "3")
    monkeypatch.setenv("WEBFW_APP", "shop:app")
    monkeypatch.setenv("PORT", "8080")
    unit = made()["shop.service"]
    assert value(unit, "ExecStart").endswith(
        " serve --bind=:8080 --workers=3 --control=/run/shop/control.sock shop:app"
    )


def test_what_a_file_says_stays_there(made: Made, tmp_path: Path) -> None:
    (tmp_path / "webfw.toml").write_text(
        'app = "shop:app"\nworkers = 3\ndaemon = true\nuser = "nobody"\ngraceful_timeout = 5\n'
        'pidfile = "run/pid"\n'
    )
    unit = made()["shop.service"]
    assert value(unit, "ExecStart").endswith(" serve --no-daemon --control=/run/shop/control.sock")
    assert value(unit, "User") == "nobody"
    assert value(unit, "TimeoutStopSec") == "15"
    assert value(unit, "ReadWritePaths") == str(tmp_path / "run")
    (tmp_path / "other.toml").write_text('app = "shop:app"\n')
    unit = made("--config", "other.toml", "--name", "other")["other.service"]
    assert f"serve --config {tmp_path}/other.toml --control=" in value(unit, "ExecStart")


def test_the_process_has_lines_of_its_own(made: Made, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    unit = made(
        *("a:b", "--user", "nobody", "--group", "daemon", "--umask", "077", "--chdir", "in"),
        *("--pidfile", "/run/x.pid", "--daemon", "--control", "off"),
    )["a.service"]
    assert value(unit, "User") == "nobody"
    assert value(unit, "Group") == "daemon"
    assert value(unit, "UMask") == "077"
    assert value(unit, "WorkingDirectory") == str(tmp_path / "in")
    assert value(unit, "ExecStart").endswith(" serve --no-daemon --control=/run/a/control.sock a:b")


def test_who_it_runs_as(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert value(made("a:b")["a.service"], "DynamicUser") == "yes"
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("daemon").pw_uid)
    assert value(made("b:b")["b.service"], "User") == "daemon"
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert value(made("c:b")["c.service"], "User") == "54321"
    monkeypatch.delattr(os, "geteuid")
    assert value(made("d:b")["d.service"], "DynamicUser") == "yes"


def test_files_that_are_written_to(made: Made) -> None:
    unit = made(
        *("a:b", "--access-log", "/var/log/shop/access.log", "--error-log", "/var/log/my shop/error.log"),
        *("--bind", "unix:/srv/shop.sock", "--bind", "unix:@shop"),
    )["a.service"]
    assert value(unit, "ReadWritePaths") == '/srv "/var/log/my shop" /var/log/shop'


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("%(peer)s", "%%(peer)s"),
        ("$HOME", "$$HOME"),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", "back\\\\slash"),
        ("it's", '"it\'s"'),
        ("line\nend\t;", '"line\\nend\\t;"'),
    ],
)
def test_words_are_quoted(word: str, written: str) -> None:
    assert module._word(word) == written


def test_how_the_command_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert module._program() == [str(tmp_path / "python"), "-m", "webfw"]
    (tmp_path / "webfw").touch(0o755)
    assert module._program() == [str(tmp_path / "webfw")]


# --- sockets ---


def test_a_socket_unit(made: Made) -> None:
    units = made(
        *(
            "a:b",
            "--socket",
            "--backlog",
            "99",
            "--bind",
            ":80",
            "--bind",
            "127.0.0.1:81",
            "--bind",
            "[::1]:82",
        ),
        *("--bind", "unix:/run/my %.sock", "--bind", "unix:@abstract"),
        *("--unix-mode", "660", "--unix-owner", "root:www-data"),
    )
    service, sock = units["a.service"], units["a.socket"]
    assert [line for line in sock.splitlines() if line.startswith("ListenStream=")] == [
        "ListenStream=80",
        "ListenStream=127.0.0.1:81",
        "ListenStream=[::1]:82",
        "ListenStream=/run/my %%.sock",
        "ListenStream=@abstract",
    ]
    assert value(sock, "Backlog") == "99"
    assert value(sock, "SocketMode") == "0660"
    assert (value(sock, "SocketUser"), value(sock, "SocketGroup")) == ("root", "www-data")
    assert value(sock, "WantedBy") == "sockets.target"
    assert "--bind" not in service
    assert value(service, "Requires") == "a.socket"
    assert value(service, "Also") == "a.socket"
    assert value(service, "CapabilityBoundingSet") == ""
    assert not has(service, "ReadWritePaths")


def test_a_socket_unit_for_tcp_only(made: Made) -> None:
    sock = made("a:b", "--socket")["a.socket"]
    assert value(sock, "ListenStream") == "127.0.0.1:8000"
    assert not has(sock, "SocketMode")
    sock = made("b:b", "--socket", "--bind", "unix:/run/b.sock")["b.socket"]
    assert value(sock, "SocketMode") == "0600"
    assert not has(sock, "SocketUser")


@pytest.mark.parametrize("address", ["localhost:80", "fd://3", "127.0.0.1:0"])
def test_addresses_that_systemd_does_not_listen_on(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert main(["systemd-unit", "a:b", "--socket", "--bind", address]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"webfw: --socket: systemd listens on numeric addresses with a port and on paths, not on {address}\n"
    )


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([], 2, "nothing to serve: name an application"),
        (["nothing"], 2, "'nothing' names no application"),
        (["a:b", "--name", "../x"], 2, "--name: letters, digits, - and _ are wanted, not '../x'"),
        (["a:b", "--name", ""], 0, ""),
        (["a:b", "--into", "nowhere"], 1, "cannot write nowhere/a.service: no such file or directory"),
    ],
)
def test_mistakes(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, sentence: str
) -> None:
    assert main(["systemd-unit", *arguments]) == status
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == bool(sentence)


def test_a_unit_of_somebody_else_is_not_lost(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made("a:b")
    capsys.readouterr()
    made("a:b")
    assert capsys.readouterr().out == (
        f"written: {tmp_path}/units/a.service\n"
        "now: systemctl daemon-reload && systemctl enable --now a.service\n"
    )
    assert main(["systemd-unit", "a:b", "--preload", "--into", str(tmp_path / "units")]) == 1
    assert "a.service is there already and says something else" in capsys.readouterr().err
    assert "--preload" not in (tmp_path / "units" / "a.service").read_text()


# --- what systemd says ---


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize(
    "arguments",
    [
        ("shop:app",),
        ("shop:app", "--socket", "--user", "daemon", "--group", "daemon", "--bind", ":80"),
        ("shop:app", "--bind", ":80", "--access-log-format", "%(peer)s $x \"q\" 'a' \\ ;", "--umask", "22"),
        ("shop:app", "--boot-timeout", "0", "--error-log", "/var/log/my %i/log", "--chdir", "."),
        (
            "shop:app",
            "--socket",
            "--bind",
            "unix:/run/a.sock",
            "--unix-mode",
            "660",
            "--unix-owner",
            "daemon",
        ),
    ],
)
def test_systemd_has_nothing_to_say(made: Made, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    units = [str(tmp_path / "units" / name) for name in made(*arguments)]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "shop." in line]
    assert ours == []


def test_a_socket_in_the_directory_of_the_service_can_be_come_to(made: Made) -> None:
    """By a proxy of another user, which must pass through the directory."""
    unit = made("shop.main:app", "--name", "shop", "--bind", "unix:/run/shop/web.sock")["shop.service"]
    assert value(unit, "RuntimeDirectoryMode") == "0711"
    assert not has(unit, "ReadWritePaths")
    unit = made("shop.main:app", "--name", "other", "--bind", "127.0.0.1:8000")["other.service"]
    assert value(unit, "RuntimeDirectoryMode") == "0700"
