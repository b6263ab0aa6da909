"""Which asyncio loop webfw makes when it has to make one, and which a thread has; IOLoop stays out.

A loop that runs already (under ``asyncio.run``, in a notebook) is always taken as it is.  Only when webfw
creates a loop itself does the choice below apply: the environment variable ``WEBFW_LOOP`` may be ``asyncio``,
``uvloop`` or ``auto`` (the default: uvloop when it is installed, else asyncio).
"""

import asyncio
import os
import sys
from typing import cast

__all__ = ["LOOPS", "new_event_loop", "thread_event_loop"]

#: The names ``WEBFW_LOOP`` and `new_event_loop` accept.
LOOPS = ("auto", "asyncio", "uvloop")


def new_event_loop(kind: str | None = None) -> asyncio.AbstractEventLoop:
    """Return a new asyncio event loop that is neither running nor current.

    :param kind: one of `LOOPS`; None reads the environment variable ``WEBFW_LOOP`` and means ``auto`` when
        that is unset.
    :raises ValueError: `kind` or the variable names no known loop.
    :raises RuntimeError: uvloop was asked for by name and cannot be imported.

    With ``auto``, an event loop policy that the program has installed is respected: the loop then comes from
    it.
    """
    source = "the event loop"
    if kind is None:
        source = "the environment variable WEBFW_LOOP"
        kind = os.environ.get("WEBFW_LOOP") or "auto"
    if kind not in LOOPS:
        raise ValueError(f"{source} must be one of {', '.join(LOOPS)}, not {kind!r}")
    if kind == "asyncio" or (kind == "auto" and _has_own_policy()):
        return asyncio.new_event_loop()
    try:
        import uvloop
    except ImportError as exc:
        if kind == "uvloop":
            raise RuntimeError(
                f"{source} is set to 'uvloop', which cannot be imported ({exc}); install webfw[uvloop]"
            ) from exc
        return asyncio.new_event_loop()
    return cast(asyncio.AbstractEventLoop, uvloop.new_event_loop())


def _has_own_policy() -> bool:
    # From 3.14 on policies are deprecated and asking for one warns.
    if sys.version_info >= (3, 14):
        return False
    return type(asyncio.get_event_loop_policy()) is not asyncio.DefaultEventLoopPolicy


def thread_event_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop running in this thread, else the one set for it, else None; never create one."""
    running = asyncio._get_running_loop()
    if running is not None:
        return running
    if sys.version_info >= (3, 14):
        try:
            return asyncio.get_event_loop()
        except RuntimeError:
            return None
    policy = asyncio.get_event_loop_policy()
    # Up to 3.13 asking the policy creates a loop where there is none (and warns about it from 3.12 on), so
    # look at what the standard policies keep.  A policy that is not built on them is asked.
    local = getattr(policy, "_local", None)
    if local is not None:
        return cast("asyncio.AbstractEventLoop | None", getattr(local, "_loop", None))
    try:
        return policy.get_event_loop()
    except RuntimeError:
        return None
