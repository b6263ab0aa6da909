"""Signals in what an application forks from a worker, as multiprocessing does: there they mean what they always mean.

Else they would be ignored there, and written into the pipe by which the loop of the worker learns of its own.
"""

import os
import signal
import threading
from typing import Any

__all__ = ["not_here", "taken"]

#: The signals that the loop of this process has taken, with what handles them.
taken: dict[int, Any] = {}

_forking = threading.local()


def not_here(number: int, frame: object) -> None:
    """Handle a signal that is for the supervisor."""


def _before_fork() -> None:
    if taken:  # held back until the child knows what to do
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _after_fork() -> None:
    mask = vars(_forking).pop("mask", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    if "mask" not in vars(_forking):
        return
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if handler is not_here or (number in taken and handler == taken[number]):
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
    taken.clear()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
