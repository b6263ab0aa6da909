"""The same test cases under Tornado's `testing` and ours, each in a process: they pass and fail alike."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "compared" / "run.py"


def outcomes(package: str) -> dict[str, Any]:
    env = {**os.environ, "UNDER_TEST": package, "PYTHONPATH": str(SCRIPT.parents[3]), "PYTHONDEVMODE": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=env, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    if package == "webfw":
        assert not re.search("ResourceWarning|never awaited|was destroyed|never retrieved", done.stderr), (
            done.stderr
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outline(text: str) -> str:
    """An outcome without what differs by nature: names of packages, addresses, and words we have added."""
    text = text.replace("tornado", "webfw")
    for beginning in ("Return value from test method ignored: <", "did not get expected log message"):
        text = re.sub(f"({re.escape(beginning)}).*", r"\1", text)
    return re.sub(r"stop\(\) takes one value, or keywords", "", text)


@pytest.mark.slow
def test_cases_pass_and_fail_as_in_tornado() -> None:
    theirs = outcomes("tornado")
    ours = outcomes("webfw")
    assert len(theirs) > 50
    assert {name: [outline(text) for text in texts] for name, texts in ours.items()} == {
        name: [outline(text) for text in texts] for name, texts in theirs.items()
    }
