"""What is wrong with a template, and where: the exceptions of this room; nothing that parses may enter."""

__all__ = ["ExpressionError", "ParseError"]


class ParseError(Exception):
    """A template does not follow the grammar of directives, or cannot be assembled.

    :param message: what is wrong, without the place.
    :param filename: name of the template, as its loader knows it.
    :param lineno: line in that template, counted from 1; 0 when no line is to blame.
    """

    def __init__(self, message: str, filename: str | None = None, lineno: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.filename: str | None = filename
        self.lineno = lineno

    def __str__(self) -> str:
        return f"{self.message} at {self.filename}:{self.lineno}"


class ExpressionError(ParseError, SyntaxError):  # type: ignore[misc]  # both declare filename and lineno
    """A tag holds something that is not valid Python; also a `SyntaxError`, and printed like one.

    :param message: what the Python compiler said.
    :param filename: name of the template.
    :param lineno: line in the template, counted from 1.
    :param offset: column in that line, counted from 1, or None when not known.
    :param text: the line of the template.
    """

    def __init__(
        self,
        message: str,
        filename: str | None,
        lineno: int,
        offset: int | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message, filename, lineno)
        self.msg = message
        self.offset = offset
        # Without an end Python 3.13 underlines the rest of the line.
        self.end_lineno = lineno
        self.end_offset = None if offset is None else offset + 1
        self.text = text
