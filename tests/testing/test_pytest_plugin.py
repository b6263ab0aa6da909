"""The plugin for pytest, in runs of pytest of their own: alone, and beside pytest-asyncio, anyio and Hypothesis."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CONFTEST = """
import pytest
from webfw.web import Application, RequestHandler

class Hello(RequestHandler):
    def get(self):
        self.write("hello")

@pytest.fixture
def webfw_app():
    return Application([("/", Hello)], log_function=lambda handler: None)
"""

ASYNCIO, ANYIO, HYPOTHESIS = "pytest_asyncio.plugin", "anyio.pytest_plugin", "_hypothesis_pytestplugin"

Run = Callable[..., tuple[dict[str, int], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on a test module beside `CONFTEST`; how many passed, failed and so on, and the output."""

    def run(
        module: str, *arguments: str, plugins: tuple[str, ...] = (), conftest: str = CONFTEST
    ) -> tuple[dict[str, int], str]:
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_it.py").write_text(module)
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
        named = [part for name in ("webfw.testing.pytest_plugin", *plugins) for part in ("-p", name)]
        if ASYNCIO in plugins:
            named += ["-o", "asyncio_default_fixture_loop_scope=function"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *named, *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "NO_COLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        last = done.stdout.rstrip().rpartition("\n")[2]
        counts = {
            word.removesuffix("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", last) if word != "in"
        }
        return counts, done.stdout + done.stderr

    return run


FIXTURES = """
import asyncio, pytest, threading, urllib.request

async def test_client(webfw_client):
    asyncio.get_running_loop()
    assert (await webfw_client.get("/")).text == "hello"

async def test_server(webfw_server):
    response = await webfw_server.fetch("/")
    assert response.body == b"hello"
    assert webfw_server.port > 0

@pytest.fixture
def address(webfw_server):
    return webfw_server.url("/")

async def test_address(address, webfw_server):
    assert (await webfw_server.client.fetch(address)).code == 200

class TestClass:
    async def test_server(self, webfw_server):
        assert (await webfw_server.fetch("/")).code == 200

    def test_not_a_coroutine(self, webfw_server):
        assert urllib.request.urlopen(webfw_server.url("/"), timeout=5).read() == b"hello"

def test_not_a_coroutine(address, webfw_server):
    assert urllib.request.urlopen(address, timeout=5).read() == b"hello"
    assert webfw_server.fetch("/").body == b"hello"

@pytest.mark.parametrize("number", [1, 2])
async def test_parameters(webfw_client, number):
    assert (await webfw_client.get(f"/{number}")).code == 404

@pytest.mark.webfw
async def test_marked():
    await asyncio.sleep(0)

async def test_app_only(webfw_app):
    assert webfw_app.settings
"""


def test_fixtures(run: Run) -> None:
    counts, output = run(FIXTURES)
    assert counts == {"passed": 10}, output


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_fixtures_beside_pytest_asyncio(run: Run, mode: str) -> None:
    counts, output = run(FIXTURES, f"--asyncio-mode={mode}", plugins=(ASYNCIO, ANYIO))
    assert counts == {"passed": 10}, output


@pytest.mark.slow
def test_tests_that_another_plugin_runs(run: Run) -> None:
    module = """
import asyncio, pytest, sys

@pytest.fixture(scope="module")
def loops():
    return []

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("n", [1, 2])
async def test_loop_of_pytest_asyncio(webfw_server, webfw_client, loops, n):
    loops.append(asyncio.get_running_loop())
    assert len(set(loops)) == 1
    assert (await webfw_server.fetch("/")).body == b"hello"
    assert (await webfw_client.get("/")).text == "hello"

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_anyio(webfw_server, webfw_client):
    from anyio import create_task_group
    async with create_task_group() as group:
        group.start_soon(webfw_client.get, "/")
    assert (await webfw_server.fetch("/")).body == b"hello"
"""
    counts, output = run(module, plugins=(ASYNCIO, ANYIO))
    assert counts == {"passed": 3}, output


@pytest.mark.slow
def test_anyio_with_trio_says_what_is_missing(run: Run) -> None:
    if find_spec("trio") is None:
        pytest.skip("trio is not installed")
    module = """
import pytest

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio(webfw_server):
    pass
"""
    counts, output = run(module, plugins=(ANYIO,))
    assert counts == {"failed": 1}, output
    assert "no running event loop" in output


@pytest.mark.slow
def test_hypothesis(run: Run) -> None:
    module = """
import asyncio, pytest
from hypothesis import HealthCheck, given, settings, strategies as st

loops = set()

@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 9))
async def test_client(webfw_client, number):
    loops.add(asyncio.get_running_loop())
    assert (await webfw_client.get(f"/?{number}")).text == "hello"

@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 9))
async def test_server(webfw_server, number):
    assert (await webfw_server.fetch(f"/?{number}")).body == b"hello"

@pytest.mark.parametrize("status", [200, 404])
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 9))
async def test_parameters(webfw_server, webfw_client, status, number):
    path = "/" if status == 200 else "/missing"
    assert (await webfw_server.fetch(path)).code == status
    assert (await webfw_client.get(path)).code == status

def test_loops():
    assert len(loops) > 1
"""
    counts, output = run(module, plugins=(HYPOTHESIS,))
    assert counts == {"passed": 5}, output
    counts, output = run(module.replace("> 1", "> 0"), "--asyncio-mode=auto", plugins=(HYPOTHESIS, ASYNCIO))
    assert counts == {"passed": 5}, output


def test_other_coroutine_tests_are_left_alone(run: Run) -> None:
    counts, output = run("async def test_it():\n    pass\n")
    assert counts == {"failed": 1}, output
    assert "async def functions are not natively supported" in output


@pytest.mark.slow
def test_failures_are_failures(run: Run) -> None:
    module = """
import pytest

async def test_fails(webfw_client):
    assert (await webfw_client.get("/")).text == "other"

async def test_fails_with_a_server(webfw_server):
    raise KeyError("own")

async def test_skips(webfw_client):
    pytest.skip("not today")

@pytest.mark.xfail(strict=True)
async def test_xfails(webfw_server):
    raise ValueError
"""
    counts, output = run(module)
    assert counts == {"failed": 2, "skipped": 1, "xfailed": 1}, output
    assert "KeyError: 'own'" in output


def test_an_application_is_needed(run: Run) -> None:
    counts, output = run("async def test_it(webfw_client):\n    pass\n", conftest="")
    assert counts == {"error": 1}, output
    assert "define a fixture webfw_app that returns it" in output


@pytest.mark.slow
def test_what_a_test_leaves_behind_is_cancelled(run: Run) -> None:
    module = """
import asyncio, gc

tasks = []

async def test_leaves_a_task(webfw_client):
    tasks.append(asyncio.ensure_future(asyncio.sleep(1000)))

def test_it_is_cancelled():
    assert tasks[0].cancelled()
    tasks.clear()
    gc.collect()
"""
    counts, output = run(module)
    assert counts == {"passed": 2}, output


def test_nothing_is_loaded_that_is_not_used(run: Run) -> None:
    module = """
import sys

def test_it():
    loaded = {name for name in sys.modules if name.partition(".")[0] == "webfw"}
    assert loaded == {"webfw", "webfw._version", "webfw.testing", "webfw.testing.pytest_plugin"}
"""
    counts, output = run(module, conftest="")
    assert counts == {"passed": 1}, output


@pytest.mark.slow
def test_the_fixtures_and_the_marker_explain_themselves(run: Run) -> None:
    _, output = run("", "--markers")
    assert "@pytest.mark.webfw: run this coroutine test" in output
    _, output = run("", "--fixtures", "-v")
    for name in ("webfw_app", "webfw_client", "webfw_server"):
        assert re.search(rf"^{name} .*\n    \S", output, re.MULTILINE), output


def test_the_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"webfw": "webfw.testing.pytest_plugin"}
