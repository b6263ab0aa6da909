import re
from typing import Any

import pytest

from webfw.routing import AnyMatches, HostMatches, PathMatches, Rule, URLSpec
from webfw.routing.rules import RuleList, as_rule
from webfw.util import ObjectDict


def test_rule() -> None:
    rule = Rule(PathMatches("/a/(.*)"), ObjectDict, {"x": 1}, "name")
    assert rule.target is ObjectDict
    assert rule.target_kwargs == {"x": 1}
    assert rule.name == "name"
    assert rule.reverse("b") == "/a/b"
    assert re.fullmatch(
        r"Rule\(<.*AnyMatches object.*>, 5, kwargs={}, name=None\)", repr(Rule(AnyMatches(), 5))
    )


def test_target_by_name() -> None:
    assert Rule(AnyMatches(), "webfw.util.ObjectDict").target is ObjectDict
    with pytest.raises(ImportError):
        Rule(AnyMatches(), "webfw.util.nothing_there")
    assert URLSpec("/", "webfw.util.ObjectDict").handler_class is ObjectDict


def test_url_spec() -> None:
    spec = URLSpec("/a/(.*)", ObjectDict, {"x": 1}, "name")
    assert spec.regex.pattern == "/a/(.*)$"
    assert spec.kwargs == {"x": 1}
    assert spec.target is ObjectDict
    assert spec.reverse("b") == "/a/b"
    assert repr(spec) == "URLSpec('/a/(.*)$', <class 'webfw.util.ObjectDict'>, kwargs={'x': 1}, name='name')"
    bare = URLSpec(re.compile("/x"), ObjectDict)
    assert bare.kwargs is None
    assert bare.target_kwargs == {}


def test_what_stands_for_a_rule() -> None:
    spec = URLSpec("/", ObjectDict)
    assert as_rule(spec) is spec
    rule = as_rule(["/a", ObjectDict, None, "n"])
    assert isinstance(rule.matcher, PathMatches)
    assert rule.name == "n"
    assert isinstance(as_rule((re.compile("/"), 1)).matcher, PathMatches)
    matcher = HostMatches("x")
    assert as_rule((matcher, 1)).matcher is matcher


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ("/a", TypeError, "a rule is a Rule or a tuple"),
        (("/a",), ValueError, "two to four items"),
        (("/a", 1, {}, "n", 5), ValueError, "two to four items"),
        ((5, 1), TypeError, "first item of a rule is a pattern or a Matcher, not 5"),
    ],
)
def test_what_does_not(rule: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_rule(rule)


def test_every_change_of_a_rule_list_is_told() -> None:
    told: list[int] = []
    a, b, c = [Rule(AnyMatches(), number) for number in (1, 2, 3)]
    rules = RuleList(lambda: told.append(len(rules)), [a])
    assert told == []
    rules.append(b)
    rules.insert(0, c)
    rules.extend([a])
    rules += [b]
    rules *= 2
    rules.reverse()
    rules.sort(key=lambda rule: rule.target)
    assert told == [2, 3, 4, 5, 10, 10, 10]
    del rules[3:]
    rules[0] = c
    rules.remove(c)
    assert rules.pop() in (a, b)
    rules.clear()
    assert told[7:] == [3, 3, 2, 1, 0]
