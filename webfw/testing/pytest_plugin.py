"""The plugin for pytest: fixtures around an application, and the tests that use them; it loads webfw when it is used.

The fixtures ``webfw_client`` and ``webfw_server`` need ``webfw_app``, which a program defines itself.  Coroutine tests
that use one of them, or are marked ``webfw``, run on a loop of their own where no other plugin runs them.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from webfw.testing.client import Client
    from webfw.testing.server import LoopbackServer

__all__ = ["webfw_app", "webfw_client", "webfw_server"]

_FIXTURES = frozenset(["webfw_app", "webfw_client", "webfw_server"])
#: The server that a coroutine test is to run in, on its item.
_SERVER = pytest.StashKey["LoopbackServer"]()
#: The test as it was, while something else stands in its place.
_ORIGINAL = pytest.StashKey[Callable[..., Any]]()


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker means."""
    config.addinivalue_line(
        "markers",
        "webfw: run this coroutine test on an event loop of its own, as those that use a fixture of webfw",
    )


# --- fixtures ---


@pytest.fixture
def webfw_app() -> Any:
    """The application under test: a program defines a fixture of this name that returns it."""
    pytest.fail(
        "webfw does not know your application: define a fixture webfw_app that returns it, for instance in conftest.py",
        pytrace=False,
    )


@pytest.fixture
def webfw_client(webfw_app: Any) -> "Client":
    """A `Client` that asks ``webfw_app`` in memory."""
    from webfw.testing.client import Client

    return Client(webfw_app)


@pytest.fixture
def webfw_server(webfw_app: Any, request: pytest.FixtureRequest) -> "Iterator[LoopbackServer]":
    """``webfw_app`` on a real server at a free port of 127.0.0.1: a `LoopbackServer`.

    For a coroutine test it runs on the test's loop, for other tests in a thread.  At the end it is drained.
    """
    from webfw.testing.server import LoopbackServer, ThreadedServer

    test = _test_function(request.node)
    if test is None or inspect.iscoroutinefunction(test):
        server = LoopbackServer(webfw_app)
        request.node.stash[_SERVER] = server
        yield server
    else:
        server = ThreadedServer(webfw_app)
        with server:
            yield server
    server.close()


# --- coroutine tests ---


def _test_function(item: Any) -> Callable[..., Any] | None:
    """The function that is the test, also below Hypothesis; None where there is none."""
    function = getattr(item, "obj", None)
    given = getattr(function, "hypothesis", None)
    return function if given is None else given.inner_test


def _replace(item: Any, function: Callable[..., Any]) -> None:
    """Have something else run in place of the test, for as long as it runs."""
    item.stash.setdefault(_ORIGINAL, _test_function(item))
    _set_function(item, function)


def _set_function(item: Any, function: Callable[..., Any]) -> None:
    given = getattr(item.obj, "hypothesis", None)
    if given is None:
        item.obj = function
    else:
        given.inner_test = function


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have the server run within the test, so that it is on its loop whoever runs that."""
    server = item.stash.get(_SERVER, None)
    test = _test_function(item)
    if server is not None and test is not None:

        @functools.wraps(test)
        async def served(*args: Any, **kwargs: Any) -> None:
            async with server:
                await test(*args, **kwargs)

        _replace(item, served)
    try:
        yield
    finally:
        # Hypothesis has one function for all the items of a parametrized test.
        original = item.stash.get(_ORIGINAL, None)
        if original is not None:
            _set_function(item, original)
            del item.stash[_ORIGINAL]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test that is ours and that no other plugin has taken."""
    test = _test_function(pyfuncitem)
    if test is None or not inspect.iscoroutinefunction(test):
        return None
    if not (_FIXTURES.intersection(pyfuncitem.fixturenames) or pyfuncitem.get_closest_marker("webfw")):
        return None

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        _run_on_fresh_loop(test, *args, **kwargs)

    if test is not pyfuncitem.obj:  # Hypothesis calls it, once for each example
        _replace(pyfuncitem, run)
        return None
    run(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames})
    return True


def _run_on_fresh_loop(test: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    import asyncio

    from webfw.ioloop.backend import new_event_loop

    # The runner cancels what is left, closes async generators and the executor, then the loop.
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(test(*args, **kwargs))
