"""The fuzz targets by name: each is a module ``fuzz_NAME`` here, with `check` and `TOKENS`, and a folder of corpus.

``check(data, cuts) -> str`` raises when `data`, split at `cuts`, breaks the rule in the first line of its module; it
says what became of the input, in a word.
"""

import importlib
import inspect
import time
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import cuts_of

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def target(name: str) -> Any:
    """The module of one target."""
    return importlib.import_module(f"tests.fuzz.fuzz_{name}")


def rule(name: str) -> str:
    """What must hold, by the first line of the target."""
    return (inspect.getdoc(target(name)) or "").partition("\n")[0]


def corpus(name: str) -> dict[str, bytes]:
    """The inputs a target begins with, by file name, in a fixed order."""
    return {path.name: path.read_bytes() for path in sorted((HERE / "corpus" / name).iterdir())}


def fails(module: Any, data: bytes) -> BaseException | None:
    """What an input raises, split by chance, at every byte, or not at all."""
    for cuts in (cuts_of(data), list(range(len(data))), []):
        try:
            module.check(data, cuts)
        except Exception as error:
            return error
    return None


def minimize(module: Any, data: bytes, seconds: float = 60.0) -> bytes:
    """A smaller input that raises the same kind of exception, found by leaving out pieces and by plainer bytes."""
    kind = type(fails(module, data))
    end = time.monotonic() + seconds
    size = len(data)
    while size:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + size :]
            if type(fails(module, shorter)) is kind:
                data = shorter
            else:
                at += size
        size //= 2
    for at in range(len(data)):
        plainer = data[:at] + b"a" + data[at + 1 :]
        if plainer != data and time.monotonic() < end and type(fails(module, plainer)) is kind:
            data = plainer
    return data
