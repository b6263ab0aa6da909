"""`main`: unittest's own runner with webfw's options for logs and clients; no test may enter."""

import signal
import sys
import unittest
from typing import Any

from webfw.httpclient import AsyncHTTPClient
from webfw.options import define, options

__all__ = ["main"]

#: unittest's options that have their value behind a blank.
_WITH_VALUES = ("-k", "--durations")


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Tell our options from unittest's, which has ``-v`` and ``--failfast`` and reads the names of tests."""
    ours: list[str] = []
    theirs: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return ours, [*theirs, *arguments[position + 1 :]]
        name = argument.lstrip("-").partition("=")[0]
        known = argument.startswith("--") and name in options and name != "help"
        (ours if known else theirs).append(argument)
    return ours, theirs


def main(**kwargs: Any) -> None:
    """Run tests: `unittest.main`, with webfw's options for logging before it.

    ``python -m webfw.testing package.test_module`` runs a module.  A script of a project may define a function
    ``all()`` that returns a suite, and call ``main()``: it then runs all of them, or those named on its command line.
    Options are those of `webfw.options` (``--logging=debug`` and others that the program has defined) and these:

    * ``--httpclient=dotted.Name``: which class `AsyncHTTPClient` makes;
    * ``--exception_on_interrupt=false``: Ctrl-C ends the process at once, rather than with a traceback.

    What is none of them, such as ``-v``, ``-k pattern`` or ``--failfast``, is unittest's.

    :param kwargs: for `unittest.main`, such as ``verbosity=2`` or ``exit=False``.
    """
    if "exception_on_interrupt" not in options:
        define("exception_on_interrupt", type=bool, default=True, help="raise KeyboardInterrupt on Ctrl-C")
    if "httpclient" not in options:
        define("httpclient", type=str, default=None, help="the class that AsyncHTTPClient makes")
    program, *arguments = kwargs.pop("argv", None) or sys.argv
    ours, theirs = _split(arguments)
    options.parse_command_line([program, *ours])
    if options.httpclient:
        AsyncHTTPClient.configure(options.httpclient)
    if not options.exception_on_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    script = sys.modules["__main__"]
    names = [
        argument
        for before, argument in zip(["", *theirs], theirs, strict=False)
        if not argument.startswith("-") and before not in _WITH_VALUES
    ]
    if "module" not in kwargs and names and not hasattr(script, names[0].partition(".")[0]):
        kwargs["module"] = None  # names of modules, not of what the script has
    if not names and hasattr(script, "all"):
        kwargs.setdefault("defaultTest", "all")
    unittest.main(argv=[program, *theirs], **kwargs)
