"""Loaders: names, caching, files."""

import os
import threading
from pathlib import Path

import pytest

from webfw.template.errors import ParseError
from webfw.template.loader import BaseLoader, DictLoader, Loader
from webfw.template.template import Template


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "root/a.html": "A",
        "root/x/b.html": "{% include 'c.html' %}{% include '../a.html' %}{% include y/d.html %}",
        "root/x/c.html": "C",
        "root/x/y/d.html": "D{% include '../c.html' %}",
        "root/x/out.html": "{% include '../../outside.html' %}",
        "outside.html": "O{% include 'root/a.html' %}",
        "root/crlf.txt": "a\r\nb\rc\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "root"


NAMES = [
    ("b.html", "x/a.html", "x/b.html"),
    ("../b.html", "x/a.html", "b.html"),
    ("../../b.html", "x/a.html", "../b.html"),
    ("/b.html", "x/a.html", "/b.html"),
    ("b.html", "/x/a.html", "b.html"),
    ("b.html", "<string>", "b.html"),
    ("./b.html", "a.html", "b.html"),
    ("y/../b.html", "x/a.html", "x/b.html"),
    ("./b.html", None, "./b.html"),
    ("b.html", "", "b.html"),
]


@pytest.mark.parametrize("loader", [DictLoader({}), Loader(".")], ids=["dict", "directory"])
@pytest.mark.parametrize(("name", "parent", "expected"), NAMES)
def test_resolve_path(loader: BaseLoader, name: str, parent: str | None, expected: str) -> None:
    assert loader.resolve_path(name, parent) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.html", b"A"),
        ("x/b.html", b"CADC"),
        ("x/out.html", b"OA"),
        ("../outside.html", b"OA"),
        ("crlf.txt", b"a\r\nb\rc\n"),
    ],
)
def test_directory(root: Path, name: str, expected: bytes) -> None:
    assert Loader(str(root)).load(name).generate() == expected


def test_absolute_name(root: Path) -> None:
    assert Loader(".").load(str(root / "a.html")).generate() == b"A"


def test_root_is_absolute() -> None:
    assert Loader(".").root == os.path.abspath(".")


def test_missing_file(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.html"):
        Loader(str(root)).load("nope.html")


def test_file_is_not_utf8(root: Path) -> None:
    (root / "bad.html").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        Loader(str(root)).load("bad.html")


def test_templates_are_kept_until_reset(root: Path) -> None:
    loader = Loader(str(root))
    first = loader.load("a.html")
    (root / "a.html").write_text("new")
    assert loader.load("a.html") is first
    assert list(loader.templates) == ["a.html"]
    loader.reset()
    assert loader.load("a.html").generate() == b"new"


def test_dict_of_bytes() -> None:
    assert DictLoader({"a": b"\xc3\xa9"}).load("a").generate() == b"\xc3\xa9"


def test_defaults_reach_the_templates() -> None:
    namespace = {"x": "<"}
    loader = DictLoader({"a.txt": "a  {{ x }}"}, autoescape=None, namespace=namespace, whitespace="single")
    template = loader.load("a.txt")
    assert template.generate() == b"a <"
    assert template.namespace is loader.namespace is namespace
    namespace["x"] = "later"
    assert template.generate() == b"a later"
    assert template.generate(x="mine") == b"a mine"


@pytest.mark.parametrize("call", [lambda x: x.resolve_path("a"), lambda x: x._create_template("a")])
def test_base_loader_is_for_subclasses(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotImplementedError):
        call(BaseLoader())


def test_subclass() -> None:
    class Shouting(BaseLoader):
        def resolve_path(self, name: str, parent_path: str | None = None) -> str:
            return name.upper()

        def _create_template(self, name: str) -> Template:
            return Template(f"{name}{{% if 0 %}}{{% end %}}", name=name, loader=self)

    loader = Shouting()
    assert loader.load("a").generate() == b"A"
    assert loader.load("A") is loader.load("a")
    assert loader.source_path("A") is None


def test_threads_make_a_template_once() -> None:
    made = []
    barrier = threading.Barrier(4)

    class Counting(DictLoader):
        def _create_template(self, name: str) -> Template:
            made.append(name)
            return super()._create_template(name)

    loader = Counting({"a": "{% include b %}", "b": "B"})
    results = []

    def work() -> None:
        barrier.wait(10)
        results.append(loader.load("a"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(made) == ["a", "b"]
    assert len(results) == 4
    assert len(set(map(id, results))) == 1


def test_failed_template_is_tried_again() -> None:
    files = {"a": "{% end %}"}
    loader = DictLoader(files)
    with pytest.raises(ParseError):
        loader.load("a")
    files["a"] = "fine"
    assert loader.load("a").generate() == b"fine"
