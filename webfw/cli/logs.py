"""Where log lines go: standard streams or files that can be opened anew; what a line says may not enter."""

import errno
import logging
import os

from webfw.cli.errors import FAILED, CommandError
from webfw.log import access_log
from webfw.observe import TimeFormatter
from webfw.process.identity import Identity

__all__ = ["LineHandler", "Logs"]

_ACCESS_FORM = "%(asctime)s %(message)s"
_ERROR_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LineHandler(logging.Handler):
    """Writes each record as one line, in one write: several processes may share a file.

    :param target: the name of a file that is appended to, or the number of a descriptor.
    :raises OSError: the file cannot be opened.

    What cannot be written, as on a full disk, is lost and counted; the first line that can be written again is preceded
    by one that says how many were lost.  A log is no reason to fail a request.
    """

    def __init__(self, target: str | int, form: str) -> None:
        super().__init__()
        self.setFormatter(TimeFormatter(form))
        self.target = target
        self.lost = 0
        self._why = ""
        self._fd = self._open()

    def _open(self) -> int:
        if isinstance(self.target, int):
            return self.target
        # Not blocking, since a pipe would be opened when somebody reads it, which may be never.
        waits_not = getattr(os, "O_NONBLOCK", 0)
        try:
            fd = os.open(
                self.target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | waits_not, 0o640
            )
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise OSError(errno.ENXIO, "Nobody reads this pipe", self.target) from None
        if waits_not:
            os.set_blocking(fd, True)
        return fd

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            # Border: a record whose arguments do not fit is its writer's mistake; logging shows it.
            self.handleError(record)
            return
        if self.lost:
            self._write(f"webfw: {self.lost} lines of this log were lost: {self._why}\n{line}\n", self.lost)
        else:
            self._write(line + "\n", 0)

    def _write(self, text: str, told: int) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.lost += 1
            self._why = error.strerror or str(error)
        else:
            self.lost -= told

    def reopen(self) -> None:
        """Open a file anew, which may have been moved away; the old one goes on when that fails."""
        if isinstance(self.target, int):
            return
        try:
            fd = self._open()
        except OSError as error:
            self.lost += 1
            self._why = f"{self.target}: {error.strerror}"
            return
        old, self._fd = self._fd, fd
        os.close(old)

    def close(self) -> None:
        super().close()
        if not isinstance(self.target, int):
            os.close(self._fd)


class Logs:
    """The handlers of this process and those it forks.

    :param level: ``debug``, ``info``, ``warning`` or ``error``.
    :param access: a file, ``-`` for standard output, ``off`` for none.
    :param errors: a file, or ``-`` for standard error.
    :param access_has_time: whether access lines tell the time themselves.
    :raises CommandError: a file cannot be opened.

    What an application sets up itself stays as it is: its loading happens between `set_aside` and `put_back`.
    """

    def __init__(
        self, level: str, access: str = "-", errors: str = "-", access_has_time: bool = False
    ) -> None:
        self.level = level.upper()
        form = "%(message)s" if access_has_time else _ACCESS_FORM
        self._root = _handler("--error-log", errors, 2, _ERROR_FORM)
        self._access = None if access == "off" else _handler("--access-log", access, 1, form)
        self._off = access == "off"
        self.put_back()

    def put_back(self) -> None:
        """Use the handlers where nobody has put others."""
        root = logging.getLogger()
        if not root.handlers:
            root.addHandler(self._root)
            root.setLevel(self.level)
        if self._access is not None and not access_log.handlers:
            access_log.addHandler(self._access)
            access_log.propagate = False
        if access_log.level == logging.NOTSET:
            access_log.setLevel(logging.CRITICAL + 1 if self._off else self.level)

    def set_aside(self) -> None:
        """Leave logging as it was, for an application that is about to set it up."""
        root = logging.getLogger()
        if self._root in root.handlers:
            root.removeHandler(self._root)
            root.setLevel(logging.WARNING)
        if self._access is not None and self._access in access_log.handlers:
            access_log.removeHandler(self._access)
            access_log.propagate = True
        access_log.setLevel(logging.NOTSET)

    def reopen(self) -> None:
        """Open the files anew."""
        for handler in (self._root, self._access):
            if handler is not None:
                handler.reopen()

    def give_to(self, identity: Identity) -> None:
        """Make files belong to another user, who is to open them anew later."""
        for handler in (self._root, self._access):
            if handler is not None and isinstance(handler.target, str) and os.path.isfile(handler.target):
                identity.own(handler.target)


def _handler(flag: str, target: str, stream: int, form: str) -> LineHandler:
    if target == "-":
        return LineHandler(stream, form)
    try:
        return LineHandler(os.path.abspath(target), form)
    except OSError as error:
        raise CommandError(f"{flag} {target}: {(error.strerror or str(error)).lower()}", FAILED) from None
