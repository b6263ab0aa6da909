import html
import json
import re
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw import escape
from webfw.escape import (
    json_decode,
    json_encode,
    linkify,
    parse_qs_bytes,
    recursive_unicode,
    set_json_codec,
    squeeze,
    to_unicode,
    url_escape,
    url_unescape,
    utf8,
    xhtml_escape,
    xhtml_unescape,
)


def grows_linearly(call, text: str) -> bool:
    """Tell whether eight times the input takes less than 24 times the time; quadratic would be 64."""

    def cost(repeat: int) -> float:
        data = text * repeat
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            call(data)
            best = min(best, time.process_time() - start)
        return best

    small = max(1, 60_000 // len(text))
    return any(cost(small * 8) < 24 * cost(small) for _ in range(3))


# --- bytes and text ---


def test_utf8():
    assert utf8("é") == b"\xc3\xa9"
    assert utf8(b"\xff") == b"\xff"
    assert utf8(None) is None


def test_to_unicode():
    assert to_unicode(b"\xc3\xa9") == "é"
    assert to_unicode("é") == "é"
    assert to_unicode(None) is None
    with pytest.raises(UnicodeDecodeError):
        to_unicode(b"\xff")
    assert escape.native_str is to_unicode
    assert escape.to_basestring is to_unicode


@pytest.mark.parametrize("function", [utf8, to_unicode])
@pytest.mark.parametrize("value", [5, bytearray(b"x"), ["a"]])
def test_conversions_refuse_other_types(function, value):
    with pytest.raises(TypeError, match="Expected bytes, unicode, or None; got"):
        function(value)


@given(st.text())
def test_utf8_round_trip(text):
    assert to_unicode(utf8(text)) == text


def test_recursive_unicode():
    assert recursive_unicode({b"a": [b"b", (b"c", 5, None)], "d": {b"e"}}) == {
        "a": ["b", ("c", 5, None)],
        "d": {b"e"},
    }
    assert recursive_unicode(b"x") == "x"


# --- HTML ---


def test_xhtml_escape():
    assert (
        xhtml_escape('<a href="x">it\'s & é</a>') == "&lt;a href=&quot;x&quot;&gt;it&#x27;s &amp; é&lt;/a&gt;"
    )
    assert xhtml_escape(b"<\xc3\xa9>") == "&lt;é&gt;"
    assert xhtml_escape("plain") == "plain"
    with pytest.raises(TypeError):
        xhtml_escape(5)


@given(st.text() | st.text(alphabet="<>&\"'#x;ab"))
def test_xhtml_round_trip(text):
    escaped = xhtml_escape(text)
    assert not set("<>\"'") & set(escaped)
    assert escaped == html.escape(text)
    assert xhtml_unescape(escaped) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("&lt;&gt;&amp;&quot;&#39;&apos;", "<>&\"''"),
        ("&#65;&#x41;&#X41;", "AAA"),
        ("&eacute;&euro;&nbsp;&hearts;", "é€\xa0♥"),
        ("&lt &gt", "< >"),
        ("&notit;", "¬it;"),
        ("&foo;&;&#;&#x;&#xzz; & &", "&foo;&;&#;&#x;&#xzz; & &"),
        ("&amp;lt;", "&lt;"),
        ("&#0;&#xD800;&#x110000;", "\ufffd" * 3),
        ("&#128;", "€"),
        ("&#000000000065;", "A"),
        ("&#99999999999999999999;", "\ufffd"),
        ("&#-5;&# 5;&#٣;", "&#-5;&# 5;&#٣;"),
        ("&CounterClockwiseContourIntegral;", "∳"),
    ],
)
def test_xhtml_unescape(text, expected):
    assert xhtml_unescape(text) == expected
    assert xhtml_unescape(text.encode()) == expected


@given(st.text(alphabet="&#x;0123456789ampltgquoAé "))
def test_xhtml_unescape_agrees_with_the_standard_library(text):
    assert xhtml_unescape(text) == html.unescape(text)


def test_xhtml_unescape_digits_beyond_every_limit():
    # int() refuses more than 4300 digits, and takes quadratic time for fewer.
    for digits in ("9" * 5000, "0" * 5000 + "65"):
        assert xhtml_unescape(f"&#{digits};") in ("\ufffd", "A")
    assert xhtml_unescape("&#x" + "f" * 100_000 + ";") == "\ufffd"


@pytest.mark.parametrize(
    "text", ["&#9", "&", "&#", "&amp", "&#x1", "a&bcdefghijklmnopqrstuvwxyzabcdefgh", "&#0000"]
)
def test_xhtml_unescape_is_linear(text):
    assert grows_linearly(xhtml_unescape, text)


# --- JSON ---


def test_json_encode():
    assert json_encode({"a": "</script>"}) == '{"a": "<\\/script>"}'
    assert json_decode(json_encode("</script>")) == "</script>"
    assert json_encode([1, None, 1.5]) == "[1, null, 1.5]"
    with pytest.raises(TypeError):
        json_encode({1, 2})


def test_json_decode():
    assert json_decode('{"a": 1}') == {"a": 1}
    assert json_decode(b'{"a":"\xc3\xa9"}') == {"a": "é"}
    for bad in ("", "{", b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011
            json_decode(bad)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_round_trip(value):
    encoded = json_encode(value)
    assert "</" not in encoded
    assert json_decode(encoded) == value


def test_set_json_codec():
    calls = []

    def dumps(value):
        calls.append(value)
        return json.dumps(value, separators=(",", ":")).encode()

    def loads(text):
        calls.append(text)
        return "decoded"

    previous = set_json_codec(dumps, loads)
    try:
        assert previous == (json.dumps, json.loads)
        assert json_encode({"a": "</b>"}) == '{"a":"<\\/b>"}'
        assert json_decode("5") == "decoded"
        assert calls == [{"a": "</b>"}, "5"]
    finally:
        assert set_json_codec(*previous) == (dumps, loads)
    assert set_json_codec() == (json.dumps, json.loads)
    assert json_decode("5") == 5


# --- squeeze ---


def test_squeeze():
    assert squeeze("  a \x00\x1f\r\n b\xa0c  ") == "a b\xa0c"
    assert squeeze("") == ""


# --- URLs ---


def test_url_escape():
    assert url_escape("a b/é+&=~-_.") == "a+b%2F%C3%A9%2B%26%3D~-_."
    assert url_escape("a b/é", plus=False) == "a%20b/%C3%A9"
    assert url_escape(b"\xff") == "%FF"
    with pytest.raises(TypeError):
        url_escape(5)


@pytest.mark.parametrize(
    ("value", "arguments", "expected"),
    [
        ("a+b%20%C3%A9", {}, "a b é"),
        ("a+b%20%C3%A9", {"plus": False}, "a+b é"),
        ("a+b%20%C3%A9", {"encoding": None}, b"a b \xc3\xa9"),
        ("a+b%20%C3%A9", {"encoding": None, "plus": False}, b"a+b \xc3\xa9"),
        ("%C3%A9", {"encoding": "latin-1"}, "Ã©"),
        (b"a+%FF", {}, "a \ufffd"),
        (b"%2B+", {"encoding": None}, b"+ "),
        ("☃%2", {"encoding": None}, b"\xe2\x98\x83%2"),
    ],
)
def test_url_unescape(value, arguments, expected):
    assert url_unescape(value, **arguments) == expected


@given(st.text(), st.booleans())
def test_url_round_trip(text, plus):
    assert url_unescape(url_escape(text, plus), plus=plus) == text


@given(st.binary(), st.booleans())
def test_url_round_trip_of_bytes(data, plus):
    assert url_unescape(url_escape(data, plus), encoding=None, plus=plus) == data


# --- query strings ---


@pytest.mark.parametrize(
    ("qs", "expected"),
    [
        ("a=1&b=2&a=3", {"a": [b"1", b"3"], "b": [b"2"]}),
        (b"a=b+c&d=%20", {"a": [b"b c"], "d": [b" "]}),
        ("a=%FF&%FF=b&a+b=1", {"a": [b"\xff"], "\xff": [b"b"], "a b": [b"1"]}),
        ("é=é", {"é": [b"\xe9"]}),
        (b"\xff=\xfe", {"\xff": [b"\xfe"]}),
        ("a=&b", {}),
        ("&&&", {}),
        ("=x", {"": [b"x"]}),
        ("a=b=c&x;y=z", {"a": [b"b=c"], "x;y": [b"z"]}),
        ("a=%zz%2", {"a": [b"%zz%2"]}),
        ("%2B=%2B", {"+": [b"+"]}),
        ("", {}),
    ],
)
def test_parse_qs_bytes(qs, expected):
    assert parse_qs_bytes(qs) == expected


def test_parse_qs_bytes_blank_values():
    assert parse_qs_bytes("a=&b&&c=1", keep_blank_values=True) == {"a": [b""], "b": [b""], "c": [b"1"]}


@pytest.mark.parametrize("qs", ["a", "a=1&b", "&a=1", "a=1&"])
def test_parse_qs_bytes_strict(qs):
    with pytest.raises(ValueError, match="bad query field"):
        parse_qs_bytes(qs, strict_parsing=True)


def test_parse_qs_bytes_number_of_fields():
    assert parse_qs_bytes("a=1&b=2", max_num_fields=2) == {"a": [b"1"], "b": [b"2"]}
    assert parse_qs_bytes("", max_num_fields=0) == {}
    for qs in ("a=1&b=2&c=3", "&&", b"&&"):
        with pytest.raises(ValueError, match="Max number of fields exceeded"):
            parse_qs_bytes(qs, max_num_fields=2)


@pytest.mark.parametrize("qs", ["☃=1", "a=☃"])
def test_parse_qs_bytes_needs_latin1(qs):
    with pytest.raises(UnicodeEncodeError):
        parse_qs_bytes(qs)


@given(st.text(alphabet="ab=&+%2Fé") | st.text(alphabet=st.characters(max_codepoint=255)), st.booleans())
def test_parse_qs_bytes_agrees_with_urllib(qs, keep):
    expected = urllib.parse.parse_qs(qs, keep_blank_values=keep, encoding="latin-1")
    assert parse_qs_bytes(qs, keep) == {
        name: [value.encode("latin-1") for value in values] for name, values in expected.items()
    }


@given(st.dictionaries(st.text(max_size=5), st.lists(st.binary(min_size=1), min_size=1, max_size=3)))
def test_parse_qs_bytes_round_trip(arguments):
    qs = urllib.parse.urlencode(arguments, doseq=True)
    parsed = parse_qs_bytes(qs)
    assert {name.encode("latin-1").decode(): values for name, values in parsed.items()} == arguments


# --- linkify ---


def link(url: str, text: str | None = None, rest: str = "") -> str:
    return f'<a href="{url}"{rest}>{text or url}</a>'


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("hello http://world.com/!", {}, f"hello {link('http://world.com/')}!"),
        ("https://x.com/?a=1&b=2.", {}, link("https://x.com/?a=1&amp;b=2") + "."),
        ("http://url.com/w(aaa", {}, link("http://url.com/w") + "(aaa"),
        ("(http://url.com/w_(x))", {}, f"({link('http://url.com/w_(x)')})"),
        ("(www.a.com)", {}, f"({link('http://www.a.com', 'www.a.com')})"),
        ("www.x.com", {"require_protocol": True}, "www.x.com"),
        ("http://x.com", {"require_protocol": True}, link("http://x.com")),
        ("awww.foo.com xhttp://foo.com www. http://", {}, "awww.foo.com xhttp://foo.com www. http://"),
        ("ftp://www.foo.com <b>", {}, "ftp://www.foo.com &lt;b&gt;"),
        ("ftp://foo.com", {"permitted_protocols": ["ftp"]}, link("ftp://foo.com")),
        ("mailto:a@b.com", {}, "mailto:a@b.com"),
        ("mailto:a@b.com", {"permitted_protocols": ["mailto"]}, link("mailto:a@b.com")),
        ("HTTP://X.COM", {}, link("HTTP://X.COM")),
        (
            "javascript:alert(1) javascript://x.com/%0aalert(1)",
            {},
            "javascript:alert(1) javascript://x.com/%0aalert(1)",
        ),
        ("http://a.com/'onclick=x", {}, link("http://a.com/") + "&#x27;onclick=x"),
        ('http://a.com/"x="y', {}, link("http://a.com/&quot;x=&quot;y")),
        ('"http://a.com"', {}, f"&quot;{link('http://a.com')}&quot;"),
        ("“http://a.com”…", {}, f"“{link('http://a.com')}”…"),
        ("<a href=http://a.com>x</a>", {}, f"&lt;a href={link('http://a.com')}&gt;x&lt;/a&gt;"),
        ("http://u:p@a.com:80/x#y", {}, link("http://u:p@a.com:80/x#y")),
        ("http://✪df.ws/1", {}, link("http://✪df.ws/1")),
        ("\n\thttp://a.com\xa0b", {}, f"\n\t{link('http://a.com')}\xa0b"),
        (b"http://a.com \xc3\xa9", {}, f"{link('http://a.com')} é"),
        (
            "www.a.com",
            {"extra_params": ' rel="nofollow" '},
            link("http://www.a.com", "www.a.com", ' rel="nofollow"'),
        ),
        ("", {}, ""),
    ],
)
def test_linkify(text, arguments, expected):
    assert linkify(text, **arguments) == expected


def test_linkify_calls_extra_params_with_the_url():
    seen = []

    def params(url: str) -> str:
        seen.append(url)
        return ' class="x" '

    assert linkify("http://a.com/?b&c www.d.com", extra_params=params) == (
        link("http://a.com/?b&amp;c", rest=' class="x"')
        + " "
        + link("http://www.d.com", "www.d.com", ' class="x"')
    )
    assert seen == ["http://a.com/?b&amp;c", "http://www.d.com"]


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://google.com/xxxxxxxxxxxx", None),
        ("http://google.com/xxxxxxxxxxxxx", "http://google.com/xxxxxxxx..."),
        ("http://www.external-link.com/with/lots/of/path?query=xyz", "http://www.external-link.com/with..."),
        (
            "https://really.long-domain-name-example-withmany.characters.com/ok",
            "https://really.long-domain-nam...",
        ),
        ("http://google.com/abcdef.ghijkl/mnopqrst", "http://google.com/abcdef..."),
        ("http://google.com?abcdefghijklmnopqrstuvwxyz", None),
        ("http://google.com?" + "a" * 40, "http://google.com?aaaaaaaaaaaa..."),
        ("http://google.com/ab&cd&ef&hijkzzzzzzzzzzzzzzz", "http://google.com/ab&amp;cd&amp;ef..."),
        ("http://" + "x" * 29 + "/abcdefghij", None),
    ],
)
def test_linkify_shorten(url, label):
    href = xhtml_escape(url)
    expected = link(href) if label is None else link(href, label, f' title="{href}"')
    assert linkify(url, shorten=True) == expected


@given(st.text(alphabet="htp:/w.a<>\"'()& ;javscrip") | st.text(), st.booleans())
def test_linkify_output_is_safe(text, shorten):
    text = "http://a" + text
    output = linkify(text, shorten=shorten)
    tags = re.findall(r"<[^>]*>", output)
    assert all(
        re.fullmatch(r'</a>|<a href="https?://?/?[^"<>\']*"( title="[^"<>\']*")?>', tag, re.IGNORECASE)
        for tag in tags
    )
    if not shorten:
        without_tags = re.sub(r"<[^>]*>", "", output)
        assert xhtml_unescape(without_tags) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://a(",
        "(",
        "http://a.",
        "www.(",
        "http://a",
        "www.",
        ".",
        "a",
        "((((a",
        "http://a!!! ",
        "http://(a)(",
        "&",
        "é/",
    ],
)
def test_linkify_is_linear(text):
    assert grows_linearly(linkify, text)


def test_one_megabyte_of_trouble():
    for text in ("http://a" + "." * 1_000_000, "www.(" + "a" * 1_000_000, "http://" * 140_000):
        assert xhtml_unescape(re.sub("<[^>]*>", "", linkify(text))) == text
