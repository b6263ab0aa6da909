"""The folder of the client for browsers; what the client does is tested in tests/browser/test_live_client.py."""

import re
import subprocess
from pathlib import Path

import pytest

from webfw.pubsub import STATIC_PATH

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(STATIC_PATH) / "webfw-live.js"
SOURCE = CLIENT.read_text(encoding="utf-8")


def test_folder_holds_the_client_and_nothing_else() -> None:
    """A route to `StaticFileHandler` gives out whatever is in it."""
    assert Path(STATIC_PATH) == ROOT / "webfw/pubsub/static"
    assert [path.name for path in Path(STATIC_PATH).iterdir()] == ["webfw-live.js"]


def test_folder_is_part_of_the_package() -> None:
    assert '"pubsub/static/*"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_client_is_small_and_stands_alone() -> None:
    code = re.sub(r"/\*.*?\*/|(?<=\s)// .*", "", SOURCE, flags=re.DOTALL).splitlines()
    code = [line.strip() for line in code if line.strip()]
    assert len("\n".join(code)) < 12 * 1024
    assert len(code) < 350
    assert max(map(len, SOURCE.splitlines())) <= 120
    # A page with a strict Content-Security-Policy can use it, and it needs no other file.
    assert (
        re.findall(r"\b(?:eval|Function|innerHTML|import|require|console|debugger)\b\s*[(.=]", SOURCE) == []
    )
    assert re.findall(r"https?://", SOURCE) == []


@pytest.mark.needs("node")
def test_client_is_a_valid_script() -> None:
    done = subprocess.run(["node", "--check", CLIENT], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""


def test_manual_names_every_option() -> None:
    defaults = re.search(r"const DEFAULTS = \{(.*?)\n  \};", SOURCE, re.DOTALL)
    assert defaults is not None
    options = set(re.findall(r"(\w+): ", defaults[1])) | {"websocket", "events", "poll", "send"}
    assert set(re.findall(r"@property \{.*?\} \[(\w+)\]", SOURCE)) == options
    page = (ROOT / "docs/howto/browser-client.md").read_text(encoding="utf-8")
    assert [name for name in sorted(options) if f"`{name}`" not in page] == []
