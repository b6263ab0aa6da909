"""The fuzz targets in small: their rules hold for the corpus, its mutations and anything; findings are reported."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import __main__ as program
from tests.fuzz import drive
from tests.fuzz.mutation import Mutator, cuts_of
from tests.fuzz.targets import HERE, NAMES, corpus, fails, minimize, rule, target
from webfw.sansio.websocket import Machine

each_target = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def odd_literals() -> Iterator[None]:
    """What Python says of odd literals in templates is not the subject."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@each_target
def test_corpus(name: str) -> None:
    module = target(name)
    inputs = corpus(name)
    assert len(inputs) >= 7
    assert sum(map(len, inputs.values())) < 20_000, "small"
    for file, data in inputs.items():
        assert fails(module, data) is None, file
    assert len({module.check(data, []) for data in inputs.values()}) >= 2, "the corpus holds several kinds"
    assert rule(name)[-1] in ".:", "the first line is the rule"


@each_target
def test_mutations(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drive.by_chance(name, 10, 40, 7, tmp_path) == 0
    assert drive.executions(capsys.readouterr().out) == 40


@each_target
@settings(max_examples=15)
@given(data=st.binary(max_size=200))
def test_any_bytes(name: str, data: bytes) -> None:
    target(name).check(data, cuts_of(data))


def calls_of(name: str, data: bytes) -> int:
    """How many calls webfw makes for an input, of its own functions and of those in C."""
    module = target(name)
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call") and frame.f_globals.get("__name__", "").startswith("webfw."):
            count += 1

    sys.setprofile(profile)
    try:
        module.check(data, [])
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
@each_target
def test_work_is_linear(name: str) -> None:
    """Four times the input makes at most four times the calls, and some that do not depend on it."""
    tokens = [token for token in target(name).TOKENS if len(token) <= 60]
    for token in [*tokens, *(one + other for one, other in pairwise(tokens))]:
        few = calls_of(name, token * (240 // len(token)))
        many = calls_of(name, token * (240 // len(token) * 4))
        assert many <= 5 * few + 400, token


def test_every_corpus_has_a_target() -> None:
    assert sorted(path.name for path in (HERE / "corpus").iterdir()) == NAMES


def test_the_same_seed_makes_the_same_inputs() -> None:
    one, other = (Mutator([b"abc"], [b"x"], 3) for _ in range(2))
    assert [one.next() for _ in range(50)] == [other.next() for _ in range(50)]
    assert cuts_of(b"some input") == cuts_of(b"some input")


def test_a_finding_is_made_small() -> None:
    def check(data: bytes, cuts: list[int]) -> str:
        assert b"\x00" not in data or b"!" not in data
        return "ok"

    small = minimize(SimpleNamespace(check=check), b"some\x00thing long" * 20 + b"!" * 30)
    assert sorted(small) == sorted(b"\x00!")


def test_a_broken_rule_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = target("form")

    def broken(data: bytes, cuts: list[int]) -> str:
        raise AssertionError("broken")

    monkeypatch.setattr(module, "check", broken)
    assert drive.by_chance("form", 10, 40, 7, tmp_path) == drive.BROKEN
    assert "AssertionError: broken" in capsys.readouterr().err
    found = tmp_path / "crash-by-chance"
    assert drive.main(["form", "--into", str(tmp_path), "--minimize", str(found)]) == drive.BROKEN
    assert (tmp_path / "small").read_bytes() == b""


def test_it_runs_as_a_program() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--count",
        "20",
        "--seed",
        "7",
        "--engine",
        "chance",
        "form",
        "cookies",
    ]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}  # where webfw is not installed
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=50, check=False, env=env, cwd=HERE.parents[1]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "form: 20 inputs in" in done.stdout
    assert done.stdout.endswith("40 inputs; the rule held for 2 of 2 targets\n")


def test_findings_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drive_one(name: str, *arguments: str, timeout: float) -> tuple[int, str]:
        into = Path(arguments[arguments.index("--into") + 1])
        if "--minimize" in arguments:
            (into / "small").write_bytes(b"x")
        else:
            (into / "crash-1").write_bytes(b"xxx")
        return drive.BROKEN, "executions: 5\nAssertionError: broken"

    monkeypatch.setattr(program, "drive", drive_one)
    monkeypatch.setattr(program, "FINDINGS", tmp_path / "findings")
    assert program.main(["form"]) == 1
    (kept,) = (tmp_path / "findings").iterdir()
    assert kept.read_bytes() == b"x"
    output = capsys.readouterr().out
    assert "form: FAILED after 5 inputs" in output
    assert "AssertionError: broken" in output
    assert f"reproduce with {kept}" in output


def raise_another_error(machine: Machine) -> Any:
    raise IndexError("out of range")


def give_out_what_came_in(machine: Machine) -> Any:
    data, machine._data = machine._data, b""
    return data or None


@pytest.mark.parametrize("broken", [raise_another_error, give_out_what_came_in])
def test_a_broken_machine_is_noticed(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "next_event", broken)
    assert fails(target("frames"), b"\x81\x05hello") is not None
