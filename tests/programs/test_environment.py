"""What the other tests here rely on: the programs are there, and none of them can get at Tornado itself."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs.drive import ON_TORNADO, POISONED, ROOT, Program, environment

pytestmark = [pytest.mark.slow, pytest.mark.skipif(ON_TORNADO, reason="PROGRAMS_ON=tornado")]

WHERE = "import tornado, tornado.web; print('it is', tornado.web.__name__)"


def test_who_gets_at_tornado_itself_ends(run: Callable[..., Program]) -> None:
    program = run("-c", WHERE)
    assert program.end() == POISONED
    assert program.trouble() == ["TRACEBACK: the real tornado was asked for"]


def test_also_where_an_error_at_import_is_expected(run: Callable[..., Program]) -> None:
    program = run("-c", "try:\n    import tornado\nexcept BaseException:\n    print('without')")
    assert program.end() == POISONED
    assert "without" not in program.lines


def test_webfw_stands_in_front_of_both(run_on_webfw: Callable[..., Program]) -> None:
    program = run_on_webfw("-c", WHERE)
    assert program.end() == 0
    assert program.lines == ["it is webfw.web"]


def test_also_for_what_a_program_starts_by_itself(run_on_webfw: Callable[..., Program]) -> None:
    """Only when it says so: a child that is started without ends, and does not run on Tornado unnoticed."""
    program = run_on_webfw(
        "-c", f"import subprocess, sys; print(subprocess.call([sys.executable, '-c', {WHERE!r}]))"
    )
    assert program.end() == 0
    assert program.lines[-1] == str(POISONED)


def test_every_python_of_an_environment(run: Callable[..., Program], tmp_path: Path) -> None:
    """By the file of the manual."""
    page = (ROOT / "docs" / "howto" / "tornado-programs.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"`PYTHONPATH` names.*?```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "sitecustomize.py").write_text(code)
    child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {WHERE!r}]))"
    path = os.pathsep.join([str(tmp_path), environment(tmp_path)["PYTHONPATH"]])
    program = run("-c", f"{WHERE}; {child}", env={"PYTHONPATH": path})
    assert program.end() == 0
    assert program.lines == ["it is webfw.web"] * 2
