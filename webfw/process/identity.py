"""`Identity`: the user and groups that workers become, by name or number; who becomes whom is said elsewhere."""

import os
from dataclasses import dataclass

__all__ = ["Identity", "find_identity", "find_owner"]

#: The largest number of a user or a group; the one after it means "unchanged" to the system.
MAX_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is to be.

    :ivar uid: number of the user.
    :ivar gid: number of the first group.
    :ivar name: the user's name; None for a number that no name belongs to, which is then in no other group.
    :ivar home: the user's directory, if the system knows one.
    """

    uid: int
    gid: int
    name: str | None = None
    home: str | None = None

    def __str__(self) -> str:
        return f"{self.name or self.uid} ({self.uid}:{self.gid})"

    def is_current(self) -> bool:
        """Whether this process is that user, in that group, already."""
        return (os.geteuid(), os.getegid()) == (self.uid, self.gid)

    def check(self) -> None:
        """Find out, before workers are made, whether one could become this user.

        :raises PermissionError: it could not; the message says why.
        """
        if not self.is_current() and os.geteuid() != 0:
            raise PermissionError(
                f"only root can run workers as another user: this process is {_name_of(os.geteuid())}, not {self}"
            )

    def assume(self) -> None:
        """Become this user in its groups, for good; ``HOME``, ``USER`` and ``LOGNAME`` follow.

        Nothing happens in a process that is this user already.

        :raises PermissionError: the system does not let this process.
        :raises RuntimeError: there was a way back; who gets this should end.
        """
        if self.is_current():
            return
        # The groups first: without root they could not be changed any more.
        if self.name is not None:
            os.initgroups(self.name, self.gid)
        else:
            os.setgroups([self.gid])
        # From root these set the real, the effective and the saved one.
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.uid != 0:
            try:
                os.setuid(0)
            except PermissionError:
                pass
            else:
                raise RuntimeError("this process could become root again")
        if self.name is not None:
            os.environ.update(USER=self.name, LOGNAME=self.name)
        if self.home is not None:
            os.environ["HOME"] = self.home

    def own(self, path: str | os.PathLike[str]) -> None:
        """Give a file to this user; nothing happens in a process that could not, or need not.

        :raises OSError: there is no such file.
        """
        if os.geteuid() == 0 and not self.is_current():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def find_identity(user: str | None, group: str | None) -> Identity | None:
    """Return who workers are to be, None when nobody is named.

    :param user: name or number; the current user when None.
    :param group: name or number; the user's own when None.
    :raises ValueError: there is no such user or group; the message is one sentence.
    :raises OSError: this platform has neither.
    """
    if user is None and group is None:
        return None
    uid, gid, name, home = _find_user(user) if user is not None else _current()
    if group is not None:
        gid = _find_group(group)
    if gid is None:
        raise ValueError(f"user {user} is not known to this system: say which group, too")
    return Identity(uid, gid, name, home)


def find_owner(text: str) -> tuple[int, int]:
    """Return the numbers for ``chown`` of an owner as ``USER``, ``USER:GROUP`` or ``:GROUP``; -1 for unchanged.

    :raises ValueError: there is no such user or group; the message is one sentence.
    :raises OSError: this platform has neither.
    """
    user, _, group = text.partition(":")
    uid = _find_user(user)[0] if user else -1
    if not user and not group:
        raise ValueError(f"USER, USER:GROUP or :GROUP is wanted, not {text!r}")
    return uid, _find_group(group) if group else -1


def _current() -> tuple[int, int | None, str | None, str | None]:
    uid = os.geteuid()
    try:
        return _find_user(str(uid))
    except ValueError:
        return uid, os.getegid(), None, None


def _find_user(text: str) -> tuple[int, int | None, str | None, str | None]:
    _need_users()
    import pwd

    number = _number(text)
    try:
        entry = pwd.getpwnam(text) if number is None else pwd.getpwuid(number)
    except KeyError:
        if number is None:
            raise ValueError(f"there is no user {text!r} on this system") from None
        return number, None, None, None
    return entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir


def _find_group(text: str) -> int:
    _need_users()
    import grp

    number = _number(text)
    if number is not None:
        return number
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {text!r} on this system") from None


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text[:20])
    if number > MAX_ID:
        raise ValueError(f"{text} is no number of a user or a group: the largest is {MAX_ID}")
    return number


def _need_users() -> None:
    if not hasattr(os, "setuid"):
        raise OSError("this platform has no users and groups to change to")


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
