"""Going into the background, and what belongs to it: a `Daemon`, a `Pidfile`, umask, directory; no server enters."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

from webfw.process.signals import signal_name
from webfw.process.streams import flush_streams, silence

__all__ = ["Daemon", "Pidfile", "PidfileError", "change_directory", "daemonize", "set_umask"]


#: What reaches the daemon through who waits for it.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM)


class Tree(Protocol):
    """What a `Daemon` looks at in a supervisor."""

    ready: bool


class Daemon:
    """This process, in the background, while somebody on a terminal waits to hear how its start goes.

    :param writer: the pipe to who waits.
    :param parent: the process between, which tells how this one has ended.

    Until `ready` it writes to the terminal like any other process.  It is a guest of a supervisor's loop, or told by
    hand.
    """

    #: The most seconds until `turned` is to be called again.
    patience = 60.0

    def __init__(self, writer: int, parent: int = 0) -> None:
        self._writer: int | None = writer
        self._parent = parent
        self._tree: Tree | None = None

    def watch(self, tree: Tree) -> None:
        """Be ready when this supervisor is."""
        self._tree = tree

    def ready(self) -> None:
        """All is well: the command on the terminal ends with status 0, and nothing is written there any more."""
        if self._writer is not None:
            silence()
            _tell(self._writer, {"ready": True})
            self._close()
            if os.getppid() == self._parent:  # then its number cannot be another's
                os.kill(self._parent, signal.SIGKILL)

    def turned(self) -> None:
        """Look whether the supervisor is ready."""
        if self._tree is not None and self._tree.ready:
            self._tree = None
            self.ready()

    def forked(self) -> None:
        """In a worker, which has nothing to say to a terminal: its failures are told by the supervisor."""
        if self._writer is not None:
            silence()
            self._close()

    def ended(self, status: int | None) -> None:
        """The supervisor ends; if it was never ready, the command on the terminal ends as this process does."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


def daemonize() -> Daemon:
    """Go on in the background: in a session of its own, without a terminal to be interrupted from.

    Who has called stays behind until the daemon is ready, or has ended, and exits with its status.  SIGINT and SIGTERM
    that it gets meanwhile end the daemon.

    :returns: in the daemon.  Descriptors are as they were, but for standard input, which is empty.
    :raises OSError: there is no going into the background here.
    """
    if not hasattr(os, "fork"):
        raise OSError("this platform has no background to go to")
    reader, writer = os.pipe()
    flush_streams()
    # No signal may find who waits before it knows what to do about it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        if os.fork():
            os.close(writer)
            _wait_and_exit(reader)
        os.close(reader)
        os.setsid()
        between = os.getpid()
        # A second time, since only who leads a session can be given a terminal again by opening one.
        child = os.fork()
        if child:
            _see_it_end(child, writer)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _tell(writer, {"pid": os.getpid()})
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    return Daemon(writer, between)


def _tell(writer: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more
        os.write(writer, json.dumps(message).encode() + b"\n")


def _see_it_end(child: int, writer: int) -> NoReturn:
    """Stand between the daemon and the terminal until it is ready, which ends this process: only a parent is told."""
    try:
        _, status = os.waitpid(child, 0)
        _tell(writer, {"status": os.waitstatus_to_exitcode(status)})
    finally:
        os._exit(0)


class _InterruptedError(Exception):
    """A signal to who waits for the daemon."""


def _wait_and_exit(reader: int) -> NoReturn:
    """Stay on the terminal until the daemon is ready or gone.

    Neither ``finally`` blocks nor exit functions may run here: sockets and files are the daemon's now.
    """
    daemon = 0
    try:
        for message in _messages(reader):
            if "pid" in message:
                daemon = message["pid"]
                for number in _PASSED_ON:
                    signal.signal(number, _interrupted)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            elif "ready" in message:
                os._exit(0)
            elif "status" in message:
                _exit_like(message["status"])
    except _InterruptedError as caught:
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon, signal.SIGTERM)
        os._exit(128 + caught.args[0])
    finally:
        os._exit(1)


def _exit_like(status: int) -> NoReturn:
    """Exit as the daemon has; only what no process can say of itself is left to be said."""
    if status < 0:
        why = f"webfw: the process in the background was killed by {signal_name(-status)} before it was ready"
        os.write(2, why.encode() + b"\n")
    os._exit(128 - status if status < 0 else status)


def _interrupted(number: int, frame: object) -> NoReturn:
    raise _InterruptedError(number)


def _messages(reader: int) -> Iterator[dict[str, Any]]:
    rest = b""
    while data := os.read(reader, 65536):
        *lines, rest = (rest + data).split(b"\n")
        yield from map(json.loads, lines)


def set_umask(text: str) -> None:
    """Set which permissions new files do not get.

    :param text: an octal number such as ``027``.
    :raises ValueError: it is none.
    """
    mask = int(text, 8)
    if not 0 <= mask <= 0o777:
        raise ValueError(f"a umask is an octal number from 0 to 777, not {text!r}")
    os.umask(mask)


def change_directory(path: str) -> None:
    """Work in another directory from now on.

    :raises ValueError: there is no way into it; the message is one sentence.
    """
    try:
        os.chdir(path)
    except OSError as error:
        raise ValueError(f"cannot work in the directory {path}: {_why(error)}") from None


class PidfileError(Exception):
    """There can be no pidfile; the message is one sentence."""


class Pidfile:
    """A file with the number of this process; a guest of the supervisor's loop.

    :param path: the file, replaced at once and as a whole, so that nobody reads half a number.
    :param upgrade: whether this process is to follow the one whose number is in the file: the number is then in a file
        with ``.2`` added to its name for as long as both live.
    :raises PidfileError: another process that lives is in the file, or it cannot be written.
    """

    def __init__(self, path: str, upgrade: bool = False) -> None:
        self.path = os.path.abspath(path)
        self._pid = os.getpid()
        #: Where the number is at present.
        self.place = self.path
        try:
            if upgrade and self._other(self.path) is not None:
                self.place = self.path + ".2"
            self._write()
        except OSError as error:
            raise PidfileError(f"cannot write the pidfile {self.place}: {_why(error)}") from None

    @property
    def patience(self) -> float:
        """The most seconds until `turned` is to be called again."""
        return 60.0 if self.place == self.path else 1.0

    def turned(self) -> None:
        """Take the name without ``.2`` when who had it is gone."""
        if self.place == self.path:
            return
        # What cannot be now may be later, and nobody waits for it.
        with contextlib.suppress(OSError, PidfileError):
            if self._other(self.path) is None:
                os.replace(self.place, self.path)
                self.place = self.path

    def forked(self) -> None:
        """A worker has no part in it."""

    def ended(self, status: int | None = 0) -> None:
        """Remove the file, if it is ours still, and this is the process that has written it."""
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError, PidfileError):
                if _number_in(self.place) == self._pid:
                    os.unlink(self.place)

    def _write(self) -> None:
        directory, name = os.path.split(self.place)
        draft = os.path.join(directory, f".{name}.{self._pid}")
        with open(draft, "w", encoding="ascii") as file:
            os.chmod(file.fileno(), 0o644)
            file.write(f"{self._pid}\n")
        try:
            try:
                os.link(draft, self.place)  # which fails where two come at the same time
            except FileExistsError:
                self._refuse_if_living()
                os.replace(draft, self.place)
                self._refuse_if_living()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)

    def _refuse_if_living(self) -> None:
        other = self._other(self.place)
        if other is not None:
            raise PidfileError(
                f"process {other}, which lives, is in the pidfile {self.place}: end it, or remove the file if it is "
                "another program's"
            )

    def _other(self, path: str) -> int | None:
        """The process in a file, when it lives and is not this one."""
        number = _number_in(path)
        if number is None or number == self._pid:
            return None
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return number


def _number_in(path: str) -> int | None:
    """The number in a pidfile; None when there is none.

    :raises PidfileError: something else is in it, which must not be lost.
    :raises OSError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return None
    if not text:
        return None
    if not (text.isdigit() and 0 < int(text) < 2**31):
        raise PidfileError(f"{path} is no pidfile: remove it, or name another file")
    return int(text)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
