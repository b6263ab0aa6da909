"""The standard streams of a process that is about to fork, or to lose its terminal; what is said may not enter."""

import contextlib
import os
import sys

__all__ = ["flush_streams", "silence"]


def flush_streams() -> None:
    """Write what standard output and error keep, as far as it can be written; whoever is forked would do so again."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # A pipe that nobody reads, a stream that is closed, an application's own that is none.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()


def silence() -> None:
    """Let standard input, output and error lead nowhere."""
    flush_streams()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
