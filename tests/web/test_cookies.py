import datetime
import re
from http.cookies import CookieError
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine, format_timestamp
from webfw.web.cookies import Cookies
from webfw.web.signing import create_signed_value


def handler(cookie: str = "", **settings: Any) -> Cookies:
    one = Cookies()
    headers = HTTPHeaders({"Host": "h", "Cookie": cookie} if cookie else {"Host": "h"})
    one.request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)
    one.application = SimpleNamespace(settings=settings)  # type: ignore[assignment]
    return one


def sent(one: Cookies) -> list[str]:
    return [] if one._new_cookie is None else [morsel.OutputString() for morsel in one._new_cookie.values()]


def made(*args: Any, **kwargs: Any) -> str:
    one = handler()
    one.set_cookie(*args, **kwargs)
    (line,) = sent(one)
    return line


# --- those of the request ---


def test_get() -> None:
    one = handler('a="q\\"x"; b=2; a=3; bad name=1; sp=x%20y')
    assert one.get_cookie("a") == "3"
    assert one.get_cookie("sp") == "x%20y"
    assert one.get_cookie("none") is None
    assert one.get_cookie("none", "d") == "d"
    assert {name: morsel.value for name, morsel in one.cookies.items()} == {"a": "3", "b": "2", "sp": "x%20y"}
    assert one.cookies is one.request.cookies


# --- those of the response ---


@pytest.mark.parametrize(
    ("args", "kwargs", "line"),
    [
        (("n", "v"), {}, "n=v; Path=/"),
        ((b"n", b"v"), {}, "n=v; Path=/"),
        (("n", 'a;,"b\\'), {}, 'n="a\\073\\054\\"b\\\\"; Path=/'),
        (("n", "é"), {}, 'n="\\351"; Path=/'),
        (("n", ""), {}, 'n=""; Path=/'),
        (("n", "v", "d", None, "/p"), {}, "n=v; Domain=d; Path=/p"),
        (("n", "v"), {"path": None}, "n=v"),
        (("n", "v"), {"path": "", "domain": ""}, "n=v"),
        (("n", "v"), {"path": "/é"}, "n=v; Path=/é"),
        (("n", "v"), {"samesite": "Lax"}, "n=v; Path=/; SameSite=Lax"),
        (("n", "v"), {"secure": True, "httponly": True}, "n=v; HttpOnly; Path=/; Secure"),
        (("n", "v"), {"secure": False, "httponly": False}, "n=v; Path=/"),
        (("n", "v"), {"httponly": "yes;x"}, "n=v; HttpOnly; Path=/"),
        (("n", "v"), {"max_age": 5}, "n=v; Max-Age=5; Path=/"),
        (("n", "v"), {"max_age": 0}, "n=v; Max-Age=0; Path=/"),
        (("n", "v"), {"max_age": "7"}, "n=v; Max-Age=7; Path=/"),
        (("n", "v"), {"expires": 1300000000}, "n=v; expires=Sun, 13 Mar 2011 07:06:40 GMT; Path=/"),
        (("n", "v"), {"expires": 0}, "n=v; expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"),
        (
            ("n", "v"),
            {"expires": (2020, 1, 2, 3, 4, 5, 0, 0, 0)},
            "n=v; expires=Thu, 02 Jan 2020 03:04:05 GMT; Path=/",
        ),
        (
            ("n", "v"),
            {"expires": datetime.datetime(2020, 1, 2, 3, 4, 5), "expires_days": 3},
            "n=v; expires=Thu, 02 Jan 2020 03:04:05 GMT; Path=/",
        ),
        (("n", "v"), {"comment": "x"}, "n=v; Comment=x; Path=/"),
        (("a:b", "v"), {}, "a:b=v; Path=/"),
    ],
)
def test_set(args: Any, kwargs: Any, line: str) -> None:
    assert made(*args, **kwargs) == line


def test_expires_days() -> None:
    earliest = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1.5)
    match = re.fullmatch(r"n=v; expires=(.*); Path=/", made("n", "v", expires_days=1.5))
    assert match
    assert match[1] in (
        format_timestamp(earliest),
        format_timestamp(earliest + datetime.timedelta(seconds=1)),
    )


def test_set_twice() -> None:
    one = handler()
    one.set_cookie("n", "a", httponly=True)
    one.set_cookie("m", "b")
    one.set_cookie("n", "c")
    assert sorted(sent(one)) == ["m=b; Path=/", "n=c; Path=/"]


@pytest.mark.parametrize("character", [chr(n) for n in (*range(33), 127)] + ["日", "\udc80"])
def test_no_character_can_end_a_cookie(character: str) -> None:
    with pytest.raises(ValueError, match="Invalid cookie 'n'"):
        made("n", f"v{character}v")
    for name in ("path", "domain", "samesite", "comment"):
        with pytest.raises(CookieError, match=f"Invalid cookie attribute {name}="):
            made("n", "v", **{name: f"/{character}x"})
    with pytest.raises(CookieError, match="Invalid cookie attribute name="):
        made(f"n{character}", "v")


@pytest.mark.parametrize("name", ["path", "domain", "samesite"])
def test_no_attribute_brings_another(name: str) -> None:
    with pytest.raises(CookieError, match="Invalid cookie attribute"):
        made("n", "v", **{name: "x; Secure"})


@pytest.mark.parametrize("value", ["5; Secure", "5\r\nX: y", "abc", datetime.timedelta(1)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_max_age_is_a_number(value: Any) -> None:
    for name in ("max_age", "Max-Age", "max-age"):
        with pytest.raises(ValueError, match="max_age is a number of seconds"):
            made("n", "v", **{name: value})


@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        (("", "v"), {}, CookieError),
        (("n=", "v"), {}, CookieError),
        (("n;", "v"), {}, CookieError),
        (("é", "v"), {}, CookieError),
        (("expires", "v"), {}, CookieError),
        (("n", 5), {}, TypeError),
        (("n", None), {}, TypeError),
        (("n", "v"), {"foo": 1}, CookieError),
        (("n", "v"), {"expires": "Wed"}, TypeError),
        (("n", "v"), {"Expires": "x; y"}, TypeError),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_cookie(args: Any, kwargs: Any, error: type[Exception]) -> None:
    one = handler()
    with pytest.raises(error):
        one.set_cookie(*args, **kwargs)
    assert sent(one) == []


def test_old_spelling_of_attributes() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"Deprecated arguments to set_cookie: HttpOnly, Max-Age, SameSite \("
    ) as caught:
        line = made("n", "v", HttpOnly=True, SameSite="Strict", **{"Max-Age": 5})
    assert line == "n=v; HttpOnly; Max-Age=5; Path=/; SameSite=Strict"
    assert caught[0].filename == __file__


def test_clear() -> None:
    one = handler("a=1; b=2")
    one.clear_cookie("n", path="/x", domain="d", secure=True)
    (line,) = sent(one)
    match = re.fullmatch(r'n=""; Domain=d; expires=(.*); Path=/x; Secure', line)
    assert match
    assert int(match[1].split()[3]) < datetime.datetime.now(datetime.UTC).year + 1
    for unfit in ("expires", "max_age"):
        with pytest.raises(TypeError, match=f"clear_cookie.. got an unexpected keyword argument '{unfit}'"):
            one.clear_cookie("n", **{unfit: 5})


def test_clear_all() -> None:
    one = handler("a=1; b=2; bad[name]=3")
    one.clear_all_cookies(path="/z")
    assert [re.sub("expires=.*GMT", "past", line) for line in sent(one)] == [
        'a=""; past; Path=/z',
        'b=""; past; Path=/z',
    ]


# --- signed ones ---


def test_signed() -> None:
    one = handler(cookie_secret="s")
    one.set_signed_cookie("n", "v", httponly=True)
    (line,) = sent(one)
    match = re.fullmatch(r'n="(2\|1:0\|.*)"; expires=.*; HttpOnly; Path=/', line)
    assert match
    back = handler(f'n="{match[1]}"', cookie_secret="s")
    assert back.get_signed_cookie("n") == b"v"
    assert back.get_signed_cookie("n", max_age_days=-1) is None
    assert back.get_signed_cookie("m") is None
    assert back.get_signed_cookie_key_version("n") == 0
    assert back.get_signed_cookie_key_version("m") is None


def test_signed_for_the_session_and_in_version_1() -> None:
    one = handler(cookie_secret="s")
    one.set_signed_cookie("n", "v", expires_days=None, version=1)
    (line,) = sent(one)
    match = re.fullmatch(r'n="(dg==\|[0-9]+\|[0-9a-f]{40})"; Path=/', line)
    assert match
    assert one.get_signed_cookie("n", match[1]) == b"v"
    assert one.get_signed_cookie("n", match[1], min_version=2) is None


def test_signed_with_one_of_several_keys() -> None:
    one = handler(cookie_secret={1: "a", 2: "b"}, key_version=2)
    value = one.create_signed_value("n", "v").decode()
    assert one.get_signed_cookie("n", value) == b"v"
    assert one.get_signed_cookie_key_version("n", value) == 2
    old = create_signed_value({1: "a"}, "n", "w", key_version=1).decode()
    assert one.get_signed_cookie("n", old) == b"w"
    with pytest.raises(Exception, match="key_version setting must be used for secret_key dicts"):
        handler(cookie_secret={1: "a"}).create_signed_value("n", "v")


def test_old_names() -> None:
    assert Cookies.set_secure_cookie is Cookies.set_signed_cookie
    assert Cookies.get_secure_cookie is Cookies.get_signed_cookie
    assert Cookies.get_secure_cookie_key_version is Cookies.get_signed_cookie_key_version


@pytest.mark.parametrize(
    "use",
    [
        lambda one: one.create_signed_value("n", "v"),
        lambda one: one.get_signed_cookie("n"),
        lambda one: one.get_signed_cookie_key_version("n"),
    ],
)
def test_secret_is_required(use: Any) -> None:
    with pytest.raises(
        Exception, match="You must define the 'cookie_secret' setting in your application to use secure"
    ):
        use(handler())


def test_require_setting() -> None:
    with pytest.raises(Exception, match="define the 'x' setting in your application to use this feature"):
        handler(x="").require_setting("x")
    handler(x=1).require_setting("x")
