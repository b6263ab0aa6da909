"""What the text of a pattern tells: whether it is one path only, how many become one pattern; no rule may enter."""

import os.path
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from webfw.routing.matchers import end_of_class, ends_with_anchor

__all__ = ["Part", "combinable", "combine", "literal_path"]


class Part(NamedTuple):
    """A pattern that can stand among others.

    :ivar prefix: the text that everything begins with that it matches.
    :ivar rest: the pattern of what follows.
    """

    prefix: str
    rest: str


_SPECIAL: Final = frozenset(".^$*+?{}[]()|")


def literal_path(regex: re.Pattern[str]) -> str | None:
    r"""The one path that a pattern matches, such as ``/a.html`` for ``/a\.html$``; None where there may be others."""
    pattern = regex.pattern.removeprefix("^")
    if regex.flags != re.UNICODE or not ends_with_anchor(pattern):
        return None
    path = ""
    characters = iter(pattern[:-1])
    for char in characters:
        if char == "\\":
            char = next(characters)
            if char.isascii() and char.isalnum():
                return None
        elif char in _SPECIAL:
            return None
        path += char
    return path


# What cannot be moved to another place in a larger pattern: references to groups by number or name, conditions on
# groups, and comments, which are not worth reading over.
_FIXED: Final = re.compile(r"\(\?(?:P=|\(|#)")


def combinable(regex: re.Pattern[str]) -> Part | None:
    """The pattern without the names of its groups, to stand among others in one; None where it cannot."""
    pattern = regex.pattern
    if regex.flags != re.UNICODE:
        return None
    parts: list[str] = []
    alternatives = False
    for token in _tokens(pattern):
        if _FIXED.match(token) or (token[0] == "\\" and token[1] in "123456789"):
            return None
        alternatives = alternatives or token == "|"
        parts.append("(" if token.startswith("(?P<") else token)
    if alternatives:
        return Part("", f"(?:{''.join(parts)})")
    if parts[:1] == ["^"]:
        del parts[0]  # whoever matches begins at the beginning
    prefix = ""
    for position, token in enumerate(parts):
        literal = _literal(token)
        if literal is None or parts[position + 1 : position + 2] in _QUANTIFIERS:
            return Part(prefix, "".join(parts[position:]))
        prefix += literal
    return Part(prefix, "")


_QUANTIFIERS: Final = (["*"], ["+"], ["?"], ["{"])


def _literal(token: str) -> str | None:
    """The one character that a token stands for; None where it stands for others, or for none."""
    if token[0] == "\\":
        return None if token[1].isalnum() else token[1]
    return None if len(token) > 1 or token in _SPECIAL else token


def combine(parts: Sequence[Part]) -> tuple[str, list[int]]:
    """Write patterns as one that matches what the first of them to match does, and its groups likewise.

    Behind each stands an empty group, which tells by its number which one it was.  Where patterns in a row begin with
    the same text it is written once, so that finding one of hundreds takes as long as its path has branches.

    :return: the pattern, and the places that the parts had, in the order in which they stand in it.
    """
    order: list[int] = []
    return _alternatives([(part.prefix, part.rest, place) for place, part in enumerate(parts)], order), order


#: How deep common beginnings may be nested: the compiler of patterns goes down by recursion.
_DEPTH: Final = 20


def _alternatives(parts: Sequence[tuple[str, str, int]], order: list[int], depth: int = 0) -> str:
    """The alternatives in one pair of parentheses; those that begin with different characters may change places."""
    texts: list[str] = []
    groups: dict[str, list[tuple[str, str, int]]] = {}
    for part in [*parts, ("", "", -1)]:
        first = part[0][:1]
        if first and depth < _DEPTH:
            groups.setdefault(first, []).append(part)
            continue
        # This one may match whatever the ones before it match: they are done with first.
        texts += [_begun_alike(group, order, depth) for group in groups.values()]
        groups.clear()
        if part[2] >= 0:
            order.append(part[2])
            texts.append(f"{re.escape(part[0])}{part[1]}()")
    return "|".join(texts)


def _begun_alike(parts: Sequence[tuple[str, str, int]], order: list[int], depth: int) -> str:
    """The alternatives that begin with the same text."""
    common = os.path.commonprefix([prefix for prefix, _, _ in parts])  # noqa: RUF071  # of text, not of paths
    rests = [(prefix[len(common) :], rest, place) for prefix, rest, place in parts]
    inner = _alternatives(rests, order, depth + 1)
    return re.escape(common) + (inner if len(parts) == 1 else f"(?:{inner})")


_OPENING: Final = re.compile(r"\(\?P<\w+>|\(\?P=|\(\?\(|\(\?#|\(")


def _tokens(pattern: str) -> Iterator[str]:
    """Cut a valid pattern into escapes, character classes, openings of groups and single characters."""
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            end = position + 2
        elif char == "[":
            end = end_of_class(pattern, position)
        elif char == "(" and (opening := _OPENING.match(pattern, position)):
            end = opening.end()
        else:
            end = position + 1
        yield pattern[position:end]
        position = end
