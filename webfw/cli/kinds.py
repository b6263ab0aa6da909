"""The kinds of values that settings have: how each is read, checked and shown; no setting enters."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Choice", "Flag", "Integer", "Kind", "Many", "Seconds", "Size", "Text", "Workers"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"(\d{1,18})\s*(?:([kmg]i?)?b?)", re.IGNORECASE)
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|s|m|min|h)?", re.IGNORECASE)


class Kind:
    """How one setting's value is read.

    :ivar metavar: what stands for it in ``--help``.
    :ivar wanted: what a value must be, for messages: "a number from 1 to 9".
    """

    metavar = "TEXT"
    wanted = "a text"

    def parse(self, text: str) -> Any:
        """Read a value as a flag or the environment has it.

        :raises ValueError: it is none; the message is what is wanted.
        """
        raise NotImplementedError

    def check(self, value: Any) -> Any:
        """Read a value as a TOML file has it: by its type, or as text.

        :raises ValueError: it is none; the message is what is wanted.
        """
        if isinstance(value, str):
            return self.parse(value)
        raise self.error(value)

    def show(self, value: Any) -> str:
        """The value as `parse` takes it."""
        return str(value)

    def error(self, value: Any) -> ValueError:
        """What is wrong with a value."""
        return ValueError(f"{self.wanted} is wanted, not {value!r}")


class Text(Kind):
    """Any text; with a check of its own, if one is given.

    :param metavar: what stands for it in ``--help``.
    :param wanted: what it must be.
    :param check: returns the value to use; raises ValueError with what is wrong.
    """

    def __init__(
        self, metavar: str = "TEXT", wanted: str = "a text", check: Callable[[str], str] | None = None
    ) -> None:
        self.metavar = metavar
        self.wanted = wanted
        self._check = check

    def parse(self, text: str) -> str:
        if not text:
            raise self.error(text)
        return text if self._check is None else self._check(text)


class Flag(Kind):
    """On or off."""

    metavar = ""
    wanted = "true or false"

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise self.error(text)

    def check(self, value: Any) -> bool:
        return value if isinstance(value, bool) else super().check(value)

    def show(self, value: Any) -> str:
        return "true" if value else "false"


class Integer(Kind):
    """A whole number.

    :param least: the smallest it may be.
    :param most: the largest.
    """

    metavar = "N"

    def __init__(self, least: int = 0, most: int = 2**31 - 1) -> None:
        self.least = least
        self.most = most
        above = f"{least} or more" if most == 2**31 - 1 else f"{least} to {most}"
        self.wanted = f"a whole number, {above},"

    def parse(self, text: str) -> int:
        word = text.strip()
        if not (word.isascii() and word.isdigit() and len(word) <= 10):
            raise self.error(text)
        return self.check(int(word))

    def check(self, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return value
        if isinstance(value, str):
            return self.parse(value)
        raise self.error(value)


class Workers(Integer):
    """How many workers; ``auto`` for one each processor, 0 for no process tree."""

    metavar = "N|auto"

    def __init__(self) -> None:
        super().__init__(0, 1024)
        self.wanted = "a whole number, 0 to 1024, or auto"

    def parse(self, text: str) -> Any:
        return "auto" if text.strip().lower() == "auto" else super().parse(text)


class Seconds(Kind):
    """A time in seconds, also written ``250ms``, ``2m`` or ``1h``.

    :param least: the shortest it may be.
    """

    metavar = "SECONDS"

    def __init__(self, least: float = 0.0) -> None:
        self.least = least
        self.wanted = f"a time in seconds, {least:g} or more,"

    def parse(self, text: str) -> float:
        match = _TIME.fullmatch(text.strip())
        if match is None:
            raise self.error(text)
        return self._bounded(float(match[1]) * _TIMES[(match[2] or "").lower()], text)

    def check(self, value: Any) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return self._bounded(float(value), value)
            except OverflowError:
                raise self.error(value) from None
        return float(super().check(value))

    def _bounded(self, seconds: float, value: Any) -> float:
        if not (self.least <= seconds and math.isfinite(seconds)):
            raise self.error(value)
        return seconds

    def show(self, value: Any) -> str:
        return f"{value:g}"


class Size(Kind):
    """A number of bytes, also written ``64KiB``, ``10MB`` or ``1GiB``.

    :param least: the smallest it may be.
    """

    metavar = "BYTES"

    def __init__(self, least: int = 0) -> None:
        self.least = least
        self.wanted = f"a number of bytes such as 10MiB, {least} or more,"

    def parse(self, text: str) -> int:
        match = _SIZE.fullmatch(text.strip())
        if match is None:
            raise self.error(text)
        return self._bounded(int(match[1]) * _UNITS[(match[2] or "").lower()], text)

    def check(self, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return self._bounded(value, value)
        return int(super().check(value))

    def _bounded(self, size: int, value: Any) -> int:
        if size < self.least:
            raise self.error(value)
        return size

    def show(self, value: Any) -> str:
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value and value % factor == 0:
                return f"{value // factor}{unit}"
        return str(value)


class Choice(Kind):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = "|".join(words)
        self.wanted = f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(self, text: str) -> str:
        word = text.strip().lower()
        if word not in self.words:
            raise self.error(text)
        return word


class Many(Kind):
    """Several values of one kind: a flag that may be repeated, a list in a file, words in the environment.

    :param least: the fewest there may be.
    """

    def __init__(self, kind: Kind, least: int = 0) -> None:
        self.kind = kind
        self.least = least
        self.metavar = kind.metavar
        few = f" of {least} or more" if least else ""
        self.wanted = f"a list{few}, each {kind.wanted},"

    def parse(self, text: str) -> list[Any]:
        return self._enough([self.kind.parse(word) for word in text.replace(",", " ").split()])

    def check(self, value: Any) -> list[Any]:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, list):
            raise self.error(value)
        return self._enough([self.kind.check(item) for item in value])

    def _enough(self, values: list[Any]) -> list[Any]:
        if len(values) < self.least:
            raise self.error(values)
        return values

    def show(self, value: Sequence[Any]) -> str:
        return " ".join(map(self.kind.show, value))
