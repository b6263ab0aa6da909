"""Conditions that a rule puts on a request: its path, its host, anything; where it is sent may not enter."""

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from webfw.escape import url_escape, utf8
from webfw.httputil import HTTPServerRequest

__all__ = ["AnyMatches", "DefaultHostMatches", "HostMatches", "Matcher", "PathMatches", "unquote_group"]


class Matcher:
    """A condition on requests; subclass it for conditions of your own."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Match a request against the condition.

        :return: None when it does not match, otherwise what the target is given besides the request: for handlers
            ``path_args`` (the groups of the path as bytes) and ``path_kwargs`` (the same, by name), which may be
            left out.
        """
        raise NotImplementedError

    def reverse(self, *args: Any) -> str | None:
        """Make a URL that would match; None when this is no condition on the URL."""
        return None


class AnyMatches(Matcher):
    """Matches every request."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {}


class HostMatches(Matcher):
    """Matches requests for a host.

    :param host_pattern: a regular expression for the whole name, without port, in lower case; as text (a ``$`` is
        put behind it) or compiled.
    """

    def __init__(self, host_pattern: str | re.Pattern[str]) -> None:
        self.host_pattern = _anchored(host_pattern)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self.host_pattern.match(request.host_name) else None


class DefaultHostMatches(Matcher):
    """Matches requests that did not come through a proxy, if the application's default host matches.

    :param application: its ``default_host`` is looked at, at every request.
    :param host_pattern: a compiled regular expression.
    """

    def __init__(self, application: Any, host_pattern: re.Pattern[str]) -> None:
        self.application = application
        self.host_pattern = host_pattern

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        # A proxy passes the host it was asked for; then the request is not for the default one.
        if "X-Real-Ip" in request.headers:
            return None
        return {} if self.host_pattern.match(self.application.default_host or "") else None


class PathMatches(Matcher):
    """Matches requests by their path, as it was sent: with its percent-escapes.

    :param path_pattern: a regular expression for the whole path, as text (a ``$`` is put behind it) or compiled.
        Its groups become arguments of the handler: either all of them are named or none is.

    :raises ValueError: some groups are named and others are not.
    """

    def __init__(self, path_pattern: str | re.Pattern[str]) -> None:
        self.regex = _anchored(path_pattern)
        if 0 < len(self.regex.groupindex) != self.regex.groups:
            raise ValueError(
                f"groups in url regexes must either be all named or all positional: {self.regex.pattern!r}"
            )
        pattern = self.regex.pattern.removeprefix("^")
        #: The pattern as logs and metrics show it, without its anchors.
        self.route = pattern[:-1] if ends_with_anchor(pattern) else pattern
        #: The pattern with %s for each group, and how many there are; None when no path can be made from it.
        self._path, self._group_count = self._find_groups()

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        match = self.regex.match(request.path)
        if match is None:
            return None
        if not self.regex.groups:
            return {}
        if self.regex.groupindex:
            path_kwargs = {name: unquote_group(value) for name, value in match.groupdict().items()}
            return {"path_args": [], "path_kwargs": path_kwargs}
        return {"path_args": [unquote_group(value) for value in match.groups()], "path_kwargs": {}}

    def reverse(self, *args: Any) -> str | None:
        """Make the path in which the groups hold ``args``, percent-encoded where needed.

        :raises ValueError: the pattern has parts outside its groups that match more than one text, or there are
            more or fewer arguments than groups.
        """
        if self._path is None:
            raise ValueError(
                f"Cannot reverse url regex {self.regex.pattern}: outside of its groups it is no plain text, "
                "or its groups are nested"
            )
        if len(args) != self._group_count:
            raise ValueError(
                f"required number of arguments not found: {self.regex.pattern} has {self._group_count} groups, "
                f"not {len(args)}"
            )
        return self._path % tuple(_quote(arg) for arg in args)

    def _find_groups(self) -> tuple[str | None, int | None]:
        """Turn the pattern into a template for `reverse`.

        ``r"/([0-9]{4})/([a-z-]+)"`` gives ``("/%s/%s", 2)``; a pattern that cannot be turned into one
        ``(None, None)``.
        """
        pattern = self.regex.pattern.removeprefix("^")
        if ends_with_anchor(pattern):
            pattern = pattern[:-1]
        parts: list[str] = []
        count = 0
        position = 0
        while position < len(pattern):
            char = pattern[position]
            if char == "(":
                end = _end_of_group(pattern, position)
                if end is None:
                    return None, None
                parts.append("%s")
                count += 1
                position = end
                continue
            if char == "\\":
                position += 1
                char = pattern[position]
                if char.isascii() and char.isalnum():
                    return None, None  # a class such as \d, or another sequence with a meaning
            parts.append("%%" if char == "%" else char)
            position += 1
        if count != self.regex.groups:
            return None, None
        return "".join(parts), count


def unquote_group(value: str | None) -> bytes | None:
    """Undo the percent-encoding of a piece of a path; a plus stays one.  None, a group without part in it, stays."""
    if value is None:
        return None
    return unquote_to_bytes(value) if "%" in value else value.encode()


def _quote(arg: Any) -> str:
    return url_escape(utf8(arg if isinstance(arg, (str, bytes)) else str(arg)), plus=False)


def _anchored(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(pattern, str):
        return re.compile(pattern if ends_with_anchor(pattern) else pattern + "$")
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    raise TypeError(f"a pattern is text or a compiled regular expression of text, not {pattern!r}")


def ends_with_anchor(pattern: str) -> bool:
    r"""Whether a pattern ends with an unescaped ``$``; ``\$`` is a dollar, ``\\$`` a backslash at the end."""
    if not pattern.endswith("$"):
        return False
    before = pattern[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 0


_CAPTURING: Final = re.compile(r"\((?!\?)|\(\?P<")


def _end_of_group(pattern: str, start: int) -> int | None:
    """The offset behind the group that opens at ``start``; None unless it captures, and holds no other that does."""
    if _CAPTURING.match(pattern, start) is None:
        return None
    depth = 0
    position = start
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            position += 2
            continue
        if char == "[":
            position = end_of_class(pattern, position)
            continue
        if char == "(":
            if depth and _CAPTURING.match(pattern, position):
                return None
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    return None


def end_of_class(pattern: str, start: int) -> int:
    """The offset behind the character class that opens at ``start``."""
    position = start + 1
    if pattern.startswith("^", position):
        position += 1
    if pattern.startswith("]", position):  # a bracket in the first place is a member
        position += 1
    while position < len(pattern) and pattern[position] != "]":
        position += 2 if pattern[position] == "\\" else 1
    return position + 1
