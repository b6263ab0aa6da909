import codecs
import gettext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.locale import (
    get_supported_locales,
    load_gettext_translations,
    load_translations,
    set_default_locale,
)
from webfw.locale.catalog import _State, closest_code, state


@pytest.fixture(autouse=True)
def _fresh_state():
    saved = dict(vars(state))
    vars(state).update(vars(_State(generation=state.generation + 1)))
    yield
    vars(state).update(saved, generation=state.generation + 1)


@pytest.fixture
def load(tmp_path):
    def run(encoding: str | None = None, **files: str | bytes):
        for name, content in files.items():
            (tmp_path / f"{name}.csv").write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        load_translations(str(tmp_path), encoding)
        return state.translations

    return run


def test_nothing_loaded():
    assert get_supported_locales() == {"en_US"}
    assert closest_code(("fr", "en")) == "en_US"


def test_csv(load, tmp_path):
    (tmp_path / "notes.txt").write_text("not a translation")
    translations = load(
        fr_FR=(
            '"school","école"\n"%(n)d apple","une pomme","singular"\n"%(n)d apples","%(n)d pommes","plural"\n'
            '" sp "," trim "\n#comment,x\n\n"one cell"\n"empty form","x",""\n"multi\nline","deux\nlignes"\n'
        ),
        es='"school","escuela"',
    )
    assert translations["fr_FR"] == {
        "unknown": {"school": "école", "sp": "trim", "empty form": "x", "multi\nline": "deux\nlignes"},
        "singular": {"%(n)d apple": "une pomme"},
        "plural": {"%(n)d apples": "%(n)d pommes"},
    }
    assert get_supported_locales() == {"fr_FR", "es", "en_US"}


@pytest.mark.parametrize(
    "data",
    [
        "\ufeff'a','é'".encode(),
        codecs.BOM_UTF16_LE + "'a','é'".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "'a','é'".encode("utf-16-be"),
        "'a','é'".encode(),
    ],
    ids=["utf-8 with mark", "utf-16 little", "utf-16 big", "utf-8"],
)
def test_csv_encodings(load, data):
    quote = data.replace(b"'", b'"')
    assert load(fr=quote)["fr"] == {"unknown": {"a": "é"}}


def test_csv_other_encodings(load):
    data = '"a","é"'.encode("latin-1")
    with pytest.raises(UnicodeDecodeError):
        load(fr=data)
    assert load("latin-1", fr=data)["fr"] == {"unknown": {"a": "é"}}


def test_csv_bad_names_and_forms(load, expect_log):
    with (
        expect_log("webfw.general", "Unrecognized locale '(EN|bad-name|zh_hant_TW|fr_fr)'", count=4),
        expect_log(
            "webfw.general",
            r"Unrecognized plural indicator 'dual' in .*fr\.csv line 2 \(locale fr\)",
            count=1,
        ),
    ):
        load(EN="", zh_hant_TW="", fr_fr="", fr='"a","b"\n"c","d","dual"', **{"bad-name": ""})
    assert get_supported_locales() == {"fr", "en_US"}
    assert state.translations["fr"] == {"unknown": {"a": "b"}}


def test_csv_missing_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_translations(str(tmp_path / "missing"))


def test_loading_replaces(load, tmp_path):
    load(fr="", de="")
    generation = state.generation
    (tmp_path / "de.csv").unlink()
    load(fr="")
    assert get_supported_locales() == {"fr", "en_US"}
    assert state.generation > generation


def test_default_locale(load):
    load(fr="", de="")
    set_default_locale("de")
    assert get_supported_locales() == {"fr", "de"}
    assert closest_code(("xx",)) == "de"
    set_default_locale("pt_BR")
    assert get_supported_locales() == {"fr", "de", "pt_BR"}


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["fr_FR"], "fr_FR"),
        (["FR-fr"], "fr_FR"),
        (["fr"], "en_US"),
        (["pt_PT"], "pt"),
        (["pt-br"], "pt_BR"),
        (["zh-Hans-CN"], "zh_CN"),
        (["xx", "pt"], "pt"),
        ([None, "", "pt"], "pt"),
        (["en_GB"], "en_US"),
        ([], "en_US"),
        (["-", "_", "a-b-c-d"], "en_US"),
        (["pt" + "-x" * 100_000, "fr_FR"], "fr_FR"),
    ],
)
def test_closest_code(load, codes, expected):
    load(fr_FR="", pt="", pt_BR="", zh_CN="")
    assert closest_code(tuple(codes)) == expected


@given(st.lists(st.none() | st.text()))
def test_closest_code_always_finds_one(codes):
    assert closest_code(tuple(codes)) in get_supported_locales()


def compile_catalogue(messages: dict[str, str]) -> bytes:
    """Return a .mo file: the header, two tables of (length, offset), the texts (GNU gettext manual, 10.3)."""
    messages = {
        "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n>1;\n",
        **messages,
    }
    pairs = sorted((key.encode(), value.encode()) for key, value in messages.items())
    count = len(pairs)
    tables, texts = [b"", b""], b""
    start = 28 + 16 * count
    for column in (0, 1):
        for pair in pairs:
            tables[column] += len(pair[column]).to_bytes(4, "little") + (start + len(texts)).to_bytes(
                4, "little"
            )
            texts += pair[column] + b"\0"
    numbers = (0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    return b"".join(number.to_bytes(4, "little") for number in numbers) + tables[0] + tables[1] + texts


def test_gettext(tmp_path, expect_log):
    good = compile_catalogue({"school": "école"})
    for code, data in {"fr_FR": good, "de": good[:-20], "es": b"junk", "it": good[:10], "pt": None}.items():
        folder = tmp_path / code / "LC_MESSAGES"
        folder.mkdir(parents=True)
        if data is not None:
            (folder / "app.mo").write_bytes(data)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a file").touch()
    with expect_log("webfw.general", "Cannot load translation for '(es|it|de)'") as records:
        load_gettext_translations(str(tmp_path), "app")
    assert {record.args[0] for record in records} == {"de", "es", "it"}
    assert get_supported_locales() == {"fr_FR", "en_US"}
    translations = state.translations["fr_FR"]
    assert isinstance(translations, gettext.NullTranslations)
    assert translations.gettext("school") == "école"
    load_gettext_translations(str(tmp_path), "other")
    assert get_supported_locales() == {"en_US"}


def test_gettext_missing_directory(tmp_path, expect_log):
    with expect_log("webfw.general", "Cannot load translations: .*missing"):
        load_gettext_translations(str(tmp_path / "missing"), "app")
    assert get_supported_locales() == {"en_US"}
