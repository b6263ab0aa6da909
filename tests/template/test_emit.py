"""What pages render to: every directive, scopes, and pages made of several files."""

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.template.assembly import Assembly
from webfw.template.emit import MAIN, Emission
from webfw.template.errors import ParseError
from webfw.template.loader import DictLoader
from webfw.template.template import Template


def render(text: str, **values: Any) -> str:
    return Template(text).generate(**values).decode()


def page(files: dict[str, str], **values: Any) -> str:
    """The first of `files` rendered."""
    return DictLoader(files).load(next(iter(files))).generate(**values).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a{{ x }}b{{ 1 }}", "a&lt;x&gt;b1"),
        ("{% raw x %}", "<x>"),
        ("{% if t %}a{% end %}", "a"),
        ("{% if f %}a{% elif t %}b{% else %}c{% end %}", "b"),
        ("{% if f %}a{% elif f %}b{% else %}c{% end %}", "c"),
        ("{% if t %}{% end %}{% if f %}{% else %}{% end %}", ""),
        ("{% for i in r %}{{ i }},{% end %}", "0,1,2,"),
        ("{% for i in r %}{% end %}{{ i }}", "2"),
        ("{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% end %}", "123"),
        ("{% for i in r %}{% if i == 1 %}{% break %}{% end %}{{ i }}{% else %}e{% end %}", "0"),
        ("{% for i in r %}{% if i == 1 %}{% continue %}{% end %}{{ i }}{% else %}e{% end %}", "02e"),
        ("{% for i in r %}{% for j in r %}a{% else %}{% break %}{% end %}{% end %}", "aaa"),
        ("{% set i = 3 %}{% while i %}{{ i }}{% set i -= 1 %}{% end %}", "321"),
        ("{% while f %}{% else %}e{% end %}", "e"),
        ("{% while t %}{% break %}{% end %}", ""),
        ("{% try %}a{{ 1/0 }}b{% except ZeroDivisionError %}c{% end %}", "ac"),
        (
            "{% try %}a{{ 1/0 }}{% except (KeyError, ZeroDivisionError) as e %}{{ e }}{% end %}",
            "adivision by zero",
        ),
        ("{% try %}a{% except %}b{% else %}c{% finally %}d{% end %}", "acd"),
        ("{% try %}{{ nope }}{% except KeyError %}{% except NameError %}n{% end %}", "n"),
        ("{% try %}{% except %}{% finally %}{% end %}", ""),
        (
            "{% for i in r %}{% try %}{% if i %}{% continue %}{% end %}{{ i }}{% finally %}f{% end %}{% end %}",
            "0fff",
        ),
        ("{% set a = 1 %}{% set b, c = a, 2; d = 3 %}{{ a }}{{ b }}{{ c }}{{ d }}", "1123"),
        ("{% set a: int = 4 %}{{ a }}", "4"),
        ("{% set d['k'] = 5 %}{{ d['k'] }}", "5"),
        ("{% set f = lambda x: x * 2 %}{{ f(4) }}", "8"),
        ("{% import os.path %}{% import os.path as p %}{{ os.path is p }}", "True"),
        ("{% from math import floor, ceil as c %}{{ floor(1.5) }}{{ c(1.5) }}", "12"),
        ("{% apply up %}a{{ x }}{% end %}", "A&LT;X&GT;"),
        ("{% apply lambda b: b + b'!' %}a{% end %}", "a!"),
        ("{% apply (lambda b: type(b).__name__) %}a{% end %}", "bytes"),
        ("{% apply up %}a{% apply repr %}b{% end %}{% end %}", "AB'B'"),
        ("{% apply up %}{% for i in r %}{{ i }}a{% break %}{% end %}{% end %}", "0A"),
        ("{% apply up %}{% end %}", ""),
        ("{% block a %}{% set q = 1 %}{% end %}{{ q }}", "1"),
        ("{% for i in r %}{% block a %}{% if i %}{% break %}{% end %}{{ i }}{% end %}{% end %}", "0"),
        ("{% block a %}1{% end %}{% block a %}2{% end %}", "22"),
        ("{% block a %}1{% block a %}2{% end %}{% end %}", "2"),
        ("{% module Two('x', y=1) %}{% module Two('z').upper() %}", "<x1><Z0>"),
        ("{{ [x for x in r if (y := x)] }}{{ y }}", "[1, 2]2"),
        ("{{ x, 1 }}", "(&#x27;&lt;x&gt;&#x27;, 1)"),
        ("{{ None }}{{ b'<' }}{% raw b'<' %}", "None&lt;<"),
        ("x{# a {{ b }} {% c %} #}y{% comment {{ d }} %}z", "xyz"),
    ],
)
def test_renders(text: str, expected: str) -> None:
    class Modules:
        def Two(self, x: str, y: int = 0) -> str:
            return f"<{x}{y}>"

    values = {"x": "<x>", "t": True, "f": False, "r": range(3), "d": {}, "_tt_modules": Modules()}
    assert render(text, up=bytes.upper, **values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% autoescape None %}{{ x }}{{ b }}{{ n }}", b"<\xffNone"),
        ("{{ x }}{% autoescape None %}{{ x }}", b"<<"),
        ("{% autoescape None %}{{ x }}{% autoescape xhtml_escape %}{{ x }}", b"&lt;&lt;"),
        ("{% autoescape url_escape %}{{ x }}{% raw x %}", b"%3C<"),
        ("{% autoescape repr %}{{ x }}{{ 1 }}", b"b'<'b'1'"),
        ("{% autoescape lambda b: b + b %}{{ x }}{{ 1 }}", b"<<11"),
        ("{% set double = lambda b: b + b %}{% autoescape double %}{{ x }}", b"<<"),
        ("{% set xhtml_escape = lambda b: b + b %}{{ x }}", b"<<"),
        ("{% from webfw.escape import xhtml_escape %}{{ x }}", b"&lt;"),
    ],
)
def test_autoescape(text: str, expected: bytes) -> None:
    assert Template(text).generate(x="<", b=b"\xff", n=None) == expected


@pytest.mark.parametrize("text", ["{% autoescape len %}{{ 1 }}", "{% apply len %}{% end %}"])
def test_functions_must_return_text(text: str) -> None:
    with pytest.raises(TypeError, match="returned int"):
        render(text)


def test_apply_has_variables_of_its_own() -> None:
    assert render("{% set a = 1 %}{% apply f %}{{ a }}{% end %}{{ a }}", f=bytes.upper) == "11"
    assert render("{% set a = 1 %}{% apply f %}{% set a = 2 %}{{ a }}{% end %}{{ a }}", f=bytes.upper) == "21"
    with pytest.raises(NameError):
        render("{% apply f %}{% set a = 2 %}{% end %}{{ a }}", f=bytes.upper)


def test_what_is_set_anywhere_is_a_variable_of_the_page() -> None:
    with pytest.raises(UnboundLocalError):
        render("{{ a }}{% set a = 1 %}", a=2)


def test_long_runs_of_output() -> None:
    numbers = range(500)
    text = "".join(f"{{{{ {n} }}}}," for n in numbers)
    assert render(text) == "".join(f"{n}," for n in numbers)


# --- several files ---

LAYOUT = "<{% block head %}H{% end %}|{% block body %}B{% block inner %}I{% end %}{% end %}>"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"c": "{% extends l %}", "l": LAYOUT}, "<H|BI>"),
        ({"c": "{% extends l %}ignored {{ 1/0 }}{% block head %}c{% end %}", "l": LAYOUT}, "<c|BI>"),
        ({"c": "{% extends l %}{% block inner %}c{% end %}", "l": LAYOUT}, "<H|Bc>"),
        ({"c": "{% block head %}c{% end %}{% extends l %}", "l": LAYOUT}, "<c|BI>"),
        (
            {
                "c": "{% extends m %}{% block inner %}c{% end %}",
                "m": "{% extends l %}{% block body %}m{% block inner %}mi{% end %}m{% end %}",
                "l": LAYOUT,
            },
            "<H|mcm>",
        ),
        (
            {
                "c": "{% extends m %}{% block new %}c{% end %}",
                "m": "{% extends l %}{% block head %}{% block new %}n{% end %}{% end %}",
                "l": LAYOUT,
            },
            "<c|BI>",
        ),
        (
            {"c": "{% extends l %}{% block head %}h{% block inner %}c{% end %}{% end %}", "l": LAYOUT},
            "<hc|Bc>",
        ),
        (
            {
                "c": "{% extends l %}{% block x %}c{% end %}",
                "l": "[{% include i %}]",
                "i": "{% block x %}i{% end %}",
            },
            "[c]",
        ),
        (
            {
                "c": "{% extends l %}{% include i %}",
                "l": "[{% block x %}{% end %}]",
                "i": "{% block x %}i{% end %}",
            },
            "[i]",
        ),
        (
            {"c": "a{% include p %}b", "p": "{% extends l %}{% block head %}p{% end %}", "l": LAYOUT},
            "a<p|BI>b",
        ),
        (
            {
                "c": "{% set q = 1 %}{% include i %}{{ q }}{{ w }}",
                "i": "{{ q }}{% set q = 2 %}{% set w = 3 %}",
            },
            "123",
        ),
        ({"c": "{% for q in [1, 2] %}{% include i %}{% end %}{% include i %}", "i": "{{ q }},"}, "1,2,2,"),
        (
            {
                "c": "{% include i %}{{ e }}",
                "i": "{% include j %}{{ e }}",
                "j": "{% for e in [4] %}{% end %}",
            },
            "44",
        ),
        ({"c": "{% apply f %}{% include i %}{{ w }}{% end %}", "i": "a{% set w = 'b' %}"}, "AB"),
        ({"c": "{% try %}{% include i %}{% except NameError %}!{% end %}", "i": "a{{ nope }}b"}, "a!"),
        ({"c": "{% include i %}", "i": ""}, ""),
        ({"c": "{% include i %}", "i": "{% set x: int = 3 %}{{ x }}"}, "3"),
        ({"c": "{% include i %}{{ n }}", "i": "{% import math as n %}{% set n = n.pi > 3 %}"}, "True"),
        (
            {"c": "{% include i %}", "i": "{% try %}{{ 1/0 }}{% except Exception as e %}{{ e }}{% end %}"},
            "division by zero",
        ),
        (
            {"c": "{% include i %}{{ [y, z] }}", "i": "{{ [z for z in [1] if (y := z)] }}{% set z = 9 %}"},
            "[1][1, 9]",
        ),
        ({"d/c": "{% include e/i %}{% include ../i %}", "d/e/i": "1{% include ../../i %}", "i": "2"}, "122"),
    ],
)
def test_pages(files: dict[str, str], expected: str) -> None:
    assert page(files, f=bytes.upper) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"c": "{% autoescape None %}{{ x }}{% include i %}", "i": "{{ x }}"}, "<&lt;"),
        ({"c": "{{ x }}{% include i %}", "i": "{% autoescape None %}{{ x }}"}, "&lt;<"),
        (
            {
                "c": "{% extends l %}{% autoescape None %}{% block b %}{{ x }}{% end %}",
                "l": "{{ x }}{% block b %}{% end %}{{ x }}",
            },
            "&lt;<&lt;",
        ),
        (
            {
                "c": "{% extends l %}{% block b %}{{ x }}{% end %}",
                "l": "{% autoescape None %}{{ x }}{% block b %}{% end %}{% block c %}{{ x }}{% end %}",
            },
            "<&lt;<",
        ),
    ],
)
def test_autoescape_is_of_the_file(files: dict[str, str], expected: str) -> None:
    assert page(files, x="<") == expected


def test_white_space_is_of_the_file() -> None:
    files = {"c.html": "{% whitespace all %}a  b{% include i.html %}c  d", "i.html": "e  f"}
    assert page(files) == "a  be fc  d"


def test_break_does_not_leave_its_file() -> None:
    with pytest.raises(ParseError, match="'break' outside"):
        page({"c": "{% for i in x %}{% include i %}{% end %}", "i": "{% break %}"})
    loop = "{% for i in x %}{% block b %}{% end %}{% end %}"
    with pytest.raises(ParseError, match="'break' outside") as info:
        page({"c": "{% extends l %}\n{% block b %}{% break %}{% end %}", "l": loop})
    assert (info.value.filename, info.value.lineno) == ("c", 2)


def test_break_in_a_block_that_also_stands_outside_the_loop() -> None:
    text = "{% block b %}{% end %}\n{% for i in x %}{% block b %}{% break %}{% end %}{% end %}"
    with pytest.raises(ParseError, match="its block is used in another place too") as info:
        Template(text)
    assert info.value.lineno == 2


def test_the_same_part_is_written_once() -> None:
    files = {"c": "{% include i %}" * 50, "i": "{% include j %}" * 50, "j": "x"}
    loader = DictLoader(files)
    emission = Emission(Assembly(loader), asynchronous=False, plain_html=True)
    emission.page(loader.load("c").file)
    assert len(emission.titles) == 3
    assert page(files) == "x" * 2500


def test_emission_tells_what_it_made() -> None:
    loader = DictLoader(
        {"c": "{% extends l %}{% block b %}\n{{ await x }}{% end %}", "l": "{% block b %}{% end %}"}
    )
    emission = Emission(Assembly(loader), asynchronous=True, plain_html=True)
    emission.page(loader.load("c").file)
    assert emission.awaits is not None
    assert (emission.awaits[0].name, emission.awaits[1]) == ("c", 2)
    assert {ident: (file.name, title) for ident, (file, title) in emission.titles.items()} == {
        MAIN: ("l", "template"),
        "_tt_part_0": ("c", "block b"),
    }
    assert isinstance(emission.tree.body[0], ast.AsyncFunctionDef)


# --- anything the grammar makes, against an interpreter of the same tree ---

Tree = tuple[Any, ...]

_TEXT = st.text(alphabet="ab<&é \n\t'\"", min_size=1, max_size=5)
_NAME = st.sampled_from("xyz")
_LEAF = st.one_of(
    st.tuples(st.just("text"), _TEXT),
    st.tuples(st.just("show"), _NAME),
    st.tuples(st.just("raw"), _NAME),
    st.tuples(st.just("set"), _NAME, _TEXT),
    st.tuples(st.just("comment")),
    st.tuples(st.just("fail")),
)


def _inner(body: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(body, max_size=3)
    return st.one_of(
        st.tuples(st.just("if"), _NAME, _TEXT, some, some),
        st.tuples(st.just("for"), _NAME, st.integers(0, 3), some),
        st.tuples(st.just("try"), some, some),
        st.tuples(st.just("apply"), some),
        st.tuples(st.just("block"), some),
        st.tuples(st.just("include"), some),
    )


_TREES = st.lists(st.recursive(_LEAF, _inner, max_leaves=12), max_size=5)


class Failed(Exception):
    pass


class Printer:
    """Makes the template texts of a tree."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.blocks = 0

    def text(self, trees: list[Tree]) -> str:
        return "".join(map(self.one, trees))

    def one(self, tree: Tree) -> str:
        match tree:
            case ("text", text):
                return text
            case ("show", name):
                return f"{{{{ {name} }}}}"
            case ("raw", name):
                return f"{{% raw {name} %}}"
            case ("set", name, text):
                return f"{{% set {name} = {text!r} %}}"
            case ("comment",):
                return "{# {{ x }} #}"
            case ("fail",):
                return "{{ fail() }}"
            case ("if", name, text, yes, no):
                return f"{{% if {name} < {text!r} %}}{self.text(yes)}{{% else %}}{self.text(no)}{{% end %}}"
            case ("for", name, count, body):
                return f"{{% for {name} in '012'[:{count}] %}}{self.text(body)}{{% end %}}"
            case ("try", body, handler):
                return f"{{% try %}}{self.text(body)}{{% except Failed %}}{self.text(handler)}{{% end %}}"
            case ("apply", body):
                # What a body binds is local to it; giving it the outer values first keeps reading possible.
                return f"{{% apply upper %}}{{% set x, y, z = now() %}}{self.text(body)}{{% end %}}"
            case ("block", body):
                self.blocks += 1
                return f"{{% block b{self.blocks} %}}{self.text(body)}{{% end %}}"
            case ("include", body):
                name = f"part{len(self.files)}"
                self.files[name] = ""
                self.files[name] = self.text(body)
                return f"{{% include {name} %}}"
        raise AssertionError(tree)


def _escape(text: str) -> str:
    pairs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
    return "".join(pairs.get(c, c) for c in text)


def interpret(trees: list[Tree], env: dict[str, str], out: list[str]) -> None:
    for tree in trees:
        match tree:
            case ("text", text):
                out.append(text)
            case ("show", name):
                out.append(_escape(env[name]))
            case ("raw", name):
                out.append(env[name])
            case ("set", name, text):
                env[name] = text
            case ("fail",):
                raise Failed
            case ("if", name, text, yes, no):
                interpret(yes if env[name] < text else no, env, out)
            case ("for", name, count, body):
                for env[name] in "012"[:count]:
                    interpret(body, env, out)
            case ("try", body, handler):
                try:
                    interpret(body, env, out)
                except Failed:
                    interpret(handler, env, out)
            case ("apply", body):
                inside: list[str] = []
                interpret(body, {"x": "1", "y": "2", "z": "3"}, inside)
                out.append("".join(inside).encode().upper().decode())
            case ("block" | "include", body):
                interpret(body, env, out)


@given(_TREES)
def test_generated_templates_render_like_their_trees(trees: list[Tree]) -> None:
    printer = Printer()
    text = "{% set x, y, z = 'a', '<b>', '&' %}" + printer.text(trees)
    out: list[str] = []
    expected: str | None
    try:
        interpret(trees, {"x": "a", "y": "<b>", "z": "&"}, out)
        expected = "".join(out)
    except Failed:
        expected = None

    def fail() -> None:
        raise Failed

    values = {"fail": fail, "Failed": Failed, "upper": bytes.upper, "now": lambda: "123"}
    template = DictLoader({"page": text, **printer.files}).load("page")
    if expected is None:
        with pytest.raises(Failed):
            template.generate(**values)
    else:
        assert template.generate(**values).decode() == expected
