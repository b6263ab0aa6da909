"""Tests of webfw.cli.local: what a file that lies there may say, and what it may not."""

import argparse
import os
from pathlib import Path

import pytest

from webfw.cli.flags import add_settings
from webfw.cli.local import local_configuration

FILE = """
bind = ["0.0.0.0:80"]
app = "shop:app"
threads = 3
user = "www"
access-log = "/var/log/x"
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WEBFW_") or name == "PORT"]:
        monkeypatch.delenv(name)
    (tmp_path / "webfw.toml").write_text(FILE)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return parser.parse_args(words)


def test_a_file_says_only_what_belongs_to_the_application() -> None:
    found = local_configuration(arguments(), ["Application"])
    assert (found["app"], found["threads"]) == ("shop:app", 3)
    assert (found["bind"], found["user"], found["access_log"]) == (["127.0.0.1:8000"], None, "-")
    assert local_configuration(arguments())["app"] is None


def test_flags_and_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBFW_USER", "me")
    found = local_configuration(arguments("--bind", ":1"))
    assert (found["bind"], found["user"]) == ([":1"], "me")


def test_a_file_that_is_named_counts() -> None:
    found = local_configuration(arguments("--config", "webfw.toml"))
    assert (found["bind"], found["user"]) == (["0.0.0.0:80"], "www")


def test_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORT", "99")
    for _ in range(2):  # with and without a file that says otherwise
        assert local_configuration(arguments())["bind"] == [":99"]
        found = local_configuration(arguments(), host="127.0.0.1")
        assert (found["bind"], found.origin("bind")) == (["127.0.0.1:99"], "PORT")
        assert local_configuration(arguments("--bind", ":1"))["bind"] == [":1"]
        (tmp_path / "webfw.toml").unlink(missing_ok=True)
