"""Coroutines from generators, and waiting for several things or for a limited time; locks and queues stay out.

New code is written with ``async def``; `multi`, `with_timeout`, `sleep` and `WaitIterator` serve both kinds.
"""

from webfw.concurrent import (
    Future,
    ReturnValueIgnoredError,
    chain_future,
    future_add_done_callback,
    future_set_exc_info,
    future_set_result_unless_cancelled,
    is_future,
)
from webfw.gen.runner import Return, Runner, coroutine, is_coroutine_function
from webfw.gen.waiting import WaitIterator, maybe_future, sleep, with_timeout
from webfw.gen.yieldables import (
    BadYieldError,
    KeyReuseError,
    LeakedCallbackError,
    UnknownKeyError,
    convert_yielded,
    moment,
    multi,
)
from webfw.ioloop import IOLoop
from webfw.util import TimeoutError

#: `multi` under the names it had.
Multi = multi
multi_future = multi

__all__ = [
    "BadYieldError",
    "Future",
    "IOLoop",
    "KeyReuseError",
    "LeakedCallbackError",
    "Multi",
    "Return",
    "ReturnValueIgnoredError",
    "Runner",
    "TimeoutError",
    "UnknownKeyError",
    "WaitIterator",
    "chain_future",
    "convert_yielded",
    "coroutine",
    "future_add_done_callback",
    "future_set_exc_info",
    "future_set_result_unless_cancelled",
    "is_coroutine_function",
    "is_future",
    "maybe_future",
    "moment",
    "multi",
    "multi_future",
    "sleep",
    "with_timeout",
]
