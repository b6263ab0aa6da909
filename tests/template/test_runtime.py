"""From values to text."""

import pytest

from webfw.escape import xhtml_escape
from webfw.template.runtime import encoded, escaper, join, produced, text


class Odd:
    def __str__(self) -> str:
        return "<odd>"


class Name(str):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [("<é>", "<é>"), (b"\xc3\xa9", "é"), (b"\xff", b"\xff"), (None, "None"), (3, "3"), (Odd(), "<odd>")],
)
def test_text(value: object, expected: str | bytes) -> None:
    assert text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<é>", "&lt;é&gt;"),
        (Name("<"), "&lt;"),
        (b"<\xc3\xa9", "&lt;é"),
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (Odd(), "&lt;odd&gt;"),
        (["&"], "[&#x27;&amp;&#x27;]"),
    ],
)
def test_html(value: object, expected: str) -> None:
    assert escaper(xhtml_escape)(value) == expected


def test_html_of_bytes_that_are_not_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        escaper(xhtml_escape)(b"\xff")


def test_replaced_escape_function_gets_bytes() -> None:
    assert escaper(repr)("é") == "b'\\xc3\\xa9'"
    assert escaper(bytes.upper)(Odd()) == "<ODD>"


@pytest.mark.parametrize(("value", "expected"), [("é", b"\xc3\xa9"), (b"\xff", b"\xff"), (1, b"1")])
def test_encoded(value: object, expected: bytes) -> None:
    assert encoded(value) == expected


@pytest.mark.parametrize("value", [None, 5, ["x"]])
def test_function_must_return_text(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        produced(value)


def test_join() -> None:
    assert join([]) == b""
    assert join(["é", "a"]) == b"\xc3\xa9a"
    assert join(["é", b"\xff", "a"]) == b"\xc3\xa9\xffa"
    with pytest.raises(UnicodeEncodeError):
        join(["\udcff"])
