"""The same templates in Tornado, as a black box: what it renders is rendered alike, what it refuses is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw import template as ours

theirs = pytest.importorskip("tornado.template")

TEXTS = [
    "{{x}}|{{b}}|{{n}}|{{i}}|{{lst}}|{% raw x %}{% raw b %}{% raw n %}{% raw bad %}",
    "{{ x, i }}{{ *lst, 1 }}{{ (y := 5) }}{{ y }}{{ [q for q in lst if q > 1] }}{{ 'a' 'b' }}{{ f'{i!r}' }}",
    "{{ {'a': 1}['a'] }}{{ '%}' }}{{ (1 +\n 2) }}{{ '''a\nb''' }}{{ x # why }}",
    "{{!x}}{%!x%}{#!x#}{{!!x}}{{{!x}}{{{{!x",
    "{ {x} } }} %} #} {{{i}}}{{{{i}}}} {{{ 'a' }}",
    "a{# x #}b{# {{x}} {% if %} #}c{##}{% comment if it's %}{% comment %}",
    "{%if x%}a{%end%}{%\nif x\n%}b{%  end  %}{% if i %}c{% end if %}",
    "{% if 0 %}a{% elif i %}b{% else %}c{% end %}{% if 0 %}{% else %}{% end %}",
    "{% for y in lst %}{{y}}{% else %}E{% end %}{{y}}{% for a, c in [(1, 2)] %}{{a}}{{c}}{% end for %}",
    "{% for y in lst %}{% if y==2 %}{% break %}{% end %}{{y}}{% else %}E{% end %}",
    "{% for y in lst %}{% if y==2 %}{% continue %}{% end %}{{y}}{% end %}",
    "{% for j in [1,2] %}{% for i in [1] %}a{% else %}{% break %}{% end %}{% end %}",
    "{% for y in lst %}{% block q %}{{y}}{% break %}{% end %}{% end %}",
    "{% set k = 3 %}{% while k %}{{k}}{% set k = k - 1 %}{% else %}E{% end %}{% while 0 %}{% end %}",
    "{% try %}a{{1/0}}b{% except ZeroDivisionError as e %}Z{{e}}{% else %}E{% finally %}F{% end %}",
    "{% try %}a{% except ValueError %}b{% except %}c{% else %}d{% finally %}e{% end %}{% try %}f{% finally %}{% end %}",
    "{% while True %}{% try %}{{ 1/0 }}{% except ZeroDivisionError %}{% break %}{% end %}{% end %}done",
    "{% set a, c = 1, 2 %}{% set a = c = 3; e = 4 %}{{a}}{{c}}{{e}}{% set z: int = 3 %}{{z}}{% set d['k'] = 5 %}{{d}}",
    "{% set lst.append %}{% set f = lambda v: v * 2 %}{{ f(4) }}",
    "{% import math %}{% import os.path as p %}{% from math import floor, ceil as c %}{{c(2.5)}}{{p.join('a', 'b')}}",
    "{% apply up %}a{{x}}{% apply low %}B{% end %}{% end %}{% apply linkify %}http://a.b{% end %}",
    "{% apply (lambda s: s + b'!') %}x{% end %}{% apply (lambda s: '<') %}{% end %}{% apply xhtml_escape %}<{% end %}",
    "{% set a = 1 %}{% apply up %}{% set a = 2 %}{{a}}{% end %}{{a}}",
    "{% autoescape None %}{{x}}{{b}}{{n}}{{i}}{{bad}}",
    "{% autoescape %}{{x}}",
    "{{x}}{% autoescape None %}{{x}}{% autoescape url_escape %}",
    "{% autoescape repr %}{{x}}{{i}}{{b}}",
    "{% autoescape str %}{{x}}{{n}}",
    "{% autoescape linkify %}{{x}}",
    "{% if 0 %}{% autoescape None %}{% end %}{{x}}",
    "{% block a b %}{% set q = 1 %}{% end %}{{q}}{% block z %}1{% end %}{% block z %}2{% end %}",
    "{% block a %}{% block a %}x{% end %}{% end %}",
    "{% module Thing(i) %}{% module Thing('a').upper() %}",
    "{{ escape('<') }}{{ url_escape('< /') }}{{ json_encode({1: '</'}) }}{{ squeeze(' a  b') }}",
    "{{ datetime.date(2020,1,1) }}",
    "{{ __name__ }}{{ _tt_utf8('a') }}",
    "a  b\n\n c{% whitespace single %}a  b\n\n c{% whitespace oneline %}a  b\n\n c{% whitespace all %}  d",
    "<pre>a\n\n   b{{i}}  c\n\n</pre>  x{!  y<pre>",
    "x   y{{!z}}<pre>   q",
    "x   y{# c #}<pre>   q",
    "x   y { <pre>   q",
    "a\r\nb\r\n\tc \r d\x0c\x0ce\u00a0 f",
    # refused by both
    "{{ nope }}",
    "{{ bad }}",
    "{{ '\\udc00' }}",
    "{% autoescape nope %}{{ x }}",
    "{% autoescape len %}{{ x }}",
    "{% apply nope %}{% end %}",
    "{% apply len %}{% end %}",
    "{% set lst2[0] = 1 %}",
    "{{ i }}{% set i = i + 1 %}",
    "{% apply up %}{% set inner = 1 %}{% end %}{{ inner }}",
]

REFUSED = [
    "{{", "{%", "{#", "{{ x", "{% if x", "{# c", "{{ }}", "{% %}", "{%%}", "{% foo %}", "{% end %}",
    "{% if x %}", "{% if %}{% end %}", "{% for %}{% end %}", "{% while %}{% end %}", "{% if x: %}{% end %}",
    "{% else %}", "{% elif x %}", "{% except %}", "{% finally %}", "{% break %}", "{% continue %}",
    "{% if x %}{% break %}{% end %}", "{% for y in lst %}{% apply str %}{% break %}{% end %}{% end %}",
    "{% try %}x{% end %}", "{% try %}a{% else %}b{% end %}", "{% if x %}{% finally %}{% end %}",
    "{% if x %}{% else %}{% else %}{% end %}", "{% if x %}{% else %}{% elif x %}{% end %}",
    "{% if x %}{% else y %}{% end %}", "{% try x %}{% finally %}{% end %}", "{% for y in lst %}{% elif x %}{% end %}",
    "{% for y in lst %}{% break x %}{% end %}", "{% set %}", "{% import %}", "{% from %}", "{% from math import * %}",
    "{% apply %}{% end %}", "{% block %}{% end %}", "{% include %}", "{% extends %}", "{% extends 'a' %}",
    "{% include 'a' %}", "{% module %}", "{% raw %}", "{% super() %}",

    "{{ x y }}", "{{ return 1 }}", "{{ x = }}", "{{ y := 5 }}", "{{ *lst }}", "{% with x %}{% end %}",
    "{% print(1) %}", "{{ !x }}", "{% ! x %}", "{{%if 1%}a{%end%}", "{{#x#}", "{% END %}", "{{ 'a }}", "{{ # c }}",
    "{% for i in [1] %}a{% else %}{% break %}{% end %}", "{{ lambda a, a: 1 }}",
    "{% try %}{% except %}{% except A %}{% end %}",
]  # fmt: skip

NAMES = ["<string>", "a.html", "x/a.js", "a.txt"]


class Modules:
    def Thing(self, value: Any) -> str:
        return f"<thing {value}>"


def values() -> dict[str, Any]:
    return {
        "x": "<a>&'\"",
        "b": b"\xc3\xa9<",
        "n": None,
        "i": 3,
        "lst": [1, 2, 3],
        "bad": b"\xff",
        "d": {"a": 1},
        "up": bytes.upper,
        "low": bytes.lower,
        "_tt_modules": Modules(),
    }


def outcome(make: Any) -> bytes | type[BaseException]:
    """What rendering gives: bytes, or the kind of error."""
    try:
        return make().generate(**values())
    except (NameError, TypeError, UnicodeError) as error:
        return type(error)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_same_output(text: str, name: str) -> None:
    expected = outcome(lambda: theirs.Template(text, name))
    assert outcome(lambda: ours.Template(text, name)) == expected


@pytest.mark.parametrize("text", REFUSED)
def test_same_refusals(text: str) -> None:
    text = "\n" + text
    with pytest.raises((theirs.ParseError, SyntaxError, AssertionError)):
        theirs.Template(text)
    with pytest.raises(ours.ParseError) as info:
        ours.Template(text)
    assert info.value.lineno == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"autoescape": None},
        {"autoescape": "url_escape"},
        {"whitespace": "oneline"},
        {"compress_whitespace": True},
        {"compress_whitespace": False},
    ],
)
def test_same_parameters(arguments: dict[str, Any]) -> None:
    text = "a \n\n b {{ x }}"
    expected = theirs.Template(text, "a.html", **arguments).generate(**values())
    assert ours.Template(text, "a.html", **arguments).generate(**values()) == expected


LAYOUT = "<{% block x %}C{% block y %}CY{% end %}{% end %}|{% block z %}Z{% end %}{{ x }}>"
PAGES: list[dict[str, str]] = [
    {"a.html": "{% extends 'l.html' %}", "l.html": LAYOUT},
    {"a.html": "{% extends 'l.html' %}zz{% set q = 1 %}{% block y %}A{{ x }}{% end %}", "l.html": LAYOUT},
    {"a.html": "A{% block x %}A{% end %}{% extends l.html %}", "l.html": LAYOUT},
    {
        "a.html": "{% extends 'b.html' %}{% block y %}AY{% end %}",
        "b.html": '{% extends "l.html" %}{% block x %}B{% block y %}BY{% end %}{% end %}',
        "l.html": LAYOUT,
    },
    {"a.html": "{% extends l.html %}{% block x %}X{% block z %}AZ{% end %}{% end %}", "l.html": LAYOUT},
    {
        "a.html": "{% extends b %}{% extends l.html %}{% block z %}A{% end %}",
        "b": "({% block z %}{% end %})",
        "l.html": LAYOUT,
    },
    {
        "a.html": "{% extends b %}{% block x %}A{% end %}",
        "b": "[{% include i %}]",
        "i": "{% block x %}I{% end %}",
    },
    {
        "a.html": "{% extends b %}{% include i %}",
        "b": "[{% block x %}B{% end %}]",
        "i": "{% block x %}I{% end %}",
    },
    {"a.html": "{% set q = 1 %}{% include i %}{{ q }}{{ w }}", "i": "{{ q }}{% set q = 2 %}{% set w = 3 %}"},
    {"a.html": "{% for q in [1, 2] %}{% include i.html %}{% end %}", "i.html": "{{ q }},  {{ x }}"},
    {"a.html": "{% autoescape None %}{{ x }}{% include i %}", "i": "{{ x }}"},
    {
        "a.html": "{% extends b %}{% autoescape None %}{% block q %}{{ x }}{% end %}",
        "b": "{{ x }}{% block q %}{% end %}",
    },
    {"a.html": "{% whitespace all %}a  b{% include i.html %}c  d", "i.html": "e  f"},
    {
        "a.html": "{% extends b %}{% block x %}a{% end %}",
        "b": "{% for q in [1, 2] %}{% block x %}{% break %}{% end %}{% end %}",
    },
    {
        "x/a.html": "{% include 'b.html' %}{% include '../c.html' %}{% include '/c.html' %}{% include 'y/d.html' %}",
        "x/b.html": "XB",
        "c.html": "C",
        "/c.html": "ABS",
        "x/y/d.html": "{% include '../b.html' %}{% include ../../c.html %}",
    },
]


@pytest.mark.parametrize("files", PAGES)
@pytest.mark.parametrize("arguments", [{}, {"autoescape": None, "whitespace": "oneline"}])
def test_same_pages(files: dict[str, str], arguments: dict[str, Any]) -> None:
    first = next(iter(files))
    expected = theirs.DictLoader(files, **arguments).load(first).generate(**values())
    assert ours.DictLoader(files, **arguments).load(first).generate(**values()) == expected


@given(st.sampled_from(["all", "single", "oneline"]), st.text(alphabet=" \t\r\n\x0b\x0cab\u00a0"))
def test_same_white_space(mode: str, text: str) -> None:
    assert ours.filter_whitespace(mode, text) == theirs.filter_whitespace(mode, text)


@given(
    st.lists(
        st.sampled_from(
            ["{", "}", "{{", "}}", "{%", "%}", "{#", "#}", "!", "x", "1", "'", " ", "\n", "end", "if"]
        )
    )
)
def test_same_tags(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        expected = theirs.Template(text).generate(x="X")
    except Exception:  # it accepts less: see docs/topics/templates.md
        return
    assert ours.Template(text).generate(x="X") == expected
