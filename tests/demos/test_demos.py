"""Every demo starts with ``webfw serve demos.NAME:app``, answers, and stops."""

import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMOS = sorted(path.parent.name for path in ROOT.glob("demos/*/__init__.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMOS)
def test_starts_answers_and_stops(webfw_command: Callable[..., Any], name: str) -> None:
    assert (ROOT / "demos" / name / "README.md").exists()
    command = webfw_command("serve", f"demos.{name}:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0")
    with urllib.request.urlopen(command.url(), timeout=20) as response:
        assert response.status == 200
        assert response.read()
    status, _, errors = command.stop(signal.SIGTERM)
    assert (status, errors) == (0, "")
