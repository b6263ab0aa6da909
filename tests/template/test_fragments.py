"""Python inside tags: what is accepted, and the places in trees and errors."""

import ast

import pytest

from webfw.template.errors import ExpressionError
from webfw.template.fragments import (
    bound_names,
    check,
    contains_await,
    parse_except,
    parse_expression,
    parse_for,
    parse_statements,
)
from webfw.template.lexer import Code
from webfw.template.nodes import File


def piece(text: str, before: str = "") -> tuple[Code, File]:
    """`text` as it stands behind `before` in a file."""
    line_start = before.rfind("\n") + 1
    column = before[line_start:]
    code = Code(text, before.count("\n") + 1, len(column), len(column.encode()))
    return code, File("t.html", before + text + " rest\n", None)


def spot(node: ast.expr | ast.stmt) -> tuple[int, int, int | None, int | None]:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


@pytest.mark.parametrize(
    "text", ["x", "x, y", "(1 +\n 2)", "1 +\n 2", "*a, 1", "x # why", "# why\n x", "(y := 1)", "'''a\nb'''"]
)
def test_expressions(text: str) -> None:
    code, file = piece(text)
    assert isinstance(parse_expression(code, file), ast.expr)


@pytest.mark.parametrize(
    "text", ["", "# c", "x = 1", "x; y", "1 +", "return 1", "*a", "x y", "yield", "(yield x)", "'\0'", "if x"]
)
def test_not_an_expression(text: str) -> None:
    code, file = piece(text, "\n\n ")
    with pytest.raises(ExpressionError) as info:
        parse_expression(code, file)
    assert (info.value.filename, info.value.lineno) == ("t.html", 3)


def test_too_deep_is_an_error() -> None:
    code, file = piece("-" * 30_000 + "1")
    with pytest.raises(ExpressionError, match="nested too deeply"):
        parse_expression(code, file)


def test_places_of_an_expression() -> None:
    code, file = piece("a +\n bc", "x\né ")
    tree = parse_expression(code, file)
    assert isinstance(tree, ast.BinOp)
    assert spot(tree) == (2, 3, 3, 3)
    assert spot(tree.left) == (2, 3, 2, 4)
    assert spot(tree.right) == (3, 1, 3, 3)


def test_places_behind_a_prefix() -> None:
    code, file = piece("Foo(a)", "é {% ")
    tree = parse_expression(code, file, "_tt_modules.")
    assert isinstance(tree, ast.Call)
    assert spot(tree) == (1, 6, 1, 12)
    assert spot(tree.args[0]) == (1, 10, 1, 11)


@pytest.mark.parametrize(
    ("text", "before", "line", "offset", "source"),
    [
        ("1 + * 2", "a\né ", 2, 7, "é 1 + * 2 rest"),
        ("(1\n + + )", "a\n b ", 3, 6, " + + ) rest"),
        ("(1", "", 1, 1, "(1 rest"),
    ],
)
def test_place_of_an_error(text: str, before: str, line: int, offset: int, source: str) -> None:
    code, file = piece(text, before)
    with pytest.raises(ExpressionError) as info:
        parse_expression(code, file)
    assert (info.value.lineno, info.value.offset, info.value.text) == (line, offset, source)


@pytest.mark.parametrize(
    "text",
    [
        "a = 1",
        "a = b = c",
        "a += 1",
        "f(x)",
        "del a",
        "pass",
        "a = 1; b = 2",
        "assert a",
        "raise a",
        "import x",
    ],
)
def test_statements(text: str) -> None:
    code, file = piece(text)
    assert [ast.unparse(s) for s in parse_statements(code, file)] == text.split("; ")


def test_annotations_are_dropped() -> None:
    code, file = piece("a: int = 1; b: int")
    assert [ast.unparse(s) for s in parse_statements(code, file)] == ["a = 1"]


@pytest.mark.parametrize(
    "text", ["if a: pass", "return", "global a", "def f(): pass", "a =", "break", "from a import *"]
)
def test_not_a_statement(text: str) -> None:
    code, file = piece(text, "\n")
    with pytest.raises(ExpressionError) as info:
        parse_statements(code, file)
    assert info.value.lineno == 2


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("if " + "not " * 500 + "a: pass", "if"),  # deep enough for the parser, too deep to be written again
        ("async def f(): pass", "async"),
        ("def f(): pass", "def"),
        ("class A: pass", "class"),
        ("return a", "return"),
        ("try: pass\nfinally: pass", "try"),
    ],
)
def test_statement_that_may_not_stand_here(text: str, word: str) -> None:
    code, file = piece(text)
    with pytest.raises(ExpressionError, match=f"^'{word}' is not a statement for a template at"):
        parse_statements(code, file)


@pytest.mark.parametrize(
    "text", ["x in y", "x, (y, z) in f(a)", "x in (1,\n 2)", "x in\n y", "x in y # all", "x in a or\n b"]
)
def test_for(text: str) -> None:
    code, file = piece(text)
    assert isinstance(parse_for(code, file), ast.For)


@pytest.mark.parametrize(
    "text", ["", "x", "1 in y", "x in y: pass\nfor z in w", "x\n y", "x in\n 1 2", "a in lambda"]
)
def test_not_a_for(text: str) -> None:
    code, file = piece(text)
    with pytest.raises(ExpressionError):
        parse_for(code, file)


@pytest.mark.parametrize("text", ["", "ValueError", "(A, B) as e"])
def test_except(text: str) -> None:
    code, file = piece(text)
    assert isinstance(parse_except(code, file), ast.ExceptHandler)


@pytest.mark.parametrize("text", ["A as 1", "* A", "A: pass\nexcept B", "A:"])
def test_not_an_except(text: str) -> None:
    code, file = piece(text, "\n")
    with pytest.raises(ExpressionError) as info:
        parse_except(code, file)
    assert info.value.lineno == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a = b", {"a"}),
        ("a.b = c[d] = 1", set()),
        ("a, *b = c", {"a", "b"}),
        ("del a", {"a"}),
        ("import a.b, c as d", {"a", "d"}),
        ("x = [y for y in z if (w := y)]", {"x", "w"}),
        ("f(lambda q=(r := 1): (s := q))", {"r"}),
        ("{(k := a): b for a, b in c}", {"k"}),
    ],
)
def test_bound_names(text: str, names: set[str]) -> None:
    code, file = piece(text)
    assert set().union(*map(bound_names, parse_statements(code, file))) == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", False), ("[x for x in a]", False), ("f(await a)", True), ("[x async for x in a]", True)],
)
def test_contains_await(text: str, expected: bool) -> None:
    code, file = piece(text)
    assert contains_await(parse_expression(code, file)) is expected


def test_check_finds_the_fragment_that_does_not_compile() -> None:
    good, file = piece("await a", "\n")
    bad, other = piece("lambda: await a", "\n\n\n ")
    fragments = [(file, parse_expression(good, file)), (other, parse_expression(bad, other))]
    check(fragments[:1])
    with pytest.raises(ExpressionError, match="await") as info:
        check(fragments)
    assert info.value.lineno == 4
    assert info.value.text == " lambda: await a rest"
