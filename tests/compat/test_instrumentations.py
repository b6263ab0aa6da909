"""What real instrumentations see of a site: the same on webfw as on Tornado, both run beside each other.

They replace private methods such as ``RequestHandler._execute``, which is what this is about; see
``docs/topics/private-names.md``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "instrumented"
ROOT = SCRIPTS.parent.parent.parent

#: Names that say where a class or a method stands.
PLACES = {
    "webfw.web.verbs.Verbs._unimplemented_method": "tornado.web.RequestHandler._unimplemented_method",
    "webfw.web.simple.ErrorHandler": "tornado.web.ErrorHandler",
    "webfw/": "Tornado/",
}

LINES = [
    "HTTP/1.1 200 OK",
    "HTTP/1.1 500 Internal Server Error",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 404 Not Found",
]


def watched(name: str, framework: str) -> Any:
    """What the script with an instrumentation reports of one of the frameworks."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"with_{name}.py"), framework],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=SCRIPTS,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    if framework == "webfw":
        for ours, theirs in PLACES.items():
            text = text.replace(ours, theirs)
    return json.loads(text)


def both(name: str) -> Any:
    """What both report, where it is the same but for the version."""
    ours, theirs = watched(name, "webfw"), watched(name, "tornado")
    for report in (ours, theirs):
        for fact in report["seen"]:
            agent = fact.get("attributes", {}).get("http.user_agent") if isinstance(fact, dict) else None
            if agent is not None:
                fact["attributes"]["http.user_agent"] = agent.partition("/")[0]
    assert ours == theirs
    return ours


@pytest.mark.slow
def test_sentry() -> None:
    report = both("sentry")
    assert report["lines"] == LINES
    kinds = [fact["kind"] for fact in report["seen"]]
    assert sorted(kinds) == ["error"] + ["transaction"] * 5
    error = report["seen"][kinds.index("error")]
    assert error["raised"] == ["ZeroDivisionError"]
    assert error["data"] == {"k": ["v"]}


@pytest.mark.slow
def test_opentelemetry() -> None:
    report = both("opentelemetry")
    assert report["lines"] == [*LINES, "fine client", "1 trace of client and server"]
    assert [fact["name"] for fact in report["seen"]] == [
        "GET /fine/{name}",
        "POST /crash",
        "GET /missing",
        "PUT /stream",
        "GET",
        "GET /fine/{name}",
        "GET",
    ]


@pytest.mark.slow
def test_elastic_apm() -> None:
    report = both("elastic_apm")
    assert report["lines"] == LINES
    assert [fact["raised"] for fact in report["seen"]].count("ZeroDivisionError") == 1


@pytest.mark.slow
def test_sockjs() -> None:
    report = both("sockjs")
    assert report["lines"][-4:] == ["raw", "o", 'a["message"]', "ConnectionClosedError"]
    assert report["seen"][-2:] == ["abort", "close"]
