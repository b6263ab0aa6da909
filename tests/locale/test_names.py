import pytest

from webfw.locale import LOCALE_NAMES
from webfw.locale.names import native_name


def test_table():
    assert len(LOCALE_NAMES) >= 62
    for code, entry in LOCALE_NAMES.items():
        language, _, region = code.partition("_")
        assert language.islower()
        assert region
        assert set(entry) == {"name_en", "name"}
        assert all(name and name == name.strip() and "|" not in name for name in entry.values()), code
        assert entry["name_en"].isascii()
    assert LOCALE_NAMES["en_US"] == {"name_en": "English (US)", "name": "English (US)"}
    assert LOCALE_NAMES["fa_IR"] == {"name_en": "Persian", "name": "فارسی"}
    assert len({entry["name_en"] for entry in LOCALE_NAMES.values()}) == len(LOCALE_NAMES)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("pt_BR", "Português (Brasil)"),
        ("pt", "Português"),
        ("fr", "Français"),
        ("xx", "Unknown"),
        ("xx_XX", "Unknown"),
    ],
)
def test_native_name(code, name):
    assert native_name(code) == name
