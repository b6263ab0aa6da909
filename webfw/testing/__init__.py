"""Tools for testing what is built with webfw: fakes of the network and the clock; no test case of ours may enter.

What is listed here is imported on first use: the plugin for pytest stands in this package too, and is loaded in every
run of pytest, also where nothing of webfw is tested.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import unittest

    from webfw import gen
    from webfw.testing.brokers import check_broker
    from webfw.testing.cases import AsyncTestCase, gen_test, setup_with_context_manager
    from webfw.testing.client import Client
    from webfw.testing.expectlog import ExpectLog
    from webfw.testing.fakes import FakeClock, FakeWire
    from webfw.testing.httpcases import AsyncHTTPSTestCase, AsyncHTTPTestCase
    from webfw.testing.ports import bind_unused_port, get_async_test_timeout
    from webfw.testing.runner import main

__all__ = [
    "AsyncHTTPSTestCase",
    "AsyncHTTPTestCase",
    "AsyncTestCase",
    "Client",
    "ExpectLog",
    "FakeClock",
    "FakeWire",
    "bind_unused_port",
    "check_broker",
    "gen",
    "gen_test",
    "get_async_test_timeout",
    "main",
    "setup_with_context_manager",
    "unittest",
]

#: Where each name comes from; a name without a module is one.
_HOMES = {
    "AsyncHTTPSTestCase": "webfw.testing.httpcases",
    "AsyncHTTPTestCase": "webfw.testing.httpcases",
    "AsyncTestCase": "webfw.testing.cases",
    "Client": "webfw.testing.client",
    "ExpectLog": "webfw.testing.expectlog",
    "FakeClock": "webfw.testing.fakes",
    "FakeWire": "webfw.testing.fakes",
    "bind_unused_port": "webfw.testing.ports",
    "check_broker": "webfw.testing.brokers",
    "gen_test": "webfw.testing.cases",
    "get_async_test_timeout": "webfw.testing.ports",
    "main": "webfw.testing.runner",
    "setup_with_context_manager": "webfw.testing.cases",
}
#: Modules that programs expect to find here, as in Tornado.
_MODULES = {"gen": "webfw.gen", "unittest": "unittest"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'webfw.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
