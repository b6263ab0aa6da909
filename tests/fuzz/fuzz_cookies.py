"""Whatever stands in a Cookie field, it is read without failing; what http.cookies writes is read back.

And: what is read is no longer than the field; pairs stand for themselves, whatever stands beside them.
"""

from http.cookies import CookieError, SimpleCookie

from webfw.httputil import parse_cookie
from webfw.httputil.cookies import simple_cookie

TOKENS = [
    *(
        b";",
        b"; ",
        b"=",
        b'"',
        b"\\",
        b"\\054",
        b"\\400",
        b"\\\\",
        b'\\"',
        b" ",
        b"\t",
        b",",
        b"a=b",
        b'a="b"',
        b'a="',
        b"=b",
    ),
    *(
        b"$Version=1",
        b"a=b; a=c",
        b"expires=x",
        b"Path=/",
        b"\x00",
        b"\x80",
        b"\xff",
        b"\r\n",
        b"a" * 50,
        b'"' * 20,
        b"\\" * 20,
    ),
    *(b"__Host-a=b", b"%3B", b"session=2|1:0|10:1|1:a|4:YQ==|f00"),
]


def check(data: bytes, cuts: list[int]) -> str:
    field = data.decode("latin-1")
    found = parse_cookie(field)
    assert sum(len(name) + len(value) for name, value in found.items()) <= len(field)
    assert len(found) <= field.count(";") + 1
    for name in found:
        assert name == name.strip()
        assert ";" not in name
        assert "=" not in name
    # One pair after the other gives the same: none reaches into the next.
    one_by_one: dict[str, str] = {}
    for pair in field.split(";"):
        one_by_one.update(parse_cookie(pair))
    assert one_by_one == found
    assert parse_cookie(f"{field}; zz=1") == {**found, "zz": "1"}
    for name, morsel in simple_cookie(field).items():
        assert found[name] == morsel.value
    # A value that a server sets with the standard library comes back.
    jar = SimpleCookie()
    try:
        jar["name"] = field
    except CookieError:
        return "not settable"
    coded = jar["name"].coded_value
    # From 3.13 on (and in mended older versions) it writes what is beyond latin-1 and some controls as they are.
    assert parse_cookie(f"x=y; name={coded}; z=1")["name"] in (field, field.strip()), coded
    return f"{min(2, len(found))} cookies"
