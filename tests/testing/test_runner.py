"""`webfw.testing.main`, run as programs run it: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CASES = """
import logging, unittest
import webfw.testing
from webfw.options import define, options

define("colour", default="red")

class First(unittest.TestCase):
    def test_one(self):
        logging.getLogger("webfw.application").debug("a detail")

    def test_two(self):
        self.assertEqual(options.colour, "blue")

class Second(unittest.TestCase):
    def test_three(self):
        from webfw.httpclient import AsyncHTTPClient
        self.assertEqual(AsyncHTTPClient.configured_class().__name__, "OwnClient")
"""

SCRIPT = (
    CASES
    + """
def all():
    return unittest.defaultTestLoader.loadTestsFromTestCase(First)

if __name__ == "__main__":
    webfw.testing.main()
"""
)

EXTRA = """
import unittest

class Extra(unittest.TestCase):
    def test_extra(self):
        pass
"""

CLIENT = """
from webfw.httpclient import AsyncHTTPClient

class OwnClient(AsyncHTTPClient):
    pass
"""


@pytest.fixture
def run(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "cases.py").write_text(CASES)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "plain.py").write_text(CASES + "\nif __name__ == '__main__':\n    webfw.testing.main()\n")
    (tmp_path / "own.py").write_text(CLIENT)
    (tmp_path / "extra.py").write_text(EXTRA)

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_module_by_name(run) -> None:  # type: ignore[no-untyped-def]
    status, output = run("-m", "webfw.testing", "cases.First.test_one", "-v")
    assert status == 0, output
    assert "test_one (cases.First" in output
    assert "Ran 1 test" in output


def test_options_of_webfw_and_of_unittest(run) -> None:  # type: ignore[no-untyped-def]
    status, output = run(
        "-m",
        "webfw.testing",
        "--logging=debug",
        "--httpclient=own.OwnClient",
        "--exception-on-interrupt=false",
        "--failfast",
        "cases.First.test_one",
        "cases.Second",
    )
    assert status == 0, output
    assert "a detail" in output
    assert "Ran 2 tests" in output


def test_a_script_with_a_suite(run) -> None:  # type: ignore[no-untyped-def]
    status, output = run("script.py", "--colour=blue")
    assert status == 0, output
    assert "Ran 2 tests" in output


def test_a_script_and_one_of_its_tests(run) -> None:  # type: ignore[no-untyped-def]
    status, output = run("script.py", "First.test_two")
    assert status == 1
    assert "'red' != 'blue'" in output
    status, output = run("script.py", "extra.Extra")  # one of another module
    assert status == 0, output
    assert "Ran 1 test" in output


def test_a_script_without_a_suite(run) -> None:  # type: ignore[no-untyped-def]
    status, output = run("plain.py", "-k", "test_one")
    assert status == 0, output
    assert "Ran 1 test" in output


def test_what_unittest_takes_too(run) -> None:  # type: ignore[no-untyped-def]
    arguments = "verbosity=2, exit=False, argv=['x', '--', 'cases.First.test_one']"
    program = f"import webfw.testing; webfw.testing.main({arguments})"
    status, output = run("-c", program)
    assert status == 0, output
    assert "test_one (cases.First" in output


def test_an_option_that_nobody_knows(run) -> None:  # type: ignore[no-untyped-def]
    status, output = run("-m", "webfw.testing", "--no-such-thing")
    assert status != 0
    assert "no-such-thing" in output
