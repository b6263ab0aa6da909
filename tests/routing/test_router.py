import sys
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httputil import HTTPMessageDelegate
from webfw.routing import (
    AnyMatches,
    HostMatches,
    ReversibleRouter,
    ReversibleRuleRouter,
    Router,
    Rule,
    RuleRouter,
    URLSpec,
)
from webfw.routing.delegates import CallableDelegate


def request(path: str, host: str = "a.com") -> Any:
    return SimpleNamespace(path=path, host_name=host, connection=None, server_connection=None)


class Own(Router):
    """Takes paths that end with its name."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.asked: list[Any] = []
        self.delegate = HTTPMessageDelegate()

    def find_handler(self, request: Any, **kwargs: Any) -> HTTPMessageDelegate | None:
        self.asked.append(kwargs)
        return self.delegate if request.path.endswith(self.name) else None


def test_abstract_routers() -> None:
    with pytest.raises(NotImplementedError):
        Router().find_handler(request("/"))
    with pytest.raises(NotImplementedError):
        ReversibleRouter().reverse_url("x")


def test_first_target_that_takes_the_request() -> None:
    first, second = Own("1"), Own("2")
    router = RuleRouter(
        [("/x/(.*)", first, {"k": 1}), URLSpec("/x/.*", second), ("/x/3", 5), (AnyMatches(), first, {"z": 1})]
    )
    assert router.find_handler(request("/x/1"), ignored=1) is first.delegate
    assert first.asked == [{"path_args": [b"1"], "path_kwargs": {}, "target_kwargs": {"k": 1}}]
    assert router.find_handler(request("/x/2")) is second.delegate
    assert second.asked == [{}]
    assert router.find_handler(request("/x/3")) is None
    assert first.asked[-1] == {"target_kwargs": {"z": 1}}
    assert isinstance(RuleRouter([("/", print)]).find_handler(request("/")), CallableDelegate)


def test_process_rule_may_change_a_rule() -> None:
    class Adding(RuleRouter):
        def process_rule(self, rule: Rule) -> Rule:
            rule = super().process_rule(rule)
            rule.target_kwargs = {"added": rule.target}
            return rule

    router = Adding([("/a", 1)])
    assert router.rules[0].target_kwargs == {"added": 1}
    resolution = router.resolve(request("/a"))
    assert resolution is not None
    assert resolution.target_kwargs == {"added": 1}


def test_routers_that_find_in_their_own_way_are_targets() -> None:
    class Finding(RuleRouter):
        def find_handler(self, request: Any, **kwargs: Any) -> HTTPMessageDelegate | None:
            return None

    class Making(RuleRouter):
        def get_target_delegate(self, target: Any, request: Any, **params: Any) -> HTTPMessageDelegate | None:
            return HTTPMessageDelegate() if target == 5 else None

    finding, making, own = Finding([("/f", 1)]), Making([("/m", 5)]), Own("o")
    rules = [("/f", finding), ("/m", making), ("/o", own), ("/f", 2)]
    router = RuleRouter(rules)
    for path, target in (("/f", finding), ("/m", making), ("/o", own)):
        resolution = router.resolve(request(path))
        assert resolution is not None
        assert resolution.target is target
    # A router that makes delegates in the same way may search it.
    below = Making(rules).resolve(request("/m"))
    assert below is not None
    assert below.target == 5


def test_a_router_may_contain_itself() -> None:
    router = RuleRouter([("/a", 1)])
    router.add_rules([("/b", router)])
    resolution = router.resolve(request("/b"))
    assert resolution is not None
    assert resolution.target is router


def test_rules_added_later_count() -> None:
    router = RuleRouter([("/a", 1)])
    assert router.resolve(request("/b")) is None
    router.add_rules([("/b", 2)])
    resolution = router.resolve(request("/b"))
    assert resolution is not None
    assert resolution.target == 2


def test_a_literal_path_costs_one_lookup() -> None:
    """Counted, since time on a shared machine says little: `resolve` itself and nothing else in Python."""
    router = RuleRouter([(AnyMatches(), RuleRouter([(f"/r{n}", n) for n in range(200)] + [(r"/(\d+)", -1)]))])
    asked = request("/r150")
    router.resolve(asked)
    calls: list[str] = []
    sys.setprofile(lambda frame, event, arg: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        router.resolve(asked)
    finally:
        sys.setprofile(None)
    assert calls == ["resolve"]


# --- names ---


def test_reverse_url() -> None:
    inner = ReversibleRuleRouter([("/b/(.*)", 1, {}, "inner"), (HostMatches("x"), 1, {}, "host")])
    router = ReversibleRuleRouter([("/a", 1, {}, "outer"), ("/b/.*", inner), ("/c", RuleRouter())])
    assert router.reverse_url("outer") == "/a"
    assert router.reverse_url("inner", "x y") == "/b/x%20y"
    assert router.reverse_url("host") is None
    assert router.reverse_url("unknown") is None
    assert list(router.named_rules) == ["outer"]


def test_name_used_twice(expect_log: Any) -> None:
    with expect_log("webfw.application", "Multiple handlers named n; replacing previous value"):
        router = ReversibleRuleRouter([("/a", 1, {}, "n"), ("/b", 1, {}, "n")])
    assert router.reverse_url("n") == "/b"
