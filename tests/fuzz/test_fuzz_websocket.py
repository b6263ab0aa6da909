"""The WebSocket fuzzer in small: it starts, its rule holds on the corpus, on its mutations and on anything."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.websocket import Machine

PROGRAM = Path(__file__).resolve().parent / "fuzz_websocket.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_fuzzer_websocket", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
    return module


FUZZER = load()


def test_corpus() -> None:
    assert len(FUZZER.SEEDS) >= 10
    outcomes = {FUZZER.check(data, list(range(len(data)))) for data in FUZZER.SEEDS}
    assert {"events", "events and failure", "incomplete"} <= outcomes, "the corpus holds good and bad"


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    FUZZER.check(data, sorted(cut for cut in cuts if cut < len(data)))


@given(st.data())
def test_any_tokens(data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(st.sampled_from(FUZZER.TOKENS + FUZZER.SEEDS), max_size=8)))
    cuts = data.draw(st.lists(st.integers(0, 400), max_size=4))
    FUZZER.check(stream, sorted(cut for cut in cuts if cut < len(stream)))


def test_runs_as_a_program() -> None:
    command = [sys.executable, str(PROGRAM), "--seconds", "20", "--count", "300", "--seed", "7"]
    env = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}  # where webfw is not installed
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed 7: 300 inputs, none broke the rule (")


def raise_another_error(machine: Machine) -> Any:
    raise IndexError("out of range")


def give_out_what_came_in(machine: Machine) -> Any:
    data, machine._data = machine._data, b""
    return data or None


@pytest.mark.parametrize("broken", [raise_another_error, give_out_what_came_in])
def test_a_broken_machine_is_noticed(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "next_event", broken)
    with pytest.raises((AssertionError, IndexError)):
        FUZZER.check(b"\x81\x05hello", [2])
