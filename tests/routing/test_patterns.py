"""Patterns as text: what they match, and many of them written as one that matches likewise."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.routing import PathMatches
from webfw.routing.patterns import Part, combinable, combine, literal_path


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/a", "/a"),
        ("^/a$", "/a"),
        (r"/a\.html", "/a.html"),
        (r"/\(x\)\\", "/(x)\\"),
        ("", ""),
        ("/a.html", None),
        ("/a?", None),
        ("/(a)", None),
        (r"/\d", None),
        ("/a|/b", None),
        (r"/a\$", "/a$"),
        (re.compile("/a"), None),
        (re.compile("/a$", re.IGNORECASE), None),
        (re.compile(r"/a\Z"), None),
    ],
)
def test_literal_path(pattern: Any, path: str | None) -> None:
    assert literal_path(PathMatches(pattern).regex) == path


@pytest.mark.parametrize(
    ("pattern", "prefix", "rest"),
    [
        ("/a(b)", "/a", "(b)"),
        ("^/a(b)$", "/a", "(b)$"),
        ("/(?P<x>a)(?:b)", "/", "(a)(?:b)"),
        ("/a|/b", "", "(?:/a|/b)"),
        (r"/[|(](\|)", "/", r"[|(](\|)"),
        (r"/[^](?P<x>]", "/", r"[^](?P<x>]"),
        (r"/a\.b\d", "/a.b", r"\d"),
        ("/ab*", "/a", "b*"),
        ("/ab+c", "/a", "b+c"),
        ("/ab?", "/a", "b?"),
        ("/ab{2}", "/a", "b{2}"),
        (r"/a\+*", "/a", r"\+*"),
        ("/a$", "/a", "$"),
        ("/a", "/a", ""),
        ("", "", ""),
        (r"/(?i:a)", "/", "(?i:a)"),
        ("a^b", "a", "^b"),
    ],
)
def test_what_can_stand_among_others(pattern: str, prefix: str, rest: str) -> None:
    assert combinable(re.compile(pattern)) == Part(prefix, rest)


@pytest.mark.parametrize(
    "pattern", [r"/(a)\1", r"/(?P<x>a)(?P=x)", r"/(a)?(?(1)b|c)", r"/(?#comment)", r"(?i)/a"]
)
def test_what_cannot(pattern: str) -> None:
    assert combinable(re.compile(pattern)) is None


def combined(*patterns: str) -> tuple[str, list[int]]:
    parts = [combinable(re.compile(pattern)) for pattern in patterns]
    return combine([part for part in parts if part is not None])


def test_common_beginnings_are_written_once() -> None:
    assert combined("/a1(x)", "/a2", "/b") == ("/(?:a(?:1(x)()|2())|b())", [0, 1, 2])
    assert combined("/a(x)", "/b", "/ac") == ("/(?:a(?:(x)()|c())|b())", [0, 2, 1])
    assert combined("/a") == ("/a()", [0])
    assert combined() == ("", [])


def test_nothing_passes_by_what_may_match_the_same() -> None:
    assert combined("/a", "/(.*)", "/ab")[1] == [0, 1, 2]
    assert combined("/a/x", "/(.)/y", "/a/y", "/b/x")[0] == r"/(?:a/x()|(.)/y()|a/y()|b/x())"
    assert combined("(.*)", "/b", "/a", "/b") == ("(.*)()|/(?:b(?:()|())|a())", [0, 1, 3, 2])


def test_beginnings_may_be_nested_as_deep_as_one_likes() -> None:
    patterns = [f"/{'a' * number}(b)$" for number in range(500)]
    pattern, order = combined(*patterns)
    assert sorted(order) == list(range(500))
    for number in (0, 5, 499):
        match = re.match(pattern, patterns[number].replace("(b)$", "b"))
        assert match is not None
        assert match.lastindex is not None
        assert order[match.lastindex // 2 - 1] == number


def test_of_hundreds_few_are_tried() -> None:
    pattern, _ = combined(*[f"/api/r{number}/([0-9]+)$" for number in range(200)])
    assert pattern.count("/api/r") == 1
    depth, widest = [0], 0
    for char in pattern:
        if char == "(":
            depth.append(1)
        elif char == "|":
            depth[-1] += 1
        elif char == ")":
            widest = max(widest, depth.pop())
    assert widest <= 11  # the digits, and none


PIECES = st.sampled_from(
    ["a", "b", "ab", "(a)", "(.)", "(a|b)", "a?", "[ab]*", r"\.", "$", "^", "(b*)", "a{1,2}", "b+?"]
)


@given(st.lists(st.lists(PIECES, max_size=5).map("".join), max_size=8), st.data())
def test_one_pattern_matches_what_the_first_of_them_does(patterns: list[str], data: Any) -> None:
    regexes = [re.compile(pattern) for pattern in patterns]
    pattern, order = combined(*patterns)
    for _ in range(5):
        text = data.draw(st.text("ab.", max_size=5))
        first = next((place for place, regex in enumerate(regexes) if regex.match(text)), None)
        match = re.match(pattern, text) if patterns else None
        if first is None:
            assert match is None
            continue
        assert match is not None
        start = 1
        for place in order:
            stop = start + regexes[place].groups
            if stop == match.lastindex:
                assert place == first
                alone = regexes[place].match(text)
                assert alone is not None
                assert match.groups()[start - 1 : stop - 1] == alone.groups()
                break
            start = stop + 1
        else:
            raise AssertionError("no rule has that group")
