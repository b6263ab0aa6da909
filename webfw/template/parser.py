"""The grammar of directives: makes a `File` of a template's text; loads no other file and makes no code."""

import ast
from dataclasses import dataclass

from webfw.template.errors import ParseError
from webfw.template.fragments import parse_except, parse_expression, parse_for, parse_statements
from webfw.template.lexer import Code, Token, tokenize
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
    Run,
    Text,
    Try,
    position,
)
from webfw.template.whitespace import MODES, filter_whitespace

__all__ = ["parse"]

# Which open directives a directive may continue.
_CONTINUES = {
    "else": ("if", "for", "while", "try"),
    "elif": ("if",),
    "except": ("try",),
    "finally": ("try",),
}


@dataclass(slots=True)
class _Open:
    """A directive whose ``{% end %}`` has not come yet."""

    word: str
    line: int
    node: Node | None
    body: list[Node]  #: where the next node goes
    in_loop: bool  #: whether ``break`` may stand here
    phase: str = ""  #: the last of else, elif, except, finally, bare except seen
    outer_loop: bool = False  #: whether it may around the directive


def parse(file: File, whitespace: str) -> None:
    """Fill `file` with the tree of its text.

    :param whitespace: the whitespace mode to begin with.
    :raises ParseError: when the text breaks the grammar, with the line of it.
    """
    _Parser(file, whitespace).run()


class _Parser:
    def __init__(self, file: File, whitespace: str) -> None:
        self.file = file
        self.whitespace = whitespace
        self.open = [_Open("", 0, None, file.body, False)]

    def fail(self, message: str, line: int) -> ParseError:
        return ParseError(message, self.file.name, line)

    def run(self) -> None:
        file = self.file
        if file.autoescape_name is not None:
            self.do_autoescape(Code(file.autoescape_name, 1, 0, 0))
        for token in tokenize(file.text, file.name):
            if token.kind == "text":
                self.add_text(token.code)
            elif token.kind == "expression":
                self.add(Output(parse_expression(token.code, file), True))
            else:
                self.directive(token)
        if len(self.open) > 1:
            unclosed = self.open[-1]
            message = f"missing {{% end %}} for the {unclosed.word!r} of line {unclosed.line}"
            raise self.fail(message, unclosed.line)

    def add(self, node: Node) -> None:
        self.open[-1].body.append(node)

    def add_text(self, code: Code) -> None:
        text = code.text
        # Preformatted text is kept as it stands; a <pre> cut in pieces by directives is not recognized
        # after the cut.
        if "<pre>" not in text:
            text = filter_whitespace(self.whitespace, text)
        self.add(Text(text, code))

    def directive(self, token: Token) -> None:
        method = getattr(self, "do_" + token.operator, None)
        if method is None:
            raise self.fail(f"unknown directive {token.operator!r}", token.code.line)
        method(token.code)

    def needs(self, code: Code, what: str) -> None:
        if not code.text:
            raise self.fail(f"{what} missing", code.line)

    def bare(self, code: Code, word: str) -> None:
        if code.text:
            raise self.fail(f"{word!r} takes nothing after it, found {code.text!r}", code.line)

    def start(self, word: str, code: Code, node: Node, body: list[Node], in_loop: bool | None = None) -> None:
        outer = self.open[-1].in_loop
        self.add(node)
        self.open.append(_Open(word, code.line, node, body, outer if in_loop is None else in_loop, "", outer))

    # directives without a body

    def do_comment(self, code: Code) -> None:
        pass

    def do_set(self, code: Code) -> None:
        self.needs(code, "statement after 'set'")
        self.add(Run(parse_statements(code, self.file)))

    def do_import(self, code: Code) -> None:
        self.needs(code, "module after 'import'")
        self.add(Run(parse_statements(code, self.file, "import ")))

    def do_from(self, code: Code) -> None:
        self.needs(code, "module after 'from'")
        self.add(Run(parse_statements(code, self.file, "from ")))

    def do_raw(self, code: Code) -> None:
        self.needs(code, "expression after 'raw'")
        self.add(Output(parse_expression(code, self.file), False))

    def do_module(self, code: Code) -> None:
        self.needs(code, "call after 'module'")
        self.add(Output(parse_expression(code, self.file, "_tt_modules."), False))

    def do_include(self, code: Code) -> None:
        self.add(Include(self.quoted(code, "include"), code))

    def do_extends(self, code: Code) -> None:
        if len(self.open) > 1:
            raise self.fail(
                f"'extends' inside {self.open[-1].word!r}: it must not stand in a block", code.line
            )
        self.file.extends = self.quoted(code, "extends"), code

    def quoted(self, code: Code, word: str) -> str:
        name = code.text.strip("\"'").strip()
        if not name:
            raise self.fail(f"file name after {word!r} missing", code.line)
        return name

    def do_autoescape(self, code: Code) -> None:
        off = code.text in ("", "None")
        self.file.autoescape_name = None if off else code.text
        self.file.autoescape = None if off else parse_expression(code, self.file)

    def do_whitespace(self, code: Code) -> None:
        if code.text not in MODES:
            message = f"unknown whitespace mode {code.text!r}: it must be one of {', '.join(MODES)}"
            raise self.fail(message, code.line)
        self.whitespace = code.text

    def do_break(self, code: Code) -> None:
        self.jump("break", code)

    def do_continue(self, code: Code) -> None:
        self.jump("continue", code)

    def jump(self, word: str, code: Code) -> None:
        if not self.open[-1].in_loop:
            raise self.fail(f"{word!r} outside a 'for' or 'while' loop", code.line)
        self.bare(code, word)
        self.add(Jump(word, code))

    # directives with a body

    def do_if(self, code: Code) -> None:
        node = If([(parse_expression(code, self.file), [])])
        self.start("if", code, node, node.tests[0][1])

    def do_for(self, code: Code) -> None:
        node = Loop(parse_for(code, self.file))
        self.start("for", code, node, node.body, True)

    def do_while(self, code: Code) -> None:
        test = parse_expression(code, self.file)
        node = Loop(ast.While(test, [], [], **position(code)))
        self.start("while", code, node, node.body, True)

    def do_try(self, code: Code) -> None:
        self.bare(code, "try")
        node = Try(code)
        self.start("try", code, node, node.body)

    def do_apply(self, code: Code) -> None:
        self.needs(code, "function after 'apply'")
        node = Apply(parse_expression(code, self.file))
        self.start("apply", code, node, node.body, False)

    def do_block(self, code: Code) -> None:
        self.needs(code, "name after 'block'")
        node = Block(code.text, self.file, code)
        self.start("block", code, node, node.body)

    def do_end(self, code: Code) -> None:
        # What follows the word is for the reader: {% end if %}
        if len(self.open) == 1:
            raise self.fail("extra {% end %}: nothing is open", code.line)
        closed = self.open.pop()
        node = closed.node
        if isinstance(node, Try) and not node.handlers and node.final is None:
            raise self.fail("'try' without 'except' or 'finally'", closed.line)

    # directives that continue another

    def continued(self, word: str, code: Code) -> _Open:
        current = self.open[-1]
        allowed = _CONTINUES[word]
        if current.word not in allowed:
            names = " or ".join(repr(other) for other in allowed)
            problem = f"outside {names}" if current.node is None else f"cannot continue {current.word!r}"
            raise self.fail(f"{word!r} {problem}", code.line)
        if current.phase == "finally" or (current.phase == "else" and word != "finally"):
            raise self.fail(f"{word!r} after {current.phase!r}", code.line)
        current.phase = word
        return current

    def do_elif(self, code: Code) -> None:
        current = self.continued("elif", code)
        assert isinstance(current.node, If)
        current.node.tests.append((parse_expression(code, self.file), []))
        current.body = current.node.tests[-1][1]

    def do_else(self, code: Code) -> None:
        current = self.continued("else", code)
        self.bare(code, "else")
        node = current.node
        assert isinstance(node, If | Loop | Try)
        if isinstance(node, Try) and not node.handlers:
            raise self.fail("'else' before any 'except'", code.line)
        if isinstance(node, Loop):
            current.in_loop = current.outer_loop
        current.body = node.orelse

    def do_except(self, code: Code) -> None:
        current = self.continued("except", code)
        node = current.node
        assert isinstance(node, Try)
        if node.handlers and node.handlers[-1][0].type is None:
            raise self.fail("'except' after one that catches everything", code.line)
        node.handlers.append((parse_except(code, self.file), []))
        current.body = node.handlers[-1][1]

    def do_finally(self, code: Code) -> None:
        current = self.continued("finally", code)
        self.bare(code, "finally")
        node = current.node
        assert isinstance(node, Try)
        node.final = current.body = []
