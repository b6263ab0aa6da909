"""Inheritance and inclusion, as to which files and blocks count."""

import pytest

from webfw.template.assembly import Assembly
from webfw.template.errors import ParseError
from webfw.template.lexer import Code
from webfw.template.loader import BaseLoader, DictLoader
from webfw.template.template import Template


def test_lineage_is_oldest_first() -> None:
    loader = DictLoader({"a": "", "b": "{% extends a %}", "c": "{% extends b %}"})
    assembly = Assembly(loader)
    assert [file.name for file in assembly.lineage(loader.load("c").file)] == ["a", "b", "c"]


def test_last_block_counts() -> None:
    loader = DictLoader(
        {
            "base": "{% block x %}{% end %}{% include part %}{% include page %}",
            "part": "{% block y %}{% end %}",
            "page": "{% extends other %}{% block z %}{% end %}",
            "other": "{% block z %}{% end %}",
            "child": "{% extends base %}{% block x %}{% block w %}{% end %}{% end %}{% block w %}{% end %}",
        }
    )
    assembly = Assembly(loader)
    blocks = assembly.blocks(assembly.lineage(loader.load("child").file))
    assert {name: block.file.name for name, block in blocks.items()} == {
        "x": "child",
        "w": "child",
        "y": "part",
    }
    assert blocks["w"] is loader.load("child").file.body[-1]


@pytest.mark.parametrize("word", ["include", "extends"])
def test_no_loader(word: str) -> None:
    with pytest.raises(ParseError, match=f"{{% {word} %}} needs a template loader") as info:
        Template(f"\n{{% {word} 'x' %}}", name="t")
    assert (info.value.filename, info.value.lineno) == ("t", 2)


@pytest.mark.parametrize("word", ["include", "extends"])
def test_missing_file_tells_who_wanted_it(word: str) -> None:
    loader = DictLoader({"a": f"\n\n{{% {word} 'nope' %}}"})
    with pytest.raises(KeyError, match="nope") as info:
        loader.load("a")
    assert info.value.__notes__ == [f"({word} at a:3)"]


def test_error_in_included_file_keeps_its_own_place() -> None:
    loader = DictLoader({"a": "\n{% include b %}", "b": "\n\n{% end %}"})
    with pytest.raises(ParseError) as info:
        loader.load("a")
    assert (info.value.filename, info.value.lineno) == ("b", 3)
    assert info.value.__notes__ == ["(include at a:2)"]


@pytest.mark.parametrize(
    "files",
    [
        {"a": "\n{% include a %}"},
        {"a": "\n{% extends a %}"},
        {"a": "{% include b %}", "b": "\n{% extends c %}", "c": "{% include a %}"},
    ],
)
def test_circle(files: dict[str, str]) -> None:
    loader = DictLoader(files)
    with pytest.raises(ParseError, match="in a circle: a -> .*a") as info:
        loader.load("a")
    assert info.value.filename in files
    assert info.value.lineno > 0
    with pytest.raises(ParseError, match="in a circle"):  # and the loader is none the worse for it
        loader.load("a")


def test_circle_of_a_loader_with_a_cache_of_its_own() -> None:
    class Own(BaseLoader):
        def __init__(self, template: Template) -> None:
            super().__init__()
            self.template = template

        def load(self, name: str, parent_path: str | None = None) -> Template:
            return self.template

    template = Template("")
    template.file.extends = "x", Code("x", 1, 0, 0)
    with pytest.raises(ParseError, match="extends itself"):
        Assembly(Own(template)).lineage(template.file)
