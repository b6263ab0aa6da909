"""Cuts a template into text, expressions and directives, with their places; what they mean stays outside.

A tag begins with ``{{``, ``{%`` or ``{#`` (of several opening braces in a row the innermost two count) and
ends at the first matching end mark that does not stand in a Python string or between brackets.  With ``!``
after the opening mark the mark itself is text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from webfw.template.errors import ParseError

__all__ = ["Code", "Token", "line_of", "tokenize"]

_OPEN = re.compile(r"\{\{(?!\{)|\{[%#]")
_WORD = re.compile(r"[^\W\d]\w*")
# Directives whose text is not Python: their tag ends at the first end mark, whatever quotes stand before it.
_PLAIN = frozenset({"block", "comment", "else", "end", "extends", "include", "whitespace"})
_LEXEME = re.compile(
    r"""(?P<skip>'''(?s:[^\\]|\\.)*?'''|\"\"\"(?s:[^\\]|\\.)*?\"\"\"
        |'(?:[^'\\\n]|\\(?s:.))*'|"(?:[^"\\\n]|\\(?s:.))*")
      |(?P<comment>\#)
      |(?P<quote>['"])
      |(?P<open>[(\[{])
      |(?P<mark>%\}|\}\})
      |(?P<close>[)\]}])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of Python out of a template, and where it begins."""

    text: str
    line: int  #: from 1
    column: int  #: in characters, from 0
    byte_column: int  #: in bytes of UTF-8, from 0, as Python's compiler counts


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a template: text (that of `code`), an expression, or a directive and its `operator`."""

    kind: Literal["text", "expression", "directive"]
    code: Code
    operator: str = ""


def line_of(text: str, line: int) -> str:
    """Return line number `line` (from 1) of `text` without its end, or an empty string when there is none."""
    lines = text.split("\n", line)
    return lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else ""


class _Cursor:
    """Turns offsets that only grow into lines and columns, looking at every character once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._bytes = 0

    def code(self, start: int, end: int) -> Code:
        """The piece of the text from `start` to `end` and the place of its start."""
        text = self._text
        newlines = text.count("\n", self._at, start)
        if newlines:
            self._line += newlines
            self._line_start = self._at = text.rfind("\n", self._at, start) + 1
            self._bytes = 0
        self._bytes += len(text[self._at : start].encode("utf-8", "surrogatepass"))
        self._at = start
        return Code(text[start:end], self._line, start - self._line_start, self._bytes)


def _find_end(text: str, start: int, mark: str) -> int:
    """Return the offset of the `mark` that ends the Python code at `start`, or -1.

    When strings or brackets do not close, the first mark is the answer and the compiler gets to complain.
    """
    first = text.find(mark, start)
    if first < 0:
        return -1
    depth = 0
    at = start
    while match := _LEXEME.search(text, at):
        kind = match.lastgroup
        at = match.end()
        if kind == "quote":
            break
        if kind == "comment":
            newline = text.find("\n", at)
            end = text.find(mark, at, newline if newline >= 0 else len(text))
            if end >= 0:
                return end
            if newline < 0:
                break
            at = newline + 1
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth -= depth > 0
        elif kind == "mark":
            if depth == 0 and match.group() == mark:
                return match.start()
            at = match.start() + 1  # the brace of either mark may still close a bracket
            depth -= depth > 0 and match.group() == "}}"
    return first


def _missing(what: str, mark: str, name: str, line: int) -> ParseError:
    return ParseError(f"missing {mark} to end the {what}", name, line)


def tokenize(text: str, name: str) -> Iterator[Token]:
    """Yield the tokens of a template in order; comments are left out, text is yielded as it stands.

    :param text: the whole template.
    :param name: its name, for errors.
    :raises ParseError: when a tag does not end or is empty.
    """
    cursor = _Cursor(text)
    at = 0
    while match := _OPEN.search(text, at):
        start, inside = match.span()
        if start > at:
            yield Token("text", cursor.code(at, start))
        opening = match.group()
        here = cursor.code(start, inside)
        if text.startswith("!", inside):
            yield Token("text", here)
            cursor.code(inside + 1, inside + 1)
            at = inside + 1
        elif opening == "{#":
            end = text.find("#}", inside)
            if end < 0:
                raise _missing("comment", "#}", name, here.line)
            at = end + 2
        elif opening == "{{":
            end = _find_end(text, inside, "}}")
            if end < 0:
                raise _missing("expression", "}}", name, here.line)
            code = _strip(cursor, text, inside, end)
            if not code.text:
                raise ParseError("empty expression", name, here.line)
            yield Token("expression", code)
            at = end + 2
        else:
            token, at = _directive(cursor, text, inside, name, here.line)
            yield token
    if at < len(text):
        yield Token("text", cursor.code(at, len(text)))


def _directive(cursor: _Cursor, text: str, inside: int, name: str, line: int) -> tuple[Token, int]:
    start = inside
    while text[start : start + 1].isspace():
        start += 1
    word = _WORD.match(text, start)
    operator = word.group() if word else ""
    plain = operator in _PLAIN or not word
    end = text.find("%}", inside) if plain else _find_end(text, start, "%}")
    if end < 0:
        raise _missing("directive", "%}", name, line)
    if not word:
        if not text[inside:end].strip():
            raise ParseError("empty directive ({% %})", name, line)
        operator = text[inside:end].split(None, 1)[0]
        raise ParseError(f"unknown directive {operator!r}", name, cursor.code(start, start).line)
    return Token("directive", _strip(cursor, text, word.end(), end), operator), end + 2


def _strip(cursor: _Cursor, text: str, start: int, end: int) -> Code:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return cursor.code(start, end)
