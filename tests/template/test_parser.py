"""The grammar: what may stand where, and the line an error names."""

import pytest

from webfw.template.errors import ParseError
from webfw.template.nodes import Apply, Block, File, If, Include, Jump, Loop, Output, Run, Text, Try
from webfw.template.parser import parse


def parsed(text: str, whitespace: str = "all", autoescape: str | None = "xhtml_escape") -> File:
    file = File("t.html", text, autoescape)
    parse(file, whitespace)
    return file


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a{{ b }}", [Text, Output]),
        ("{% raw b %}{% module B() %}", [Output, Output]),
        ("{% set a = 1 %}{% import a.b as c %}{% from a import b, c as d %}", [Run, Run, Run]),
        ("{% comment anything 'at all %}", []),
        ("{% if a %}{% elif b %}{% elif c %}{% else %}{% end %}", [If]),
        ("{% for a, b in c %}{% break %}{% else %}{% end for %}", [Loop]),
        ("{% while a %}{% continue %}{% end %}", [Loop]),
        ("{% try %}{% except A as e %}{% except %}{% else %}{% finally %}{% end %}", [Try]),
        ("{% try %}{% finally %}{% end %}", [Try]),
        ("{% apply f %}{% end %}", [Apply]),
        ("{% block some name %}{% end %}", [Block]),
        ("{% include 'a.html' %}", [Include]),
        ("{% for a in b %}{% block c %}{% if d %}{% break %}{% end %}{% end %}{% end %}", [Loop]),
        ("{% for a in b %}{% for c in d %}{% else %}{% break %}{% end %}{% end %}", [Loop]),
    ],
)
def test_directives(text: str, kinds: list[type]) -> None:
    assert [type(node) for node in parsed(text).body] == kinds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% if a %}\n", "missing {% end %} for the 'if' of line 2"),
        ("{% if a %}{% for b in c %}{% end %}", "missing {% end %} for the 'if'"),
        ("{% end %}", "nothing is open"),
        ("{% if a %}{% end if %}{% end %}", "nothing is open"),
        ("{% else %}", "'else' outside 'if' or 'for' or 'while' or 'try'"),
        ("{% elif a %}", "'elif' outside 'if'"),
        ("{% except %}", "'except' outside 'try'"),
        ("{% finally %}", "'finally' outside 'try'"),
        ("{% block a %}{% else %}{% end %}", "'else' cannot continue 'block'"),
        ("{% for a in b %}{% elif a %}{% end %}", "'elif' cannot continue 'for'"),
        ("{% if a %}{% except %}{% end %}", "'except' cannot continue 'if'"),
        ("{% if a %}{% finally %}{% end %}", "'finally' cannot continue 'if'"),
        ("{% if a %}{% else %}{% else %}{% end %}", "'else' after 'else'"),
        ("{% if a %}{% else %}{% elif b %}{% end %}", "'elif' after 'else'"),
        ("{% try %}{% finally %}{% finally %}{% end %}", "'finally' after 'finally'"),
        ("{% try %}{% finally %}{% except %}{% end %}", "'except' after 'finally'"),
        ("{% try %}{% except %}{% else %}{% except %}{% end %}", "'except' after 'else'"),
        ("{% try %}{% except %}{% except A %}{% end %}", "'except' after one that catches everything"),
        ("{% try %}{% else %}{% end %}", "'else' before any 'except'"),
        ("{% try %}{% end %}", "'try' without 'except' or 'finally'"),
        ("{% if a %}{% else b %}{% end %}", "'else' takes nothing after it, found 'b'"),
        ("{% try a %}{% end %}", "'try' takes nothing after it"),
        ("{% try %}{% finally a %}{% end %}", "'finally' takes nothing after it"),
        ("{% for a in b %}{% break c %}{% end %}", "'break' takes nothing after it"),
        ("{% break %}", "'break' outside a 'for' or 'while' loop"),
        ("{% if a %}{% continue %}{% end %}", "'continue' outside a 'for' or 'while' loop"),
        ("{% for a in b %}{% apply f %}{% break %}{% end %}{% end %}", "'break' outside"),
        ("{% for a in b %}{% else %}{% break %}{% end %}", "'break' outside"),
        ("{% super %}", "unknown directive 'super'"),
        ("{% endfor %}", "unknown directive 'endfor'"),
        ("{% END %}", "unknown directive 'END'"),
        ("{% __init__ %}", "unknown directive '__init__'"),
        ("{% set %}", "statement after 'set' missing"),
        ("{% import %}", "module after 'import' missing"),
        ("{% from %}", "module after 'from' missing"),
        ("{% raw %}", "expression after 'raw' missing"),
        ("{% module %}", "call after 'module' missing"),
        ("{% apply %}", "function after 'apply' missing"),
        ("{% block %}", "name after 'block' missing"),
        ("{% include %}", "file name after 'include' missing"),
        ("{% extends '' %}", "file name after 'extends' missing"),
        ("{% if a %}{% extends 'b' %}{% end %}", "'extends' inside 'if'"),
        ("{% whitespace %}", "unknown whitespace mode ''"),
        ("{% whitespace bad %}", "unknown whitespace mode 'bad'"),
        ("{% if %}{% end %}", "expression missing"),
        ("{% if a: %}{% end %}", "invalid syntax"),
        ("{% for a %}{% end %}", "invalid syntax"),
        ("{% while %}{% end %}", "expression missing"),
        ("{% autoescape a b %}", "invalid syntax"),
        ("{{ a b }}", "invalid syntax"),
        ("{% from a import * %}", "import \\*"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message) as info:
        parsed("é\n" + text)
    assert (info.value.filename, info.value.lineno) == ("t.html", 2)


def test_missing_end_names_the_line_it_began() -> None:
    with pytest.raises(ParseError) as info:
        parsed("\n{% if a %}\n{% while b %}\n\n\n")
    assert info.value.lineno == 3


def test_jump_knows_its_word() -> None:
    loop = parsed("{% while a %}{% break %}{% continue %}{% end %}").body[0]
    assert isinstance(loop, Loop)
    assert [node.word for node in loop.body if isinstance(node, Jump)] == ["break", "continue"]


def texts(file: File) -> list[str]:
    return [node.text for node in file.body if isinstance(node, Text)]


def test_whitespace_mode_changes_from_the_directive_on() -> None:
    text = "a  \n b{% whitespace single %}c  \n d{% if x %}{% whitespace oneline %}{% end %}e  \n f"
    assert texts(parsed(text)) == ["a  \n b", "c\nd", "e f"]


def test_preformatted_text_is_kept_up_to_the_next_directive() -> None:
    text = "a  b <pre>\n\n c{{ x }}  d\n\n</pre>{{ x }}<PRE>  e"
    assert texts(parsed(text, "single")) == ["a  b <pre>\n\n c", " d\n</pre>", "<PRE> e"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "xhtml_escape"),
        ("{% autoescape None %}", None),
        ("{% autoescape %}", None),
        ("{% autoescape url_escape %}", "url_escape"),
        ("{% autoescape None %}{% autoescape url_escape %}", "url_escape"),
    ],
)
def test_last_autoescape_counts(text: str, expected: str | None) -> None:
    file = parsed(text)
    assert file.autoescape_name == expected
    assert (file.autoescape is None) is (expected is None)


def test_last_extends_counts() -> None:
    extends = parsed('{% extends "a.html" %}\n{% extends b.html %}').extends
    assert extends is not None
    assert (extends[0], extends[1].line) == ("b.html", 2)
