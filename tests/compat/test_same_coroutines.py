"""The same calls of `gen`, `locks` and `queues`, Tornado's and webfw's: no difference without a reason."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.differences import GIVES, Library, raises

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="tornado is not installed (dependency group test)"
)

Results = dict[str, tuple[Any, Any]]

#: The rows of the table in docs/topics/coroutines.md.
DIFFERENCES = [
    Library(
        "`@gen.coroutine` on an `async def` function runs it",
        "the result was a coroutine object that nobody awaited, and the handler did nothing",
        ("coroutine of async def",),
        '*"a coroutine"*',
        GIVES,
    ),
    Library(
        "after a thousand yields in a row that did not have to wait, the loop gets a turn",
        "one busy generator must not stop a server",
        ("coroutine many done futures",),
        GIVES,
        '{"gives": [[]"pending", [[]"end"[]]*',
    ),
    Library(
        "`multi` of a cancelled child is itself cancelled",
        "it only had CancelledError as its exception; whoever awaits it sees no difference",
        ("multi *cancelled*",),
        '{"gives": [[][[]"CancelledError"*',
        '{"gives": [[]"cancelled"*',
    ),
    Library(
        "`with_timeout` takes None, as `yield` and `multi` do",
        "everything that can be yielded can have a deadline",
        ("with_timeout None*",),
        raises("AssertionError"),
        GIVES,
    ),
    Library(
        "`WaitIterator` takes all that can be yielded, and starts it",
        "native coroutines need no `ensure_future` first",
        ("wait iterator of a native coroutine",),
        raises("AttributeError"),
        GIVES,
    ),
    Library(
        "cancelled waiters leave locks and queues at once",
        "they do not pile up, and `repr` counts those who still wait",
        ("condition", "*Queue: handed over"),
        "*[[]6]*",
        "*[[]5]*",
    ),
    Library(
        "cancelled waiters leave locks and queues at once",
        "they do not pile up, and `repr` counts those who still wait",
        ("*Queue: handed over",),
        "*getters[[]4]*",
        "*getters[[]3]*",
    ),
    Library(
        "a task that is cancelled as it is given a lock or an item passes it on",
        "in Tornado it is lost, and a lock is never free again",
        ("*: given to a task that is cancelled",),
        '{"gives": [[]"cancelled", "pending"]}',
        '{"gives": [[]"cancelled", [[]"had it"]]}',
    ),
    Library(
        "a task that is cancelled as it is given a lock or an item passes it on",
        "in Tornado it is lost, and a lock is never free again",
        ("*: item given to a task that is cancelled",),
        '{"gives": [[]"cancelled", 0]}',
        '{"gives": [[]"cancelled", 1]}',
    ),
    Library(
        "`await gen.moment` takes a turn of the loop",
        "there it can only be yielded",
        ("await moment",),
        raises("TypeError"),
        '{"gives": [[]"turn"]}',
    ),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What every call gives, theirs and ours."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC", "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONUNBUFFERED", None)  # unbuffered, a write that is interrupted loses the rest
    running = [
        subprocess.Popen(
            [sys.executable, str(HERE / "coroutines.py"), framework, str(tmp_path_factory.mktemp(framework))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for framework in ("tornado", "webfw")
    ]
    found = []
    for process in running:
        output, errors = process.communicate(timeout=50)
        assert process.returncode == 0, errors
        found.append(json.loads(output))
    theirs, ours = found
    assert theirs.keys() == ours.keys()
    return {name: (theirs[name], ours[name]) for name in theirs}


def same(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """An exception is the same when ours is of their type or derived from it."""
    if "raises" in theirs and "raises" in ours:
        return theirs["raises"][0] in ours["raises"]
    return theirs == ours


def test_same_results(results: Results) -> None:
    complaints = []
    for name, (theirs, ours) in results.items():
        texts = json.dumps(theirs), json.dumps(ours)
        if not same(theirs, ours) and not any(row.explains(name, *texts) for row in DIFFERENCES):
            complaints.append(f"{name}\n  tornado: {texts[0][:400]}\n  webfw:   {texts[1][:400]}")
    assert not complaints, "\n".join(complaints)


def test_every_row_explains_something(results: Results) -> None:
    different = [(name, *pair) for name, pair in results.items() if not same(*pair)]
    stale = [
        row.title
        for row in DIFFERENCES
        if not any(
            row.explains(name, json.dumps(theirs), json.dumps(ours)) for name, theirs, ours in different
        )
    ]
    assert stale == []


def test_most_calls_give_something(results: Results) -> None:
    given = [name for name, (_, ours) in results.items() if "gives" in ours]
    assert len(results) > 200
    assert len(given) > 0.75 * len(results)


def test_rows_are_in_the_manual() -> None:
    page = (ROOT / "docs" / "topics" / "coroutines.md").read_text(encoding="utf-8")
    assert [row.title for row in DIFFERENCES if f"| {row.title} | {row.reason} |" not in page] == []
