"""The three loggers, a readable formatter and the logging options. Configures nothing when imported.

* ``webfw.access``: one line for each request;
* ``webfw.application``: exceptions and messages of the application;
* ``webfw.general``: messages of the framework itself.

This module does not know the `webfw.options` module, which stands above it; that one registers its global
parser in `set_default_options`.
"""

import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

__all__ = [
    "LogFormatter",
    "LoggingOptions",
    "access_log",
    "app_log",
    "define_logging_options",
    "enable_pretty_logging",
    "gen_log",
    "set_default_options",
]

access_log = logging.getLogger("webfw.access")
app_log = logging.getLogger("webfw.application")
gen_log = logging.getLogger("webfw.general")

# Characters that could drive a terminal or forge a line when a log is shown: C0 controls except tab and
# newline, DEL, C1 controls, the Unicode line separators; lone surrogates, which no file can hold, go the
# same way.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _escape_character(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _safe(text: str) -> str:
    """Return ``text`` with control characters written as escapes; newlines and tabs stay."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(_escape_character, text.replace("\r\n", "\n"))


def _stderr_supports_color() -> bool:
    """Tell whether standard error is a terminal that shows colours; ``NO_COLOR`` and ``TERM=dumb`` say no."""
    try:
        if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
            return False
    except (AttributeError, ValueError):  # no standard error (pythonw), or a closed one
        return False
    if sys.platform == "win32":
        return "colorama" in sys.modules or bool(os.environ.get("WT_SESSION") or os.environ.get("ANSICON"))
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class LogFormatter(logging.Formatter):
    """Formats records as ``[I 240131 12:00:00 module:12] message``, in colour on terminals.

    Continuation lines of a message, tracebacks and stacks are indented by four blanks, so that only a
    record can begin at the left margin. Control characters are written as ``\\x1b``. A record that cannot
    be formatted becomes a line that says so: logging never raises.

    :param fmt: format of a record. Besides the usual attributes there are ``color`` and ``end_color``;
        what stands between them is coloured by level.
    :param datefmt: format of ``asctime``, for `time.strftime`.
    :param style: the style of ``fmt``: ``%``, ``{`` or ``$``, as for `logging.Formatter`.
    :param color: allow colours; they are used when standard error is a terminal that has them.
    :param colors: the ANSI colour number (0 to 7) of each level.
    :raises ValueError: when ``fmt`` or ``style`` is not valid.
    """

    DEFAULT_FORMAT = "%(color)s[%(levelname)1.1s %(asctime)s %(module)s:%(lineno)d]%(end_color)s %(message)s"
    DEFAULT_DATE_FORMAT = "%y%m%d %H:%M:%S"
    DEFAULT_COLORS: Mapping[int, int] = {
        logging.DEBUG: 4,  # blue
        logging.INFO: 2,  # green
        logging.WARNING: 3,  # yellow
        logging.ERROR: 1,  # red
        logging.CRITICAL: 5,  # magenta
    }

    def __init__(
        self,
        fmt: str = DEFAULT_FORMAT,
        datefmt: str = DEFAULT_DATE_FORMAT,
        style: Literal["%", "{", "$"] = "%",
        color: bool = True,
        colors: Mapping[int, int] = DEFAULT_COLORS,
    ) -> None:
        super().__init__(fmt, datefmt, style)
        self._colors: dict[int, str] = {}
        self._normal = ""
        if color and _stderr_supports_color():
            self._colors = {level: f"\x1b[{30 + number}m" for level, number in colors.items()}
            self._normal = "\x1b[0m"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one or more lines, without a final newline; never raises."""
        try:
            message = record.getMessage()
        except Exception as error:  # protects the caller of the log call from its own arguments
            message = self._bad_message(record, error)
        record.message = _safe(message)
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        color = self._colors.get(record.levelno)
        record.color, record.end_color = ("", "") if color is None else (color, self._normal)
        formatted = self.formatMessage(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            formatted = f"{formatted.rstrip()}\n{_safe(record.exc_text)}"
        if record.stack_info:
            formatted = f"{formatted.rstrip()}\n{_safe(self.formatStack(record.stack_info))}"
        return formatted.replace("\n", "\n    ")

    @staticmethod
    def _bad_message(record: logging.LogRecord, error: Exception) -> str:
        try:
            return f"Bad message ({error!r}): {record.__dict__!r}"
        except Exception:  # an argument whose repr() raises as well
            where = f"{record.pathname}:{record.lineno}"
            return f"Bad message ({type(error).__name__}) from {where}, whose arguments cannot be shown"


class LoggingOptions(Protocol):
    """What this module needs of an option parser; `webfw.options.OptionParser` is one."""

    def define(
        self,
        name: str,
        default: Any = None,
        type: type | None = None,
        help: str | None = None,
        metavar: str | None = None,
    ) -> None: ...

    def add_parse_callback(self, callback: Callable[[], None]) -> None: ...

    def __getattr__(self, name: str) -> Any: ...


# name, default, type, metavar, help; the one table the options and their defaults are made from.
_OPTIONS: tuple[tuple[str, Any, type, str | None, str], ...] = (
    (
        "logging",
        "info",
        str,
        "debug|info|warning|error|none",
        "Set the Python log level. If 'none', the logging configuration is not touched.",
    ),
    (
        "log_to_stderr",
        None,
        bool,
        None,
        (
            "Send log output to stderr (colorized if possible). By default use stderr if --log-file-prefix "
            "is not set and no other logging is configured."
        ),
    ),
    (
        "log_file_prefix",
        None,
        str,
        "PATH",
        "Path prefix for log files. Processes must not share one: include the port, say.",
    ),
    (
        "log_file_max_size",
        100 * 1000 * 1000,
        int,
        None,
        "Size in bytes at which a log file is rotated.",
    ),
    ("log_file_num_backups", 10, int, None, "Number of rotated log files to keep."),
    (
        "log_rotate_when",
        "midnight",
        str,
        None,
        "Unit of time between rotations ('S', 'M', 'H', 'D', 'W0'-'W6' or 'midnight').",
    ),
    ("log_rotate_interval", 1, int, None, "Number of such units between rotations."),
    ("log_rotate_mode", "size", str, "size|time", "What rotates log files: their size or time."),
)


class _Defaults:
    """The logging options as they are when no parser is registered."""

    def __init__(self) -> None:
        self.__dict__.update({name: default for name, default, *_ in _OPTIONS})


_default_options: Any = None


def set_default_options(options: LoggingOptions) -> None:
    """Make ``options`` the parser used by functions of this module that are called without one."""
    global _default_options
    _default_options = options


_ROTATION_UNIT = re.compile("[SMHD]|W[0-6]|MIDNIGHT", re.IGNORECASE)


def _file_handler(options: Any) -> logging.FileHandler:
    mode = options.log_rotate_mode
    if mode == "size":
        return logging.handlers.RotatingFileHandler(
            options.log_file_prefix,
            maxBytes=options.log_file_max_size,
            backupCount=options.log_file_num_backups,
            encoding="utf-8",
        )
    if mode == "time":
        when = options.log_rotate_when
        if not _ROTATION_UNIT.fullmatch(when):  # the handler would find out after it has opened the file
            raise ValueError(f"log_rotate_when must be S, M, H, D, W0 to W6 or midnight, not {when!r}")
        return logging.handlers.TimedRotatingFileHandler(
            options.log_file_prefix,
            when=when,
            interval=options.log_rotate_interval,
            backupCount=options.log_file_num_backups,
            encoding="utf-8",
        )
    raise ValueError(f'The value of log_rotate_mode option should be "size" or "time", not "{mode}".')


def enable_pretty_logging(
    options: LoggingOptions | None = None, logger: logging.Logger | None = None
) -> None:
    """Set the level and the handlers of a logger as the logging options say.

    `webfw.options.parse_command_line` and `webfw.options.parse_config_file` call it. Calling it again adds
    no second handler for the same file or for standard error.

    :param options: a parser with the options of `define_logging_options`; None for the global one.
    :param logger: None for the root logger.
    :raises ValueError: for an unknown level, rotation mode or rotation unit.
    :raises OSError: when the log file cannot be opened.
    """
    settings: Any = options if options is not None else (_default_options or _Defaults())
    name = settings.logging
    if name is None or name.lower() == "none":
        return
    if logger is None:
        logger = logging.getLogger()
    levels = logging.getLevelNamesMapping()
    if name.upper() not in levels:
        raise ValueError(f"Unknown logging level {name!r}; use one of {', '.join(levels).lower()} or none")
    logger.setLevel(levels[name.upper()])
    if settings.log_file_prefix:
        path = os.path.abspath(settings.log_file_prefix)
        if not any(isinstance(h, logging.FileHandler) and h.baseFilename == path for h in logger.handlers):
            to_file = _file_handler(settings)
            to_file.setFormatter(LogFormatter(color=False))
            logger.addHandler(to_file)
    if settings.log_to_stderr or (settings.log_to_stderr is None and not logger.handlers):
        has_stderr = any(
            isinstance(h, logging.StreamHandler)
            and h.stream is sys.stderr
            and isinstance(h.formatter, LogFormatter)
            for h in logger.handlers
        )
        if not has_stderr:
            to_stderr = logging.StreamHandler()
            to_stderr.setFormatter(LogFormatter())
            logger.addHandler(to_stderr)


def define_logging_options(options: LoggingOptions | None = None) -> None:
    """Add the logging options (``--logging``, ``--log-file-prefix`` and others) to a parser.

    The global parser has them already. After parsing, `enable_pretty_logging` is called with the parser.

    :raises RuntimeError: when ``options`` is None and `webfw.options` was not imported.
    """
    parser = options if options is not None else _default_options
    if parser is None:
        raise RuntimeError("there is no global option parser: import webfw.options, or give one")
    for name, default, kind, metavar, text in _OPTIONS:
        parser.define(name, default=default, type=kind, metavar=metavar, help=text)
    parser.add_parse_callback(lambda: enable_pretty_logging(parser))
