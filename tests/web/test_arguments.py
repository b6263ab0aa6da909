import pytest

from webfw.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine
from webfw.web.arguments import Arguments
from webfw.web.errors import HTTPError, MissingArgumentError


def handler(query: str = "", body: str = "", kind: type[Arguments] = Arguments) -> Arguments:
    one = kind()
    headers = HTTPHeaders({"Host": "h", "Content-Type": "application/x-www-form-urlencoded"})
    one.request = HTTPServerRequest(
        start_line=RequestStartLine("POST", "/?" + query, "HTTP/1.1"), headers=headers, body=body.encode()
    )
    return one


def test_where_they_come_from() -> None:
    one = handler("a=1&a=3&q=x", "a=2&b=y")
    assert one.get_argument("a") == "2"
    assert one.get_arguments("a") == ["1", "3", "2"]
    assert one.get_query_argument("a") == "3"
    assert one.get_query_arguments("a") == ["1", "3"]
    assert one.get_body_argument("a") == "2"
    assert one.get_body_arguments("a") == ["2"]
    assert one.get_query_argument("b", "d") == "d"
    assert one.get_body_argument("q", None) is None
    assert one.get_body_arguments("q") == []
    assert one.get_arguments("none") == []


@pytest.mark.parametrize(
    "method", ["get_argument", "get_query_argument", "get_body_argument", "get_int", "get_bool"]
)
def test_missing(method: str) -> None:
    with pytest.raises(MissingArgumentError, match="Missing argument foo") as caught:
        getattr(handler(), method)("foo")
    assert caught.value.status_code == 400
    assert caught.value.arg_name == "foo"
    assert getattr(handler(), method)("foo", None) is None


def test_default_shows_what_it_is() -> None:
    defaults = Arguments.get_argument.__defaults__
    assert defaults is not None
    assert repr(defaults[0]) == "<required>"


def test_control_characters_become_spaces_and_the_ends_are_stripped() -> None:
    controls = "".join(f"x%{number:02x}" for number in (*range(32), 127))
    text = handler("a=" + controls).get_argument("a")
    assert text == "x " * 9 + "x\tx\nx\x0bx\x0cx\r" + "x " * 18 + "x\x7f"
    one = handler("a=%00%20%01x%02%0a&b=%c2%85%c2%9f+")
    assert one.get_argument("a") == "x"
    assert one.get_argument("a", strip=False) == "   x \n"
    assert one.get_argument("b") == "\x9f"
    assert one.get_query_arguments("b", strip=False) == ["\x85\x9f "]


def test_invalid_unicode() -> None:
    one = handler("a=%ff&a=1")
    with pytest.raises(HTTPError, match=r"Invalid unicode in a: b'\\xff'") as caught:
        one.get_argument("a")
    assert caught.value.status_code == 400
    with pytest.raises(HTTPError, match="Invalid unicode in url: b'x" + "x" * 20):
        one.decode_argument(b"x" * 1000 + b"\xff")


def test_decoding_of_text() -> None:
    assert handler().decode_argument("\u00e4") == "\u00e4"  # type: ignore[arg-type]  # a program may call it so


def test_malformed_form_is_the_clients_fault() -> None:
    one = handler(body="a=" + "1&a=" * 5000)
    with pytest.raises(HTTPInputError):
        one.get_argument("a")


def test_own_decoding() -> None:
    class Latin(Arguments):
        def decode_argument(self, value: bytes, name: str | None = None) -> str:
            return value.decode("latin-1") if name == "a" else value  # type: ignore[return-value]

    one = handler("a=%ff&b=%ff", kind=Latin)
    assert one.get_argument("a") == "ÿ"
    assert one.get_argument("b") == b"\xff"


# --- numbers ---


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("-12", -12), ("%2B7", 7), ("007", 7), (" 8 ", 8), ("9" * 100, 10**100 - 1)],
)
def test_int(text: str, number: int) -> None:
    assert handler(f"n={text}").get_int("n") == number


@pytest.mark.parametrize("text", ["", "x", "1.0", "1_0", "--1", "1e3", "9" * 101, "%D9%A1", "0x1"])
def test_no_int(text: str) -> None:
    with pytest.raises(HTTPError, match="Argument n is no whole number") as caught:
        handler(f"n={text}").get_int("n", 0)
    assert caught.value.status_code == 400
    assert len(caught.value.get_message() or "") < 100


def test_range() -> None:
    one = handler("n=5&f=1.5")
    assert one.get_int("n", minimum=5, maximum=5) == 5
    assert one.get_int("none", 0, minimum=5) == 0
    assert one.get_float("f", minimum=1) == 1.5
    with pytest.raises(HTTPError, match=r"Argument n is out of its range 6\.\.: 5"):
        one.get_int("n", minimum=6)
    with pytest.raises(HTTPError, match=r"Argument n is out of its range 1\.\.4: 5"):
        one.get_int("n", minimum=1, maximum=4)
    with pytest.raises(HTTPError, match=r"range \.\.1: 1\.5"):
        one.get_float("f", maximum=1)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1.0), ("-1.5", -1.5), (".5", 0.5), ("5.", 5.0), ("2e3", 2000.0), ("1E-2", 0.01)],
)
def test_float(text: str, number: float) -> None:
    assert handler(f"n={text}").get_float("n") == number
    assert handler().get_float("n", None) is None


@pytest.mark.parametrize(
    "text", ["", ".", "x", "inf", "nan", "1e999", "-1e999", "1_0", "1e", "1" * 201, "e5"]
)
def test_no_float(text: str) -> None:
    with pytest.raises(HTTPError, match="Argument n is no number") as caught:
        handler(f"n={text}").get_float("n")
    assert caught.value.status_code == 400


def test_bool() -> None:
    for text in ("1", "true", "YES", "on"):
        assert handler(f"b={text}").get_bool("b") is True
    for text in ("0", "False", "no", "off", ""):
        assert handler(f"b={text}").get_bool("b", True) is False
    with pytest.raises(HTTPError, match="Argument b is neither yes nor no: 'maybe'"):
        handler("b=maybe").get_bool("b")


def test_value_equal_to_the_default_is_still_checked() -> None:
    one = handler("n=x")
    with pytest.raises(HTTPError, match="no whole number"):
        one.get_int("n", one.get_argument("n"))
