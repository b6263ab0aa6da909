import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.web.tracebacks import MAX_EXCEPTIONS, MAX_FRAMES, traceback_page


class Reader(HTMLParser):
    """Checks that the page is well formed and loads nothing; keeps its text and what stands open."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []
        self.text: dict[str, str] = {}
        self.open = self.closed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "style", "onclick"} & {name for name, _ in attrs}
        assert tag not in ("script", "link", "img", "iframe")
        if tag == "details":
            if ("open", None) in attrs:
                self.open += 1
            else:
                self.closed += 1
        if tag not in self.VOID:
            self.path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.path:
            self.text[self.path[-1]] = self.text.get(self.path[-1], "") + data


def read(exception: BaseException, title: str = "500: x", request: str = "GET / (::1)") -> Reader:
    page = traceback_page(exception, title, request)
    assert "url(" not in page
    assert "@import" not in page
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.path == []
    return reader


def raised(function: Any, *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError


def fail_here(secret: str) -> None:
    value = {"key": secret}
    assert value
    value["<missing>"], 1


def test_shows_the_source_and_marks_what_failed_but_no_variables() -> None:
    reader = read(raised(fail_here, "hunter" + str(2)))
    assert reader.text["b"] == "KeyError"
    assert "&#x27;" not in reader.text["h2"]
    assert "'<missing>'" in reader.text["h2"]
    assert 'value = {"key": secret}' in reader.text["span"]
    assert reader.text["mark"].endswith('value["<missing>"]')
    assert "hunter2" not in "".join(reader.text.values())
    assert "KeyError" in reader.text["pre"]


def test_everything_is_escaped() -> None:
    reader = read(ValueError("</h2><script>"), "500: <script>", "GET /<script> (::1)")
    assert reader.text["h1"] == "500: <script> · GET /<script> (::1)"
    assert "</h2><script>" in reader.text["h2"]


def test_frames_of_libraries_are_folded() -> None:
    reader = read(raised(re.compile, "("))
    assert reader.open == 2  # this file's frame, and the one that raised
    assert reader.closed >= 2  # those between, and the text


def test_causes() -> None:
    def chain() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise TypeError("second")  # noqa: B904
        except TypeError as error:
            raise ValueError("third") from error

    reader = read(raised(chain))
    assert [part for part in ("third", "second", "first") if part in reader.text["h2"]] == [
        "third",
        "second",
        "first",
    ]
    assert "directly because of" in reader.text["p"]
    assert "while this was being handled" in reader.text["p"]

    def silent() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("third") from None

    assert "first" not in read(raised(silent)).text["h2"]


def test_groups() -> None:
    group = ExceptionGroup("several", [ValueError("one"), TypeError("two")])
    reader = read(raised(lambda: (_ for _ in ()).throw(group)))
    assert all(part in reader.text["b"] for part in ("ExceptionGroup", "ValueError", "TypeError"))
    assert "member of it" in reader.text["p"]
    many = read(ExceptionGroup("many", [ValueError(n) for n in range(MAX_EXCEPTIONS + 5)]))
    assert "6 or more further exceptions" in many.text["p"]


def test_endless_recursion_is_cut() -> None:
    def again() -> None:
        again()

    reader = read(raised(again))
    assert reader.open == MAX_FRAMES
    assert "frames are left to the text below" in reader.text["p"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SyntaxError("bad", ("f.py", 1, 2, "a b", 1, 3)), ValueError("a\nb")]
)
def test_exceptions_without_frames(error: BaseException) -> None:
    assert type(error).__name__ in read(error).text["b"]


def test_source_that_is_not_there_or_odd(tmp_path: Path) -> None:
    reader = read(raised(exec, "1/0"))
    assert "<string>" in reader.text["summary"]
    path = tmp_path / "odd.py"
    source = "def f(x):\n    return ('ä', x +\n        None)\n\ndef g(x):\n    return 'ä€', x + None\n"
    path.write_text(source, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), names)
    assert "x + None" in read(raised(names["g"], 1)).text["mark"]
    assert "return ('ä', x +" in read(raised(names["f"], 1)).text["strong"]


def test_columns_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from webfw.web import tracebacks

    frame = SimpleNamespace(
        filename=__file__, lineno=1, name="f", colno=None, end_colno=None, end_lineno=None
    )
    assert "<mark>" not in tracebacks._frame(frame, True)  # type: ignore[arg-type]
