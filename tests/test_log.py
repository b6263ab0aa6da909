import io
import logging
import logging.handlers
import os
import subprocess
import sys
import time
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw import log
from webfw.log import LogFormatter, define_logging_options, enable_pretty_logging
from webfw.options import Error, OptionParser


def make_record(
    message: Any, *args: Any, level: int = logging.INFO, exc_info: Any = None
) -> logging.LogRecord:
    record = logging.LogRecord("name", level, "/some/module.py", 12, message, args, exc_info)
    record.created = 0.0
    record.msecs = 0.0
    return record


@pytest.fixture
def formatter():
    made = LogFormatter(color=False, datefmt="")
    made.datefmt = "DATE"
    return made


@pytest.fixture
def logger():
    # Outside the hierarchy, where pytest hangs handlers of its own.
    made = logging.Logger("a logger of test_log")  # noqa: LOG001
    yield made
    for handler in made.handlers:
        handler.close()


@pytest.fixture
def terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    # Not sys.stderr itself: pytest puts its own there between setup and test.
    fake = types.SimpleNamespace(stderr=Terminal(), platform="linux", modules={})
    monkeypatch.setattr(log, "sys", fake)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_logger_names():
    assert log.access_log.name == "webfw.access"
    assert log.app_log.name == "webfw.application"
    assert log.gen_log.name == "webfw.general"


def test_defaults():
    assert LogFormatter.DEFAULT_FORMAT == (
        "%(color)s[%(levelname)1.1s %(asctime)s %(module)s:%(lineno)d]%(end_color)s %(message)s"
    )
    assert LogFormatter.DEFAULT_DATE_FORMAT == "%y%m%d %H:%M:%S"
    assert LogFormatter.DEFAULT_COLORS == {10: 4, 20: 2, 30: 3, 40: 1, 50: 5}


def test_importing_configures_nothing():
    code = (
        "import logging, webfw.log, sys\n"
        "assert not logging.root.handlers and not logging.getLogger('webfw').handlers\n"
        "assert 'webfw.options' not in sys.modules and 'asyncio' not in sys.modules\n"
        "try: webfw.log.define_logging_options()\n"
        "except RuntimeError: pass\n"
        "else: raise SystemExit('no error without a parser')\n"
        "webfw.log.enable_pretty_logging()\n"
        "assert logging.root.level == logging.INFO, logging.root.level\n"
        "logging.info('to standard error')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr.endswith("] to standard error\n")


# --- messages ---


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("plain", (), "plain"),
        ("%s and %d", ("a", 5), "a and 5"),
        ("100%", (), "100%"),
        ("é☃", (), "é☃"),
        (b"\xe9", (), "b'\\xe9'"),
        ("%s", (b"\xe9",), "b'\\xe9'"),
        (5, (), "5"),
        ("a\nb\r\nc", (), "a\n    b\n    c"),
        ("a\tb", (), "a\tb"),
        ("\x00\x1b[31m\x7f\x85\x9b\u2028\r", (), "\\x00\\x1b[31m\\x7f\\x85\\x9b\\u2028\\x0d"),
        ("\ud800", (), "\\ud800"),
    ],
)
def test_messages(formatter, message, args, expected):
    assert formatter.format(make_record(message, *args)) == f"[I DATE module:12] {expected}"


@given(st.text(alphabet="a\n\r\x1b\u2028 ") | st.text())
def test_a_message_can_neither_forge_a_record_nor_drive_a_terminal(text):
    line = LogFormatter("%(message)s", color=False).format(make_record("%s", text))
    _, *more = line.split("\n")
    assert all(part.startswith("    ") for part in more)
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in line)
    assert len(line.splitlines()) <= len(more) + 1
    line.encode()


def test_bad_arguments_are_reported(formatter):
    line = formatter.format(make_record("%d", "x"))
    assert line.startswith("[I DATE module:12] Bad message (TypeError('%d format")
    assert "'args': ('x',)" in line


def test_arguments_that_raise(formatter):
    class Bad:
        def __repr__(self):
            raise RuntimeError("no")

    for record in (make_record(Bad()), make_record("%s", Bad())):
        assert formatter.format(record).endswith(
            "Bad message (RuntimeError) from /some/module.py:12, whose arguments cannot be shown"
        )


def test_exceptions_are_indented(formatter):
    try:
        raise ValueError("evil\nsecond \x1b line")
    except ValueError:
        record = make_record("failed \n", exc_info=sys.exc_info())
    lines = formatter.format(record).split("\n")
    assert lines[0] == "[I DATE module:12] failed"
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-2:] == ["    ValueError: evil", "    second \\x1b line"]
    assert all(line.startswith("    ") for line in lines[1:])
    # The text is kept for the next handler, as logging.Formatter does, and not changed for it.
    assert record.exc_text is not None
    assert "\x1b" in record.exc_text
    assert formatter.format(record).split("\n") == lines


def test_stacks_are_shown(formatter):
    record = make_record("here")
    record.stack_info = "Stack (most recent call last):\n  File x"
    assert formatter.format(record) == (
        "[I DATE module:12] here\n    Stack (most recent call last):\n      File x"
    )


@pytest.mark.parametrize(
    ("fmt", "style"),
    [
        ("%(levelname)s %(color)s%(message)s%(end_color)s", "%"),
        ("{levelname} {color}{message}{end_color}", "{"),
        ("$levelname ${color}${message}${end_color}", "$"),
    ],
)
def test_styles(fmt, style):
    assert LogFormatter(fmt, style=style, color=False).format(make_record("hi")) == "INFO hi"


def test_bad_styles():
    with pytest.raises(ValueError, match="Invalid format"):
        LogFormatter("{message}")
    with pytest.raises(ValueError, match="Style must be one of"):
        LogFormatter(style="?")  # type: ignore[arg-type]


def test_date_format():
    record = make_record("hi")
    expected = time.strftime("%Y-%m", time.localtime(0))
    assert LogFormatter("%(asctime)s", "%Y-%m", color=False).format(record) == expected


def test_one_megabyte_is_linear(formatter):
    def cost(text: str) -> float:
        record = make_record(text)
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            formatter.format(record)
            best = min(best, time.process_time() - start)
        return best

    for unit in ("\x1b", "\n", "\r\n", "a\u2028"):
        small, large = unit * (125_000 // len(unit)), unit * (1_000_000 // len(unit))
        assert any(cost(large) < 24 * cost(small) for _ in range(3))


# --- colours ---


@pytest.mark.usefixtures("terminal")
def test_colors():
    formatter = LogFormatter("%(color)s%(levelname)s%(end_color)s %(message)s")
    assert formatter.format(make_record("m")) == "\x1b[32mINFO\x1b[0m m"
    assert formatter.format(make_record("m", level=logging.ERROR)) == "\x1b[31mERROR\x1b[0m m"
    assert formatter.format(make_record("m", level=25)) == "Level 25 m"
    assert LogFormatter("%(color)s%(message)s", colors={20: 6}).format(make_record("m")) == "\x1b[36mm"
    assert LogFormatter("%(color)s%(message)s", color=False).format(make_record("m")) == "m"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def test_terminals_without_color(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not log._stderr_supports_color()


@pytest.mark.usefixtures("terminal")
def test_color_on_windows(monkeypatch):
    monkeypatch.setattr(log.sys, "platform", "win32")
    for name in ("WT_SESSION", "ANSICON"):
        monkeypatch.delenv(name, raising=False)
    assert not log._stderr_supports_color()
    monkeypatch.setenv("WT_SESSION", "x")
    assert log._stderr_supports_color()


def test_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not log._stderr_supports_color()
    monkeypatch.setattr(sys, "stderr", None)
    assert not log._stderr_supports_color()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert not log._stderr_supports_color()


# --- options ---


def configure(logger: logging.Logger, *arguments: str) -> list[logging.Handler]:
    parser = OptionParser()
    define_logging_options(parser)
    parser.parse_command_line(["program", *arguments], final=False)
    enable_pretty_logging(parser, logger)
    return logger.handlers


def test_standard_error_by_default(logger):
    (handler,) = configure(logger)
    assert type(handler) is logging.StreamHandler
    assert handler.stream is sys.stderr
    assert isinstance(handler.formatter, LogFormatter)
    assert logger.level == logging.INFO


@pytest.mark.parametrize("name", ["debug", "WARNING", "Error"])
def test_levels(logger, name):
    configure(logger, f"--logging={name}")
    assert logger.level == getattr(logging, name.upper())


@pytest.mark.parametrize("name", ["none", "None"])
def test_level_none_touches_nothing(logger, name, tmp_path):
    logger.setLevel(33)
    assert configure(logger, f"--logging={name}", f"--log-file-prefix={tmp_path}/x", "--log-to-stderr") == []
    assert logger.level == 33


def test_unknown_level(logger):
    with pytest.raises(ValueError, match="Unknown logging level 'loud'; use one of .*debug.* or none"):
        configure(logger, "--logging=loud")


def test_standard_error_only_without_other_handlers(logger):
    logger.addHandler(logging.NullHandler())
    assert len(configure(logger)) == 1
    assert len(configure(logger, "--log-to-stderr")) == 2
    assert len(configure(logger, "--log-to-stderr")) == 2


def test_standard_error_switched_off(logger):
    assert configure(logger, "--log-to-stderr=false") == []


def test_log_file_by_size(logger, tmp_path):
    path = tmp_path / "app.log"
    arguments = [f"--log-file-prefix={path}", "--log-file-max-size=100", "--log-file-num-backups=2"]
    (handler,) = configure(logger, *arguments)
    assert isinstance(handler, logging.handlers.RotatingFileHandler)
    for number in range(20):
        logger.warning("message %d ☃", number)
    assert sorted(os.listdir(tmp_path)) == ["app.log", "app.log.1", "app.log.2"]
    last = path.read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("[W ")
    assert last.endswith("] message 19 ☃")
    # A second parse, of a configuration file for example, does not double the lines.
    assert configure(logger, *arguments) == [handler]
    assert len(configure(logger, *arguments, "--log-to-stderr")) == 2


def test_log_file_by_time(logger, tmp_path):
    (handler,) = configure(
        logger,
        f"--log-file-prefix={tmp_path}/app.log",
        "--log-rotate-mode=time",
        "--log-rotate-when=H",
        "--log-rotate-interval=2",
    )
    assert isinstance(handler, logging.handlers.TimedRotatingFileHandler)
    assert (handler.when, handler.interval, handler.backupCount) == ("H", 7200, 10)


@pytest.mark.parametrize(
    "arguments", [["--log-rotate-mode=moon"], ["--log-rotate-mode=time", "--log-rotate-when=Q"]]
)
def test_bad_rotation(logger, tmp_path, arguments):
    with pytest.raises(ValueError, match="log_rotate_mode|log_rotate_when"):
        configure(logger, f"--log-file-prefix={tmp_path}/app.log", *arguments)
    assert logger.handlers == []


def test_parsing_enables_logging(monkeypatch):
    called = []
    monkeypatch.setattr(log, "enable_pretty_logging", called.append)
    parser = OptionParser()
    define_logging_options(parser)
    parser.parse_command_line(["program"])
    assert called == [parser]


def test_the_global_parser_is_the_default(logger, monkeypatch):
    from webfw.options import options

    with pytest.raises(Error, match="'logging' already defined"):
        define_logging_options()
    monkeypatch.setattr(options._options["logging"], "value", "critical")
    enable_pretty_logging(logger=logger)
    assert logger.level == logging.CRITICAL
