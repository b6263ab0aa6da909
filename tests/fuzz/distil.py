"""Keeps what is worth it of a grown corpus in the tree: ``python -m tests.fuzz.distil DIR [NAME...]``.

DIR is what ``--keep`` was given.  An input is worth it when it makes webfw go from one line to another in a way that no
input of the corpus does; the smallest come first.
"""

import argparse
import hashlib
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import HERE, NAMES, corpus, target

MOST = 12
MAX_SIZE = 400


def arcs_of(module: Any, data: bytes) -> set[tuple[object, int, int]]:
    """The steps from line to line in webfw, and the outcome."""
    found: set[tuple[object, int, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_globals.get("__name__", "").startswith("webfw."):
            return None
        before = -1
        code = frame.f_code

        def local(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal before
            found.add((code, before, frame.f_lineno))
            before = frame.f_lineno
            return local

        return local

    sys.settrace(trace)
    try:
        outcome = module.check(data, [])
    finally:
        sys.settrace(None)
    return found | {(outcome, 0, 0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", default=NAMES)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.names:
        module = target(name)
        known: set[tuple[object, int, int]] = set()
        for data in corpus(name).values():
            known |= arcs_of(module, data)
        kept = 0
        for path in sorted(
            (options.directory / name).glob("*"), key=lambda path: (path.stat().st_size, path.name)
        ):
            data = path.read_bytes()
            if kept == MOST or len(data) > MAX_SIZE:
                break
            new = arcs_of(module, data) - known
            if new:
                known |= new
                kept += 1
                (HERE / "corpus" / name / f"grown-{hashlib.sha256(data).hexdigest()[:10]}").write_bytes(data)
        print(f"{name}: {kept} of {len(list((options.directory / name).glob('*')))} kept")


if __name__ == "__main__":
    main()
