"""`main`: runs a script or a module, and runs it again whenever its files change; also when it could not even start."""

import builtins
import io
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType
from typing import NamedTuple

from webfw.autoreload.reloader import wait_for_change
from webfw.autoreload.sources import failed_files, files_of_exception, record_imports

__all__ = ["main"]

#: What programs end with that take SIGINT and SIGTERM and end because of them: as shells have it, 128 and the number.
_TOLD_TO_END = (128 + signal.SIGINT, 128 + signal.SIGTERM)

_USAGE = """\
usage: python -m webfw.autoreload [--until-success] -m MODULE [ARGUMENT...]
       python -m webfw.autoreload [--until-success] SCRIPT [ARGUMENT...]

Run a program, and run it again whenever one of its files changes.

  --until-success  end when the program has ended with status 0
"""


class _Request(NamedTuple):
    until_success: bool
    module: str | None
    script: str
    arguments: list[str]


def main() -> None:
    """Run the command ``python -m webfw.autoreload``.

    A program that ends is run again after the next change; one that fails at its start (with a syntax error, for
    instance) too.  ``--until-success`` ends with the program once that ends with status 0.  A program that runs on is
    not interrupted, unless it watches itself: see `start`.

    :raises SystemExit: with status 2 if the command line is wrong, with 0 if the program has ended and
        ``--until-success`` was given, with 130 after SIGINT, with 130 or 143 if the program has ended with that.
    """
    request = _parse(sys.argv[1:])
    record_imports()
    try:
        status, files = _run(request)
        if status in _TOLD_TO_END or (request.until_success and status == 0):
            sys.exit(status)
        name = request.module or request.script
        _say(f"webfw.autoreload: {name} ended with status {status}; it runs again after a change")
        wait_for_change(files | failed_files())
    except KeyboardInterrupt:
        sys.exit(130)


def _parse(words: Sequence[str]) -> _Request:
    left = list(words)
    until_success = False
    while left and left[0].startswith("-"):
        word = left.pop(0)
        if word in ("-h", "--help"):
            sys.stdout.write(_USAGE)
            sys.exit(0)
        elif word == "--until-success":
            until_success = True
        elif word == "-m" and left:
            return _Request(until_success, left[0], "", left[1:])
        else:
            _fail("-m needs the name of a module" if word == "-m" else f"unknown option {word}")
    if not left:
        _fail("what is to be run? Name a script, or a module with -m")
    return _Request(until_success, None, left[0], left[1:])


def _fail(message: str) -> None:
    sys.stderr.write(f"webfw.autoreload: {message}\n{_USAGE}")
    sys.exit(2)


def _say(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass  # closed by the program, or never there


def _run(request: _Request) -> tuple[int, set[str]]:
    """Run the program; return its exit status, and the files that an exception which ended it came through."""
    try:
        if request.module is not None:
            _run_module(request.module, request.arguments)
        else:
            _run_script(request.script, request.arguments)
    except SystemExit as exc:
        return _status(exc), files_of_exception(exc)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        # Border: whatever ends the program, it may be mended.
        error = exc.with_traceback(_of_program(exc.__traceback__))
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except Exception:
            # Border: the hook is the program's.
            traceback.print_exc()
        return 1, files_of_exception(exc)
    return 0, set()


def _status(exc: SystemExit) -> int:
    if exc.code is None:
        return 0
    if isinstance(exc.code, int):
        return int(exc.code)  # unittest's is a bool
    _say(str(exc.code))
    return 1


def _of_program(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames that have run the program."""
    own = {__file__, runpy.__file__, "<frozen runpy>"}
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename in own:
        first = first.tb_next
    return first


def _run_module(name: str, arguments: Sequence[str]) -> None:
    """What ``python -m NAME`` does."""
    # Its path replaces the first when it has been found.
    sys.argv = ["-m", *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_script(path: str, arguments: Sequence[str]) -> None:
    """What ``python PATH`` does."""
    sys.argv = [path, *arguments]
    full = os.path.join(os.getcwd(), path)  # as the interpreter makes it
    if os.path.isdir(path) or not _is_text(path):
        # A directory or an archive with a __main__, or compiled.
        del sys.path[: 0 if sys.flags.safe_path else 1]
        runpy.run_path(path, run_name="__main__")
        return
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    module = ModuleType("__main__")
    vars(module).update(
        __file__=full,
        __cached__=None,
        __builtins__=builtins,
        __loader__=SourceFileLoader("__main__", full),
    )
    sys.modules["__main__"] = module
    with io.open_code(full) as file:
        source = file.read()
    exec(compile(source, full, "exec", dont_inherit=True), vars(module))


def _is_text(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return not path.endswith(".pyc") and file.read(4) != b"PK\x03\x04"
    except OSError:
        return True  # opening it again will say why not
