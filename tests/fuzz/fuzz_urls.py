"""Whatever is given as a URL, Host or request target, it is taken apart or raises ValueError or RemoteProtocolError.

And: nothing that is taken apart can break a request (no space or control character, a host that another reader of URLs
sees as well); joining and taking apart again changes nothing.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

from urllib.parse import parse_qsl, urlsplit

from webfw.httpclient.origin import Place, shown
from webfw.httputil import split_host_and_port, url_concat
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, origin_form, parse_head
from webfw.sansio.http1.encode import encode_request_head
from webfw.sansio.http1.grammar import is_host
from webfw.sansio.http1.target import authority_of

TOKENS = [
    *(
        b"http://",
        b"https://",
        b"HTTP://",
        b"http+unix://",
        b"ftp://",
        b"//",
        b"/",
        b"?",
        b"#",
        b"@",
        b":",
        b"::",
        b"[",
        b"]",
    ),
    *(
        b"[::1]",
        b"[fe80::1%25eth0]",
        b"[v1.a]",
        b"a:b@",
        b"user:p@ss@",
        b"localhost",
        b"a.b",
        b"127.0.0.1",
        b"0x7f.1",
        b":80",
    ),
    *(
        b":0",
        b":65536",
        b":00080",
        b":99999999999999999999",
        b"%2f",
        b"%00",
        b"%",
        b"%zz",
        b"\\",
        b" ",
        b"\t",
        b"\r\n",
        b"\x00",
    ),
    *(
        b"\xc3\xa9",
        b"xn--e1afmkfd",
        b"\xef\xbc\x8f",
        b"\xe3\x80\x82",
        b"\xc2\xad",
        b"\xf0\x9f\x98\x80",
        b"..",
        b".",
        b"-",
        b"_",
    ),
    *(
        b"a" * 64,
        b"a." * 130,
        b"*",
        b"a=b&c=d",
        b"&",
        b"=",
        b"+",
        b";",
        b"<",
        b'"',
        b"^",
        b"|",
        b"{",
        b"\xef\xbc\xa0",
    ),
]


def place(url: str) -> str:
    try:
        found = Place.of(url)
    except ValueError as error:
        assert not isinstance(error, UnicodeError), error
        assert str(error).isprintable()
        assert len(str(error)) < 1200
        return "refused"
    assert found.host
    assert found.target.startswith("/")
    assert 0 <= found.port <= 65535
    # What is sent for it is a request that we, as a server, read in the same way.
    head = encode_request_head("GET", found.target, [("Host", found.authority)])
    if is_host(found.authority) and "#" not in found.target:
        parsed = parse_head(head, 0, 0, HeadLimits(max_target=1 << 17, max_header_size=1 << 18))
        assert parsed is not None
        assert (parsed.host, parsed.target) == (found.authority, found.target)
    if found.unix_path is None:
        scheme = "https" if found.secure else "http"
        again = Place.of(f"{scheme}://{found.authority}{found.target}")
        assert again.authority == found.authority
        assert again.port == found.port
        assert again.target == found.target
        assert again.host == found.host.partition("%")[0] if ":" in found.host else again.host == found.host
        assert found.same_origin(found)
    assert found.name
    return "taken apart"


def secrets(url: str) -> None:
    text = shown(url)
    assert len(text) < 1000
    assert text.isprintable()


def authorities(text: str) -> None:
    host, port = split_host_and_port(text)
    assert host == text if port is None else text.startswith(f"{host}:")
    assert port is None or 0 <= port < 10**10
    if is_host(text) and text[:2] != "[V":  # which urllib does not know for a "v"
        parts = urlsplit(f"http://{text}/")
        assert parts.hostname
        assert parts.username is None
        assert parts.path == "/"
        assert parts.port is None or 0 <= parts.port <= 65535
        assert text.isascii()
        assert not set(text) & set(" \t\r\n\0/?#@\\")


def targets(text: str) -> None:
    if not text or not text.isascii() or not text.isprintable() or set(text) & {" ", "#"}:
        return  # the grammar of heads lets no such thing come here
    for method in ("GET", "OPTIONS", "CONNECT"):
        try:
            authority = authority_of(method, text)
        except RemoteProtocolError as error:
            assert error.status == 400
            assert str(error).isprintable()
            continue
        assert authority == "" or is_host(authority)
        assert authority in text
        if method != "CONNECT":
            origin = origin_form(text)
            assert origin == "*" if text == "*" else origin[0] == "/"
            assert origin_form(origin) == origin
            assert text.endswith((origin, origin[1:]))


def concat(url: str) -> None:
    joined = url_concat(url, [("k", url), ("k", "")])
    before, mark, fragment = url.partition("#")
    assert joined.endswith(mark + fragment)
    assert joined.startswith(before.partition("?")[0] + "?")
    query = joined.partition("#")[0].partition("?")[2]
    assert parse_qsl(query, keep_blank_values=True)[-2:] == [("k", url), ("k", "")]
    assert url_concat(url, None) == url


def check(data: bytes, cuts: list[int]) -> str:
    text = data.decode("utf-8", "replace")
    secrets(text)
    authorities(text)
    targets(text)
    concat(text)
    place("http://" + text)
    return place(text)
