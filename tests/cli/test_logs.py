"""Where log lines go, with full disks, moved files and applications that set up their own."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from webfw.cli import logs as room
from webfw.cli.errors import CommandError
from webfw.cli.logs import LineHandler, Logs
from webfw.log import access_log
from webfw.process.identity import Identity


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "file", 1, text, None, None)


@contextmanager
def as_it_was() -> Iterator[None]:
    """Logging as a program finds it that has not set it up; pytest has, once the test runs."""
    root = logging.getLogger()
    before = [(log, log.handlers[:], log.level, log.propagate) for log in (root, access_log)]
    for log, *_ in before:
        log.handlers.clear()
    access_log.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        for log, handlers, level, propagate in before:
            log.handlers[:] = handlers
            log.setLevel(level)
            log.propagate = propagate


def test_lines_are_appended_each_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    handler = LineHandler(str(path), "%(message)s")
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(room.os, "write", lambda fd, data: writes.append(bytes(data)) or write(fd, data))
    handler.emit(record("one"))
    handler.emit(record("zwei \u00fc \udc80"))
    handler.close()
    assert path.read_text() == "before\none\nzwei \u00fc \\udc80\n"
    assert len(writes) == 2


def test_a_file_that_was_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = LineHandler(str(path), "%(message)s")
    handler.emit(record("one"))
    path.rename(tmp_path / "log.1")
    handler.emit(record("two"))
    handler.reopen()
    handler.emit(record("three"))
    handler.close()
    assert (tmp_path / "log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_a_file_that_cannot_be_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    handler = LineHandler(str(path), "%(message)s")
    path.parent.rename(tmp_path / "elsewhere")
    handler.reopen()
    handler.emit(record("one"))
    handler.close()
    text = (tmp_path / "elsewhere" / "log").read_text()
    assert text.startswith(f"webfw: 1 lines of this log were lost: {path}: No such file or directory\none\n")


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    handler = LineHandler(str(path), "%(message)s")
    write = os.write
    full = True

    def on_disk(fd: int, data: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(room.os, "write", on_disk)
    for text in ("one", "two"):
        handler.emit(record(text))
    full = False
    handler.emit(record("three"))
    handler.emit(record("four"))
    handler.close()
    assert path.read_text() == "webfw: 2 lines of this log were lost: No space left on device\nthree\nfour\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_device_that_is_always_full() -> None:
    handler = LineHandler("/dev/full", "%(message)s")
    for _ in range(3):
        handler.emit(record("text"))
    handler.close()
    assert handler.lost == 3


def test_a_record_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = LineHandler(str(tmp_path / "log"), "%(message)s")
    broken = logging.LogRecord("x", logging.INFO, "file", 1, "%d", ("text",), None)
    handler.emit(broken)
    handler.close()
    assert "TypeError" in capsys.readouterr().err
    assert (tmp_path / "log").read_text() == ""


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = LineHandler(str(tmp_path / "log"), "%(message)s")
    write = os.write
    monkeypatch.setattr(room.os, "write", lambda fd, data: write(fd, data[:2]))
    handler.emit(record("a longer text"))
    handler.close()
    assert (tmp_path / "log").read_text() == "a longer text\n"


def test_access_lines_and_the_rest(tmp_path: Path) -> None:
    with as_it_was():
        logs = Logs("info", str(tmp_path / "access"), str(tmp_path / "errors"))
        access_log.info("a request")
        access_log.debug("too little")
        logging.getLogger("any").warning("something")
        (tmp_path / "access").rename(tmp_path / "access.1")
        logs.reopen()
        access_log.info("another")
        assert (tmp_path / "access.1").read_text().endswith(" a request\n")
        assert (tmp_path / "access").read_text().endswith(" another\n")
        assert (tmp_path / "errors").read_text().endswith(" WARNING any: something\n")
        logs.give_to(Identity(os.getuid(), os.getgid()))


def test_no_access_lines(tmp_path: Path) -> None:
    with as_it_was():
        Logs("debug", "off", str(tmp_path / "errors"))
        assert not access_log.isEnabledFor(logging.CRITICAL)


def test_an_application_that_sets_up_logging_is_left_alone(tmp_path: Path) -> None:
    with as_it_was():
        logs = Logs("info", str(tmp_path / "access"), str(tmp_path / "errors"))
        logs.set_aside()
        assert logging.getLogger().handlers == []
        own = logging.NullHandler()
        logging.getLogger().addHandler(own)
        access_log.addHandler(own)
        access_log.setLevel(logging.ERROR)
        logs.put_back()
        assert logging.getLogger().handlers == [own]
        assert access_log.handlers == [own]
        assert access_log.level == logging.ERROR


def test_an_application_that_does_not(tmp_path: Path) -> None:
    with as_it_was():
        logs = Logs("info", str(tmp_path / "access"), str(tmp_path / "errors"))
        before = logging.getLogger().handlers[:], access_log.handlers[:], access_log.level
        logs.set_aside()
        logs.put_back()
        assert (logging.getLogger().handlers, access_log.handlers, access_log.level) == before


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with (
        as_it_was(),
        pytest.raises(CommandError, match=r"^--access-log \S+/none/log: no such file or directory$"),
    ):
        Logs("info", str(tmp_path / "none" / "log"))


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    with as_it_was(), pytest.raises(CommandError, match=f"--access-log {path}: nobody reads this pipe"):
        Logs("info", access=path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    handler = LineHandler(path, "%(message)s")
    handler.emit(record("one"))
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    handler.reopen()
    handler.emit(record("two"))
    assert handler.lost == 2
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    handler.emit(record("three"))
    assert os.read(reader, 200).endswith(b"\nthree\n")
    os.close(reader)
    handler.close()
