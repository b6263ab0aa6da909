from typing import Any

import pytest

from webfw import locale
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.web.language import Language, preferred_languages


def handler(field: str | None = None, kind: type[Language] = Language) -> Language:
    one = kind()
    headers = HTTPHeaders({"Host": "h"} if field is None else {"Host": "h", "Accept-Language": field})
    one.request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)
    return one


@pytest.mark.parametrize(
    ("field", "codes"),
    [
        ("", []),
        ("fr", ["fr"]),
        ("de, fr-CA", ["de", "fr-CA"]),
        ("fr;q=0.5, es;q=0.9", ["es", "fr"]),
        ("de ; q = 0.8 , fr ; Q=0.9,", ["fr", "de"]),
        ("xx;q=0, yy;q=0.000, de;q=0.1", ["de"]),
        ("a;q=bad, b;q=, c;q=2, d;q=-1, e;q=nan, f;q=inf, g;q=1e-1, h;q=1.000, i;q=1.", ["h", "i"]),
        ("pt-br;level=1;q=0.2,zh-CN;q=0.3", ["zh-CN", "pt-br"]),
        (";q=1,,;", []),
    ],
)
def test_preferred_languages(field: str, codes: list[str]) -> None:
    assert preferred_languages(field) == codes


def test_as_many_languages_as_anybody_speaks() -> None:
    assert len(preferred_languages("a," * 30000)) == 50


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []

    def get(*codes: str) -> Any:
        calls.append(codes)
        return f"locale of {codes[0]}"

    monkeypatch.setattr(locale, "get", get)
    return calls


def test_browser_locale(asked: list[tuple[str, ...]]) -> None:
    one = handler("fr;q=0.5, de")
    assert [one.locale, one.locale] == ["locale of de"] * 2
    assert asked == [("de", "fr")]
    handler().get_browser_locale()
    handler("de;q=0").get_browser_locale("fr_FR")
    assert asked[1:] == [("en_US",), ("fr_FR",)]


def test_user_locale_is_stronger(asked: list[tuple[str, ...]]) -> None:
    class Own(Language):
        def get_user_locale(self) -> Any:
            return "own"

    one = handler("de", Own)
    assert one.locale == "own"  # type: ignore[comparison-overlap]
    assert asked == []
    one.locale = "other"  # type: ignore[assignment]
    assert one.locale == "other"  # type: ignore[comparison-overlap]


def test_real_locale() -> None:
    assert handler("en-US").locale.code == "en_US"
