"""The same calls of Tornado's library and of webfw's, each in a process of its own: no difference without a reason.

An exception is the same when ours is of their type or derived from it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.differences import LIBRARY, LIBRARY_DEFECTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="tornado is not installed (dependency group test)"
)

Results = dict[str, tuple[Any, Any]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What every call gives, theirs and ours."""
    directory = str(tmp_path_factory.mktemp("library"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC", "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONUNBUFFERED", None)  # unbuffered, a write that is interrupted loses the rest
    running = [
        subprocess.Popen(
            [sys.executable, str(HERE / "library.py"), framework, directory],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for framework in ("tornado", "webfw")
    ]
    found = []
    for framework, process in zip(("tornado", "webfw"), running, strict=True):
        output, errors = process.communicate(timeout=50)
        assert process.returncode == 0, errors
        found.append(json.loads(output.replace(framework, "FW")))
    theirs, ours = found
    assert theirs.keys() == ours.keys()
    return {name: (theirs[name], ours[name]) for name in theirs}


def same(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    if "raises" in theirs and "raises" in ours:
        return theirs["raises"][0] in ours["raises"]
    return theirs == ours


def test_same_results(results: Results) -> None:
    rows = [*LIBRARY, *LIBRARY_DEFECTS]
    complaints = []
    for name, (theirs, ours) in results.items():
        texts = json.dumps(theirs), json.dumps(ours)
        if not same(theirs, ours) and not any(row.explains(name, *texts) for row in rows):
            complaints.append(f"{name}\n  tornado: {texts[0][:300]}\n  webfw:   {texts[1][:300]}")
    assert not complaints, "not listed in differences.py:\n" + "\n".join(complaints)


def test_every_row_explains_something(results: Results) -> None:
    stale = []
    for row in [*LIBRARY, *LIBRARY_DEFECTS]:
        found = [
            name
            for name, (theirs, ours) in results.items()
            if not same(theirs, ours) and row.explains(name, json.dumps(theirs), json.dumps(ours))
        ]
        if not found:
            stale.append(row.title)
    assert stale == []


def test_most_calls_give_something(results: Results) -> None:
    """The calls are meant to work; no more than a third is about wrong arguments."""
    given = [name for name, (_, ours) in results.items() if "gives" in ours]
    assert len(results) > 500
    assert len(given) > 0.66 * len(results)


def test_rows_are_in_the_manual() -> None:
    page = (ROOT / "docs" / "topics" / "differences.md").read_text(encoding="utf-8")
    rows = [f"| {row.title} | {row.reason} |" for row in LIBRARY]
    assert [row for row in rows if row not in page] == []
