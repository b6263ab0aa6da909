"""Tests of webfw.ioloop.backend."""

import asyncio
import builtins
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webfw.ioloop import backend


@pytest.fixture(autouse=True)
def _no_choice_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("WEBFW_LOOP", raising=False)
    yield
    asyncio.set_event_loop(None)


def module_of(kind: str | None = None) -> str:
    loop = backend.new_event_loop(kind)
    try:
        return type(loop).__module__.partition(".")[0]
    finally:
        loop.close()


@pytest.fixture
def without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_uvloop(name: str, *args: Any) -> Any:
        if name == "uvloop":
            raise ImportError("No module named 'uvloop'")
        return real_import(name, *args)

    monkeypatch.delitem(sys.modules, "uvloop", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_uvloop)


def test_asyncio_is_made_when_asked_for() -> None:
    assert module_of("asyncio") == "asyncio"


def test_uvloop_is_made_when_installed() -> None:
    pytest.importorskip("uvloop")
    assert module_of("uvloop") == "uvloop"
    assert module_of("auto") == "uvloop"
    assert module_of() == "uvloop"


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBFW_LOOP", "asyncio")
    assert module_of() == "asyncio"


def test_auto_falls_back_to_asyncio(without_uvloop: None) -> None:
    assert module_of() == "asyncio"


def test_uvloop_that_is_missing_is_an_error_with_the_way_out(
    without_uvloop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBFW_LOOP", "uvloop")
    with pytest.raises(RuntimeError, match=r"WEBFW_LOOP is set to 'uvloop'.*install webfw\[uvloop\]"):
        backend.new_event_loop()


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="must be one of auto, asyncio, uvloop, not 'trio'"):
        backend.new_event_loop("trio")
    monkeypatch.setenv("WEBFW_LOOP", "tokio")
    with pytest.raises(ValueError, match="WEBFW_LOOP must be one of"):
        backend.new_event_loop()


class OwnPolicy(asyncio.DefaultEventLoopPolicy if sys.version_info < (3, 14) else object):  # type: ignore[misc]
    pass


@pytest.fixture
def own_policy() -> Iterator[Callable[[Any], None]]:
    yield asyncio.set_event_loop_policy
    asyncio.set_event_loop_policy(None)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are on their way out")
def test_a_policy_of_the_program_is_respected(own_policy: Callable[[Any], None]) -> None:
    own_policy(OwnPolicy())
    assert module_of() == "asyncio"


async def test_the_running_loop_is_the_threads_loop() -> None:
    assert backend.thread_event_loop() is asyncio.get_running_loop()


def test_asking_for_the_threads_loop_creates_none() -> None:
    seen: list[Any] = []

    def ask() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            seen.append(backend.thread_event_loop())
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            seen.append(backend.thread_event_loop() is loop)
            loop.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [None, True]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are on their way out")
def test_a_policy_built_from_nothing_is_asked(own_policy: Callable[[Any], None]) -> None:
    class Foreign(asyncio.AbstractEventLoopPolicy):
        loop: Any = None

        def get_event_loop(self) -> asyncio.AbstractEventLoop:
            if self.loop is None:
                raise RuntimeError("none here")
            return self.loop  # type: ignore[no-any-return]

        def set_event_loop(self, loop: Any) -> None:
            self.loop = loop

    policy = Foreign()
    own_policy(policy)
    assert backend.thread_event_loop() is None
    policy.loop = asyncio.SelectorEventLoop()
    assert backend.thread_event_loop() is policy.loop
    policy.loop.close()
