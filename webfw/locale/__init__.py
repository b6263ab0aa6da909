"""Languages: translations, dates, numbers and lists for one user. Nothing that reads a request."""

from webfw.locale.catalog import (
    CONTEXT_SEPARATOR,
    get_supported_locales,
    load_gettext_translations,
    load_translations,
    set_default_locale,
)
from webfw.locale.locales import CSVLocale, GettextLocale, Locale, get
from webfw.locale.names import LOCALE_NAMES

__all__ = [
    "CONTEXT_SEPARATOR",
    "LOCALE_NAMES",
    "CSVLocale",
    "GettextLocale",
    "Locale",
    "get",
    "get_supported_locales",
    "load_gettext_translations",
    "load_translations",
    "set_default_locale",
]
