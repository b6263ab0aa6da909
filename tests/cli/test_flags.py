"""The flags of the settings."""

import argparse

import pytest

from webfw.cli.flags import add_settings, given
from webfw.cli.settings import SETTINGS


def parse(*words: str, names: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_settings(parser, names)
    return given(parser.parse_args(words))


def test_only_what_is_given() -> None:
    assert parse() == {}
    assert parse("--workers", "auto", "--bind", ":80", "--bind", "unix:/x", "--max-body-size", "1MiB") == {
        "workers": "auto",
        "bind": [":80", "unix:/x"],
        "max_body_size": 2**20,
    }


def test_short_forms() -> None:
    assert parse("-w", "4", "-b", ":80", "-b", "unix:/x") == {"workers": 4, "bind": [":80", "unix:/x"]}


def test_switches_go_both_ways() -> None:
    assert parse("--preload", "--no-xheaders") == {"preload": True, "xheaders": False}


def test_a_wrong_value_says_what_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--workers", "none")
    assert (
        "argument -w/--workers: a whole number, 0 to 1024, or auto is wanted, not 'none'"
        in capsys.readouterr().err
    )


def test_some_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("--bind", "1", names=["bind"]) == {"bind": ["1"]}
    with pytest.raises(SystemExit):
        parse("--workers", "1", names=["bind"])
    capsys.readouterr()


def test_help_has_each_under_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS.values():
        assert setting.flag in text
        assert f"{setting.section}:" in text
        assert " ".join(setting.help.split()).replace("- ", "-") in text.replace("- ", "-")
