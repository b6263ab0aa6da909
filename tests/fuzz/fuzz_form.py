"""Whatever comes as a query or an urlencoded body, it becomes arguments, those that urllib reads, or raises ValueError.

And: ValueError is for too many arguments only; whatever is encoded comes back.
"""

from urllib.parse import parse_qsl, quote_plus, urlencode

from webfw.escape import parse_qs_bytes
from webfw.httputil import HTTPInputError, parse_body_arguments
from webfw.httputil.forms import ParseBodyConfig, ParseUrlEncodedConfig, parse_query

TOKENS = [
    *(
        b"&",
        b"=",
        b"+",
        b"%",
        b"%20",
        b"%2",
        b"%zz",
        b"%00",
        b"%ff",
        b"%26",
        b"%3D",
        b"%C3%A9",
        b";",
        b"&&",
        b"=&",
        b"&=",
    ),
    *(
        b"a=b",
        b"a=",
        b"a",
        b"=b",
        b"a=b=c",
        b"\x00",
        b"\x80",
        b"\xff",
        b"\xc3\xa9",
        b" ",
        b"\r\n",
        b"#",
        b"?",
        b"a[]=1",
    ),
    *(b"a=1&a=2", b"%25", b"%2525", b"&" * 40, b"a=b&" * 20),
]
FEW = ParseBodyConfig(urlencoded=ParseUrlEncodedConfig(max_arguments=10))
FORM = "application/x-www-form-urlencoded"


def pairs_of(found: dict[str, list[bytes]]) -> list[tuple[str, bytes]]:
    return [(name, value) for name, values in found.items() for value in values]


def check(data: bytes, cuts: list[int]) -> str:
    found = parse_qs_bytes(data, keep_blank_values=True)
    # urllib leaves out what has neither a name nor an equals sign, and so do we.
    expected: dict[str, list[bytes]] = {}
    for name, value in parse_qsl(
        data.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=None
    ):
        expected.setdefault(name, []).append(value.encode("latin-1"))
    assert found == expected
    assert parse_qs_bytes(data.decode("latin-1"), keep_blank_values=True) == found
    full = {name: [value for value in values if value] for name, values in found.items()}
    assert parse_qs_bytes(data) == {name: values for name, values in full.items() if values}
    assert sum(len(name) + len(value) for name, value in pairs_of(found)) <= len(data)
    again = urlencode(pairs_of(found), encoding="latin-1")
    assert parse_qs_bytes(again, keep_blank_values=True) == found
    assert parse_qs_bytes(b"x=" + quote_plus(data).encode()) == ({"x": [data]} if data else {})
    arguments: dict[str, list[bytes]] = {}
    try:
        parse_body_arguments(FORM, data, arguments, {}, config=FEW)
    except HTTPInputError:
        assert data.count(b"&") >= 10
        assert not arguments
        return "too many"
    assert arguments == found == parse_query(data, FEW)
    assert len(pairs_of(found)) <= 10
    return f"{min(2, len(found))} names"
