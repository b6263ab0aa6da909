"""The chapter of a handler on the language of its user; what a language holds may not enter."""

import re
from typing import Final

from webfw import locale
from webfw.locale import Locale
from webfw.web.state import HandlerState

__all__ = ["Language"]

#: Languages looked at in one Accept-Language field; browsers send less than ten.
_MAX_LANGUAGES: Final = 50

_QUALITY: Final = re.compile(r"\s*q\s*=\s*(0(?:\.[0-9]*)?|1(?:\.0*)?)\s*", re.IGNORECASE)
_ANY_QUALITY: Final = re.compile(r"\s*q\s*=", re.IGNORECASE)


class Language(HandlerState):
    """The language of a response."""

    _locale: Locale | None = None

    @property
    def locale(self) -> Locale:
        """The user's locale: that of `get_user_locale`, or else of `get_browser_locale`; may be set as well."""
        if self._locale is None:
            self._locale = self.get_user_locale() or self.get_browser_locale()
        return self._locale

    @locale.setter
    def locale(self, value: Locale) -> None:
        self._locale = value

    def get_user_locale(self) -> Locale | None:
        """Override it to give the locale the user has chosen; None leaves it to the browser's settings."""
        return None

    def get_browser_locale(self, default: str = "en_US") -> Locale:
        """The locale closest to what the Accept-Language field asks for (RFC 9110 section 12.5.4).

        :param default: its code where the field is missing or names nothing.
        """
        codes = preferred_languages(self.request.headers.get("Accept-Language", ""))
        return locale.get(*codes) if codes else locale.get(default)


def preferred_languages(field: str) -> list[str]:
    """The languages of an Accept-Language field, the most wanted first; those of quality 0 or a bad one left out."""
    found: list[tuple[float, str]] = []
    for item in field.split(",", _MAX_LANGUAGES)[:_MAX_LANGUAGES]:
        code, *parameters = item.split(";")
        quality = 1.0
        for parameter in parameters:
            if _ANY_QUALITY.match(parameter):
                match = _QUALITY.fullmatch(parameter)
                quality = float(match[1]) if match else 0.0
        if (code := code.strip()) and quality > 0:
            found.append((quality, code))
    return [code for _, code in sorted(found, key=lambda item: -item[0])]
