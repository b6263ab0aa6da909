"""Replaces this process by a new run of its program, as it was started; when to do that is decided elsewhere.

What the program was given at its start is noted when this module is imported, since the new run gets the same.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from webfw.autoreload.command import restart_command
from webfw.autoreload.sources import discard_compiled
from webfw.log import app_log, gen_log

__all__ = ["STARTED", "add_reload_hook", "command_line", "restart"]

#: When the program was started, about (`time.time`).
STARTED = time.time()

_environment = dict(os.environ)

_hooks: list[Callable[[], Any]] = []


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # removed
        return None


_directory = _current_directory()


def _open_descriptors() -> Iterator[int]:
    for place in ("/proc/self/fd", "/dev/fd"):
        try:
            names = os.listdir(place)
        except OSError:
            continue
        yield from (int(name) for name in names if name.isdigit())
        return


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _given_descriptors() -> dict[int, tuple[int, int] | None]:
    """Those that the process was started with: what it opens itself is closed when it is replaced."""
    given = {}
    for fd in _open_descriptors():
        try:
            if fd > 2 and os.get_inheritable(fd):
                given[fd] = _identity(fd)
        except OSError:
            pass  # that of the listing itself
    return given


_given = {} if os.name == "nt" else _given_descriptors()


def add_reload_hook(fn: Callable[[], Any]) -> None:
    """Call a function, without arguments, before the program is started again.

    :param fn: for what has to be closed in order, such as a database or child processes: neither ``finally`` nor
        ``atexit`` run then.  The hooks run in the order they were added; what one raises is logged.

    Descriptors need no hook: those that the program has opened are closed, and those it was given stay open.
    """
    _hooks.append(fn)


def command_line(wrap: bool) -> list[str] | None:
    """Return what `restart` will start, or None if this program cannot be started again."""
    argv = sys.orig_argv
    # A webfw that was found only because it lies beside the script would not be found by the wrapper.
    beside = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    script = sys.modules["__main__"].__dict__.get("__file__")
    if isinstance(script, str) and os.path.dirname(os.path.realpath(script)) == os.path.realpath(beside):
        wrap = wrap and _directory is not None and os.path.realpath(_directory) == os.path.realpath(beside)
    return restart_command(argv, wrap)


def restart(
    command: list[str],
    changed: Iterable[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    keep: Collection[int] = (),
) -> None:
    """Run the hooks, and replace this process by the command; it returns only if that fails, which is logged.

    :param changed: the files that have changed.
    :param environ: variables that the new process has besides.
    :param keep: descriptors that it has besides (nowhere on Windows).

    The new process has the id, the environment, the directory and the descriptors that this one was started with.
    """
    for hook in _hooks:
        try:
            hook()
        except Exception:
            # Border: one hook that fails must neither stop the others nor the reload.
            app_log.error("Exception in reload hook %r", hook, exc_info=True)
    discard_compiled(changed)
    environment = {**_environment, **(environ or {})}
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # none, broken or closed
    try:
        if _directory is not None:
            os.chdir(_directory)
        if os.name == "nt":
            # There is no exec: what has its name there lets the parent go on before the program has begun.
            os._exit(subprocess.call(command, env=environment))
        _restore_descriptors(keep)
        signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm would outlive the program that can take it
        os.execve(command[0], command, environment)
    except OSError as exc:
        gen_log.error("autoreload: %s cannot be started: %s", command[0], exc)


def _restore_descriptors(keep: Collection[int]) -> None:
    for fd in _open_descriptors():
        if fd > 2:
            try:
                os.set_inheritable(fd, fd in keep or (fd in _given and _given[fd] == _identity(fd)))
            except OSError:
                pass  # that of the listing itself
