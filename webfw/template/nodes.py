"""The tree a template file is parsed into; how it is read and what is made of it live elsewhere."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict

from webfw.template.lexer import Code

__all__ = [
    "Apply",
    "Block",
    "File",
    "If",
    "Include",
    "Jump",
    "Loop",
    "Node",
    "Output",
    "Position",
    "Run",
    "Text",
    "Try",
    "position",
    "walk",
]


class Position(TypedDict):
    """Where a piece of Python stands in its template, in the attributes `ast` uses."""

    lineno: int
    col_offset: int
    end_lineno: int
    end_col_offset: int


def position(node: Code | ast.expr | ast.stmt | ast.excepthandler) -> Position:
    """Return the place of `node` (of a `Code`: of its first line)."""
    if isinstance(node, Code):
        first = node.text.partition("\n")[0].encode("utf-8", "surrogatepass")
        return {
            "lineno": node.line,
            "col_offset": node.byte_column,
            "end_lineno": node.line,
            "end_col_offset": node.byte_column + len(first),
        }
    return {
        "lineno": node.lineno,
        "col_offset": node.col_offset,
        "end_lineno": node.end_lineno or node.lineno,
        "end_col_offset": node.end_col_offset or node.col_offset,
    }


@dataclass(slots=True)
class Text:
    """Text, its white space already treated."""

    text: str
    at: Code


@dataclass(slots=True)
class Output:
    """The value of an expression; `escape` says whether the file's autoescape function applies."""

    value: ast.expr
    escape: bool


@dataclass(slots=True)
class Run:
    """Statements from ``set``, ``import`` and ``from``."""

    statements: list[ast.stmt]


@dataclass(slots=True)
class Jump:
    """``break`` or ``continue``."""

    word: str
    at: Code


@dataclass(slots=True)
class If:
    """``if`` with its ``elif`` branches in order, and ``else``."""

    tests: list[tuple[ast.expr, list["Node"]]]
    orelse: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Loop:
    """``for`` or ``while``; `header` is the Python statement with a body of no importance."""

    header: ast.For | ast.While
    body: list["Node"] = field(default_factory=list)
    orelse: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Try:
    """``try`` with its handlers in order."""

    at: Code
    body: list["Node"] = field(default_factory=list)
    handlers: list[tuple[ast.ExceptHandler, list["Node"]]] = field(default_factory=list)
    orelse: list["Node"] = field(default_factory=list)
    final: list["Node"] | None = None


@dataclass(slots=True)
class Apply:
    """``apply``: the rendered body goes through `function`."""

    function: ast.expr
    body: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Block:
    """A named block, which a template further down the line of inheritance may replace."""

    name: str
    file: "File"
    at: Code
    body: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Include:
    """``include``: another template at this place."""

    name: str
    at: Code


Node: TypeAlias = Text | Output | Run | Jump | If | Loop | Try | Apply | Block | Include


class File:
    """One parsed template file.

    Attributes: `name` as its loader knows it, `filename` as tracebacks show it (`path`, or the name when
    there is none), `on_disk`, `text` its source, `body` the nodes, `autoescape` the expression of the
    function applied to every expression of the file or None, and `extends` the name and the place given by
    ``{% extends %}`` or None.
    """

    def __init__(self, name: str, text: str, autoescape: str | None, path: str | None = None) -> None:
        self.name = name
        self.filename = path or name
        self.on_disk = path is not None
        self.text = text
        self.body: list[Node] = []
        self.autoescape: ast.expr | None = None
        self.autoescape_name = autoescape
        self.extends: tuple[str, Code] | None = None


def _bodies(node: Node) -> Iterator[list[Node]]:
    match node:
        case If():
            for _, body in node.tests:
                yield body
            yield node.orelse
        case Loop():
            yield node.body
            yield node.orelse
        case Try():
            yield node.body
            for _, body in node.handlers:
                yield body
            yield node.orelse
            yield node.final or []
        case Apply() | Block():
            yield node.body


def walk(nodes: list[Node]) -> Iterator[Node]:
    """Yield all nodes below `nodes` in the order of the file, an outer node before its inner ones."""
    for node in nodes:
        yield node
        for body in _bodies(node):
            yield from walk(body)
