"""How the rules of one router are searched fast, with the answer that trying one after the other gives.

Three things make it fast.  A path that no pattern is needed for is looked up in a dict.  Rules in a row that only look
at the path are tried together, as one regular expression.  And nothing is made for a request but its answer.  What a
delegate is may not enter.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from webfw.httputil import HTTPServerRequest
from webfw.routing.matchers import AnyMatches, PathMatches, unquote_group
from webfw.routing.patterns import Part, combinable, combine, literal_path
from webfw.routing.rules import Rule

__all__ = ["Plan", "Resolution"]

_NO_NAMES: Final[Mapping[str, bytes | None]] = MappingProxyType({})


class Resolution(NamedTuple):
    """Where a request goes.

    :ivar target: the target of the rule that matched first.
    :ivar target_kwargs: what the rule gives the target; not to be changed.
    :ivar path_args: the groups of its pattern, percent-decoded; None for a group that took no part.
    :ivar path_kwargs: the same where they are named.
    :ivar route: the pattern of its rule, for logs and metrics.
    """

    target: Any
    target_kwargs: dict[str, Any]
    path_args: Sequence[bytes | None] = ()
    path_kwargs: Mapping[str, bytes | None] = _NO_NAMES
    route: str | None = None


class Searchable(Protocol):
    """A router that has a plan, as the plan of the router above it sees it."""

    def _get_plan(self) -> "Plan": ...


class _Unsure:
    """The answer of `Plan.find_by_path` when the path alone does not decide."""


_UNSURE: Final = _Unsure()


class _Paths:
    """Rules in a row that only look at the path and end the search: one dict and one regular expression for all."""

    __slots__ = ("_ends", "_match", "literals")

    def __init__(self, rules: Sequence[tuple[Rule, PathMatches, Part]]) -> None:
        self._compile(rules)
        paths = [literal_path(matcher.regex) for _, matcher, _ in rules]
        #: The answer for every path that a rule names as plain text; a pattern before it may match it first.
        self.literals: dict[str, Resolution] = {}
        for path in paths:
            found = None if path is None else self._search(path)
            if path is not None and found is not None:
                self.literals[path] = found._replace(path_kwargs=MappingProxyType(dict(found.path_kwargs)))
        self._compile([rule for rule, path in zip(rules, paths, strict=True) if path is None])

    def _compile(self, rules: Sequence[tuple[Rule, PathMatches, Part]]) -> None:
        #: What to do by the number of the group that closed last, an empty one behind each rule's pattern.
        self._ends: dict[int | None, tuple[Resolution, int, int, tuple[str, ...]]] = {}
        pattern, order = combine([part for _, _, part in rules])
        start = 1
        for place in order:
            rule, matcher, _ = rules[place]
            regex = matcher.regex
            stop = start + regex.groups
            names = tuple(sorted(regex.groupindex, key=regex.groupindex.__getitem__))
            found = Resolution(rule.target, rule.target_kwargs, route=rule.route)
            self._ends[stop] = (found, start, stop, names)
            start = stop + 1
        self._match = re.compile(pattern).match if rules else None

    def _search(self, path: str) -> Resolution | None:
        match = self._match(path) if self._match is not None else None
        if match is None:
            return None
        found, start, stop, names = self._ends[match.lastindex]
        if start == stop:
            return found
        values = tuple([unquote_group(match[group]) for group in range(start, stop)])
        if names:
            return Resolution(found[0], found[1], (), dict(zip(names, values, strict=True)), found[4])
        return Resolution(found[0], found[1], values, _NO_NAMES, found[4])

    def find(self, request: HTTPServerRequest) -> Resolution | None:
        path = request.path
        return self.literals.get(path) or self._search(path)

    def find_by_path(self, path: str) -> Resolution | None:
        return self.literals.get(path) or self._search(path)


class _Step:
    """One rule that is tried on its own: it does not look at the path alone, or another router goes on from it."""

    __slots__ = ("_child", "_matcher", "_regex", "_rule")

    def __init__(self, rule: Rule, child: Searchable | None) -> None:
        self._rule = rule
        self._matcher = rule.matcher
        self._child = child
        path = _path_matcher(rule)
        #: The pattern where the path alone decides.
        self._regex = None if path is None else path.regex

    def find(self, request: HTTPServerRequest) -> Resolution | None:
        params = self._matcher.match(request)
        if params is None:
            return None
        if self._child is not None:
            return self._child._get_plan().find(request)
        rule = self._rule
        return Resolution(
            rule.target,
            rule.target_kwargs or params.get("target_kwargs") or {},
            params.get("path_args") or (),
            params.get("path_kwargs") or _NO_NAMES,
            rule.route,
        )

    def find_by_path(self, path: str) -> "Resolution | _Unsure | None":
        if self._regex is not None and self._regex.match(path) is None:
            return None
        if self._regex is None or self._child is None:
            return _UNSURE
        return self._child._get_plan().find_by_path(path)


class _Always:
    """A rule for every request that ends the search."""

    __slots__ = ("_found",)

    def __init__(self, rule: Rule) -> None:
        self._found = Resolution(rule.target, rule.target_kwargs, route=rule.route)

    def find(self, request: HTTPServerRequest) -> Resolution | None:
        return self._found

    def find_by_path(self, path: str) -> Resolution | None:
        return self._found


class Plan:
    """The rules of one router, prepared; made anew when they change.

    :param rules: in order, each with the router that goes on with the search, or None where the rule ends it.
    """

    __slots__ = ("_pairs", "_paths", "_steps", "literals")

    def __init__(self, rules: Sequence[tuple[Rule, Searchable | None]]) -> None:
        self._pairs: list[tuple[Rule, Searchable | None]] = []
        #: Every path that some rule names as plain text, here or further down.
        self._paths: set[str] = set()
        for rule, child in rules:
            path = _path_matcher(rule)
            if path is not None and (text := literal_path(path.regex)) is not None:
                self._paths.add(text)
            if child is None:
                self._pairs.append((rule, None))
                continue
            below = child._get_plan()
            self._paths |= below._paths
            if type(rule.matcher) is AnyMatches:
                self._pairs += below._pairs  # what it leads to might as well stand here
            else:
                self._pairs.append((rule, child))
        self._steps = _prepare(self._pairs)
        #: What those paths lead to, where that depends on nothing else.
        self.literals: dict[str, Resolution] = {}
        for text in self._paths:
            found = self.find_by_path(text)
            if isinstance(found, Resolution):
                self.literals[text] = found

    def find(self, request: HTTPServerRequest) -> Resolution | None:
        """The first rule that matches the request, here or further down."""
        found = self.literals.get(request.path)
        if found is not None:
            return found
        for step in self._steps:
            found = step.find(request)
            if found is not None:
                return found
        return None

    def find_by_path(self, path: str) -> Resolution | _Unsure | None:
        """Like `find` for every request with that path; `_UNSURE` when they are not all the same."""
        for step in self._steps:
            found = step.find_by_path(path)
            if found is not None:
                return found
        return None


def _prepare(pairs: Sequence[tuple[Rule, Searchable | None]]) -> list[_Paths | _Step | _Always]:
    steps: list[_Paths | _Step | _Always] = []
    row: list[tuple[Rule, PathMatches, Part]] = []
    for rule, child in pairs:
        matcher = _path_matcher(rule) if child is None else None
        part = None if matcher is None else combinable(matcher.regex)
        if matcher is not None and part is not None:
            row.append((rule, matcher, part))
            continue
        if row:
            steps.append(_Paths(row))
            row = []
        if child is None and type(rule.matcher) is AnyMatches:
            steps.append(_Always(rule))
        else:
            steps.append(_Step(rule, child))
    if row:
        steps.append(_Paths(row))
    return steps


def _path_matcher(rule: Rule) -> PathMatches | None:
    """The rule's matcher, if it is a `PathMatches` that matches as that class does."""
    matcher = rule.matcher
    return matcher if isinstance(matcher, PathMatches) and type(matcher).match is PathMatches.match else None
