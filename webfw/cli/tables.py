"""Tables of text for terminals: columns as wide as what stands in them; what they show, the commands know."""

from collections.abc import Iterable, Sequence

__all__ = ["plural", "printable", "table"]


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = False) -> str:
    """Lay out rows below their heading, in columns.

    :param heading: the names of the columns.
    :param rows: each with as many texts as there are columns; what could disturb a terminal is escaped.
    :param right: whether columns are aligned at the right, as numbers are, and not at the left.
    :returns: lines without spaces at their ends; columns in which no row has anything are left out.
    """
    lines = [[printable(cell) for cell in row] for row in rows]
    used = [index for index in range(len(heading)) if any(line[index] for line in lines)]
    lines.insert(0, list(heading))
    widths = {index: max(len(line[index]) for line in lines) for index in used}
    align = str.rjust if right else str.ljust
    return "\n".join(
        "  ".join(align(line[index], widths[index]) for index in used).rstrip() for line in lines
    )


def printable(text: str) -> str:
    """Escape what is no printable character: line ends, what moves the cursor, what turns the direction of writing."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def plural(count: int, noun: str) -> str:
    """A number with its noun: ``1 route``, ``2 routes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
