"""The page of the manual on tests is a test module itself: it is run by pytest, with our plugin."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "testing.md"


@pytest.mark.slow
def test_the_page_passes_its_own_tests(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_page.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "--strict-markers"),
            *("-p", "webfw.testing.pytest_plugin", "-p", "no:cacheprovider", "test_page.py"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert re.search(r"^1[0-9] passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr
