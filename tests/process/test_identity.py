"""Tests of webfw.process.identity: users by name and number, and a process that really becomes nobody."""

import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.treerunner import Tree
from webfw.process.identity import Identity, find_identity, find_owner

ROOT = Path(__file__).resolve().parents[2]
NOBODY = pwd.getpwnam("nobody")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

BECOME = """
import json, os, sys
from webfw.process.identity import find_identity
who = find_identity(*json.loads(sys.argv[1]))
who.check()
who.assume()
who.assume()
try:
    os.setuid(0)
    back = True
except PermissionError:
    back = False
print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), back,
                  os.environ.get("HOME"), os.environ.get("USER"), os.environ.get("LOGNAME")]))
"""


def become(user: str | None, group: str | None) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", BECOME, json.dumps([user, group])],
        cwd=ROOT,
        env={**os.environ, "HOME": "/root", "USER": "root", "LOGNAME": "root"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_nobody_named_is_nobody_to_become() -> None:
    assert find_identity(None, None) is None


@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
def test_a_user_by_name_or_number(user: str) -> None:
    who = find_identity(user, None)
    assert who == Identity(NOBODY.pw_uid, NOBODY.pw_gid, "nobody", NOBODY.pw_dir)
    assert str(who) == f"nobody ({NOBODY.pw_uid}:{NOBODY.pw_gid})"


def test_a_group_beside_the_user() -> None:
    who = find_identity("nobody", "daemon")
    assert who is not None
    assert who.gid == 1
    assert who.name == "nobody"
    numbered = find_identity("nobody", "4711")
    assert numbered is not None
    assert numbered.gid == 4711


def test_a_group_alone_keeps_the_user() -> None:
    who = find_identity(None, "daemon")
    assert who is not None
    assert (who.uid, who.gid) == (os.geteuid(), 1)


def test_a_group_alone_for_a_user_the_system_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert find_identity(None, "daemon") == Identity(54321, 1)


def test_a_number_without_a_name_needs_a_group() -> None:
    with pytest.raises(ValueError, match="user 54321 is not known to this system: say which group, too"):
        find_identity("54321", None)
    who = find_identity("54321", "54322")
    assert who == Identity(54321, 54322)
    assert str(who) == "54321 (54321:54322)"


@pytest.mark.parametrize(
    ("user", "group", "sentence"),
    [
        ("nobdy", None, "there is no user 'nobdy' on this system"),
        (None, "nogruop", "there is no group 'nogruop' on this system"),
        ("nobody", "", "there is no group '' on this system"),
        ("-1", None, "there is no user '-1' on this system"),
        ("4294967295", None, "4294967295 is no number of a user or a group: the largest is 4294967294"),
        ("9" * 5000, None, "is no number of a user or a group"),
        ("nobody", "4294967295", "4294967295 is no number"),
        ("٣", None, "there is no user '٣' on this system"),
    ],
)
def test_who_is_not_there(user: str | None, group: str | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        find_identity(user, group)


def test_owners() -> None:
    assert find_owner("nobody") == (NOBODY.pw_uid, -1)
    assert find_owner("nobody:daemon") == (NOBODY.pw_uid, 1)
    assert find_owner(":daemon") == (-1, 1)
    assert find_owner("12345:0") == (12345, 0)
    for text in ("", ":"):
        with pytest.raises(ValueError, match="USER, USER:GROUP or :GROUP is wanted"):
            find_owner(text)
    with pytest.raises(ValueError, match="there is no user 'nobdy'"):
        find_owner("nobdy:daemon")


def test_a_platform_without_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "setuid")
    with pytest.raises(OSError, match="this platform has no users and groups to change to"):
        find_identity("nobody", None)
    with pytest.raises(OSError, match="this platform has no users"):
        find_owner(":daemon")


def test_who_may_become_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    who = Identity(NOBODY.pw_uid, NOBODY.pw_gid, "nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(PermissionError, match=r"only root .* this process is daemon, not nobody \(\d+:\d+\)"):
        who.check()
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(PermissionError, match="this process is 54321, not nobody"):
        who.check()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    who.check()
    Identity(0, os.getegid()).check()


def test_being_somebody_already_needs_nothing(tmp_path: Path) -> None:
    who = Identity(os.geteuid(), os.getegid())
    assert who.is_current()
    who.check()
    who.assume()
    who.own(tmp_path / "is not even there")


@as_root
def test_becoming_nobody() -> None:
    uids, gids, groups, back, *environment = become("nobody", None)
    assert uids == [NOBODY.pw_uid] * 3
    assert gids == [NOBODY.pw_gid] * 3
    assert groups == sorted(os.getgrouplist("nobody", NOBODY.pw_gid))
    assert back is False
    assert environment == [NOBODY.pw_dir, "nobody", "nobody"]


@as_root
def test_becoming_a_number_takes_all_groups_away() -> None:
    uids, gids, groups, back, *environment = become("54321", "54322")
    assert (uids, gids, groups, back) == ([54321] * 3, [54322] * 3, [54322], False)
    assert environment == ["/root", "root", "root"]


@as_root
def test_root_in_another_group() -> None:
    uids, gids, _, back, home, user, _ = become(None, "daemon")
    assert (uids, gids, back) == ([0] * 3, [1] * 3, True)
    assert (home, user) == (pwd.getpwuid(0).pw_dir, "root")


@as_root
def test_files_that_are_given_away(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    Identity(NOBODY.pw_uid, NOBODY.pw_gid).own(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    link = tmp_path / "link"
    secret = tmp_path / "secret"
    secret.touch()
    link.symlink_to(secret)
    Identity(NOBODY.pw_uid, NOBODY.pw_gid).own(link)
    assert secret.stat().st_uid == 0


def test_a_way_back_to_root_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    for name in ("initgroups", "setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *arguments, name=name: called.append((name, *arguments)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(RuntimeError, match="could become root again"):
        Identity(54321, 54322, "somebody").assume()
    assert called == [
        ("initgroups", "somebody", 54322),
        ("setgid", 54322),
        ("setuid", 54321),
        ("setuid", 0),
    ]


@as_root
def test_a_tree_of_roots_with_workers_of_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    monkeypatch.setenv("BECOME", "nobody")
    tree = Tree(tmp_path, "VERSION = 1", ())
    try:
        tree.expect("all ready")
        worker = int(tree.ask()[0])
        users = [uids(pid) for pid in (tree.process.pid, worker)]
        assert users == [[0] * 4, [NOBODY.pw_uid] * 4]
        tree.signal(signal.SIGHUP)  # they are replaced and ended like others
        tree.expect("ready 0")
        assert uids(int(tree.ask()[0])) == [NOBODY.pw_uid] * 4
        tree.signal(signal.SIGTERM)
        assert tree.end() == 0
    finally:
        if tree.process.poll() is None:
            tree.process.kill()
            tree.process.wait()
        assert tree.process.stdout is not None
        tree.process.stdout.close()


def uids(pid: int) -> list[int]:
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")
    ]
    return [int(word) for word in line.split()[1:]]
