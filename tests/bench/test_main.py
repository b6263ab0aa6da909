"""``python -m bench``: the commands, and what runs when none is named."""

import importlib.util
from collections.abc import Sequence

import pytest

import bench.__main__ as command
from bench import figures


def test_every_command_is_there() -> None:
    for name, (module, about) in command.COMMANDS.items():
        assert importlib.util.find_spec(f"bench.{module}") is not None or name == "abuse"
        assert about
        assert f"    {name} " in command.usage()


def test_help_and_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    assert "usage: python -m bench [NAME]" in capsys.readouterr().out
    assert command.main(["nothing"]) == 2
    assert "nothing here is called nothing" in capsys.readouterr().err


def test_a_command_gets_what_follows_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []

    def of(name: str) -> object:
        def run(argv: Sequence[str]) -> int:
            called.append((name, list(argv)))
            return 3 if name == "wsgi" else 0

        return run

    monkeypatch.setattr(command, "command", of)
    assert command.main(["http", "--quick", "--peers", "webfw"]) == 0
    assert called == [("http", ["--quick", "--peers", "webfw"])]
    assert command.main(["--quick"]) == 3
    assert [name for name, argv in called[1:] if argv == ["--quick"]] == list(command.MEASUREMENTS)


def test_what_the_readme_shows_is_measured_with_known_options() -> None:
    for quick in (False, True):
        for name, arguments in figures.commands(list(figures.RUNS), quick).items():
            assert arguments[-2:] == ["--json", str(figures.RESULTS / f"{name}.json")]
            if name == "stages":
                continue
            options = importlib.import_module(f"bench.{name}").arguments(arguments)
            assert options.json == figures.RESULTS / f"{name}.json"
            assert options.quick is quick
            assert "--json" not in options.command


def test_figures_are_measured_drawn_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[object] = []

    def run(argv: Sequence[str]) -> int:
        done.append(argv[-1].rpartition("/")[2])
        return 0

    monkeypatch.setattr(figures, "RUNS", {name: (run, []) for name in ("http", "wsgi")})
    monkeypatch.setattr(figures.charts, "main", lambda argv: done.append("charts") or 0)
    monkeypatch.setattr(figures.readme, "main", lambda argv: done.append("readme") or 0)
    assert figures.main([]) == 0
    assert done == ["http.json", "wsgi.json", "charts", "readme"]
    monkeypatch.setattr(figures, "RUNS", {"http": (lambda argv: 2, [])})
    assert figures.main([]) == 2
    assert done[4:] == ["charts", "readme"]  # of what there is
    assert "as old as before: http" in capsys.readouterr().err
