"""The same WebSockets under Tornado and under webfw, each in a process of its own: no difference without a reason."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compat.socket_differences import DIFFERENCES, Seen, aspects

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="tornado is not installed (dependency group test)"
)

Results = dict[str, tuple[Seen, Seen]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What comes of every case, theirs and ours."""
    directory = str(tmp_path_factory.mktemp("sockets"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONUNBUFFERED", None)  # unbuffered, a write that is interrupted loses the rest
    running = [
        subprocess.Popen(
            [sys.executable, str(HERE / "sockets.py"), framework, directory],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for framework in ("tornado", "webfw")
    ]
    found = []
    try:
        for process in running:
            output, errors = process.communicate(timeout=55)
            assert process.returncode == 0, errors[-2000:]
            found.append(json.loads(output))
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()
    theirs, ours = found
    assert theirs.keys() == ours.keys()
    return {name: (theirs[name], ours[name]) for name in theirs}


def test_same_websockets(results: Results) -> None:
    complaints = []
    for name, (theirs, ours) in results.items():
        left = aspects(theirs, ours).difference(*(row.explained(name) for row in DIFFERENCES))
        complaints += [
            f"{name}: {aspect}\n  tornado: {theirs.get(aspect, theirs)}\n  webfw:   {ours.get(aspect, ours)}"
            for aspect in sorted(left)
        ]
    assert not complaints, "not listed in socket_differences.py:\n" + "\n".join(complaints)


def test_every_row_explains_something(results: Results) -> None:
    differ = {name: aspects(*both) for name, both in results.items()}
    stale = [
        row.title
        for row in DIFFERENCES
        if not any(found & row.explained(name) for name, found in differ.items())
    ]
    assert stale == []


def test_rows_are_in_the_manual() -> None:
    page = (ROOT / "docs" / "topics" / "differences.md").read_text(encoding="utf-8")
    rows = [f"| {row.title} | {row.reason} |" for row in DIFFERENCES]
    assert [row for row in rows if row not in page] == []


def test_the_cases_work(results: Results) -> None:
    """Nearly all cases come to an end, and most of them open a WebSocket."""
    opened = [name for name, (_, ours) in results.items() if ours.get("status") == 101 or "gives" in ours]
    assert len(results) > 300
    assert len(opened) > 0.7 * len(results)
    assert [name for name, both in results.items() if any("fails" in seen for seen in both)] == []


def test_on_close_is_called_once_for_each(results: Results) -> None:
    for name, (_, ours) in results.items():
        told = [event[0] for event in ours.get("events", [])]
        assert told.count("on_close") == told.count("open"), name
