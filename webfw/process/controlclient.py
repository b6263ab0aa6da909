"""`ControlClient`: the other end of a `ControlServer`, for commands that may wait; what they print may not enter."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from webfw.process.control import ControlError, directories, is_alive

__all__ = ["ControlClient", "find_servers"]

#: Bytes of one answer.
MAX_ANSWER = 64 * 1024 * 1024


class ControlClient:
    """A connection to a process tree.

    :param path: of its socket.
    :raises ControlError: nobody can be talked to there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._unread = b""
        if not hasattr(socket, "AF_UNIX"):
            raise ControlError("this platform has no UNIX sockets to control servers by")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(self.path)
        except OSError as error:
            self._socket.close()
            raise ControlError(_no_server(self.path, error)) from None

    def ask(
        self, command: str, waiting: Callable[[], None] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Send one command and wait for its answer.

        :param waiting: called once, when there is no answer after a second.
        :param arguments: what else the command needs.
        :raises ControlError: it was not done.
        """
        line = json.dumps({"command": command, **arguments}).encode() + b"\n"
        try:
            self._socket.sendall(line)
            answer = json.loads(self._line(waiting))
        except OSError as error:
            raise ControlError(f"the server at {self.path} is gone: {error.strerror or error}") from None
        except ValueError:
            raise ControlError(f"what answers at {self.path} is no webfw server") from None
        if not isinstance(answer, dict):
            raise ControlError(f"what answers at {self.path} is no webfw server")
        if not answer.get("ok"):
            raise ControlError(str(answer.get("error", "the server refuses, and does not say why")))
        return answer

    def _line(self, waiting: Callable[[], None] | None) -> bytes:
        self._socket.settimeout(1.0 if waiting is not None else None)
        while b"\n" not in self._unread:
            try:
                data = self._socket.recv(1024 * 1024)
            except TimeoutError:
                assert waiting is not None
                waiting()
                self._socket.settimeout(None)
                continue
            if not data:
                raise ControlError(
                    f"the server at {self.path} has gone without an answer, or it listens to its owner only"
                )
            self._unread += data
            if len(self._unread) > MAX_ANSWER:
                raise ControlError(f"what answers at {self.path} does not end its answer")
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _no_server(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no server is controlled at {path}: there is no such socket"
    if isinstance(error, ConnectionRefusedError):
        return f"no server is controlled at {path} any more: its process is gone"
    if isinstance(error, PermissionError):
        return f"no permission for the control socket {path}: only the server's owner and root may use it"
    return f"cannot use the control socket {path}: {(error.strerror or str(error)).lower()}"


def find_servers(places: Iterable[Path] | None = None) -> list[str]:
    """Return the control sockets of this user's process trees that are alive, by their process numbers.

    What processes that were killed have left there is removed.

    :param places: directories to look in; where `ControlServer` puts them by default.
    """
    found: dict[str, int] = {}
    for directory in directories() if places is None else places:
        with contextlib.suppress(OSError):  # it is not there, or not ours
            for path in directory.glob("*.sock"):
                if not path.stem.isdigit():
                    continue
                if is_alive(str(path)):
                    found[str(path)] = int(path.stem)
                else:
                    path.unlink()
    return sorted(found, key=lambda path: found[path])
