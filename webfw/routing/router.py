"""Routers: they find who answers a request.  What a rule is and how it is searched for may not enter."""

from collections.abc import Iterable
from functools import partial
from typing import Any
from weakref import WeakSet

from webfw.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate, HTTPServerRequest
from webfw.log import app_log
from webfw.routing.delegates import CallableDelegate, RoutingDelegate
from webfw.routing.plan import Plan, Resolution
from webfw.routing.rules import Rule, RuleList, as_rule

__all__ = ["ReversibleRouter", "ReversibleRuleRouter", "Router", "RuleRouter"]


class Router(HTTPServerConnectionDelegate):
    """Finds who answers a request; an `webfw.httpserver.HTTPServer` takes one in place of an application."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Find who answers a request.

        :param request: the request, without its body.
        :param kwargs: what a router above has found out: ``path_args``, ``path_kwargs``, ``target_kwargs``.
        :return: the delegate that takes the message, or None when this router has none for it.
        """
        raise NotImplementedError

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return RoutingDelegate(self, server_conn, request_conn)


class ReversibleRouter(Router):
    """A router that can make URLs from the names of its routes."""

    def reverse_url(self, name: str, *args: Any) -> str | None:
        """Make the URL of a route.

        :param name: the route's name.
        :param args: what goes in the place of the groups of its pattern.
        :return: the URL; None when there is no route of that name.
        """
        raise NotImplementedError


class RuleRouter(Router):
    """Tries rules in order.

    :param rules: `Rule` objects, or tuples or lists of what makes one: ``(matcher, target[, target_kwargs[, name]])``,
        in which a regular expression in place of the matcher stands for `PathMatches`.

    The list `rules` may be changed in place; a `Rule` may not be changed once a request has been routed.
    """

    def __init__(self, rules: Iterable[Any] | None = None) -> None:
        #: The routers whose plans were made from this one's.
        self._above: WeakSet[RuleRouter] = WeakSet()
        self._plan: Plan | None = None
        self._literals: dict[str, Resolution] = {}
        self._rules = RuleList(self._forget)
        if rules:
            self.add_rules(rules)

    @property
    def rules(self) -> list[Rule]:
        """The rules, in the order in which they are tried."""
        return self._rules

    @rules.setter
    def rules(self, rules: Iterable[Rule]) -> None:
        self._rules = RuleList(self._forget, rules)
        self._forget()

    def add_rules(self, rules: Iterable[Any]) -> None:
        """Add rules behind those that are there.

        :raises TypeError, ValueError: something in it is no rule.
        """
        for rule in rules:
            self.rules.append(self.process_rule(as_rule(rule)))

    def process_rule(self, rule: Rule) -> Rule:
        """Take a new rule in hand; override it to check or change rules.

        :return: the rule that is added.
        """
        return rule

    # Finding a delegate, rule by rule.

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        for rule in self._rules:
            params = rule.matcher.match(request)
            if params is None:
                continue
            if rule.target_kwargs:
                params["target_kwargs"] = rule.target_kwargs
            delegate = self.get_target_delegate(rule.target, request, **params)
            if delegate is not None:
                record = getattr(request.connection, "record", None)
                if record is not None and record.route is None:
                    record.route = rule.route
                return delegate
        return None

    def get_target_delegate(
        self, target: Any, request: HTTPServerRequest, **target_params: Any
    ) -> HTTPMessageDelegate | None:
        """Make the delegate for the target of a rule that has matched; override it for targets of other types.

        :param target: a `Router`, another `HTTPServerConnectionDelegate`, or a callable, which is called with the
            request and ``target_params``.
        :param target_params: what the rule gives and its matcher has found.
        :return: None when the target does not take the request; the next rule is tried then.
        """
        if isinstance(target, Router):
            return target.find_handler(request, **target_params)
        if isinstance(target, HTTPServerConnectionDelegate):
            return target.start_request(request.server_connection, request.connection)
        if callable(target):
            return CallableDelegate(partial(target, **target_params) if target_params else target, request)
        return None

    # Finding a target, fast.

    def resolve(self, request: HTTPServerRequest) -> Resolution | None:
        """Find the target of the first rule that matches, here or in a router that a rule leads to.

        No delegate is made: that is left to the caller, for the types of target it knows.  For any other target it
        calls `find_handler`, which goes on with the next rule where the target declines.  A router among the rules
        that finds in a way of its own (by overriding `find_handler`, or `get_target_delegate` in another way than
        this router does) is such a target.
        """
        found = self._literals.get(request.path)
        return found if found is not None else self._get_plan().find(request)

    def _get_plan(self) -> Plan:
        plan = self._plan
        if plan is None:
            rules = [(rule, self._child(rule.target)) for rule in self._rules]
            for _, child in rules:
                if child is not None:
                    child._above.add(self)
            plan = self._plan = Plan(rules)
            self._literals = plan.literals
        return plan

    def _child(self, target: Any) -> "RuleRouter | None":
        """The target, if searching its rules from here gives what its `find_handler` would."""
        if not isinstance(target, RuleRouter) or target is self:
            return None
        kind = type(target)
        makers = (RuleRouter.get_target_delegate, type(self).get_target_delegate)
        if kind.find_handler is RuleRouter.find_handler and kind.get_target_delegate in makers:
            return target
        return None

    def _forget(self) -> None:
        """Make the plan anew at the next request, here and above."""
        self._plan = None
        self._literals = {}
        for router in self._above:
            router._forget()
        self._above.clear()


class ReversibleRuleRouter(ReversibleRouter, RuleRouter):
    """A `RuleRouter` that knows the names of its rules.

    :ivar named_rules: the rules by name.
    """

    def __init__(self, rules: Iterable[Any] | None = None) -> None:
        self.named_rules: dict[str, Rule] = {}
        super().__init__(rules)

    def process_rule(self, rule: Rule) -> Rule:
        rule = super().process_rule(rule)
        if rule.name:
            if rule.name in self.named_rules:
                app_log.warning("Multiple handlers named %s; replacing previous value", rule.name)
            self.named_rules[rule.name] = rule
        return rule

    def reverse_url(self, name: str, *args: Any) -> str | None:
        if name in self.named_rules:
            return self.named_rules[name].reverse(*args)
        for rule in self._rules:
            if isinstance(rule.target, ReversibleRouter):
                url = rule.target.reverse_url(name, *args)
                if url is not None:
                    return url
        return None
