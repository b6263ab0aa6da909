"""How every test runs: coroutines on a fresh loop, no leaked task, no log record that nobody announced.

Fixtures for all: ``expect_log``, and ``webfw_command`` which runs the command as a process.
"""

import asyncio
import atexit
import functools
import gc
import inspect
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

#: Seconds an ``async def`` test may take before it is cancelled; pytest-timeout stops what blocks the loop.
ASYNC_TIMEOUT = 30.0

hypothesis.settings.register_profile("webfw", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.register_profile("slow", deadline=None, print_blob=True, max_examples=1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption(
        "--loop", choices=["asyncio", "uvloop"], default="asyncio", help="the event loop async tests run on"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Started in the background by a shell: programs under test would ignore them too, and the Ctrl-C of tests.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGQUIT") and signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if config.getoption("hypothesis_profile", default=None) is None:
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "webfw")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_collection_finish() -> None:
    # What exists now stays for the whole run: keep it out of the collections that follow every async test.
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    # Likewise what a module has imported, and what pytest keeps of its tests.
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing:
            reason = f"not installed: {', '.join(missing)} (tests/setup.sh installs them)"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


# --- coroutine tests ---


@functools.cache  # once, since tests may hide uvloop
def _new_loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


async def _settle_and_check(test: Awaitable[Any]) -> None:
    """Run the test, then let what it closed finish closing; whatever still runs after that was leaked."""
    async with asyncio.timeout(ASYNC_TIMEOUT):
        await test
    me = asyncio.current_task()
    for _ in range(20):
        left = [task for task in asyncio.all_tasks() if task is not me]
        if not left:
            break
        await asyncio.sleep(0)
    else:
        names = "\n".join(f"  {task!r}" for task in left)
        pytest.fail(f"tasks were left running:\n{names}", pytrace=False)
    await asyncio.sleep(0)  # the last connection_lost callbacks


def _run_on_fresh_loop(
    test: Callable[..., Awaitable[Any]],
    factory: Callable[[], asyncio.AbstractEventLoop],
    kwargs: dict[str, Any],
) -> None:
    try:
        # The runner cancels what is left, closes async generators and the executor, then the loop.
        with asyncio.Runner(loop_factory=factory) as runner:
            # Neither a cancellation nor pytest-timeout's signal stops a task that swallows it: stopping the loop
            # does, once for the test and once for the runner that waits for its tasks.
            for patience in (1.3, 1.5):
                runner.get_loop().call_later(ASYNC_TIMEOUT * patience, runner.get_loop().stop)
            runner.run(_settle_and_check(test(**kwargs)))
    finally:
        asyncio.set_event_loop(None)
    # "Task was destroyed", "never retrieved" and unclosed transports are reported by their destructors: have
    # them run now, while the test that caused them can still be named.
    gc.collect()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    factory = _new_loop_factory(pyfuncitem.config.getoption("--loop"))
    given = getattr(function, "hypothesis", None)
    if given is not None:
        inner = given.inner_test
        if inspect.iscoroutinefunction(inner):

            @functools.wraps(inner)
            def one_example(**kwargs: Any) -> None:
                _run_on_fresh_loop(inner, factory, kwargs)

            given.inner_test = one_example
        return None
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    _run_on_fresh_loop(function, factory, {name: pyfuncitem.funcargs[name] for name in names})
    return True


# --- log records ---


class _Expectation:
    def __init__(self, logger: str, regex: str, level: int | None, count: int | None) -> None:
        self.logger = logger
        self.regex = re.compile(regex)
        self.level = level
        self.count = count
        self.records: list[logging.LogRecord] = []

    def takes(self, record: logging.LogRecord) -> bool:
        if record.name != self.logger and not record.name.startswith(self.logger + "."):
            return False
        if record.levelno != self.level if self.level is not None else record.levelno < logging.WARNING:
            return False
        return self.regex.search(record.getMessage()) is not None


class _LogGuard(logging.Handler):
    """Keeps every record of level WARNING or above that no expectation took."""

    LOGGERS = ("webfw", "asyncio")

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.expectations: list[_Expectation] = []
        self.unexpected: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        for expectation in reversed(self.expectations):
            if expectation.takes(record):
                expectation.records.append(record)
                return
        if record.levelno >= logging.WARNING:
            self.unexpected.append(record)


@pytest.fixture(autouse=True)
def _log_guard() -> Iterator[_LogGuard]:
    guard = _LogGuard()
    for name in guard.LOGGERS:
        logging.getLogger(name).addHandler(guard)
    try:
        yield guard
    finally:
        for name in guard.LOGGERS:
            logging.getLogger(name).removeHandler(guard)
    if guard.unexpected:
        formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")
        lines = "\n".join(formatter.format(record) for record in guard.unexpected)
        pytest.fail(f"log records that no expect_log announced:\n{lines}", pytrace=False)


@pytest.fixture
def expect_log(_log_guard: _LogGuard) -> Callable[..., Any]:
    """``with expect_log("webfw.general", "timed out"):`` announces records and requires at least one.

    The logger's children count as well; ``regex`` is searched for in the message.  Without ``level``
    any record from WARNING up matches; with it only that level, which the logger lets through meanwhile.
    ``count`` requires an exact number.  The context manager yields the list of the records taken.
    """

    @contextmanager
    def expect(
        logger_name: str, regex: str, level: int | None = None, count: int | None = None
    ) -> Iterator[list[logging.LogRecord]]:
        expectation = _Expectation(logger_name, regex, level, count)
        logger = logging.getLogger(logger_name)
        level_before = logger.level
        if level is not None and not logger.isEnabledFor(level):
            logger.setLevel(level)
        _log_guard.expectations.append(expectation)
        try:
            yield expectation.records
        finally:
            _log_guard.expectations.remove(expectation)
            logger.setLevel(level_before)
        seen = len(expectation.records)
        if (not seen) if count is None else seen != count:
            wanted = "at least one" if count is None else str(count)
            pytest.fail(f"expected {wanted} record matching {regex!r} on {logger_name!r}, got {seen}")

    return expect


# --- the command as a process ---

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def _runtime_directory() -> str:
    """Where servers of the tests have their control sockets, which ``webfw ctl`` of whoever runs them must not find."""
    directory = tempfile.mkdtemp(prefix="webfw-tests-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


class Command:
    """A running ``python -m webfw ...``; its output is read line by line."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "webfw", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": _runtime_directory(), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            match = re.search(pattern, line)
            if match:
                return match
        errors = self.process.communicate()[1]
        raise AssertionError(f"no line matches {pattern!r} in {self.lines}; standard error: {errors}")

    def url(self) -> str:
        return self.read_until(r" on (\S+)")[1]

    def stop(self, number: int) -> tuple[int, str, str]:
        """Send a signal; return the exit status, the rest of the output, and standard error."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=40)
        return self.process.returncode, output, errors


@contextmanager
def _commands(directory: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(*arguments: str, cwd: Path = directory, **env: str) -> Command:
        command = Command(arguments, cwd, env)
        started.append(command)
        return command

    try:
        yield start
    finally:
        for command in started:
            if command.process.poll() is None:
                # A tree ends at once; were its supervisor killed, the workers would first end what they are at.
                command.process.send_signal(getattr(signal, "SIGQUIT", signal.SIGTERM))
                try:
                    command.process.communicate(timeout=10)
                except subprocess.TimeoutExpired:
                    command.process.kill()
            command.process.communicate()


@pytest.fixture
def webfw_command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """``webfw_command("serve", ...)`` starts the command in ``tmp_path``; it is killed at the end."""
    with _commands(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def webfw_module_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Command]]:
    """`webfw_command` for servers that all tests of a module share."""
    with _commands(tmp_path_factory.mktemp("command")) as start:
        yield start
