"""Whatever a template's text is, it compiles or raises ParseError with a line it has; plain text comes out as it is.

And: pieces stand where they say they do; text without tags comes out as it stands, and so do tags that are escaped.
Nothing is run but templates whose tags are known: what stands in a tag is a program.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

import warnings

from webfw.template import ParseError, Template
from webfw.template.lexer import tokenize

TOKENS = [
    *(
        b"{{",
        b"}}",
        b"{%",
        b"%}",
        b"{#",
        b"#}",
        b"{{!",
        b"{%!",
        b"{#!",
        b"{{ a }}",
        b"{% end %}",
        b"{% if a %}",
        b"{% else %}",
    ),
    *(
        b"{% elif a %}",
        b"{% for a in b %}",
        b"{% while a %}",
        b"{% try %}",
        b"{% except %}",
        b"{% except E as e %}",
    ),
    *(
        b"{% finally %}",
        b"{% set a = 1 %}",
        b"{% import a %}",
        b"{% from a import b %}",
        b"{% raw a %}",
        b"{% module a() %}",
    ),
    *(
        b"{% include 'a' %}",
        b"{% extends 'a' %}",
        b"{% block a %}",
        b"{% apply a %}",
        b"{% autoescape None %}",
    ),
    *(
        b"{% whitespace oneline %}",
        b"{% break %}",
        b"{% continue %}",
        b"{% comment a %}",
        b"\n",
        b"\r\n",
        b"\\",
        b'"',
        b"'",
    ),
    *(
        b"'''",
        b'"""',
        b"#",
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b"lambda: ",
        b"await ",
        b"yield",
        b"not ",
        b"-",
        b"f'{a}'",
    ),
    *(
        b":=",
        b"=",
        b"*",
        b"**",
        b",",
        b";",
        b":",
        b".",
        b" if a else b",
        b"for a in b",
        b"1",
        b"0x",
        b"1e9",
        b"\xe2\x82\xac",
    ),
    *(
        b"\x00",
        b"\xff",
        b"\x0c",
        b"\xe2\x80\xa8",
        b"<pre>",
        b"  ",
        b"\t",
        b"async ",
        b"None",
        b"def a(): pass",
        b"return a",
    ),
    *(
        b"nonlocal a",
        b"global a",
        b"a: int = 1",
        b"del a",
        b"(" * 60,
        b"not " * 60,
        b"{% if a %}" * 12,
        b"print(a)",
    ),
]


def compiled(text: str) -> str:
    try:
        template = Template(text, "t.txt", autoescape=None)
    except ParseError as error:
        assert error.filename == "t.txt"
        assert 1 <= error.lineno <= text.count("\n") + 1, error
        assert str(error)
        return "refused"
    except FileNotFoundError:
        raise AssertionError("a template without a loader reads files") from None
    assert template.compiled.co_code
    return "compiled"


def places(text: str) -> None:
    """Every piece stands where it says, in order, and what is left over is marks, comments and white space."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    at = 0
    try:
        for token in tokenize(text, "t.txt"):
            begin = starts[token.code.line - 1] + token.code.column
            assert begin >= at
            assert text.startswith(token.code.text, begin)
            before = text[starts[token.code.line - 1] : begin].encode("utf-8", "surrogatepass")
            assert token.code.byte_column == len(before)
            at = begin + len(token.code.text)
    except ParseError:
        pass


def plain(text: str) -> None:
    escaped = text.replace("{{", "{\0").replace("{%", "{%!").replace("{#", "{#!").replace("{\0", "{{!")
    # Of several braces in a row the innermost two count, so what was escaped two by two is read otherwise there.
    if "{{{" in text or "{{%" in text or "{{#" in text or "\0" in text:
        return
    for whitespace in ("all", "single", "oneline"):
        template = Template(escaped, "t.txt", whitespace=whitespace)
        out = template.generate().decode()
        assert out.split() == text.split(), escaped
        assert len(out) <= len(text)
        assert whitespace != "all" or out == text


def check(data: bytes, cuts: list[int]) -> str:
    text = data.decode("utf-8", "replace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's on odd literals
        outcome = compiled(text)
    places(text)
    plain(text)
    whole = Template("{% set a = 1 %}{# c #}<{{ a }}>", "t.txt").generate()
    assert whole == b"<1>"
    try:
        Template(data, "t.txt")
    except UnicodeDecodeError:
        return "no text"
    except (ParseError, Warning):
        pass
    return outcome
