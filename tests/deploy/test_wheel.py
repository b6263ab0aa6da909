"""Somebody who has never seen the project: the wheel, an empty directory, and what the README shows."""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.drive import PATIENCE, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOURCES = ["pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"]

#: What of the lines may be otherwise: what takes the place, and what it takes the place of.
UNSTABLE = [
    ("TIME", r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d"),
    ("URL", r"http://127\.0\.0\.1:\d+"),
    ("process N", r"process \d+"),
    ("DURATION", r"\d+(?:\.\d+)? ?(?:ms|s)\b"),
    ("MEMORY", r"\d+\.\d MiB"),
    ("VERSION", r"webfw \d+\.\d+\.\d+"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty directory, with an environment beside it that has the wheel and Flask."""
    source = tmp_path_factory.mktemp("source")
    leave = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "webfw", source / "webfw", ignore=leave)
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", "dist", "."], cwd=source, capture_output=True, text=True
    )
    if "No matching distribution found for setuptools" in built.stderr:
        pytest.skip("there is no package index here")
    assert built.returncode == 0, built.stderr
    [wheel] = (source / "dist").glob("webfw-*.whl")
    directory = tmp_path_factory.mktemp("site")
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    install = [f"{environment}/bin/python", *pip[1:], "install", str(wheel), "flask"]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
    os.environ["PATH"], before = f"{environment}/bin:{os.environ['PATH']}", os.environ["PATH"]
    yield directory
    os.environ["PATH"] = before


def readme() -> tuple[str, dict[str, list[str]]]:
    """The program of the README's section, and what each of its commands prints."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## In production\n")[2].partition("\n## ")[0]
    program = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert program
    shown: dict[str, list[str]] = {}
    for line in re.findall(r"^    (.*)$", section, re.MULTILINE):
        if line.startswith("$ "):
            shown[line[2:]] = []
        else:
            shown[next(reversed(shown))].append(line)
    return program[1], shown


def stable(text: str) -> list[str]:
    for name, pattern in UNSTABLE:
        text = re.sub(pattern, name, text)
    rows = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    # Of workers: which one was asked, and its process.
    return [
        re.sub(r"^(\d) \d+ ready DURATION 1 \d \d", r"\1 PID ready DURATION 1 N N", row)
        for row in rows
        if row
    ]


def test_what_the_readme_shows_is_what_one_sees(site: Path) -> None:
    program, shown = readme()
    assert len([line for line in program.splitlines() if line and not line.startswith("#")]) == 3
    (site / "app.py").write_text(program)
    serve, *others = shown
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WEBFW"))},
        "WEBFW_BIND": "127.0.0.1:0",
        "WEBFW_CONTROL": str(site / "control.sock"),  # of all servers of this user it is to be this one
    }
    server = subprocess.Popen(serve.split(), cwd=site, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline()]
        url = re.search(r" on (\S+)", lines[0])
        assert url, lines
        with urllib.request.urlopen(url[1], timeout=PATIENCE) as response:
            assert response.read() == b"Hello from Flask"
        lines.append(server.stdout.readline())
        assert stable("".join(lines)) == stable("\n".join(shown[serve]))
        for command in others:
            done = subprocess.run(
                command.split(), cwd=site, env=env, capture_output=True, text=True, timeout=PATIENCE
            )
            assert done.returncode == 0, done.stderr
            print(done.stdout)
            assert stable(done.stdout) == stable("\n".join(shown[command])), command
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0
        assert server.stdout.read().endswith("webfw stopped\n")
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
