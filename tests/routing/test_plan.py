import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.routing import AnyMatches, HostMatches, Matcher, PathMatches, Resolution, Rule, RuleRouter


def request(path: str, host: str = "a.com") -> Any:
    return SimpleNamespace(path=path, host_name=host)


def found(router: RuleRouter, path: str, host: str = "a.com") -> tuple[Any, ...] | None:
    resolution = router.resolve(request(path, host))
    return (
        None
        if resolution is None
        else (resolution.target, list(resolution.path_args), dict(resolution.path_kwargs))
    )


def test_order_decides() -> None:
    router = RuleRouter(
        [
            (r"/(?P<x>a.*)", 1),
            (r"/(.*)/x", 2),
            ("/b/x", 3),
            ("/b/y", 4),
            ("/b/y", 5),
            (r"/(.*)", 6),
            ("/c", 7),
        ]
    )
    assert found(router, "/ab") == (1, [], {"x": b"ab"})
    assert found(router, "/b/x") == (2, [b"b"], {})
    assert found(router, "/b/y") == (4, [], {})
    assert found(router, "/c") == (6, [b"c"], {})
    assert found(router, "c") is None


def test_literal_hit_is_the_same_object_and_cannot_be_changed() -> None:
    router = RuleRouter([(r"/(?P<x>a)", 1), ("/a", 2)])
    first = router.resolve(request("/a"))
    assert first is not None
    assert first is router.resolve(request("/a"))
    with pytest.raises(TypeError):
        first.path_kwargs["x"] = b""  # type: ignore[index]


def test_groups() -> None:
    router = RuleRouter(
        [(r"/(a)?(?P<x>b)?".replace("(a)?", "(?P<w>a)?"), 1), (r"/(c)?-(%41|d)?", 2, {"k": 1})]
    )
    assert found(router, "/b") == (1, [], {"w": None, "x": b"b"})
    assert found(router, "/-%41") == (2, [None, b"A"], {})
    resolution = router.resolve(request("/c-d"))
    assert resolution == Resolution(2, {"k": 1}, (b"c", b"d"), {}, "/(c)?-(%41|d)?")


def test_no_rules() -> None:
    assert found(RuleRouter(), "/") is None


class Odd(Matcher):
    """Matches paths of odd length, and says more than a path."""

    def match(self, request: Any) -> dict[str, Any] | None:
        return (
            {"path_args": [b"odd"], "target_kwargs": {"from": "matcher"}} if len(request.path) % 2 else None
        )


class Prefixed(PathMatches):
    def match(self, request: Any) -> dict[str, Any] | None:
        if not request.path.startswith("/p"):
            return None
        return super().match(SimpleNamespace(path=request.path[2:]))  # type: ignore[arg-type]


def test_matchers_of_a_programs_own() -> None:
    router = RuleRouter(
        [(Odd(), 1), (Prefixed("/x"), 2), ("/x", 3), ("/xx", 4), (Odd(), 5, {"from": "rule"})]
    )
    assert router.resolve(request("/xx")) == Resolution(1, {"from": "matcher"}, [b"odd"], {})
    assert found(router, "/p/x") == (2, [], {})
    assert found(router, "/x") == (3, [], {})
    router.rules.pop(0)
    assert found(router, "/xx") == (4, [], {})
    assert router.resolve(request("/xxxx")) == Resolution(5, {"from": "rule"}, [b"odd"], {})


def test_patterns_that_cannot_be_combined() -> None:
    router = RuleRouter(
        [(re.compile("/X(.)", re.IGNORECASE), 1), (r"/(.)\1", 2), ("/xa", 3), ("/bb", 4), ("/c", 5)]
    )
    assert found(router, "/xa") == (1, [b"a"], {})
    assert found(router, "/bb") == (2, [b"b"], {})
    assert found(router, "/c") == (5, [], {})


def test_nested_routers_are_searched() -> None:
    inner = RuleRouter([("/i/a", 1), (r"/i/(.)", 2)])
    hosted = RuleRouter([("/i/a", "webfw.util.ObjectDict"), ("/h", 4)])
    router = RuleRouter(
        [
            (HostMatches("b.com"), hosted),
            ("/i/z", 0),
            (r"/i/.*", inner, {"ignored": 1}),
            (AnyMatches(), RuleRouter([("/i/long", 5), ("/h", 6)])),
            (AnyMatches(), 7),
            ("/never", 8),
        ]
    )
    for _ in range(2):
        assert found(router, "/i/a") == (1, [], {})
        assert found(router, "/i/b") == (2, [b"b"], {})
        assert found(router, "/i/z") == (0, [], {})
        assert found(router, "/i/long") == (5, [], {})
        assert found(router, "/h") == (6, [], {})
        assert found(router, "/h", "b.com") == (4, [], {})
        assert found(router, "/never") == (7, [], {})
        hosted.add_rules([("/new", 9)])
        assert found(router, "/new", "b.com") == (9, [], {})


def test_changes_below_are_seen_above() -> None:
    inner = RuleRouter([("/a", 1)])
    router = RuleRouter([(AnyMatches(), RuleRouter([("/.*", inner)]))])
    assert found(router, "/a") == (1, [], {})
    inner.rules.insert(0, Rule(PathMatches("/(a)"), 2))
    assert found(router, "/a") == (2, [b"a"], {})
    router.rules = [Rule(AnyMatches(), 3)]
    assert found(router, "/a") == (3, [], {})
    inner.add_rules([("/b", 4)])
    assert found(router, "/b") == (3, [], {})


PATTERNS = st.sampled_from(
    [
        "/a",
        "/b",
        "/ab",
        r"/(a)",
        r"/(?P<x>[ab])",
        r"/(a)?(b)?",
        "/.*",
        r"/a|/b",
        r"/(.)\1",
        "^/ba",
        "(?i)/A(.)",
        "/[^a]",
        "/aa(.*)",
        "/aa",
        "/a?(b*)",
        "/ab(.?)",
        "/abc(d)?",
        r"/\.(.*)",
    ]
)
MATCHERS = st.one_of(
    PATTERNS.map(PathMatches), st.builds(AnyMatches), st.builds(Odd), st.just("b.com").map(HostMatches)
)


def build(shape: list[Any], counter: list[int]) -> RuleRouter:
    rules = []
    for matcher, below in shape:
        counter[0] += 1
        rules.append(Rule(matcher, counter[0] if below is None else build(below, counter)))
    return RuleRouter(rules)


def in_order(router: RuleRouter, asked: Any) -> tuple[Any, ...] | None:
    """The rules one after the other, as the manual describes it."""
    for rule in router.rules:
        params = rule.matcher.match(asked)
        if params is None:
            continue
        if isinstance(rule.target, RuleRouter):
            answer = in_order(rule.target, asked)
            if answer is not None:
                return answer
        else:
            return rule.target, list(params.get("path_args", [])), params.get("path_kwargs", {})
    return None


SHAPES = st.recursive(
    st.lists(st.tuples(MATCHERS, st.none()), max_size=6),
    lambda below: st.lists(st.tuples(MATCHERS, st.one_of(st.none(), below)), max_size=6),
    max_leaves=20,
)


@given(SHAPES)
def test_gives_what_trying_in_order_gives(shape: list[Any]) -> None:
    router = build(shape, [0])
    for path in ("/", "/a", "/b", "/ab", "/ba", "/aa", "/c", "/abc", "/aab", "/.b", ""):
        for host in ("a.com", "b.com"):
            assert found(router, path, host) == in_order(router, request(path, host)), path
