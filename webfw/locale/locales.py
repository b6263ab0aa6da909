"""A locale: one language, and how messages, dates, numbers and lists read in it. Loads no files.

::

    user_locale = locale.get("es_LA", "es")
    print(user_locale.translate("Sign out"))
"""

import datetime
import gettext
from collections.abc import Sequence
from typing import ClassVar

from webfw.locale import catalog, dates
from webfw.locale.catalog import CONTEXT_SEPARATOR, CSVTranslations
from webfw.locale.names import native_name
from webfw.log import gen_log

__all__ = ["CSVLocale", "GettextLocale", "Locale", "get"]

_RIGHT_TO_LEFT = frozenset(["ar", "ckb", "dv", "fa", "he", "iw", "nqo", "ps", "sd", "syr", "ug", "ur", "yi"])


def get(*locale_codes: str | None) -> "Locale":
    """Return the locale that fits the first of the codes for which there is one, else the default locale.

    Codes are tried in order, each as it is (``en_GB``, ``en-gb``) and then as a language alone (``en``).
    """
    return Locale.get_closest(*locale_codes)


class Locale:
    """One language in one region. Objects come from `get` or `get_closest`."""

    _cache: ClassVar[dict[str, tuple[int, "Locale"]]] = {}

    @classmethod
    def get_closest(cls, *locale_codes: str | None) -> "Locale":
        """Return the locale that fits the first of the codes for which there is one, else the default one."""
        return cls.get(catalog.closest_code(locale_codes))

    @classmethod
    def get(cls, code: str) -> "Locale":
        """Return the locale with exactly this code.

        :raises ValueError: when it is not supported.
        """
        generation, locale = cls._cache.get(code, (-1, None))
        if locale is not None and generation == catalog.state.generation:
            return locale
        if code not in catalog.state.supported:
            raise ValueError(f"unsupported locale {code!r}")
        translations = catalog.state.translations.get(code)
        if isinstance(translations, gettext.NullTranslations):
            locale = GettextLocale(code, translations)
        else:
            locale = CSVLocale(code, translations or {})
        cls._cache[code] = (catalog.state.generation, locale)
        return locale

    def __init__(self, code: str) -> None:
        #: The code, such as ``en_US``.
        self.code = code
        #: The name of the language in that language.
        self.name = native_name(code)
        #: True for languages written from right to left.
        self.rtl = code.partition("_")[0] in _RIGHT_TO_LEFT
        self._months = {month: self.translate(month) for month in dates.MONTHS}
        self._weekdays = {weekday: self.translate(weekday) for weekday in dates.WEEKDAYS}

    def translate(self, message: str, plural_message: str | None = None, count: int | None = None) -> str:
        """Return the translation of a message, the message itself when there is none.

        :param plural_message: the message for any count but one; needs ``count``.
        """
        raise NotImplementedError

    def pgettext(
        self, context: str, message: str, plural_message: str | None = None, count: int | None = None
    ) -> str:
        """Return the translation of a message that means different things in different contexts."""
        raise NotImplementedError

    def _time_of_day(self, local: datetime.datetime) -> str:
        minute = f"{local.minute:02d}"
        hour = local.hour % 12 or 12
        if self.code in ("en", "en_US"):
            return f"{hour}:{minute} {'am' if local.hour < 12 else 'pm'}"
        if self.code == "zh_CN":
            return f"{'上午' if local.hour < 12 else '下午'}{hour}:{minute}"
        return f"{local.hour}:{minute}"

    def _say(self, phrase: dates.Phrase) -> str:
        values = dict(phrase.values)
        if "time" in values:
            values["time"] = self._time_of_day(values["time"])
        if "weekday" in values:
            values["weekday"] = self._weekdays[values["weekday"]]
        if "month_name" in values:
            values["month_name"] = self._months[values["month_name"]]
        return self.translate(phrase.message, phrase.plural, phrase.count) % values

    def format_date(
        self,
        date: datetime.datetime | float,
        gmt_offset: int = 0,
        relative: bool = True,
        shorter: bool = False,
        full_format: bool = False,
    ) -> str:
        """Return a date as text: "2 minutes ago", "yesterday at 5:10 pm", "July 10, 1980 at 5:10 pm".

        :param date: a date, shown as the clock of its own zone (UTC if it has none), or a POSIX timestamp.
        :param gmt_offset: minutes the reader is behind UTC, as JavaScript's ``getTimezoneOffset`` returns.
        :param relative: allow "2 minutes ago" and "yesterday"; dates in the future are always absolute.
        :param shorter: leave out the time of day where there is a date.
        :param full_format: always the whole date with year.
        """
        now = datetime.datetime.now(datetime.UTC)
        return self._say(
            dates.phrase_for(dates.with_zone(date), now, gmt_offset, relative, shorter, full_format)
        )

    def format_day(self, date: datetime.datetime, gmt_offset: int = 0, dow: bool = True) -> str:
        """Return a day as text, "Monday, January 22", or "January 22" with ``dow=False``."""
        return self._say(dates.day_phrase(date, gmt_offset, dow))

    def list(self, parts: Sequence[str]) -> str:
        """Return items joined as in a sentence: "A, B and C", "A and B", "A", or ""."""
        if len(parts) < 2:
            return "".join(parts)
        comma = " و " if self.code.startswith("fa") else ", "
        return self.translate("%(commas)s and %(last)s") % {
            "commas": comma.join(parts[:-1]),
            "last": parts[-1],
        }

    def friendly_number(self, value: int) -> str:
        """Return a number with commas between thousands in English, plain in other languages."""
        return f"{value:,}" if self.code in ("en", "en_US") else str(value)


class CSVLocale(Locale):
    """A locale whose translations come from CSV files; see `load_translations`."""

    def __init__(self, code: str, translations: CSVTranslations) -> None:
        self.translations = translations
        self._warned = False
        super().__init__(code)

    def translate(self, message: str, plural_message: str | None = None, count: int | None = None) -> str:
        """Return the translation of a message; with a plural, of the form that ``count`` calls for.

        :raises ValueError: for a plural without a count.
        """
        form = "unknown"
        if plural_message is not None:
            if count is None:
                raise ValueError("a plural message needs a count")
            form = "singular"
            if count != 1:
                message, form = plural_message, "plural"
        return self.translations.get(form, {}).get(message, message)

    def pgettext(
        self, context: str, message: str, plural_message: str | None = None, count: int | None = None
    ) -> str:
        """Return the translation without regard to the context, which CSV files do not know."""
        if self.translations and not self._warned:
            self._warned = True  # once for each locale: pages ask for many messages
            gen_log.warning("pgettext is not supported by CSVLocale")
        return self.translate(message, plural_message, count)


class GettextLocale(Locale):
    """A locale whose translations come from gettext catalogues; see `load_gettext_translations`."""

    def __init__(self, code: str, translations: gettext.NullTranslations) -> None:
        self.ngettext = translations.ngettext
        self.gettext = translations.gettext
        super().__init__(code)

    def translate(self, message: str, plural_message: str | None = None, count: int | None = None) -> str:
        """Return the translation of a message; with a plural, of the form that ``count`` calls for.

        :raises ValueError: for a plural without a count.
        """
        if plural_message is None:
            return self.gettext(message)
        if count is None:
            raise ValueError("a plural message needs a count")
        return self.ngettext(message, plural_message, count)

    def pgettext(
        self, context: str, message: str, plural_message: str | None = None, count: int | None = None
    ) -> str:
        """Return the translation of a message in a context (``msgctxt``).

        Catalogues hold such messages under the context and the message together; ``xgettext`` finds them with
        ``--keyword=pgettext:1c,2 --keyword=pgettext:1c,2,3``.

        :raises ValueError: for a plural without a count.
        """
        prefix = context + CONTEXT_SEPARATOR
        if plural_message is None:
            result = self.gettext(prefix + message)
            return message if CONTEXT_SEPARATOR in result else result
        if count is None:
            raise ValueError("a plural message needs a count")
        result = self.ngettext(prefix + message, prefix + plural_message, count)
        if CONTEXT_SEPARATOR in result:  # no translation with this context: try without
            return self.ngettext(message, plural_message, count)
        return result
