"""Compiling: code that names its files, and errors only the compiler finds."""

import pytest

from webfw.template.errors import ExpressionError, ParseError
from webfw.template.loader import DictLoader
from webfw.template.nodes import File
from webfw.template.parser import parse
from webfw.template.program import Program
from webfw.template.template import Template


def program(text: str) -> Program:
    file = File("t.html", text, "xhtml_escape")
    parse(file, "all")
    return Program(file, None)


def test_code_objects_belong_to_their_files() -> None:
    loader = DictLoader(
        {
            "dir/child.html": "{% extends base.html %}{% block a b %}\n{{ [x for x in y] }}{% end %}",
            "dir/base.html": "{% block a b %}{% end %}{% apply f %}{{ (lambda: 1)() }}{% end %}",
        }
    )
    code = Program(loader.load("dir/child.html").file, loader).code
    assert (code.co_filename, code.co_name) == ("dir/base.html", "template")
    inner = {c.co_name: c for c in code.co_consts if hasattr(c, "co_name")}
    assert inner["block a b"].co_filename == "dir/child.html"
    assert inner["apply"].co_filename == "dir/base.html"
    nested = [c for part in inner.values() for c in part.co_consts if hasattr(c, "co_name")]
    assert {(c.co_name, c.co_filename) for c in nested} >= {("<lambda>", "dir/base.html")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ (lambda: await x)() }}", "await"),
        ("{% set __debug__ = 1 %}", "__debug__"),
        ("{{ lambda a, a: 1 }}", "duplicate argument"),
        ("{{ f(a=1, a=2) }}", "keyword argument repeated"),
        ("{{ [x := 1 for x in y] }}", "assignment expression cannot rebind"),
    ],
)
def test_what_only_the_compiler_finds(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as info:
        program("é\n " + text + "\n{{ 1 }}")
    assert (info.value.filename, info.value.lineno) == ("t.html", 2)
    assert info.value.text == " " + text


def test_fault_of_no_single_piece() -> None:
    with pytest.raises(ParseError, match="too many statically nested blocks"):
        program("{% for x in y %}" * 30 + "{% end %}" * 30)


def test_too_deep() -> None:
    with pytest.raises(ParseError, match="nested too deeply"):
        program("{% if x %}" * 3000 + "{% end %}" * 3000)


def test_sources_are_those_not_on_disk() -> None:
    loader = DictLoader({"a": "{% include b %}", "b": "B"})
    assert Program(loader.load("a").file, loader).sources == {"a": "{% include b %}", "b": "B"}
    file = File("t", "x", None, "/nowhere/t")
    parse(file, "all")
    assert Program(file, None).sources == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [("{{ x }}", None), ("\n{{ await x }}", 2), ("{% if [a async for a in b] %}{% end %}", 1)],
)
def test_awaits(text: str, line: int | None) -> None:
    awaits = program(text).awaits
    assert (awaits and awaits[1]) == line


def test_await_in_a_replaced_block_does_not_count() -> None:
    files = {"c": "{% extends l %}{% block b %}x{% end %}", "l": "{% block b %}{{ await y }}{% end %}"}
    loader = DictLoader(files)
    assert loader.load("c").generate() == b"x"
    assert loader.load("l").is_async
    assert isinstance(loader.load("c"), Template)
