"""Tests of webfw.pubsub.workers.places: paths, the lock, and what belongs to others."""

import os
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from webfw.pubsub.broker import BrokerUnavailable
from webfw.pubsub.workers import places
from webfw.pubsub.workers.places import MAX_PATH, Place, default_path, peer_process, start_hub


def test_the_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBFW_PROCESS_TREE", "12-ab")
    monkeypatch.delenv("WEBFW_WORKERS_SOCKET", raising=False)
    assert default_path() == f"{tempfile.gettempdir()}/webfw-{os.geteuid()}/12-ab.sock"
    monkeypatch.setenv("WEBFW_WORKERS_SOCKET", "/run/here")
    assert default_path() == "/run/here"


def test_a_path_is_absolute_and_no_longer_than_a_socket_can_have(tmp_path: Path) -> None:
    assert Place("x/../y").path == os.path.abspath("y")
    room = MAX_PATH - len("/")
    Place("/" + "x" * room)
    with pytest.raises(
        ValueError, match=f"can have {MAX_PATH} bytes, not {MAX_PATH + 1}.*WEBFW_WORKERS_SOCKET"
    ):
        Place("/" + "x" * (room + 1))
    with pytest.raises(ValueError, match="can have"):
        Place("/" + "\u00f6" * (room // 2 + 1))


def test_the_longest_path_can_be_bound(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    place = Place(path + "x" * (MAX_PATH - len(path)))
    with place.claim(None, 1):
        assert place.is_ours()
    place.forget_socket()
    place.release()


def test_one_has_the_lock(path: str) -> None:
    one, two = Place(path), Place(path)
    assert one.lock()
    assert not two.lock()
    one.release()
    assert not os.path.exists(path + ".lock")
    assert two.lock()
    one.release()  # which has it no more
    assert os.path.exists(path + ".lock")
    two.release()
    assert os.listdir(os.path.dirname(path)) == []


def test_a_lock_that_was_removed_meanwhile_is_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened before, and locked after, its owner has removed it: a new one must be made."""
    place = Place(path)
    real = os.open
    opened: list[int] = []

    def open_and_lose(*args: object, **options: object) -> int:
        fd = real(*args, **options)  # type: ignore[arg-type]
        opened.append(fd)
        if len(opened) == 1:
            os.unlink(path + ".lock")
        return fd

    monkeypatch.setattr(os, "open", open_and_lose)
    assert place.lock()
    assert len(opened) == 2
    assert place._is_lock(place.hand_over())
    place.release()


def test_the_lock_goes_with_its_descriptor(path: str) -> None:
    giver, taker, third = Place(path), Place(path), Place(path)
    assert giver.lock()
    fd = os.dup(giver.hand_over())
    assert taker.adopt(fd)
    giver.unlock()
    assert not third.lock()
    taker.sign()
    assert Path(path + ".lock").read_text() == f"{os.getpid()}\n"
    taker.release()
    assert third.lock()
    third.release()


def test_a_descriptor_that_is_no_lock_is_not_adopted(path: str, tmp_path: Path) -> None:
    assert not Place(path).adopt(12345)
    with (tmp_path / "other").open("w") as file:
        assert not Place(path).adopt(file.fileno())
    with pytest.raises(BrokerUnavailable, match="another hub is there"):
        Place(path).claim(12345, 1)


def test_the_socket_of_a_hub_that_died_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    place = Place(path)
    place.check()
    with place.claim(None, 1):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert peer_process(client) == (os.getpid(), os.geteuid())
    place.forget_socket()
    place.release()


def test_a_directory_is_made_for_this_user_alone(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "new" / "s"))
    with place.claim(None, 1):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    place.forget_socket()
    place.release()


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(BrokerUnavailable, match="other users can change"):
        Place(str(tmp_path / "s")).claim(None, 1)
    tmp_path.chmod(0o1777)  # as /tmp has it: nobody can replace what is ours
    place = Place(str(tmp_path / "s"))
    place.claim(None, 1).close()
    place.forget_socket()
    place.release()
    tmp_path.chmod(0o700)


def test_what_belongs_to_another_user_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
    monkeypatch.setattr(places, "_uid", lambda: os.geteuid() + 1)
    with pytest.raises(BrokerUnavailable, match=r"belongs to user \d+, not to us"):
        Place(path).check()
    place = Place(str(Path(path).parent / "other"))
    if os.geteuid():  # else the directory is root's, which is fine
        with pytest.raises(BrokerUnavailable, match="must belong to us"):
            place.lock()


def test_what_is_no_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(BrokerUnavailable, match="is no socket"):
        Place(path).check()
    with pytest.raises(BrokerUnavailable, match="is no socket"):
        Place(path).claim(None, 1)
    assert Path(path).read_text() == "precious"
    assert not os.path.exists(path + ".lock")


def test_what_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerUnavailable, match="Not a directory|File exists"):
        Place(str(tmp_path / "file" / "s")).lock()
    (tmp_path / "s.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BrokerUnavailable, match="symbolic links"):
        Place(str(tmp_path / "s")).lock()
    assert not (tmp_path / "elsewhere").exists()


def test_binding_can_fail(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> socket.socket:
        raise OSError(28, "No space left")

    monkeypatch.setattr(places, "bind_unix_socket", refuse)
    with pytest.raises(BrokerUnavailable, match="No space left"):
        Place(path).claim(None, 1)
    assert not os.path.exists(path + ".lock")


def test_a_hub_is_not_started_beside_another(path: str) -> None:
    place = Place(path)
    assert place.lock()
    assert start_hub(Place(path), 0.1) is None
    place.release()


def test_a_hub_that_cannot_be_started(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(
        BrokerUnavailable, match=r"cannot be started.*python -m webfw\.pubsub\.workers --socket"
    ):
        start_hub(Place(path), 0.1)
    other = Place(path)
    assert other.lock()
    other.release()


def test_where_the_system_does_not_tell_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    assert peer_process(None) is None
