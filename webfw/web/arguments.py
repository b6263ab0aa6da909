"""The chapter of a handler on arguments: what the query and the form hold, as text; files may not enter."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, overload

from webfw.web.errors import HTTPError, MissingArgumentError
from webfw.web.state import HandlerState

__all__ = ["Arguments"]

_T = TypeVar("_T")


class _Required:
    """The default of an argument that has none: it must be there."""

    def __repr__(self) -> str:
        return "<required>"


_REQUIRED: Final = _Required()

# What no text field of a form produces; tab and the line breaks stay.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1f]")

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,100}")
_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})(?:[eE][+-]?[0-9]{1,3})?"
)
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", ""), False),
}


class Arguments(HandlerState):
    """The arguments of a request.

    Values are decoded from UTF-8 by `decode_argument`.  Control characters in them, other than tab and line breaks,
    become spaces, and spaces at both ends are removed unless ``strip`` is false.
    """

    @overload
    def get_argument(self, name: str, default: str, strip: bool = True) -> str: ...
    @overload
    def get_argument(self, name: str, default: _Required = _REQUIRED, strip: bool = True) -> str: ...
    @overload
    def get_argument(self, name: str, default: _T, strip: bool = True) -> str | _T: ...
    def get_argument(self, name: str, default: Any = _REQUIRED, strip: bool = True) -> Any:
        """The value of an argument, from the query or the form; the last one where there are several.

        :param default: what to return where there is none.
        :raises MissingArgumentError: there is none and no default (status 400).
        :raises HTTPError: it is not UTF-8 (status 400).
        """
        return self._last(name, default, self.request.arguments, strip)

    def get_arguments(self, name: str, strip: bool = True) -> list[str]:
        """All values of an argument, those of the query first; an empty list where there is none.

        :raises HTTPError: one is not UTF-8 (status 400).
        """
        return self._all(name, self.request.arguments, strip)

    @overload
    def get_query_argument(self, name: str, default: str, strip: bool = True) -> str: ...
    @overload
    def get_query_argument(self, name: str, default: _Required = _REQUIRED, strip: bool = True) -> str: ...
    @overload
    def get_query_argument(self, name: str, default: _T, strip: bool = True) -> str | _T: ...
    def get_query_argument(self, name: str, default: Any = _REQUIRED, strip: bool = True) -> Any:
        """The value of an argument of the query; see `get_argument`."""
        return self._last(name, default, self.request.query_arguments, strip)

    def get_query_arguments(self, name: str, strip: bool = True) -> list[str]:
        """All values of an argument of the query; see `get_arguments`."""
        return self._all(name, self.request.query_arguments, strip)

    @overload
    def get_body_argument(self, name: str, default: str, strip: bool = True) -> str: ...
    @overload
    def get_body_argument(self, name: str, default: _Required = _REQUIRED, strip: bool = True) -> str: ...
    @overload
    def get_body_argument(self, name: str, default: _T, strip: bool = True) -> str | _T: ...
    def get_body_argument(self, name: str, default: Any = _REQUIRED, strip: bool = True) -> Any:
        """The value of an argument of the form; see `get_argument`."""
        return self._last(name, default, self.request.body_arguments, strip)

    def get_body_arguments(self, name: str, strip: bool = True) -> list[str]:
        """All values of an argument of the form; see `get_arguments`."""
        return self._all(name, self.request.body_arguments, strip)

    def get_int(
        self, name: str, default: Any = _REQUIRED, *, minimum: int | None = None, maximum: int | None = None
    ) -> Any:
        """The value of an argument as a whole number, of up to 100 decimal digits.

        :param default: returned as it is where there is no such argument.
        :param minimum, maximum: the range it must lie in.
        :raises HTTPError: it is missing without default, no such number or out of range (status 400).
        """
        text = self._text(name, default)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text):
            raise HTTPError(400, "Argument %s is no whole number: %r", name, text[:40])
        return _in_range(name, int(text), minimum, maximum)

    def get_float(
        self,
        name: str,
        default: Any = _REQUIRED,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> Any:
        """The value of an argument as a decimal number, such as ``-1.5`` or ``2e3``; never infinite or NaN.

        See `get_int` for the parameters.
        """
        text = self._text(name, default)
        if text is None:
            return default
        number = float(text) if _NUMBER.fullmatch(text) else float("inf")
        if number in (float("inf"), float("-inf")):
            raise HTTPError(400, "Argument %s is no number: %r", name, text[:40])
        return _in_range(name, number, minimum, maximum)

    def get_bool(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value of an argument as a yes or no: 1, true, yes, on, or 0, false, no, off or nothing, in any case.

        A checkbox of a form that is not ticked is not sent at all: give it the default False.

        :raises HTTPError: it is missing without default, or something else (status 400).
        """
        text = self._text(name, default)
        if text is None:
            return default
        answer = _BOOLEANS.get(text.lower())
        if answer is None:
            raise HTTPError(400, "Argument %s is neither yes nor no: %r", name, text[:40])
        return answer

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Decode an argument, or a group of the route's pattern; override it for another encoding than UTF-8.

        :param value: the percent-decoded value; text is returned as it is.
        :param name: the argument's name, None for an unnamed group.
        :raises HTTPError: it is not UTF-8 (status 400).
        """
        if isinstance(value, str):
            return value
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise HTTPError(400, "Invalid unicode in %s: %r", name or "url", value[:40]) from None

    def _text(self, name: str, default: Any) -> str | None:
        """The argument's text; None where there is none, if there is a default for it."""
        return self.get_argument(name) if default is _REQUIRED else self.get_argument(name, None)

    def _last(self, name: str, default: Any, source: Mapping[str, Sequence[bytes]], strip: bool) -> Any:
        values = self._all(name, source, strip)
        if values:
            return values[-1]
        if default is _REQUIRED:
            raise MissingArgumentError(name)
        return default

    def _all(self, name: str, source: Mapping[str, Sequence[bytes]], strip: bool) -> list[str]:
        values = []
        for value in source.get(name, ()):
            text = self.decode_argument(value, name=name)
            if isinstance(text, str):  # a program's own decode_argument may give something else
                text = _CONTROLS.sub(" ", text)
                if strip:
                    text = text.strip()
            values.append(text)
        return values


def _in_range(name: str, number: Any, minimum: float | None, maximum: float | None) -> Any:
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = f"{'' if minimum is None else minimum}..{'' if maximum is None else maximum}"
        raise HTTPError(400, "Argument %s is out of its range %s: %r", name, bounds, number)
    return number
