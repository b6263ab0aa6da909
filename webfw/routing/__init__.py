"""Routing: which target answers a request, by its path, its host or anything else; what a target does stays outside."""

from webfw.routing.matchers import AnyMatches, DefaultHostMatches, HostMatches, Matcher, PathMatches
from webfw.routing.plan import Resolution
from webfw.routing.router import ReversibleRouter, ReversibleRuleRouter, Router, RuleRouter
from webfw.routing.rules import Rule, URLSpec

__all__ = [
    "AnyMatches",
    "DefaultHostMatches",
    "HostMatches",
    "Matcher",
    "PathMatches",
    "Resolution",
    "ReversibleRouter",
    "ReversibleRuleRouter",
    "Router",
    "Rule",
    "RuleRouter",
    "URLSpec",
]
