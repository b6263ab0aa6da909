"""`ExpectLog`: a record that is announced is taken out of the log, and missed where it does not come."""

import logging
import re
import warnings
from types import TracebackType
from typing import Self

__all__ = ["ExpectLog"]


class ExpectLog(logging.Filter):
    """Take an expected record out of the log, and fail where it does not come::

        with ExpectLog("webfw.application", "Uncaught exception"):
            self.fetch("/error")

    :param logger: the logger, or its name; ``""`` is the root.  Records of its children are not looked at.
    :param regex: searched for at the beginning of each message (as `re.match` does); all that match are taken out.
    :param required: whether there must be such a record.
    :param level: only records of this level (such as `logging.INFO`), which the logger lets through meanwhile; without
        it those of every level, of which Tornado 7 means to keep only WARNING and above: what was only below it gives
        a `DeprecationWarning`.

    :ivar matched: how many records were taken out.
    :ivar logged_stack: whether one of them had an exception with it.
    :raises Exception: at the end of the block, when there was no such record, though one is required.
    """

    def __init__(
        self,
        logger: logging.Logger | str,
        regex: str,
        required: bool = True,
        level: int | None = None,
    ) -> None:
        super().__init__()
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.regex = re.compile(regex)
        self.required = required
        self.matched = 0
        #: The highest level of the records below WARNING that were taken out without ``level``.
        self.deprecated_level_matched = 0
        self.logged_stack = False
        self.level = level
        self.orig_level: int | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record stays in the log (the interface of `logging.Filter`)."""
        if self.level is not None and record.levelno != self.level:
            return True
        if self.regex.match(record.getMessage()) is None:
            return True
        if self.level is None and record.levelno < logging.WARNING:
            self.deprecated_level_matched = max(self.deprecated_level_matched, record.levelno)
        if record.exc_info:
            self.logged_stack = True
        self.matched += 1
        return False

    def __enter__(self) -> Self:
        if self.level is not None and not self.logger.isEnabledFor(self.level):
            self.orig_level = self.logger.level
            self.logger.setLevel(self.level)
        self.logger.addFilter(self)
        return self

    def __exit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self.orig_level is not None:
            self.logger.setLevel(self.orig_level)
            self.orig_level = None
        self.logger.removeFilter(self)
        if typ is not None:
            return  # what went wrong is said already
        if self.required and not self.matched:
            raise Exception(
                f"did not get expected log message: {self.regex.pattern!r} on {self.logger.name!r}"
            )
        if self.deprecated_level_matched >= logging.INFO:
            warnings.warn(
                "a record below WARNING was expected without level=; Tornado 7 will not match it",
                DeprecationWarning,
                stacklevel=2,
            )
