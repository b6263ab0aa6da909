import datetime
import gettext

import pytest

from webfw import locale
from webfw.locale import CSVLocale, GettextLocale, Locale, catalog
from webfw.locale.catalog import _State, state


@pytest.fixture(autouse=True)
def _fresh_state():
    saved = dict(vars(state))
    vars(state).update(vars(_State(generation=state.generation + 1)))
    yield
    vars(state).update(saved, generation=state.generation + 1)


@pytest.fixture
def english():
    return Locale.get("en_US")


# --- finding ---


def test_get():
    found = locale.get("fr", "en")
    assert isinstance(found, CSVLocale)
    assert (found.code, found.name, found.rtl) == ("en_US", "English (US)", False)
    assert locale.get("de") is found
    assert Locale.get_closest("nope") is found
    with pytest.raises(ValueError, match="unsupported locale 'zz'"):
        Locale.get("zz")


def test_new_translations_are_seen():
    catalog._install({"fr": {"unknown": {"a": "old"}}})
    first = locale.get("fr")
    assert first.translate("a") == "old"
    catalog._install({"fr": {"unknown": {"a": "new"}}})
    assert locale.get("fr").translate("a") == "new"
    assert first.translate("a") == "old"


def test_direction():
    for code in ("ar_AR", "he_IL", "fa", "ur_PK", "yi"):
        assert CSVLocale(code, {}).rtl, code
    for code in ("en_US", "sw_KE", "arn_CL"):
        assert not CSVLocale(code, {}).rtl, code


def test_locale_is_abstract():
    with pytest.raises(NotImplementedError):
        Locale("en_US")
    with pytest.raises(NotImplementedError):
        Locale.pgettext(CSVLocale("en", {}), "context", "message")


# --- CSV ---

FRENCH = {
    "unknown": {"school": "école", "April": "avril", "%(month_name)s %(day)s": "%(day)s %(month_name)s"},
    "singular": {"%(n)d apple": "une pomme"},
    "plural": {"%(n)d apples": "%(n)d pommes"},
}


def test_csv_translate():
    french = CSVLocale("fr_FR", FRENCH)
    assert french.translate("school") == "école"
    assert french.translate("other") == "other"
    assert french.translate("%(n)d apple", "%(n)d apples", 1) == "une pomme"
    assert french.translate("%(n)d apple", "%(n)d apples", 2) == "%(n)d pommes"
    assert french.translate("x", "xs", 0) == "xs"
    assert french.translate("x", None, 3) == "x"
    with pytest.raises(ValueError, match="count"):
        french.translate("x", "xs")
    assert french.format_day(datetime.datetime(2013, 4, 28), dow=False) == "28 avril"


def test_csv_pgettext(expect_log):
    french = CSVLocale("fr_FR", FRENCH)
    with expect_log("webfw.general", "pgettext is not supported by CSVLocale", count=1):
        assert french.pgettext("context", "school") == "école"
        assert french.pgettext("context", "%(n)d apple", "%(n)d apples", 2) == "%(n)d pommes"
    assert CSVLocale("en", {}).pgettext("context", "school") == "school"


# --- gettext ---


class Translations(gettext.NullTranslations):
    singular = {
        "school": "école",
        "bank": "banque",
        "law\x04right": "droit",
        "stick\x04club": "matraque",
        "%d apple": "%d pomme",
    }
    plural = {"stick\x04club": "matraques", "%d apple": "%d pommes", "club": "clubs (fr)"}

    def gettext(self, message):
        return self.singular.get(message, message)

    def ngettext(self, singular, plural, number):
        if number > 1:
            return self.plural.get(singular, plural)
        return self.singular.get(singular, singular)


@pytest.fixture
def french():
    catalog._install({"fr_FR": Translations()})
    return locale.get("fr_FR")


def test_gettext_translate(french):
    assert isinstance(french, GettextLocale)
    assert french.name == "Français"
    assert french.translate("school") == "école"
    assert french.translate("other") == "other"
    assert french.translate("%d apple", "%d apples", 1) == "%d pomme"
    assert french.translate("%d apple", "%d apples", 0) == "%d pomme"
    assert french.translate("%d apple", "%d apples", 2) == "%d pommes"
    with pytest.raises(ValueError, match="count"):
        french.translate("a", "b")


def test_gettext_pgettext(french):
    assert french.pgettext("law", "right") == "droit"
    assert french.pgettext("direction", "right") == "right"
    assert french.pgettext("river", "bank") == "bank"
    assert french.pgettext("stick", "club", "clubs", 1) == "matraque"
    assert french.pgettext("stick", "club", "clubs", 2) == "matraques"
    assert french.pgettext("golf", "club", "clubs", 2) == "clubs (fr)"
    assert french.pgettext("golf", "club", "clubs", 1) == "club"
    with pytest.raises(ValueError, match="count"):
        french.pgettext("stick", "club", "clubs")


# --- formatting ---


def test_dates(english):
    date = datetime.datetime(2013, 4, 28, 18, 35)
    assert english.format_date(date, full_format=True) == "April 28, 2013 at 6:35 pm"
    assert english.format_date(date) == "April 28, 2013 at 6:35 pm"
    assert english.format_date(date, shorter=True) == "April 28, 2013"
    assert english.format_date(date, full_format=True, gmt_offset=-480) == "April 29, 2013 at 2:35 am"
    assert english.format_date(0, gmt_offset=60) == "December 31, 1969 at 11:00 pm"
    assert english.format_day(date) == "Sunday, April 28"


def test_relative_dates(english):
    now = datetime.datetime.now(datetime.UTC)
    assert english.format_date(now - datetime.timedelta(hours=2, minutes=5)) == "2 hours ago"
    assert english.format_date((now - datetime.timedelta(hours=1)).replace(tzinfo=None)) == "1 hour ago"
    assert english.format_date(now.timestamp() - 125) == "2 minutes ago"


@pytest.mark.parametrize(
    ("code", "midnight", "noon"),
    [
        ("en_US", "12:05 am", "12:05 pm"),
        ("en", "12:05 am", "12:05 pm"),
        ("zh_CN", "上午12:05", "下午12:05"),
        ("en_GB", "0:05", "12:05"),
        ("fr_FR", "0:05", "12:05"),
    ],
)
def test_times_of_day(code, midnight, noon):
    made = CSVLocale(code, {})
    for hour, expected in ((0, midnight), (12, noon)):
        date = datetime.datetime(2013, 4, 28, hour, 5)
        assert made.format_date(date, full_format=True) == f"April 28, 2013 at {expected}"


def test_lists(english):
    assert english.list([]) == ""
    assert english.list(["a"]) == "a"
    assert english.list(["a", "b"]) == "a and b"
    assert english.list(("a", "b", "c")) == "a, b and c"
    assert CSVLocale("fa_IR", {}).list(["a", "b", "c"]) == "a و b and c"
    german = CSVLocale("de_DE", {"unknown": {"%(commas)s and %(last)s": "%(commas)s und %(last)s"}})
    assert german.list(["a", "b"]) == "a und b"


def test_numbers(english):
    assert [english.friendly_number(n) for n in (0, 999, 1000, 1234567, -999, -1000)] == [
        "0",
        "999",
        "1,000",
        "1,234,567",
        "-999",
        "-1,000",
    ]
    assert CSVLocale("de_DE", {}).friendly_number(1234567) == "1234567"
    assert CSVLocale("en", {}).friendly_number(1234567) == "1,234,567"
