import subprocess
import sys
from typing import Any

import pytest

import webfw.platform.twisted as platform
from webfw.gen import convert_yielded, coroutine


async def test_deferreds_can_be_yielded() -> None:
    defer = pytest.importorskip("twisted.internet.defer")
    deferred = defer.Deferred()

    @coroutine
    def add() -> Any:
        first = yield deferred
        second = yield defer.succeed(2)
        return first + second

    future = add()
    deferred.callback(1)
    assert await future == 3
    with pytest.raises(ValueError, match="no"):
        await convert_yielded(defer.fail(ValueError("no")))


def test_both_run_on_one_loop() -> None:
    """In a process of its own, since a reactor is installed once and for all."""
    pytest.importorskip("twisted")
    code = """
from webfw.ioloop import IOLoop
from webfw.platform import twisted
loop = IOLoop()
twisted.install()
from twisted.internet import reactor, task
from webfw.gen import coroutine

@coroutine
def main():
    reactor.startRunning(installSignalHandlers=False)
    value = yield task.deferLater(reactor, 0.01, lambda: "later")
    print(type(reactor).__name__, value)

loop.run_sync(main)
try:
    twisted.install()
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.stdout.split() == [
        "AsyncioSelectorReactor",
        "later",
        "ReactorAlreadyInstalledError",
    ], done.stderr


def test_without_twisted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "asyncioreactor", None)
    with pytest.raises(ImportError, match="pip install twisted"):
        platform.install()
