"""The fuzz targets by name: each is a module ``fuzz_NAME`` here, with `check` and `TOKENS`, and a folder of corpus.

``check(data, cuts) -> str`` raises when `data`, split at `cuts`, breaks the rule in the first line of its module; it
says what became of the input, in a word.
"""

import importlib
import inspect
from collections.abc import Iterable
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


def minimize(module: Any, data: bytes, tries: int = 3000) -> bytes:
    """A smaller input that raises the same kind of exception, found by leaving out pieces and by plainer bytes."""
    kind = type(fails(module, data))

    def shorter() -> Iterable[bytes]:
        size = len(data)
        piece = max(1, size // 2)
        while True:
            for begin in range(0, size, piece):
                yield data[:begin] + data[begin + piece :]
            if piece == 1:
                break
            piece //= 2
        for at, octet in enumerate(data):
            if octet != 0x61:
                yield data[:at] + b"a" + data[at + 1 :]

    again = True
    while again and tries > 0:
        again = False
        for candidate in shorter():
            tries -= 1
            if type(fails(module, candidate)) is kind:
                data = candidate
                again = True
                break
            if tries <= 0:
                break
    return data
