"""Makes Python functions of template trees; reads no text and runs nothing.

A page becomes one function that hands its pieces to a list. What comes from another file (a replaced block,
an included file) becomes a function of its own inside it that shares its variables, so that every frame of
a traceback belongs to one file; ``apply`` becomes one with variables of its own.
"""

import ast
from typing import TypeVar

from webfw.template.assembly import Assembly, Blocks
from webfw.template.errors import ParseError
from webfw.template.fragments import bound_names, contains_await
from webfw.template.nodes import (
    Apply,
    Block,
    File,
    If,
    Include,
    Jump,
    Loop,
    Node,
    Output,
    Position,
    Run,
    Text,
    Try,
    position,
)

__all__ = ["MAIN", "Emission"]

#: Name of the function a page becomes.
MAIN = "_tt_template"
_ARGUMENTS = "_tt_append, _tt_extend, _tt_html, _tt_text"
# Around the body of what ``apply`` becomes; the last line goes behind it.
_APPLY = """_tt_pieces = []
_tt_append = _tt_pieces.append
_tt_extend = _tt_pieces.extend
return _tt_join(_tt_pieces)
"""
_Fragment = TypeVar("_Fragment", ast.expr, ast.stmt)
_MOST_PIECES = 64  # in one call, which needs as much room on the interpreter's stack


def _name(name: str, at: Position) -> ast.expr:
    return ast.Name(name, ast.Load(), **at)


def _call(function: ast.expr | str, arguments: list[ast.expr], at: Position) -> ast.expr:
    callee = _name(function, at) if isinstance(function, str) else function
    return ast.Call(callee, arguments, [], **at)


class Emission:
    """The making of one page.

    After `page`: `tree` is the module, `titles` says for every function in it of which file it is and what
    to call it, `fragments` are the pieces of the user's Python in order, `awaits` is where the first
    ``await`` stands, `bound` are all names bound anywhere.

    :param assembly: where included files and blocks come from.
    :param asynchronous: whether to make ``async`` functions.
    :param plain_html: whether the name ``xhtml_escape`` means the same everywhere, which makes it cheaper.
    """

    def __init__(self, assembly: Assembly, *, asynchronous: bool, plain_html: bool) -> None:
        self.assembly = assembly
        self.asynchronous = asynchronous
        self.plain_html = plain_html
        self.titles: dict[str, tuple[File, str]] = {}
        self.fragments: list[tuple[File, ast.expr | ast.stmt]] = []
        self.awaits: tuple[File, int] | None = None
        self.bound: set[str] = set()
        self.tree = ast.Module([], [])

    def page(self, file: File) -> None:
        """Make the function of the page that `file` describes."""
        lineage = self.assembly.lineage(file)
        base = lineage[0]
        writer = _Writer(self, base, self.assembly.blocks(lineage), _Scope(), guarded=False)
        body = writer.write(base.body)
        start: Position = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
        body = writer.scope.declarations(writer.bound, start) + body
        self.titles[MAIN] = (base, "template")
        self.tree = ast.Module([self.function(MAIN, _ARGUMENTS, body, start)], [])

    def function(self, ident: str, arguments: str, body: list[ast.stmt], at: Position) -> ast.stmt:
        """A definition of function `ident`."""
        kind = "async def" if self.asynchronous else "def"
        definition = ast.parse(f"{kind} {ident}({arguments}): pass").body[0]
        assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
        definition.body = body or [ast.Pass(**at)]
        definition.lineno, definition.col_offset = at["lineno"], at["col_offset"]
        definition.end_lineno, definition.end_col_offset = at["end_lineno"], at["end_col_offset"]
        return definition

    def call(self, ident: str, at: Position) -> ast.expr:
        """A call of a function made by `function` that takes no arguments."""
        call = _call(ident, [], at)
        return ast.Await(call, **at) if self.asynchronous else call


class _Scope:
    """The variables of a page or of one ``apply``, and the functions that share them."""

    def __init__(self) -> None:
        self.functions: list[ast.stmt] = []
        self.shared: set[str] = set()  # bound in those functions
        self.parts: dict[tuple[int, int, bool], str] = {}

    def declarations(self, own: set[str], at: Position) -> list[ast.stmt]:
        """What stands at the top of the function whose variables these are and which itself binds `own`."""
        # A bare annotation makes a name local without giving it a value.
        return [
            ast.AnnAssign(ast.Name(name, ast.Store(), **at), ast.Constant(None, **at), None, 1, **at)
            for name in sorted(self.shared - own)
        ] + self.functions


class _Writer:
    """Writes the body of one function."""

    def __init__(
        self, emission: Emission, file: File, blocks: Blocks, scope: _Scope, *, guarded: bool
    ) -> None:
        self.emission = emission
        self.file = file
        self.blocks = blocks
        self.scope = scope
        self.guarded = guarded  # what was output before an exception is kept: inside try
        self.loops = 0
        self.bound: set[str] = set()
        self.out: list[ast.stmt] = []
        self.pieces: list[ast.expr] = []

    def write(self, nodes: list[Node]) -> list[ast.stmt]:
        """Return the statements for `nodes`."""
        outer, self.out = self.out, []
        self.nodes(nodes)
        self.flush()
        written, self.out = self.out, outer
        return written

    def nodes(self, nodes: list[Node]) -> None:
        for node in nodes:
            match node:
                case Text():
                    if node.text:
                        self.pieces.append(ast.Constant(node.text, **position(node.at)))
                case Output():
                    self.pieces.append(self.output(node))
                case Block():
                    self.block(node)
                case _:
                    self.flush()
                    self.statement(node)

    def statement(self, node: Node) -> None:
        match node:
            case Run():
                self.out.extend(self.note(statement) for statement in node.statements)
            case If():
                self.branch(node)
            case Loop():
                self.loop(node)
            case Try():
                self.attempt(node)
            case Jump():
                self.jump(node)
            case Apply():
                self.apply(node)
            case Include():
                self.include(node)

    def flush(self) -> None:
        """Turn the pieces collected into calls."""
        pieces, self.pieces = self.pieces, []
        size = 1 if self.guarded else _MOST_PIECES
        for start in range(0, len(pieces), size):
            some = pieces[start : start + size]
            at = position(some[0])
            if len(some) == 1:
                call = _call("_tt_append", some, at)
            else:
                call = _call("_tt_extend", [ast.Tuple(some, ast.Load(), **at)], at)
            self.out.append(ast.Expr(call, **at))

    def note(self, fragment: _Fragment) -> _Fragment:
        """Remember what has to be known of a piece of the user's Python."""
        emission = self.emission
        emission.fragments.append((self.file, fragment))
        names = bound_names(fragment)
        self.bound |= names
        emission.bound |= names
        if emission.awaits is None and contains_await(fragment):
            emission.awaits = self.file, fragment.lineno
        return fragment

    def output(self, node: Output) -> ast.expr:
        value = self.note(node.value)
        at = position(value)
        escape = self.file.autoescape
        if escape is None or not node.escape:
            return _call("_tt_text", [value], at)
        if isinstance(escape, ast.Name) and escape.id == "xhtml_escape" and self.emission.plain_html:
            return _call("_tt_html", [value], at)
        escaped = _call(self.note(escape), [_call("_tt_encoded", [value], at)], at)
        return _call("_tt_produced", [escaped], at)

    def branch(self, node: If) -> None:
        branches = [(self.note(test), self.write(body)) for test, body in node.tests]
        orelse = self.write(node.orelse)
        for test, body in reversed(branches):
            at = position(test)
            orelse = [ast.If(test, body or [ast.Pass(**at)], orelse, **at)]
        self.out.extend(orelse)

    def loop(self, node: Loop) -> None:
        header = node.header
        at = position(header)
        if isinstance(header, ast.For):
            self.note(header.iter)
            self.bound |= bound_names(header.target)
            self.emission.bound |= self.bound
        else:
            self.note(header.test)
        self.loops += 1
        body = self.write(node.body) or [ast.Pass(**at)]
        self.loops -= 1
        orelse = self.write(node.orelse)
        if isinstance(header, ast.For):
            self.out.append(ast.For(header.target, header.iter, body, orelse, None, **at))
        else:
            self.out.append(ast.While(header.test, body, orelse, **at))

    def attempt(self, node: Try) -> None:
        at = position(node.at)
        outer, self.guarded = self.guarded, True
        body = self.write(node.body) or [ast.Pass(**at)]
        handlers = []
        for handler, nodes in node.handlers:
            if handler.type is not None:
                self.note(handler.type)
            if handler.name is not None:
                self.bound.add(handler.name)
                self.emission.bound.add(handler.name)
            place = position(handler)
            written = self.write(nodes) or [ast.Pass(**place)]
            handlers.append(ast.ExceptHandler(handler.type, handler.name, written, **place))
        orelse = self.write(node.orelse)
        final = [] if node.final is None else self.write(node.final) or [ast.Pass(**at)]
        self.guarded = outer
        self.out.append(ast.Try(body, handlers, orelse, final, **at))

    def jump(self, node: Jump) -> None:
        if not self.loops:
            message = f"{node.word!r} outside a loop: its block is used in another place too"
            raise ParseError(message, self.file.name, node.at.line)
        at = position(node.at)
        self.out.append(ast.Break(**at) if node.word == "break" else ast.Continue(**at))

    def apply(self, node: Apply) -> None:
        function = self.note(node.function)
        at = position(function)
        ident = f"_tt_apply_{len(self.emission.titles)}"
        self.emission.titles[ident] = self.file, "apply"
        writer = _Writer(self.emission, self.file, self.blocks, _Scope(), guarded=False)
        body = writer.write(node.body)
        begin = ast.parse(_APPLY).body
        for statement in begin:
            for inner in ast.walk(statement):
                if isinstance(inner, ast.expr | ast.stmt):
                    inner.lineno = inner.end_lineno = at["lineno"]
                    inner.col_offset = inner.end_col_offset = at["col_offset"]
        end = begin.pop()
        body = [*writer.scope.declarations(writer.bound, at), *begin, *body, end]
        self.scope.functions.append(self.emission.function(ident, "", body, at))
        result = _call(function, [self.emission.call(ident, at)], at)
        self.pieces.append(_call("_tt_produced", [result], at))

    def block(self, node: Block) -> None:
        block = self.blocks[node.name]
        if block.file is self.file:
            self.nodes(block.body)
        else:
            self.flush()
            self.part(block.body, block.file, self.blocks, f"block {block.name}", node)

    def include(self, node: Include) -> None:
        assembly = self.emission.assembly
        file = assembly.load(node.name, self.file, node.at, "include")
        if file.extends is None:
            self.part(file.body, file, self.blocks, "template", node)
        else:
            lineage = assembly.lineage(file)
            self.part(lineage[0].body, lineage[0], assembly.blocks(lineage), "template", node)

    def part(self, nodes: list[Node], file: File, blocks: Blocks, title: str, by: Block | Include) -> None:
        """Write `nodes` of another file as a function that shares the variables of this one, and call it."""
        at = position(by.at)
        key = id(nodes), id(blocks), self.guarded
        ident = self.scope.parts.get(key)
        if ident is None:
            ident = f"_tt_part_{len(self.emission.titles)}"
            self.emission.titles[ident] = file, title
            writer = _Writer(self.emission, file, blocks, self.scope, guarded=self.guarded)
            body = writer.write(nodes)
            start: Position = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
            if writer.bound:
                self.scope.shared |= writer.bound
                body.insert(0, ast.Nonlocal(sorted(writer.bound), **start))
            self.scope.functions.append(self.emission.function(ident, "", body, start))
            self.scope.parts[key] = ident
        self.out.append(ast.Expr(self.emission.call(ident, at), **at))
