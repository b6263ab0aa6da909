"""Programs for Tornado, run on webfw: the fixtures that start them, where they are installed."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.programs.drive import ENVIRONMENT, PYTHON, Program, on_webfw, started


@pytest.fixture(autouse=True, scope="session")
def _environment() -> None:
    if not PYTHON.exists():
        reason = f"there is no {ENVIRONMENT} (tests/slow.sh makes it)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def run(_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Program]]:
    """``run("-m", "webfw.tornado_compat", ...)`` starts a Python in a fresh home; it is killed after the module."""
    yield from started([], tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run_on_webfw(run: Callable[..., Program]) -> Callable[..., Program]:
    """``run_on_webfw("-m", "module", ...)`` starts a program for Tornado."""

    def start(*arguments: str, env: dict[str, str] | None = None) -> Program:
        return run(*on_webfw(*arguments), env=env)

    return start
