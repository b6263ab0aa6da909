"""Makes Python syntax trees of the code inside tags, placed as in the template; no template grammar.

A fragment that does not parse raises `ExpressionError` with the template's own line.
"""

import ast
import re
from collections.abc import Iterable

from webfw.template.errors import ExpressionError, ParseError
from webfw.template.lexer import Code, line_of
from webfw.template.nodes import File, position

__all__ = [
    "bound_names",
    "check",
    "contains_await",
    "parse_except",
    "parse_expression",
    "parse_for",
    "parse_statements",
]

_SIMPLE = (
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Expr,
    ast.Delete,
    ast.Pass,
    ast.Import,
    ast.ImportFrom,
    ast.Assert,
    ast.Raise,
)
_UNPARSABLE = (SyntaxError, ValueError, MemoryError, RecursionError)


def _parse(code: Code, file: File, before: str = "", after: str = "") -> ast.Module:
    """Parse ``before + code + after`` and move the tree to where `code` stands in the template."""
    try:
        tree = ast.parse(before + code.text + after, filename=file.filename)
    except _UNPARSABLE as exc:
        raise _error(exc, code, file, before) from None
    # `before` is ASCII and may hold newlines: code begins on line `first`, at column `shift`.
    first = before.count("\n") + 1
    shift = len(before) - (before.rfind("\n") + 1)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            raise _wrong("'yield' is not possible in a template", code, file)
        if isinstance(node, (ast.expr, ast.stmt, ast.excepthandler, ast.keyword, ast.alias, ast.arg)):
            node.col_offset = _column(node.lineno, node.col_offset, first, shift, code.byte_column)
            node.lineno = max(node.lineno - first, 0) + code.line
            if node.end_lineno is not None and node.end_col_offset is not None:
                node.end_col_offset = _column(
                    node.end_lineno, node.end_col_offset, first, shift, code.byte_column
                )
                node.end_lineno = max(node.end_lineno - first, 0) + code.line
    return tree


def _column(line: int, column: int, first: int, shift: int, start: int) -> int:
    if line > first:
        return column
    return max(column - shift, 0) + start if line == first else start


def _message(exc: BaseException) -> str:
    if isinstance(exc, SyntaxError):
        return exc.msg
    if isinstance(exc, (MemoryError, RecursionError)):  # how Python's parser says that its stack is full
        return "nested too deeply"
    return str(exc)


def _error(exc: BaseException, code: Code, file: File, before: str) -> ParseError:
    message = _message(exc)
    line, offset = code.line, None
    if isinstance(exc, SyntaxError):
        first = before.count("\n") + 1
        row = min(exc.lineno or first, first + code.text.count("\n"))
        line += max(row - first, 0)
        if exc.offset is not None and row == exc.lineno:
            offset = exc.offset
            if row == first:
                offset = max(offset - (len(before) - before.rfind("\n") - 1), 1) + code.column
    return ExpressionError(message, file.name, line, offset, line_of(file.text, line))


def parse_expression(code: Code, file: File, prefix: str = "") -> ast.expr:
    """Return the tree of one expression, which may go over several lines as it may between brackets.

    :param prefix: Python that goes directly before the code, without newlines.
    :raises ExpressionError: when it is not one expression.
    """
    try:
        tree = _parse(code, file, prefix)
    except ExpressionError:
        if "\n" not in code.text:
            raise
        tree = _parse(code, file, "(" + prefix, "\n)")
    only = tree.body[0] if len(tree.body) == 1 else None
    if isinstance(only, ast.Expr) and not isinstance(only.value, ast.Starred):
        return only.value
    message = f"{code.text!r} is not an expression" if code.text else "expression missing"
    raise _wrong(message, code, file)


def _wrong(message: str, code: Code, file: File) -> ExpressionError:
    return ExpressionError(message, file.name, code.line, code.column + 1, line_of(file.text, code.line))


def parse_statements(code: Code, file: File, prefix: str = "") -> list[ast.stmt]:
    """Return simple statements, which ``;`` may separate; annotations of variables are dropped.

    :raises ExpressionError: for compound statements and those that would act on the function around.
    """
    result: list[ast.stmt] = []
    for statement in _parse(code, file, prefix).body:
        if not isinstance(statement, _SIMPLE):
            raise _wrong(f"{_keyword(statement)!r} is not a statement for a template", code, file)
        if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
            raise _wrong("'from ... import *' is not possible in a template", code, file)
        if isinstance(statement, ast.AnnAssign):
            # A variable with an annotation could not be shared with included files (it cannot be nonlocal).
            if statement.value is not None:
                place = position(statement)
                result.append(ast.Assign(targets=[statement.target], value=statement.value, **place))
        else:
            result.append(statement)
    return result


def _keyword(statement: ast.stmt) -> str:
    """The word a statement begins with; without `ast.unparse`, whose stack a deep one would exhaust."""
    name = type(statement).__name__
    if name.startswith("Async"):
        return "async"
    return {"FunctionDef": "def", "ClassDef": "class", "TryStar": "try", "TypeAlias": "type"}.get(
        name, name.lower()
    )


def parse_for(code: Code, file: File) -> ast.For:
    """Return the ``for`` statement of ``TARGET in ITERABLE``, whose end may go over several lines.

    :raises ExpressionError: when it is anything else.
    """
    try:
        tree = _parse(code, file, "for ", ": pass")
    except ExpressionError:
        # A newline or a comment is possible between brackets only. Nothing moves to another column.
        inner, found = re.subn(r"(?<=\sin)\s", "(", code.text, count=1)
        if not found or not ("\n" in code.text or "#" in code.text):
            raise
        bracketed = Code(inner, code.line, code.column, code.byte_column)
        tree = _parse(bracketed, file, "for ", "\n): pass")
    only = tree.body[0]
    if len(tree.body) == 1 and isinstance(only, ast.For) and isinstance(only.body[0], ast.Pass):
        return only
    raise _wrong(f"{code.text!r} is not the head of a loop", code, file)


def parse_except(code: Code, file: File) -> ast.ExceptHandler:
    """Return the handler of ``except`` with what follows it: nothing, a type, or a type ``as`` a name.

    :raises ExpressionError: when it is anything else.
    """
    only = _parse(code, file, "try: pass\nexcept ", ": pass").body[0]
    if (
        isinstance(only, ast.Try)
        and len(only.handlers) == 1
        and isinstance(only.handlers[0].body[0], ast.Pass)
    ):
        return only.handlers[0]
    raise _wrong(f"{code.text!r} cannot follow 'except'", code, file)


class _Names(ast.NodeVisitor):
    """Collects the names a fragment binds in the function it stands in."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.found.add(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self.found.add(node.asname or node.name.partition(".")[0])

    def visit_comprehension(self, node: ast.comprehension) -> None:
        # Its target belongs to the comprehension; an assignment expression in it does not.
        for part in (node.iter, *node.ifs):
            self.visit(part)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)


def bound_names(node: ast.AST) -> set[str]:
    """Return the names that `node` binds in the function it stands in."""
    names = _Names()
    names.visit(node)
    return names.found


def contains_await(node: ast.AST) -> bool:
    """Tell whether `node` can only stand in an ``async`` function."""
    return any(
        isinstance(inner, ast.Await) or (isinstance(inner, ast.comprehension) and bool(inner.is_async))
        for inner in ast.walk(node)
    )


def check(fragments: Iterable[tuple[File, ast.expr | ast.stmt]]) -> None:
    """Compile each fragment alone, to find the one whose fault a failed compilation was.

    :raises ExpressionError: for the first that does not compile.
    """
    for file, fragment in fragments:
        body = ast.Expr(fragment, **position(fragment)) if isinstance(fragment, ast.expr) else fragment
        function = ast.parse("async def _tt_template(): pass").body[0]
        assert isinstance(function, ast.AsyncFunctionDef)
        function.body = [body]
        try:
            compile(ast.Module([function], []), file.filename, "exec")
        except _UNPARSABLE as exc:
            line, offset = fragment.lineno, fragment.col_offset + 1
            if isinstance(exc, SyntaxError):
                line, offset = exc.lineno or line, exc.offset or offset
            raise ExpressionError(_message(exc), file.name, line, offset, line_of(file.text, line)) from None
