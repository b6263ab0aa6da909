"""The tree of a file: places and order."""

import pytest

from webfw.template.lexer import Code
from webfw.template.nodes import Block, File, position, walk
from webfw.template.parser import parse


@pytest.mark.parametrize(("text", "end"), [("abc", 10), ("é", 9), ("", 7), ("ab\ncdef", 9)])
def test_position_is_in_bytes_of_the_first_line(text: str, end: int) -> None:
    place = position(Code(text, 2, 5, 7))
    assert place == {"lineno": 2, "col_offset": 7, "end_lineno": 2, "end_col_offset": end}


def test_walk_goes_into_every_kind_of_directive() -> None:
    parts = [
        "{% if a %}{% block 1 %}{% end %}",
        "{% elif b %}{% block 2 %}{% end %}",
        "{% else %}{% block 3 %}{% end %}{% end %}",
        "{% for a in b %}{% block 4 %}{% block 5 %}{% end %}{% end %}",
        "{% else %}{% block 6 %}{% end %}{% end %}",
        "{% while a %}{% block 7 %}{% end %}{% end %}",
        "{% try %}{% block 8 %}{% end %}{% except %}{% block 9 %}{% end %}{% else %}{% block 10 %}{% end %}",
        "{% finally %}{% block 11 %}{% end %}{% end %}",
        "{% apply a %}{% block 12 %}{% end %}{% end %}",
    ]
    file = File("t", "".join(parts), None)
    parse(file, "all")
    names = [node.name for node in walk(file.body) if isinstance(node, Block)]
    assert names == [str(number) for number in range(1, 13)]


def test_file_name_in_tracebacks() -> None:
    assert (File("a", "", None).filename, File("a", "", None).on_disk) == ("a", False)
    assert (File("a", "", None, "/x/a").filename, File("a", "", None, "/x/a").on_disk) == ("/x/a", True)
