"""`Subprocess`: a child process on the loop, its pipes as streams; how its end is noticed is in `exits`."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from subprocess import CalledProcessError
from typing import Any, ClassVar

from webfw.ioloop import IOLoop
from webfw.iostream import PipeIOStream
from webfw.process.exits import Exit

__all__ = ["CalledProcessError", "Subprocess"]

#: The standard streams, in the order of their places among `subprocess.Popen`'s arguments, and the first of these.
_STREAMS = ("stdin", "stdout", "stderr")
_FIRST = 3


class Subprocess:
    """A child process: `subprocess.Popen` with streams and an end that can be awaited.

    :param args: those of `subprocess.Popen`, as are the keyword arguments.  In addition ``stdin``, ``stdout`` and
        ``stderr`` may be `Subprocess.STREAM`: the attribute of that name is then a `PipeIOStream`.
    :raises OSError: the program cannot be started; nothing is left open.
    :raises RuntimeError: `STREAM` was asked for on Windows.

    The child belongs to the loop that is current when it is started, in whatever thread that runs.  It is reaped when
    it ends, whether somebody waits for that or not.  Close the streams that were opened, ``stdin`` first if the child
    reads until its end.

    Read while you wait: a child whose pipe is full never ends.
    """

    #: Asks for a pipe with a `PipeIOStream` at this end.
    STREAM: ClassVar[object] = object()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: The loop the child belongs to.
        self.io_loop: IOLoop = IOLoop.current()
        arguments = list(args)
        given = dict(zip(_STREAMS, arguments[_FIRST:], strict=False)) | kwargs
        #: The ends of the pipes that were asked for, else what `subprocess.Popen` has made of the argument.
        self.stdin: Any = None
        self.stdout: Any = None
        self.stderr: Any = None
        theirs: list[int] = []
        try:
            for place, name in enumerate(_STREAMS, _FIRST):
                if given.get(name) is Subprocess.STREAM:
                    setattr(self, name, _open_pipe(name == "stdin", theirs))
                    if name in kwargs:
                        kwargs[name] = theirs[-1]
                    else:
                        arguments[place] = theirs[-1]
            #: The `subprocess.Popen` object, for ``send_signal`` and the like.
            self.proc: subprocess.Popen[Any] = subprocess.Popen(*arguments, **kwargs)
        except BaseException:
            for name in _STREAMS:
                stream = getattr(self, name)
                if stream is not None:
                    stream.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        for name in _STREAMS:
            if getattr(self, name) is None:
                setattr(self, name, getattr(self.proc, name))
        #: The child's process id.
        self.pid: int = self.proc.pid
        self._exit = Exit(self.proc, self.io_loop)

    @property
    def returncode(self) -> int | None:
        """The exit status once the child has ended, negative (minus the signal) if a signal ended it; None before."""
        return self.proc.returncode

    def set_exit_callback(self, callback: Callable[[int], Any]) -> None:
        """Call ``callback(returncode)`` once when the child ends, or in the next turn of the loop if it has ended.

        :param callback: replaces one that was set before and has not been called.  It runs on the loop, in a copy of
            the context of this call; what it raises is logged.

        No signal handler is needed, so it works in every thread and beside other libraries that start processes.
        """
        self._exit.set_callback(callback)

    def wait_for_exit(self, raise_error: bool = True) -> "asyncio.Future[int]":
        """Return a future of the exit status; may be called by several, before the end and after.

        :param raise_error: whether a status that is not 0 raises `CalledProcessError` (the default).

        Bytes that the child has written may still be in its pipes then.
        """
        return self._exit.add_future(raise_error)

    @classmethod
    def initialize(cls) -> None:
        """Do nothing: there is no signal handler to install.  Kept for programs written for older versions."""

    @classmethod
    def uninitialize(cls) -> None:
        """Do nothing, as `initialize`."""


class _ChildPipe(PipeIOStream):
    """A pipe that is closed when nobody refers to it any more, like the files `subprocess.Popen` opens.

    While somebody reads or writes, the loop refers to it.
    """

    def __del__(self) -> None:
        # The parent's constructor may not have come to it.
        if getattr(self, "fd", -1) >= 0:
            self.close_fd()


def _open_pipe(child_reads: bool, theirs: list[int]) -> PipeIOStream:
    """Make a pipe, return this process's end as a stream, and append the child's."""
    if os.name == "nt":
        raise RuntimeError("Subprocess.STREAM needs a POSIX platform")
    reader, writer = os.pipe()
    theirs.append(reader if child_reads else writer)
    return _ChildPipe(writer if child_reads else reader)
