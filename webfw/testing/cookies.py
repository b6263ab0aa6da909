"""The cookies a test client keeps (RFC 6265 section 5, for one site); which requests there are may not enter."""

import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from math import inf

from webfw.escape import native_str
from webfw.httputil import parse_cookie

__all__ = ["Cookies"]


@dataclass(slots=True)
class _Cookie:
    #: As it travels, with its quotes if it has any.
    value: str
    secure: bool
    expires: float


class Cookies(MutableMapping[str, str]):
    """The cookies of a test client, by name; assign one to send it, delete it to forget it.

    ``Path``, ``Max-Age``, ``Expires`` and ``Secure`` are respected.  ``Domain`` is not looked at: a client talks to one
    site, whatever it calls it.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Cookie] = {}

    def __getitem__(self, name: str) -> str:
        for (_, known), cookie in self._living():
            if known == name:
                return parse_cookie(f"{name}={cookie.value}")[name]
        raise KeyError(name)

    def __setitem__(self, name: str, value: str | bytes) -> None:
        self.forget(name)
        text = SimpleCookie().value_encode(native_str(value))[1]
        self._kept["/", name] = _Cookie(text, False, inf)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.forget(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for (_, name), _ in self._living()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict(self)}>"

    def forget(self, name: str) -> None:
        """Drop the cookies of that name, of all paths."""
        for key in [key for key in self._kept if key[1] == name]:
            del self._kept[key]

    def _living(self) -> Iterator[tuple[tuple[str, str], _Cookie]]:
        now = time.time()
        for key, cookie in list(self._kept.items()):
            if cookie.expires <= now:
                del self._kept[key]
            else:
                yield key, cookie

    def header(self, path: str, secure: bool) -> str | None:
        """The value of Cookie for a request, longer paths first (RFC 6265 section 5.4); None for none.

        :param path: of the request.
        :param secure: whether it is sent by https.
        """
        found = [
            (at, f"{name}={cookie.value}")
            for (at, name), cookie in self._living()
            if _matches(path, at) and (secure or not cookie.secure)
        ]
        found.sort(key=lambda pair: -len(pair[0]))
        return "; ".join(text for _, text in found) or None

    def take(self, lines: list[str], path: str) -> None:
        """Keep what a response has set.

        :param lines: the values of its Set-Cookie fields.
        :param path: of the request it answers.
        """
        for line in lines:
            pair, *attributes = line.split(";")
            name, equals, value = pair.partition("=")
            name = name.strip()
            if not equals or not name:
                continue
            given = {}
            for attribute in attributes:
                key, _, text = attribute.partition("=")
                given[key.strip().lower()] = text.strip()
            at = given.get("path", "")
            if not at.startswith("/"):  # section 5.1.4
                at = path.rpartition("/")[0] or "/"
            self._kept.pop((at, name), None)
            self._kept[at, name] = _Cookie(value.strip(), "secure" in given, _expiry(given))


def _expiry(attributes: dict[str, str]) -> float:
    """When a cookie ends, as ``time.time()``; Max-Age wins (section 5.3)."""
    try:
        return time.time() + int(attributes["max-age"])
    except (KeyError, ValueError):
        pass
    try:
        return parsedate_to_datetime(attributes["expires"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return inf


def _matches(path: str, at: str) -> bool:
    """Section 5.1.4: whether a cookie for the path ``at`` belongs to a request for ``path``."""
    return path == at or (path.startswith(at) and (at.endswith("/") or path[len(at)] == "/"))
