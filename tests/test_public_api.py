"""The names others rely on: each ``__all__`` is true, Tornado's documented names and parameters are there."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "webfw"

#: Tool and list of names beside the checkout where webfw is developed; nothing of them is copied here.
COVERAGE_TOOL = ROOT.parent / "shared" / "compat" / "api_coverage.py"

#: The modules whose every documented name and parameter is there.
COMPLETE = ["util", "escape", "log", "httputil", "template", "ioloop", "iostream", "netutil"]
COMPLETE += ["tcpclient", "tcpserver", "httpserver", "routing", "web", "websocket", "wsgi"]


def modules() -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("webfw", *path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize("name", modules())
def test_all_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed), "a name is listed twice"
    assert [item for item in listed if not hasattr(module, item)] == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, int]]]:
    if not COVERAGE_TOOL.exists():
        pytest.skip("the list of Tornado's names is not beside this checkout")
    path = tmp_path_factory.mktemp("api") / "report.json"
    command = [sys.executable, str(COVERAGE_TOOL), "--target", "webfw", "--path", str(ROOT)]
    command += ["--python", sys.executable, "--json", str(path), "--no-list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert path.exists(), done.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize("module", COMPLETE)
def test_documented_names_and_parameters(report: dict[str, dict[str, dict[str, int]]], module: str) -> None:
    row = report["documented"]["modules"].get(f"tornado.{module}")
    assert row is not None, sorted(report["documented"]["modules"])
    assert (row["there"], row["strict"]) == (row["names"], row["callables"])
