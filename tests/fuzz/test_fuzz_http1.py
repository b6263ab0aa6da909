"""The HTTP/1 fuzzers in small: they start, their rule holds on the corpus, on its mutations and on anything."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_fuzzer_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
    return module


FUZZERS = {name: load(name) for name in ("fuzz_head", "fuzz_chunked")}
each_fuzzer = pytest.mark.parametrize("name", FUZZERS)


@each_fuzzer
def test_corpus(name: str) -> None:
    fuzzer = FUZZERS[name]
    assert len(fuzzer.SEEDS) >= 5
    outcomes = {fuzzer.check(data, list(range(len(data)))) for data in fuzzer.SEEDS}
    assert len(outcomes) >= 2, "the corpus holds good and bad"


@each_fuzzer
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes(name: str, data: bytes, cuts: list[int]) -> None:
    FUZZERS[name].check(data, sorted(cut for cut in cuts if cut < len(data)))


@each_fuzzer
@given(st.data())
def test_any_tokens(name: str, data: st.DataObject) -> None:
    fuzzer = FUZZERS[name]
    stream = b"".join(data.draw(st.lists(st.sampled_from(fuzzer.TOKENS + fuzzer.SEEDS), max_size=8)))
    cuts = data.draw(st.lists(st.integers(0, 400), max_size=4))
    fuzzer.check(stream, sorted(cut for cut in cuts if cut < len(stream)))


@each_fuzzer
def test_runs_as_a_program(name: str) -> None:
    command = [sys.executable, str(HERE / f"{name}.py"), "--seconds", "20", "--count", "300", "--seed", "7"]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}  # where webfw is not installed
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed 7: 300 inputs, none broke the rule (")


@each_fuzzer
def test_a_broken_rule_is_reported(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    fuzzer = FUZZERS[name]

    def broken(data: bytes, cuts: list[int]) -> str:
        raise AssertionError("broken")

    broken.__module__ = "builtins"
    with pytest.raises(AssertionError, match="broken"):
        fuzzer.main(broken, fuzzer.SEEDS, fuzzer.TOKENS, ["--seed", "1"])
    assert capsys.readouterr().err.startswith("seed 1, input 0: check(b")
