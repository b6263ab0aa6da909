"""A rule sends the requests that a matcher accepts to a target; how rules are searched may not enter."""

import re
from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

from webfw.routing.matchers import Matcher, PathMatches
from webfw.util import import_object

__all__ = ["Rule", "RuleList", "URLSpec", "as_rule"]


class Rule:
    """A condition and where the requests go that meet it.

    :param matcher: the condition.
    :param target: a request handler class (in an `webfw.web.Application`), a `Router` or another
        `HTTPServerConnectionDelegate`, a callable that takes an `HTTPServerRequest`, or the dotted name of any of
        these, which is imported at once.
    :param target_kwargs: for the target: a handler's ``initialize`` arguments.
    :param name: for `ReversibleRouter.reverse_url`.
    """

    def __init__(
        self,
        matcher: Matcher,
        target: Any,
        target_kwargs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        self.matcher = matcher
        self.target = import_object(target) if isinstance(target, str) else target
        self.target_kwargs = target_kwargs or {}
        self.name = name

    @property
    def route(self) -> str | None:
        """The pattern of paths, for logs and metrics; None where the rule does not look at paths."""
        return getattr(self.matcher, "route", None)

    def reverse(self, *args: Any) -> str | None:
        """Make a URL that the matcher would accept; see `Matcher.reverse`."""
        return self.matcher.reverse(*args)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.matcher!r}, {self.target!r}, "
            f"kwargs={self.target_kwargs!r}, name={self.name!r})"
        )


class URLSpec(Rule):
    """A rule for a path, under the name that applications use; also called `webfw.web.url`.

    :param pattern: a regular expression; see `PathMatches`.
    :param handler: the `RequestHandler` subclass, or its dotted name.
    :param kwargs: for the handler's ``initialize``.
    :param name: for ``reverse_url``.
    """

    def __init__(
        self,
        pattern: str | re.Pattern[str],
        handler: Any,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        matcher = PathMatches(pattern)
        super().__init__(matcher, handler, kwargs, name)
        self.regex = matcher.regex
        self.handler_class = self.target
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.regex.pattern!r}, {self.handler_class!r}, "
            f"kwargs={self.kwargs!r}, name={self.name!r})"
        )


def as_rule(rule: Any) -> Rule:
    """Make a `Rule` of what may stand for one: ``(matcher or pattern, target[, target_kwargs[, name]])``.

    :raises TypeError: it is neither a rule nor a tuple or list, or its first item is no matcher and no pattern.
    :raises ValueError: it has fewer than two or more than four items.
    """
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, (tuple, list)):
        raise TypeError(f"a rule is a Rule or a tuple (pattern, target, kwargs, name), not {rule!r}")
    if not 2 <= len(rule) <= 4:
        raise ValueError(f"a rule has two to four items (pattern, target, kwargs, name), not {rule!r}")
    condition = rule[0]
    if isinstance(condition, (str, re.Pattern)):
        condition = PathMatches(condition)
    elif not callable(getattr(condition, "match", None)):
        raise TypeError(f"the first item of a rule is a pattern or a Matcher, not {condition!r}")
    return Rule(condition, *rule[1:])


class RuleList(list[Rule]):
    """The rules of a router, in order; tells the router of every change, since programs change it in place."""

    __slots__ = ("_changed",)

    def __init__(self, changed: Callable[[], None], rules: Iterable[Rule] = ()) -> None:
        super().__init__(rules)
        self._changed = changed

    def append(self, rule: Rule) -> None:
        super().append(rule)
        self._changed()

    def extend(self, rules: Iterable[Rule]) -> None:
        super().extend(rules)
        self._changed()

    def insert(self, index: SupportsIndex, rule: Rule) -> None:
        super().insert(index, rule)
        self._changed()

    def pop(self, index: SupportsIndex = -1) -> Rule:
        rule = super().pop(index)
        self._changed()
        return rule

    def remove(self, rule: Rule) -> None:
        super().remove(rule)
        self._changed()

    def clear(self) -> None:
        super().clear()
        self._changed()

    def reverse(self) -> None:
        super().reverse()
        self._changed()

    def sort(self, **kwargs: Any) -> None:
        super().sort(**kwargs)
        self._changed()

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, value)
        self._changed()

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        super().__delitem__(index)
        self._changed()

    def __iadd__(self, rules: Iterable[Rule]) -> "RuleList":  # type: ignore[misc, override]
        self.extend(rules)
        return self

    def __imul__(self, count: SupportsIndex) -> "RuleList":
        super().__imul__(count)
        self._changed()
        return self
