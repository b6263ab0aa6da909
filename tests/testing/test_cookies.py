"""The cookies of a test client, by RFC 6265."""

import time

import pytest

from webfw.testing.cookies import Cookies


@pytest.fixture
def jar() -> Cookies:
    return Cookies()


def test_a_mapping(jar: Cookies) -> None:
    jar["a"] = "1"
    jar["b"] = b"2|signed"
    assert dict(jar) == {"a": "1", "b": "2|signed"}
    assert len(jar) == 2
    assert "a" in jar
    assert repr(jar) == "<Cookies {'a': '1', 'b': '2|signed'}>"
    del jar["a"]
    assert list(jar) == ["b"]
    for name in ("a", "c"):
        with pytest.raises(KeyError):
            del jar[name]
        with pytest.raises(KeyError):
            jar[name]


def test_values_travel_as_they_came(jar: Cookies) -> None:
    jar.take(['a="x y"', "b=plain"], "/")
    assert dict(jar) == {"a": "x y", "b": "plain"}
    assert jar.header("/", False) == 'a="x y"; b=plain'
    jar["c"] = 'a"b'
    assert jar["c"] == 'a"b'


def test_nothing_to_send(jar: Cookies) -> None:
    assert jar.header("/", False) is None


def test_what_is_no_cookie(jar: Cookies) -> None:
    jar.take(["", "name", "=value", ";Path=/"], "/")
    assert dict(jar) == {}


def test_paths(jar: Cookies) -> None:
    jar.take(["a=root; Path=/", "a=deep; Path=/x", "b=here", "c=odd; path=relative"], "/x/y")
    assert jar.header("/", False) == "a=root"
    assert jar.header("/x", False) == "a=deep; b=here; c=odd; a=root"
    assert jar.header("/x/z", False) == "a=deep; b=here; c=odd; a=root"
    assert jar.header("/xy", False) == "a=root"
    del jar["a"]
    assert jar.header("/x", False) == "b=here; c=odd"


def test_secure(jar: Cookies) -> None:
    jar.take(["a=1; Secure", "b=2"], "/")
    assert jar.header("/", False) == "b=2"
    assert jar.header("/", True) == "a=1; b=2"


def test_replaced_and_deleted(jar: Cookies) -> None:
    jar.take(["a=1; Path=/"], "/")
    jar.take(["a=2; Path=/"], "/")
    assert jar["a"] == "2"
    jar.take(["a=; Path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT"], "/")
    assert "a" not in jar
    jar.take(["b=1"], "/")
    jar.take(["b=1; Max-Age=0; Expires=Fri, 31 Dec 9999 23:59:59 GMT"], "/")
    assert "b" not in jar


def test_expiry(jar: Cookies, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    jar.take(["a=1; Max-Age=60", "b=2; Max-Age=soon", "c=3; Expires=never"], "/")
    monkeypatch.setattr("time.time", lambda: now + 59)
    assert set(jar) == {"a", "b", "c"}
    monkeypatch.setattr("time.time", lambda: now + 62)
    assert set(jar) == {"b", "c"}
