"""`Template`: its parameters, the namespace, rendering with and without await, tracebacks."""

import asyncio
import gc
import traceback
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.template import BaseLoader, DictLoader, Loader, ParseError, Template, filter_whitespace

TEXT = "a\n\n b  \t c"


@given(st.text().filter(lambda text: not any(mark in text for mark in ("{{", "{%", "{#"))))
def test_text_without_directives_renders_to_itself(text: str) -> None:
    assert Template(text, whitespace="all").generate() == text.encode()


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("a.html", {}, b"a\nb c"),
        ("a.js", {}, b"a\nb c"),
        ("a.txt", {}, TEXT.encode()),
        ("<string>", {}, TEXT.encode()),
        ("a.txt", {"whitespace": "single"}, b"a\nb c"),
        ("a.html", {"whitespace": "oneline"}, b"a b c"),
        ("a.html", {"whitespace": "all"}, TEXT.encode()),
        ("a.txt", {"compress_whitespace": True}, b"a\nb c"),
        ("a.html", {"compress_whitespace": False}, TEXT.encode()),
    ],
)
def test_whitespace(name: str, arguments: dict[str, Any], expected: bytes) -> None:
    assert Template(TEXT, name, **arguments).generate() == expected


def test_both_whitespace_arguments() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Template("", whitespace="all", compress_whitespace=True)


def test_unknown_whitespace_mode() -> None:
    with pytest.raises(ValueError, match="unknown whitespace mode 'x'"):
        Template("", whitespace="x")
    with pytest.raises(ValueError, match="unknown whitespace mode 'x'"):
        DictLoader({"a": ""}, whitespace="x").load("a")


@pytest.mark.parametrize(
    ("autoescape", "expected"), [("xhtml_escape", b"&lt;"), (None, b"<"), ("", b"<"), ("url_escape", b"%3C")]
)
def test_autoescape(autoescape: str | None, expected: bytes) -> None:
    assert Template("{{ x }}", autoescape=autoescape).generate(x="<") == expected
    assert DictLoader({"a": "{{ x }}"}, autoescape=autoescape).load("a").generate(x="<") == expected


@pytest.mark.parametrize("text", ["é", "é".encode(), ""])
def test_text_or_bytes(text: str | bytes) -> None:
    assert Template(text).generate().decode() == (text if isinstance(text, str) else text.decode())


def test_neither_text_nor_bytes() -> None:
    with pytest.raises(TypeError):
        Template(5)  # type: ignore[arg-type]
    with pytest.raises(UnicodeDecodeError):
        Template(b"\xff")


def test_attributes() -> None:
    template = Template("a{{ x }}", "n.txt", autoescape=None)
    assert (template.name, template.autoescape, template.loader, template.namespace) == (
        "n.txt",
        None,
        None,
        {},
    )
    assert template.file.name == "n.txt"
    assert isinstance(template.compiled, CodeType)
    assert "_tt_text(x)" in template.code
    assert not template.is_async


def test_code_of_any_page_is_python() -> None:
    files = {
        "a": "{% extends l %}{% block b %}'{% raw \"\\\\\" %}{{ '\\n' }}{% set q = 1 %}{% end %}",
        "l": "{% try %}{% block b %}{% end %}{% except E as e %}{% end %}{% apply f %}x{% end %}",
    }
    compile(DictLoader(files).load("a").code, "x", "exec")


def test_namespace() -> None:
    text = "{{ escape('<') }} {{ xhtml_escape('<') }} {{ url_escape('<') }} {{ squeeze('a  b') }}"
    text += " {{ json_encode([1]) }} {{ linkify('http://a.b') }} {{ datetime.date(2026, 1, 2) }} {{ _tt_utf8('é') }}"
    expected = '&lt; &lt; %3C a b [1] <a href="http://a.b">http://a.b</a> 2026-01-02 é'
    assert Template(text, autoescape=None).generate().decode() == expected
    assert Template("{{ __name__ }}", "a/b.html").generate() == b"a/b_html"


def test_any_name_may_be_given() -> None:
    text = "{{ self }}{{ kwargs }}{{ escape }}{{ len }}{{ loader }}{{ pieces }}"
    values = {"self": 1, "kwargs": 2, "escape": 3, "len": 4, "loader": 5, "pieces": 6}
    assert Template(text).generate(**values) == b"123456"


def test_given_escape_function_replaces_the_default() -> None:
    assert Template("{{ x }}").generate(x="<", xhtml_escape=lambda value: value + b"!") == b"<!"


def test_rendering_leaves_no_cycle() -> None:
    files = {
        "a": "{% extends l %}{% block b %}{% set q = 1 %}{% include i %}{% end %}",
        "l": "{% block b %}{% end %}{% apply f %}{% block c %}{{ [q for q in 'ab'] }}{% end %}{% end %}",
        "i": "{% try %}{{ 1 / 0 }}{% except ZeroDivisionError as e %}{{ e }}{% end %}{{ q }}",
    }
    template = DictLoader(files).load("a")
    template.generate(f=bytes.upper)
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            template.generate(f=bytes.upper)
        # Other threads and a coverage tool may leave a thing or two meanwhile.
        assert gc.collect() < 50
    finally:
        gc.enable()


# --- await ---


async def double(value: Any) -> Any:
    await asyncio.sleep(0)
    return value * 2


async def count() -> Any:
    for number in range(3):
        yield number


ASYNC_FILES = {
    "page": "{% extends layout %}{% block b %}{% include part %}{% end %}",
    "layout": "<{% block b %}{% end %}>{% apply upper %}{{ await double('a') }}{% end %}",
    "part": "{% set x = await double(2) %}{{ x }}{% for i in await double([1]) %}{{ i }}{% end %}",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (ASYNC_FILES, b"<411>AA"),
        ({"p": "{{ await double('<') }}{% raw await double('<') %}"}, b"&lt;&lt;<<"),
        ({"p": "{{ [await double(i) async for i in count()] }}"}, b"[0, 2, 4]"),
        ({"p": "{% if await double(0) %}a{% elif await double(1) %}b{% end %}"}, b"b"),
        ({"p": "{% set i = 3 %}{% while await double(i) %}{{ i }}{% set i -= 1 %}{% end %}"}, b"321"),
        ({"p": "{% try %}a{{ await nope }}{% except NameError %}b{% end %}"}, b"ab"),
        ({"p": "{% module A(await double(1)) %}"}, b"2"),
        ({"p": "no await"}, b"no await"),
    ],
)
async def test_generate_async(files: dict[str, str], expected: bytes) -> None:
    class Modules:
        A = staticmethod(str)

    template = DictLoader(files).load(next(iter(files)))
    values = {"double": double, "count": count, "upper": bytes.upper, "_tt_modules": Modules}
    assert await template.generate_async(**values) == expected


def test_generate_refuses_await() -> None:
    loader = DictLoader(ASYNC_FILES)
    with pytest.raises(TypeError, match=r"'page' contains 'await' \(.*:1\).*generate_async"):
        loader.load("page").generate(double=double, upper=bytes.upper)
    assert loader.load("page").is_async


async def test_traceback_of_an_async_page() -> None:
    template = Template("\n{{ 1 / await double(0) }}", name="async.txt")
    with pytest.raises(ZeroDivisionError) as info:
        await template.generate_async(double=double)
    assert 'File "async.txt", line 2, in template\n    {{ 1 / await double(0) }}' in shown(info.value)


# --- tracebacks ---


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_traceback_goes_through_the_files_of_the_page() -> None:
    files = {
        "page.txt": "{% extends base.txt %}\n{% block b %}\n{% set q = 1 %}\n  {% include sub/part.txt %}{% end %}",
        "base.txt": "one\n  {% apply bytes.upper %}\n {% block b %}{% end %}{% end %}",
        "sub/part.txt": "\n\né {{ 1 }} {{ 2 + 1 / zero }}\n",
    }
    with pytest.raises(ZeroDivisionError) as info:
        DictLoader(files).load("page.txt").generate(zero=0)
    frames = traceback.extract_tb(info.value.__traceback__)
    places = [(f.filename, f.lineno, f.name, f.line) for f in frames if f.filename in files]
    assert places == [
        ("base.txt", 2, "template", "{% apply bytes.upper %}"),
        ("base.txt", 3, "apply", "{% block b %}{% end %}{% end %}"),
        ("page.txt", 4, "block b", "{% include sub/part.txt %}{% end %}"),
        ("sub/part.txt", 3, "template", "é {{ 1 }} {{ 2 + 1 / zero }}"),
    ]
    assert "    é {{ 1 }} {{ 2 + 1 / zero }}\n                     ~~^~~~~~\n" in shown(info.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n{{ nope }}", 2),
        ("{{ 1 }}\n{{ 1 }}\n{{\n  nope }}", 4),
        ("{{ 1 }}\n{% if nope %}{% end %}", 2),
        ("{% if 0 %}\n{% elif nope %}{% end %}", 2),
        ("\n{% for x in nope %}{% end %}", 2),
        ("\n{% for x in [1] %}\n{{ nope }}{% end %}", 3),
        ("\n{% while nope %}{% end %}", 2),
        ("\n{% set x = nope %}", 2),
        ("\n{% import nope_nope %}", 2),
        ("\n{% apply nope %}{% end %}", 2),
        ("\n{% apply bytes.upper %}\n{{ nope }}{% end %}", 3),
        ("\n{% raw nope %}", 2),
        ("\n{% module A() %}", 2),
        ("\n{% try %}{{ 1/0 }}{% except nope %}{% end %}", 2),
        ("\n{% autoescape nope %}\n{{ 1 }}", 2),
        ("\n{{ b'\\xff' }}", 2),
        ("\n{{ lambda: 1 }}{{ [nope for x in [1]] }}", 2),
    ],
)
def test_line_of_an_exception(text: str, line: int) -> None:
    with pytest.raises((NameError, ImportError, UnicodeDecodeError, ZeroDivisionError)) as info:
        Template(text, name="lines.txt").generate()
    frames = [f for f in traceback.extract_tb(info.value.__traceback__) if f.filename == "lines.txt"]
    assert frames[-1].lineno == line
    assert frames[-1].line == text.split("\n")[line - 1].strip()


def test_traceback_of_a_template_on_disk_names_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("x\n  {{ nope }}\n")
    with pytest.raises(NameError) as info:
        Loader(str(tmp_path)).load("a.html").generate()
    assert f'File "{tmp_path / "a.html"}", line 2, in template\n    {{{{ nope }}}}\n' in shown(info.value)


def test_package_offers_the_documented_names() -> None:
    assert isinstance(DictLoader({}), BaseLoader)
    assert filter_whitespace("oneline", "a\nb") == "a b"
    assert issubclass(ParseError, Exception)
