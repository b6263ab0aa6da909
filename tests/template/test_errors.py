"""What the errors of this room say."""

import traceback

from webfw.template.errors import ExpressionError, ParseError


def test_parse_error_names_the_place() -> None:
    error = ParseError("no end", "a.html", 3)
    assert str(error) == "no end at a.html:3"
    assert (error.message, error.filename, error.lineno) == ("no end", "a.html", 3)


def test_parse_error_without_place() -> None:
    error = ParseError("no end")
    assert (error.filename, error.lineno) == (None, 0)


def test_expression_error_is_printed_like_a_syntax_error() -> None:
    error = ExpressionError("invalid syntax", "a.html", 3, 4, "{{ + }}")
    assert isinstance(error, ParseError)
    assert isinstance(error, SyntaxError)
    assert str(error) == "invalid syntax at a.html:3"
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    assert lines[:3] == ['  File "a.html", line 3', "    {{ + }}", "       ^"]
    assert lines[3].endswith("ExpressionError: invalid syntax")
