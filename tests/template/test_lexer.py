"""Where tags begin and end, and the places of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.template.errors import ParseError
from webfw.template.lexer import Token, line_of, tokenize


def kinds(text: str) -> list[str]:
    def show(token: Token) -> str:
        if token.kind == "text":
            return token.code.text
        if token.kind == "expression":
            return f"<{token.code.text}>"
        return f"[{token.operator}:{token.code.text}]"

    return [show(token) for token in tokenize(text, "t")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a { b } %} }} #} c", ["a { b } %} }} #} c"]),
        ("a{{ x }}b", ["a", "<x>", "b"]),
        ("{%if x%}{%  end  %}", ["[if:x]", "[end:]"]),
        ("{%\nif\tx\n%}", ["[if:x]"]),
        ("{% if(x) %}", ["[if:(x)]"]),
        ("a{# {{ x }} #}b", ["a", "b"]),
        ("{# \n #}", []),
        ("{{!x}}{%!y%}{#!z#}", ["{{", "x}}", "{%", "y%}", "{#", "z#}"]),
        ("{{!!x", ["{{", "!x"]),
        ("{{{x}}}", ["{", "<x>", "}"]),
        ("{{{{ 1 }}}}", ["{{", "<1>", "}}"]),
        ("{{{!x", ["{", "{{", "x"]),
        ("{{ '}}' }}", ["<'}}'>"]),
        ("{{ \"}}\" + '\\'}}' }}", ["<\"}}\" + '\\'}}'>"]),
        ("{{ '''a'}}\n''' }}", ["<'''a'}}\n'''>"]),
        ('{{ """a"}}\n""" }}', ['<"""a"}}\n""">']),
        ("{{ {'a': {'b': 1}} }}", ["<{'a': {'b': 1}}>"]),
        ("{{ {'a': 1}}}", ["<{'a': 1}>"]),
        ("{{ f(x[{1}])}}", ["<f(x[{1}])>"]),
        ("{% set x = {1: '%}'} %}", ["[set:x = {1: '%}'}]"]),
        ("{% set x = {1: {2: 3}} %}", ["[set:x = {1: {2: 3}}]"]),
        ("{{ 7 %{1: 2}[1] }}", ["<7 %{1: 2}[1]>"]),
        ("{{ x # it's }}", ["<x # it's>"]),
        ("{{ x # it's\n + 1 }}", ["<x # it's\n + 1>"]),
        ("{{ x # it's }}\n y }}", ["<x # it's>", "\n y }}"]),
        ("{% comment it's a 'quote %}b", ["[comment:it's a 'quote]", "b"]),
        ("{% end if it's %}", ["[end:if it's]"]),
        # What does not close ends at the first mark.
        ("{{ 'a }} b' }}", ["<'a }} b'>"]),
        ("{{ 'a }}\n'b", ["<'a>", "\n'b"]),
        ("{{ (a }} b", ["<(a>", " b"]),
        ("{{ a) }} b", ["<a)>", " b"]),
        ("{{ 'a }} # b", ["<'a>", " # b"]),
        ("{{ ( # }} b", ["<( #>", " b"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("\n{{", "missing }} to end the expression", 2),
        ("{{ x }", "missing }}", 1),
        ("{{ x # }", "missing }}", 1),
        ("a\n\n{% if x }", "missing %} to end the directive", 3),
        ("{% end }}", "missing %} to end the directive", 1),
        ("{#\n\n}", "missing #} to end the comment", 1),
        ("{{ \n }}", "empty expression", 1),
        ("{% %}", "empty directive", 1),
        ("\n{% \n? x %}", "unknown directive '\\?'", 3),
        ("{%%!x%}", "unknown directive '%!x'", 1),
    ],
)
def test_errors(text: str, message: str, line: int) -> None:
    with pytest.raises(ParseError, match=message) as info:
        kinds(text)
    assert (info.value.filename, info.value.lineno) == ("t", line)


def test_places() -> None:
    text = "é\nß {{ a\n + é }} {% if  x %}\n{{ b }}"
    places = [
        (t.code.text, t.code.line, t.code.column, t.code.byte_column)
        for t in tokenize(text, "t")
        if t.kind != "text"
    ]
    assert places == [("a\n + é", 2, 5, 6), ("x", 3, 15, 16), ("b", 4, 3, 3)]


@given(st.text(alphabet="{}%#! \n'\"()[]aé"))
def test_any_text_is_cut_or_refused(text: str) -> None:
    tokens = []
    line = 1
    try:
        tokens.extend(tokenize(text, "t"))  # keeps what came before the error
    except ParseError as error:
        line = error.lineno
    assert 1 <= line <= text.count("\n") + 1
    at = 0
    for token in tokens:
        at = text.index(token.code.text, at)
        assert token.code.line == text.count("\n", 0, at) + 1 or not token.code.text
        at += len(token.code.text)


@pytest.mark.parametrize("text", ["{{ x # ''' }}", "{{!" + "x", "{{ x }}é", "{# ' #}"])
def test_time_is_linear(text: str) -> None:
    assert len(list(tokenize(text * 50_000, "t"))) >= 0


@pytest.mark.parametrize(("line", "expected"), [(1, "a"), (2, "b"), (3, ""), (4, ""), (0, "")])
def test_line_of(line: int, expected: str) -> None:
    assert line_of("a\nb\r\n", line) == expected
