"""Tests of webfw.cli.config: what is shown, where it comes from, what is hidden; the reference made of the table."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

from webfw.cli.config import without_password
from webfw.cli.main import main
from webfw.cli.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WEBFW_") or name == "PORT"]:
        monkeypatch.delenv(name)


def rows(text: str) -> dict[str, list[str]]:
    return {
        line.split("  ")[0]: [part.strip() for part in line.split("  ") if part][1:]
        for line in text.splitlines()
    }


def test_every_setting_is_shown_with_its_value_and_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "webfw.toml").write_text('app = "a:b"\ngraceful-timeout = "2m"\n')
    monkeypatch.setenv("WEBFW_WORKERS", "auto")
    assert main(["config", "--show", "--max-body-size", "10MiB", "--bind", ":1", "--bind", "unix:x"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    shown = rows(output)
    assert set(shown) == {"SETTING", *SETTINGS}
    assert shown["bind"] == [":1 unix:x", "--bind"]
    assert shown["app"] == ["a:b", "webfw.toml:1"]
    assert shown["graceful_timeout"] == ["120", "webfw.toml:2"]
    assert shown["workers"] == ["auto", "WEBFW_WORKERS"]
    assert shown["max_body_size"] == ["10MiB", "--max-body-size"]
    assert shown["preload"] == ["false", "default"]
    assert shown["certfile"] == ["(not set)", "default"]


def test_only_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--changed", "--no-preload", "other:app"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "SETTING  VALUE      FROM",
        "app      other:app  --app",
        "preload  false      --preload",
    ]
    assert main(["config", "--changed"]) == 0
    assert capsys.readouterr().out == "every setting has its default\n"


def test_several_applications(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "webfw.toml").write_text(
        '[[apps]]\napp = "a:b"\nhost = "*.x"\n[[apps]]\napp = "c:d"\npath = "/c"\n'
    )
    assert main(["config", "--changed"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "apps     app=a:b host=*.x  webfw.toml:1",
        "apps     app=c:d path=/c   webfw.toml:4",
    ]


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "webfw.toml").write_text('broker = "redis://joe:secret@h/0"\n[[apps]]\napp = "a:b"\n')
    monkeypatch.setenv("WEBFW_WORKRES", "3")
    assert main(["config", "--json", "--changed"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    found = json.loads(output)
    assert found["file"] == "webfw.toml"
    assert found["settings"] == {"broker": {"value": "redis://joe:***@h/0", "origin": "webfw.toml:1"}}
    assert found["apps"] == [{"origin": "webfw.toml:2", "app": "a:b"}]
    assert "WEBFW_WORKRES is no setting" in found["warnings"][0]
    main(["config", "--json"])
    assert list(json.loads(capsys.readouterr().out)["settings"]) == list(SETTINGS)


def test_warnings_are_apart(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBFW_WORKRES", "3")
    assert main(["config"]) == 0
    output, errors = capsys.readouterr()
    assert "WORKRES" not in output
    assert errors == "webfw: WEBFW_WORKRES is no setting; did you mean WEBFW_WORKERS?\n"


def test_the_file_in_the_directory_to_work_in(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "webfw.toml").write_text("workers = 3\n")
    assert main(["config", "--changed", "--chdir", "there", "x:y"]) == 0
    shown = rows(capsys.readouterr().out)
    assert shown["workers"] == ["3", os.path.join("there", "webfw.toml") + ":1"]
    assert shown["app"] == ["x:y", "--app"]


def test_what_is_wrong_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "webfw.toml").write_text("wrokers = 3\n")
    assert main(["config"]) == 2
    assert (
        capsys.readouterr().err
        == "webfw: webfw.toml:1: there is no setting 'wrokers'; did you mean workers?\n"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@host:1/0", "redis://:***@host:1/0"),
        ("nats://me:p@s/s@host", "nats://me:***@host"),
        ("redis://me@host", "redis://me@host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("workers:", "workers:"),
        ("a@b", "a@b"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_reference_has_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    page = runpy.run_path(str(ROOT / "docs" / "conf.py"))["reference_of_settings"]
    text = "\n".join(page())
    for setting in SETTINGS.values():
        assert f"\n`{setting.name}`\n: " in text
        assert f"`{setting.flag}` · `{setting.variable}` · " in text
    assert text.count("\n## ") == len({setting.section for setting in SETTINGS.values()})
    assert "default `30`" in text
    assert "taken only at a start" in text


def test_the_file_that_says_where_to_work_counts_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "webfw.toml").write_text("workers = 3\n")
    (tmp_path / "webfw.toml").write_text('chdir = "there"\nworkers = 2\n')
    assert main(["config", "--changed"]) == 0
    assert rows(capsys.readouterr().out)["workers"] == ["2", "webfw.toml:2"]
    assert main(["config", "--changed", "--config", "webfw.toml"]) == 0
    assert rows(capsys.readouterr().out)["workers"] == ["2", "webfw.toml:2"]
