"""Field values with parameters: quoting, extended values, and whatever else arrives."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.parameters import encode_parameters, parse_parameters, split_parameters


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ("", {})),
        ("text/html", ("text/html", {})),
        ("text/html; charset=utf-8", ("text/html", {"charset": "utf-8"})),
        ('form-data; name="a"; filename="b"', ("form-data", {"name": "a", "filename": "b"})),
        ("x;a=1;A=2", ("x", {"a": "2"})),
        ("x; a", ("x", {})),
        ("x; a=", ("x", {"a": ""})),
        ('x; a=""', ("x", {"a": ""})),
        ("x; =b", ("x", {"": "b"})),
        ("x;; ;a=b;", ("x", {"a": "b"})),
        ("x ; a \t= \tb c ", ("x", {"a": "b c"})),
        ('x; a="b;c"; d="e\\"f"', ("x", {"a": "b;c", "d": 'e"f'})),
        ('x; a="\\\\"', ("x", {"a": "\\"})),
        ('x; a="un', ("x", {"a": '"un'})),
        ('x; a="un; b=c', ("x", {"a": '"un', "b": "c"})),
        ('x; a="b"c; d=e', ("x", {"a": '"b"c', "d": "e"})),
        ('x; a="b" ; d=e', ("x", {"a": "b", "d": "e"})),
        ('x; a"b=c; d=e', ("x", {"d": "e"})),
        # What old browsers send for a path: only \\ and \" are escapes.
        ('form-data; filename="C:\\foo\\bar.txt"', ("form-data", {"filename": "C:\\foo\\bar.txt"})),
    ],
)
def test_parameters(line: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_parameters(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x; a*=UTF-8''%e2%82%ac.txt", {"a": "\u20ac.txt"}),
        ("x; a*=iso-8859-1'en'%A3", {"a": "\xa3"}),
        ("x; a=plain; a*=UTF-8''ext", {"a": "ext"}),
        ("x; a*=UTF-8''ext; a=plain", {"a": "ext"}),
        ("x; a*=bogus''%e9", {"a": "\xe9"}),
        ("x; a*=idna''xn--", {"a": "xn--"}),
        ("x; a*=utf-8''%ff", {"a": "\ufffd"}),
        ("x; a*=us-ascii''%ff", {"a": "\ufffd"}),
        ("x; a*=nothing", {"a": "nothing"}),
        ("x; a*=one'quote", {"a": "one'quote"}),
        ("x; a*=''", {"a": ""}),
        ("x; *=b", {"*": "b"}),
        ("x; a*0=x; a*1=y", {"a": "xy"}),
        ("x; a*1=y; a*0=x", {"a": "xy"}),
        ("x; a*0*=UTF-8''%20; a*1=\"z\"", {"a": " z"}),
        ("x; a*0*=UTF-8''%e2%82; a*1*=%ac; a*2=\u20ac", {"a": "\u20ac\u20ac"}),
        ("x; a*0*=nothing; a*1=y", {"a": "nothingy"}),
        ("x; a*=iso-8859-1''\xe9%e9", {"a": "\xe9\xe9"}),  # what should have been encoded stands for itself
        ("x; a*=UTF-8''\xe9%c3%a9", {"a": "\xe9\xe9"}),
        ("x; a*=UTF-8''\ud800", {"a": "?"}),
        ("x; a*0*=\xe9; a*1=\xe9", {"a": "\xe9\xe9"}),
        ("x; a*0=x; a*2=z", {"a": "x"}),
        ("x; a*1=y", {}),
        ("x; a*99999=y", {"a*99999": "y"}),
    ],
)
def test_extended_parameters(line: str, expected: dict[str, str]) -> None:
    """RFC 2231 and RFC 8187."""
    assert parse_parameters(line) == ("x", expected)


def test_split_keeps_order_and_what_has_no_value() -> None:
    assert split_parameters("permessage-deflate; a; b=10; A=x") == (
        "permessage-deflate",
        [("a", None), ("b", "10"), ("a", "x")],
    )


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({}, "x"), ({"b": 1, "a": "2"}, "x; a=2; b=1"), ({"a": 15, "b": None}, "x; a=15; b")],
)
def test_encode(parameters: dict[str, object], expected: str) -> None:
    assert encode_parameters("x", parameters) == expected


@given(st.text())
def test_never_fails(line: str) -> None:
    value, parameters = parse_parameters(line)
    assert isinstance(value, str)
    assert all(isinstance(text, str) for text in parameters.values())


@given(st.text(alphabet="a\"\\;=* '0%", max_size=60))
def test_never_fails_on_its_own_characters(line: str) -> None:
    parse_parameters("x;" + line)


@given(st.text(), st.text())
def test_quoted_strings_round_trip(one: str, two: str) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert parse_parameters(f"x; a={quote(one)}; b={quote(two)}") == ("x", {"a": one, "b": two})


@pytest.mark.parametrize(
    "unit", ['"', ';a="', ';a="\\"', ";", ";a*0=b", "\\", ';a="b"', "=", ";a*1*='", "; ", '" ', '";"']
)
def test_time_is_linear(unit: str) -> None:
    def cost(count: int) -> float:
        line = "x;a=" + unit * count
        best = 9.0
        for _ in range(3):
            begin = time.process_time()
            parse_parameters(line)
            best = min(best, time.process_time() - begin)
        return best

    # Sixteen times the input: sixteen times the time, with room for noise; quadratic would be 256 times.
    assert cost(32_000) < 80 * max(cost(2_000), 1e-4)
