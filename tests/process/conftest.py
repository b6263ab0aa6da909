"""Trees of `tests/process/tree.py` for the tests of this room; each ends with the test that has started it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.treerunner import Start, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Start]:
    started: list[Tree] = []

    def start(*arguments: str, application: str = "VERSION = 1") -> Tree:
        started.append(Tree(tmp_path, application, arguments))
        return started[-1]

    yield start
    for made in started:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        assert made.process.stdout is not None
        made.process.stdout.close()
