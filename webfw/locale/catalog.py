"""Which locales there are and where their translations come from. Formats nothing.

One set of translations serves the whole process; it is loaded before the first request and only read
afterwards.
"""

import codecs
import csv
import gettext
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from webfw.log import gen_log

__all__ = [
    "CONTEXT_SEPARATOR",
    "get_supported_locales",
    "load_gettext_translations",
    "load_translations",
    "set_default_locale",
]

#: Stands between context and message in a gettext catalogue.
CONTEXT_SEPARATOR = "\x04"

#: plural form ("singular", "plural" or "unknown") -> message -> translation
CSVTranslations = Mapping[str, Mapping[str, str]]

_CODE = re.compile(r"[a-z]+(_[A-Z]+)?")
_PLURAL_FORMS = ("plural", "singular", "unknown")


@dataclass
class _State:
    default: str = "en_US"
    translations: Mapping[str, CSVTranslations | gettext.NullTranslations] = field(default_factory=dict)
    supported: frozenset[str] = frozenset(("en_US",))
    #: Counts up whenever translations change, so that objects made from old ones can be told.
    generation: int = 0


state = _State()


def _install(translations: Mapping[str, CSVTranslations | gettext.NullTranslations]) -> None:
    state.translations = translations
    state.supported = frozenset([*translations, state.default])
    state.generation += 1


def set_default_locale(code: str) -> None:
    """Set the locale that messages are written in, which is also used when no translation fits.

    :param code: a locale code such as ``en_US``, the default.
    """
    state.default = code
    _install(state.translations)


def get_supported_locales() -> frozenset[str]:
    """Return the codes of the locales that have translations, and of the default locale."""
    return state.supported


def closest_code(locale_codes: tuple[str | None, ...]) -> str:
    """Return the supported code that fits the first of ``locale_codes`` that has one, else the default.

    A code fits if it is supported itself, or with its region (``zh-Hans-CN``: ``zh_CN``), or as a bare
    language. Case, and the choice of ``-`` or ``_``, do not matter.
    """
    for code in locale_codes:
        if not code or len(code) > 35:  # RFC 5646 section 4.4.1: longer ones need not be supported
            continue
        language, *rest = code.replace("-", "_").split("_")
        language = language.lower()
        candidates = [language]
        if rest:
            candidates.insert(0, f"{language}_{rest[-1].upper()}")
        for candidate in candidates:
            if candidate in state.supported:
                return candidate
    return state.default


def _encoding_of(path: str) -> str:
    """Return the encoding that the byte order mark of a file tells; UTF-8 without one."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _read_csv(path: str, encoding: str | None, code: str) -> dict[str, dict[str, str]]:
    forms: dict[str, dict[str, str]] = {}
    with open(path, encoding=encoding or _encoding_of(path), newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if len(row) < 2 or row[0].startswith("#"):
                continue
            message, translation, *rest = (cell.strip() for cell in row)
            form = rest[0] if rest and rest[0] else "unknown"
            if form not in _PLURAL_FORMS:
                gen_log.error(
                    "Unrecognized plural indicator %r in %s line %d (locale %s)", form, path, number, code
                )
                continue
            forms.setdefault(form, {})[message] = translation
    return forms


def load_translations(directory: str, encoding: str | None = None) -> None:
    r"""Load translations from the CSV files of a directory, one for each locale: ``es_LA.csv``, ``fr.csv``.

    A row is a message, its translation and, if the message has a plural, ``singular`` or ``plural``::

        "I love you","Te amo"
        "%(name)s liked this","A %(name)s le gustó esto","singular"
        "%(name)s liked this","A %(name)s les gustó esto","plural"

    Rows with fewer than two cells and those that begin with ``#`` are skipped. Files whose name is not a
    locale code are reported to the ``webfw.general`` log and skipped.

    :param encoding: of the files; left out, UTF-16 with a byte order mark is recognized, else UTF-8 is
        assumed.
    :raises OSError: when the directory or a file cannot be read.
    :raises UnicodeDecodeError: when a file is in another encoding.
    """
    translations: dict[str, CSVTranslations] = {}
    for name in sorted(os.listdir(directory)):
        code, extension = os.path.splitext(name)
        if extension != ".csv":
            continue
        path = os.path.join(directory, name)
        if not _CODE.fullmatch(code):
            gen_log.error("Unrecognized locale %r (path: %s)", code, path)
            continue
        translations[code] = _read_csv(path, encoding, code)
    _install(translations)
    gen_log.debug("Supported locales: %s", sorted(state.supported))


def load_gettext_translations(directory: str, domain: str) -> None:
    """Load translations from compiled gettext catalogues: ``{directory}/{locale}/LC_MESSAGES/{domain}.mo``.

    They are made with ``xgettext``, ``msgmerge`` and ``msgfmt``, or with Babel. A directory or a catalogue
    that cannot be read is reported to the ``webfw.general`` log and skipped.
    """
    translations: dict[str, gettext.NullTranslations] = {}
    try:
        codes = sorted(os.listdir(directory))
    except OSError as error:
        gen_log.error("Cannot load translations: %s", error)
        codes = []
    for code in codes:
        if code.startswith(".") or not os.path.isdir(os.path.join(directory, code)):
            continue
        path = os.path.join(directory, code, "LC_MESSAGES", domain + ".mo")
        if not os.path.exists(path):
            continue
        try:
            with open(path, "rb") as file:
                translations[code] = gettext.GNUTranslations(file)
        except (OSError, ValueError, LookupError, EOFError, struct.error) as error:
            gen_log.error("Cannot load translation for %r: %s", code, error)
    _install(translations)
    gen_log.debug("Supported locales: %s", sorted(state.supported))
