"""Twisted beside webfw, both on one asyncio loop; what Twisted does there stays its own.

Importing this page lets coroutines of ``gen.coroutine`` yield Deferreds, where Twisted is installed.
"""

import asyncio
from typing import Any

from webfw.gen import convert_yielded
from webfw.ioloop import IOLoop

__all__ = ["install"]


def install() -> None:
    """Make Twisted's reactor run on the current loop; call it before ``twisted.internet.reactor`` is imported.

    New programs call ``twisted.internet.asyncioreactor.install`` themselves.

    :raises ImportError: Twisted is not installed.
    :raises ReactorAlreadyInstalledError: (Twisted's) there is another reactor already.
    """
    if asyncioreactor is None:
        raise ImportError("webfw.platform.twisted needs the twisted package: pip install twisted")
    asyncioreactor.install(IOLoop.current().asyncio_loop)


def _of_deferred(deferred: Any) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = deferred.asFuture(asyncio.get_running_loop())
    return future


asyncioreactor: Any = None
try:
    from twisted.internet import asyncioreactor
    from twisted.internet.defer import Deferred
except ImportError:  # install() says so
    pass
else:
    convert_yielded.register(Deferred, _of_deferred)
