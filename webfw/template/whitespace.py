"""What happens to the white space of a template's text; directives and expressions stay outside."""

import re

__all__ = ["MODES", "default_mode", "filter_whitespace"]

#: The whitespace modes a template, a loader or ``{% whitespace %}`` may name.
MODES = ("all", "single", "oneline")

_RUN = re.compile(r"\s+")
_BLANKS = re.compile(r"[\t ]+")


def _single(match: re.Match[str]) -> str:
    run = match.group()
    return "\n" if "\n" in run else _BLANKS.sub(" ", run)


def filter_whitespace(mode: str, text: str) -> str:
    """Return `text` with its white space treated according to `mode`, in time linear in its length.

    :param mode: ``all`` keeps everything; ``single`` makes one newline of every run of white space that
        holds a newline, and one space of every other run of spaces and tabs; ``oneline`` makes one space of
        every run of white space, newlines included.
    :param text: the text to treat.
    :raises ValueError: when `mode` is none of these.
    """
    if mode == "all":
        return text
    if mode == "single":
        return _RUN.sub(_single, text)
    if mode == "oneline":
        return _RUN.sub(" ", text)
    raise ValueError(f"unknown whitespace mode {mode!r}: it must be one of {', '.join(MODES)}")


def default_mode(name: str) -> str:
    """Return the mode of the template `name`: ``single`` for ``.html`` and ``.js``, otherwise ``all``."""
    return "single" if name.endswith((".html", ".js")) else "all"
