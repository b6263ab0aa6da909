"""`start`, `watch`, `wait`: a thread watches the files, and the loop starts the program again; it is no wrapper."""

import asyncio
import os
import signal
import threading
from typing import NoReturn

from webfw.autoreload.notify import best_bell
from webfw.autoreload.restart import STARTED, command_line, restart
from webfw.autoreload.sources import syntax_error_in
from webfw.autoreload.watcher import Bell, Watcher
from webfw.ioloop import IOLoop
from webfw.ioloop.backend import thread_event_loop
from webfw.log import gen_log
from webfw.process import task_id

__all__ = ["Reloader", "ensure_started", "stand_down", "start", "wait", "wait_for_change", "watch"]

#: Milliseconds between two looks at all files, where nothing tells of changes.
CHECK_TIME = 500

#: Seconds after which a reloader looks whether its loop is still there.
PATIENCE = 1.0

#: The files that `watch` was told.
_watched: set[str] = set()

_reloader: "Reloader | None" = None
_refused = False


class Reloader:
    """Watches for one loop, in a thread, so that the loop waits for neither the disk nor the system.

    :param loop: where the hooks and the restart run.
    :param command: what to start when something has changed.
    :param watcher: tells what has changed.

    While a changed file has a syntax error the program runs on as it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, command: list[str], watcher: Watcher) -> None:
        self.loop = loop
        self.watcher = watcher
        self.pid = os.getpid()
        self._command = command
        self._thread = threading.Thread(target=self._run, name="autoreload", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a change would be noticed: its loop is there, and the process is no fork."""
        return self.pid == os.getpid() and not self.loop.is_closed() and not self.watcher.closed

    def stop(self) -> None:
        """End the thread."""
        self.watcher.close()

    def join(self) -> None:
        """Wait for the thread to end, after `stop` or the loop's close."""
        self._thread.join()

    def _run(self) -> None:
        changed: set[str] = set()
        while not (self.watcher.closed or self.loop.is_closed()):
            found = self.watcher.wait(PATIENCE)
            if not found:
                continue
            changed |= found
            changed = set(filter(os.path.exists, changed))  # what is being replaced will be back
            if not changed:
                continue
            # All of them: what was broken before must have been mended.
            errors = sorted(filter(None, map(syntax_error_in, changed)))
            if errors:
                gen_log.error("not reloaded: %s", "; ".join(errors))
                continue
            try:
                self.loop.call_soon_threadsafe(self._restart, changed)
            except RuntimeError:
                break  # the loop was closed
            changed = set()

    def _restart(self, changed: set[str]) -> None:
        if self.watcher.closed:
            return
        gen_log.info("%s changed: starting again", ", ".join(sorted(changed)))
        restart(self._command, changed)


def start(check_time: float = CHECK_TIME) -> None:
    """Start the program again whenever a file it was made from changes; for development.

    :param check_time: milliseconds between two looks at the files, where they are polled; with watchfiles installed
        (the extra ``webfw[reload]``) a change is noticed by itself.

    The restart runs on the current loop.  There is one watch in a process: calling this again does nothing, unless the
    loop has been closed or is not the one that runs.  In a worker of `fork_processes` and in a program that was typed
    or piped in, there is a warning and nothing else.

    The ``debug`` and ``autoreload`` settings of an application call this.
    """
    loop: IOLoop = IOLoop.current()
    _start_on(loop.asyncio_loop, check_time)


def stand_down() -> None:
    """Leave the watching to somebody else in this process, such as ``webfw dev``: `start` does nothing from now on."""
    global _refused
    _refused = True
    if _reloader is not None:
        _reloader.stop()


def ensure_started() -> bool:
    """Do what `start` does if there is a loop, running or current, and tell whether there is; make none."""
    loop = asyncio._get_running_loop() or thread_event_loop()
    if loop is None or loop.is_closed():
        return False
    if _reloader is None or _reloader.loop is not loop:
        _start_on(loop, CHECK_TIME)
    return True


def _start_on(loop: asyncio.AbstractEventLoop, check_time: float) -> None:
    global _reloader, _refused
    old = _reloader
    if old is not None and old.running:
        if old.loop is loop or old.loop.is_running():
            return
        old.stop()
    if _refused:
        return
    command = command_line(wrap=True)
    if task_id() is not None:
        _refused = True
        gen_log.warning(
            "autoreload is for one process, such as that of webfw dev: worker %d does not watch for changes",
            task_id(),
        )
    elif command is None:
        _refused = True
        gen_log.warning("autoreload: a program that was typed or piped in cannot be started again")
    else:
        _reloader = Reloader(loop, command, _new_watcher(check_time / 1000, best_bell()))


def _new_watcher(interval: float, bell: Bell) -> Watcher:
    watcher = Watcher(interval=interval, since=STARTED, bell=bell)
    for path in _watched:
        watcher.watch(path, loaded=True)
    return watcher


def watch(filename: str | os.PathLike[str]) -> None:
    """Watch a file too that is no module, such as a template or a configuration; it need not exist yet.

    All imported modules are watched without this.
    """
    _watched.add(os.path.abspath(filename))
    if _reloader is not None:
        _reloader.watcher.watch(filename)


def wait() -> None:
    """Wait until a file the program was made from changes, then start the program again.

    For the end of a program without a loop, such as a test runner, which then runs again after each change; the command
    line (`main`) does the same for programs that do not call it.  Call it in the main thread.

    :raises RuntimeError: the program was typed or piped in.
    """
    wait_for_change(set())


def wait_for_change(files: set[str]) -> NoReturn:
    """Do what `wait` does, watching some more files.

    :param files: what the program has tried to read.
    """
    command = command_line(wrap=False)
    if command is None:
        raise RuntimeError("a program that was typed or piped in cannot be started again")
    if _reloader is not None:
        _reloader.stop()
    if threading.current_thread() is threading.main_thread():
        # Those of the program would do something for a program that has ended.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    watcher = _new_watcher(CHECK_TIME / 1000, best_bell())
    for path in files:
        watcher.watch(path, loaded=True)
    while True:
        changed = watcher.wait()
        gen_log.info("%s changed: starting again", ", ".join(sorted(changed)))
        restart(command, changed)
