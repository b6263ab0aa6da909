"""Sec-WebSocket-Extensions taken apart strictly, and every rule of the negotiation of permessage-deflate."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.websocket.deflate import DeflateParameters
from webfw.sansio.websocket.extensions import (
    PERMESSAGE_DEFLATE,
    Extension,
    accept_deflate,
    confirm_deflate,
    format_deflate_offer,
    format_deflate_response,
    parse_extensions,
)

ANY = DeflateParameters()


def agree(offer: str, settings: DeflateParameters = ANY) -> str | None:
    """What a server with these settings answers to a header."""
    agreed = accept_deflate(parse_extensions([offer]), settings)
    return None if agreed is None else format_deflate_response(agreed)


def confirm(response: str, settings: DeflateParameters | None = ANY) -> DeflateParameters | None:
    """What a client with these settings makes of a response."""
    return confirm_deflate(parse_extensions([response] if response else []), settings)


# --- the header ---


@pytest.mark.parametrize(
    ("line", "found"),
    [
        # RFC 6455 section 9.1
        ("foo", [("foo",)]),
        ("bar; baz=2", [("bar", ("baz", "2"))]),
        ("foo, bar; baz=2", [("foo",), ("bar", ("baz", "2"))]),
        ("deflate-stream", [("deflate-stream",)]),
        ("mux; max-channels=4; flow-control, deflate-stream",
         [("mux", ("max-channels", "4"), ("flow-control", None)), ("deflate-stream",)]),
        ("private-extension", [("private-extension",)]),
        ('a; b="c"', [("a", ("b", "c"))]),
        (r'a; b="\c\d"', [("a", ("b", "cd"))]),
        # white space and empty elements
        ("\t foo \t;\tbar =\t2 , , ,baz ,", [("foo", ("bar", "2")), ("baz",)]),
        (",foo", [("foo",)]),
        ("foo;a;a=1;A", [("foo", ("a", None), ("a", "1"), ("A", None))]),
        ("!#$%&'*+-.^_`|~09azAZ", [("!#$%&'*+-.^_`|~09azAZ",)]),
    ],
)  # fmt: skip
def test_header(line: str, found: list[tuple[object, ...]]) -> None:
    assert parse_extensions([line]) == [Extension(name, tuple(rest)) for name, *rest in found]  # type: ignore[arg-type]


def test_several_lines_are_one_list() -> None:
    assert parse_extensions(["foo", "bar; baz=2"]) == parse_extensions(["foo, bar; baz=2"])
    assert parse_extensions(["", "foo", " ,"]) == [Extension("foo")]


@pytest.mark.parametrize("lines", [[], [""], [" \t"], [", ,"], ["", ","]])
def test_a_list_of_nothing(lines: list[str]) -> None:
    """Not in the grammar; the websockets package sends it when it is given an empty list."""
    assert parse_extensions(lines) == []


@pytest.mark.parametrize(
    "line",
    [
        *(";", "=", "foo;", "foo;;a", "foo; a=", "foo; =a", "foo; a=1=2", "foo bar", "foo a=1"),
        *("foo; a b", "foo/1", "foo; a=b/c", "foo, ;", "foo, =", "foo=1", "foo; a, =", "f\xe9", "foo; a=\xe9"),
        *('foo; a="', 'foo; a="b', 'foo; a="b"c', 'foo; a=b"c"', 'foo; a=""', 'foo; a="b c"', 'foo; a="b,c"', '"foo"'),
        *('foo; a="b\\"', 'foo; a="\\"c"', 'foo; "a"', "foo; a='b c'", "foo\x00", "foo\n", "foo; a=1\nbar", "(foo)"),
    ],
)  # fmt: skip
def test_malformed_header(line: str) -> None:
    """RFC 6455 section 9.1: the connection MUST be failed."""
    for lines in ([line], ["foo, bar", line], ["", line, "foo"]):
        with pytest.raises(RemoteProtocolError, match="malformed Sec-WebSocket-Extensions") as info:
            parse_extensions(lines)
        assert info.value.status == 400


def test_message_is_short() -> None:
    with pytest.raises(RemoteProtocolError) as info:
        parse_extensions(["x " * 10_000])
    assert len(str(info.value)) < 120


TOKENS = st.text("abc-_.~!19", min_size=1, max_size=5)


@given(st.lists(st.tuples(TOKENS, st.lists(st.tuples(TOKENS, st.none() | TOKENS), max_size=4)), min_size=1))
def test_what_is_written_is_read(extensions: list[tuple[str, list[tuple[str, str | None]]]]) -> None:
    spaces = itertools.cycle([" ", "", "\t", "  "])
    parts = []
    for name, parameters in extensions:
        text = name
        for key, value in parameters:
            text += f"{next(spaces)};{next(spaces)}{key}" + (
                "" if value is None else f'={next(spaces)}"{value}"'
            )
        parts.append(text)
    found = parse_extensions([f"{next(spaces)},".join(parts)])
    assert found == [Extension(name, tuple(parameters)) for name, parameters in extensions]


@given(st.text('ab,;="\\ \t', max_size=30))
def test_any_text_ends_in_tokens_or_in_an_error(text: str) -> None:
    try:
        found = parse_extensions([text])
    except RemoteProtocolError:
        return
    for name, parameters in found:
        values = [name, *(word for pair in parameters for word in pair if word is not None)]
        assert all(value and not set(value) & set(',;="\\ \t') for value in values)


@pytest.mark.parametrize("unit", ["a;", "a,", ";a", "a;b=c", 'a;b="c', '"\\', " ", ",", "a ", '"', "\\"])
def test_time_is_linear(unit: str) -> None:
    def cost(count: int) -> float:
        text = "foo" + unit * count + "\x00"
        best = 9.0
        for _ in range(3):
            begin = time.process_time()
            with pytest.raises(RemoteProtocolError):
                parse_extensions([text])
            best = min(best, time.process_time() - begin)
        return best

    assert cost(8000) < 50 * max(cost(1000), 2e-4)


# --- server ---

#: Section 7.1.3: two offers, of which the second is for a server that has no server_max_window_bits.
FALLBACK = (
    "permessage-deflate; client_max_window_bits; server_max_window_bits=10, "
    "permessage-deflate; client_max_window_bits"
)


@pytest.mark.parametrize(
    ("offer", "response"),
    [
        # The RFC's own examples: sections 5.1, 7.1.1, 7.1.2 and 7.1.3.
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits; server_max_window_bits=10", "server_max_window_bits=10"),
        (FALLBACK, "server_max_window_bits=10"),
        ("permessage-deflate; server_no_context_takeover; client_max_window_bits", "server_no_context_takeover"),
        ("permessage-foo; use_y, permessage-foo", None),
        # each parameter
        ("permessage-deflate; server_no_context_takeover", "server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "client_no_context_takeover"),
        ("permessage-deflate; client_max_window_bits", ""),
        ("permessage-deflate; client_max_window_bits=12", "client_max_window_bits=12"),
        ('permessage-deflate; client_max_window_bits="12"', "client_max_window_bits=12"),
        *((f"permessage-deflate; server_max_window_bits={n}", f"server_max_window_bits={n}") for n in range(8, 16)),
        *((f"permessage-deflate; client_max_window_bits={n}", f"client_max_window_bits={n}") for n in range(8, 16)),
        # the first that is acceptable
        ("x-other; a=1, permessage-deflate", ""),
        ("permessage-deflate; new_thing, permessage-deflate; server_max_window_bits=9", "server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", "server_max_window_bits=9"),
        # none that is acceptable
        ("x-webkit-deflate-frame", None),
        ("Permessage-Deflate", None),
        ("permessage-deflate; new_thing", None),
        ("permessage-deflate; new_thing=1", None),
        ("permessage-deflate; Server_no_context_takeover", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", None),
        ("permessage-deflate; client_max_window_bits=10; client_max_window_bits=10", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover=true", None),
        ("permessage-deflate; server_max_window_bits", None),
        *((f"permessage-deflate; {side}_max_window_bits={value}", None)
          for side in ("server", "client") for value in ("7", "16", "08", "+9", "-9", "9.0", "0x9", "150", "a", "1e1")),
    ],
)  # fmt: skip
def test_server_without_wishes(offer: str, response: str | None) -> None:
    expected = response and f"{PERMESSAGE_DEFLATE}; {response}"
    assert agree(offer) == (PERMESSAGE_DEFLATE if response == "" else expected)


FLAGS = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
NARROW = DeflateParameters(server_max_window_bits=10, client_max_window_bits=11)


@pytest.mark.parametrize(
    ("settings", "offer", "response"),
    [
        # Sections 7.1.1.1 and 7.1.1.2: either may be answered to any offer.
        (FLAGS, "", "; client_no_context_takeover; server_no_context_takeover"),
        (FLAGS, "; server_no_context_takeover", "; client_no_context_takeover; server_no_context_takeover"),
        # 7.1.2.1: as low as the lower of both; 7.1.2.2: only if the client knows the parameter.
        (NARROW, "", "; server_max_window_bits=10"),
        (NARROW, "; server_max_window_bits=9", "; server_max_window_bits=9"),
        (NARROW, "; server_max_window_bits=12", "; server_max_window_bits=10"),
        (NARROW, "; client_max_window_bits", "; client_max_window_bits=11; server_max_window_bits=10"),
        (NARROW, "; client_max_window_bits=9", "; client_max_window_bits=9; server_max_window_bits=10"),
        (NARROW, "; client_max_window_bits=13", "; client_max_window_bits=11; server_max_window_bits=10"),
    ],
)
def test_server_with_wishes(settings: DeflateParameters, offer: str, response: str) -> None:
    assert agree(PERMESSAGE_DEFLATE + offer, settings) == PERMESSAGE_DEFLATE + response


def test_no_offer() -> None:
    assert accept_deflate([], FLAGS) is None


# --- client ---


@pytest.mark.parametrize(
    ("settings", "offer"),
    [
        (ANY, "client_max_window_bits"),
        (FLAGS, "client_max_window_bits; client_no_context_takeover; server_no_context_takeover"),
        (NARROW, "client_max_window_bits=11; server_max_window_bits=10"),
    ],
)
def test_offer(settings: DeflateParameters, offer: str) -> None:
    assert format_deflate_offer(settings) == f"{PERMESSAGE_DEFLATE}; {offer}"


@pytest.mark.parametrize(
    ("settings", "response", "agreed"),
    [
        (ANY, "", ANY),
        # What the server may answer without having been asked.
        (ANY, "; server_no_context_takeover", DeflateParameters(server_no_context_takeover=True)),
        (ANY, "; client_no_context_takeover", DeflateParameters(client_no_context_takeover=True)),
        (ANY, "; server_max_window_bits=8", DeflateParameters(server_max_window_bits=8)),
        (ANY, '; client_max_window_bits="8"', DeflateParameters(client_max_window_bits=8)),
        # What was asked for is there; what this side said of itself holds unsaid.
        (FLAGS, "; server_no_context_takeover", FLAGS),
        (FLAGS, "; client_no_context_takeover; server_no_context_takeover", FLAGS),
        (NARROW, "; server_max_window_bits=10", NARROW),
        (NARROW, "; server_max_window_bits=9; client_max_window_bits=10", DeflateParameters(False, False, 9, 10)),
        (DeflateParameters(server_max_window_bits=15), "", ANY),
    ],
)  # fmt: skip
def test_client_agrees(settings: DeflateParameters, response: str, agreed: DeflateParameters) -> None:
    assert confirm(PERMESSAGE_DEFLATE + response, settings) == agreed


@pytest.mark.parametrize(
    ("settings", "response", "wrong"),
    [
        # RFC 6455 section 4.1: an extension that was not offered
        (None, "permessage-deflate", "'permessage-deflate' was not offered"),
        (ANY, "x-webkit-deflate-frame", "'x-webkit-deflate-frame' was not offered"),
        (ANY, "Permessage-Deflate", "was not offered"),
        (ANY, "permessage-deflate, permessage-deflate", "after permessage-deflate"),
        (ANY, "permessage-deflate, foo", "'foo' after permessage-deflate"),
        # RFC 7692 section 7.1: the same rules for parameters as for the server
        (ANY, "permessage-deflate; new_thing=1", "new_thing is unknown"),
        (ANY, "permessage-deflate; server_no_context_takeover=1", "has a value"),
        (ANY, "permessage-deflate; client_no_context_takeover=1", "has a value"),
        (ANY, "permessage-deflate; client_no_context_takeover; client_no_context_takeover", "is repeated"),
        (ANY, "permessage-deflate; server_max_window_bits", "server_max_window_bits has no value"),
        # 7.1.2.2: in a response there must be a value
        (ANY, "permessage-deflate; client_max_window_bits", "client_max_window_bits has no value"),
        (ANY, "permessage-deflate; client_max_window_bits=7", "has the value '7'"),
        (ANY, "permessage-deflate; server_max_window_bits=16", "has the value '16'"),
        # more than was offered
        (FLAGS, "permessage-deflate", "server_no_context_takeover is missing"),
        (NARROW, "permessage-deflate", "server_max_window_bits is not 10 or less"),
        (NARROW, "permessage-deflate; server_max_window_bits=11", "server_max_window_bits is not 10 or less"),
        (NARROW, "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12", "is not 11 or less"),
    ],
)  # fmt: skip
def test_client_fails_the_connection(settings: DeflateParameters | None, response: str, wrong: str) -> None:
    with pytest.raises(RemoteProtocolError, match=wrong):
        confirm(response, settings)


def test_no_extension_in_the_response() -> None:
    assert confirm("", FLAGS) is None
    assert confirm("", None) is None


# --- both ---

WINDOWS = st.none() | st.integers(8, 15)
SETTINGS = st.builds(DeflateParameters, st.booleans(), st.booleans(), WINDOWS, WINDOWS)


@given(SETTINGS, SETTINGS)
def test_both_sides_come_to_the_same(ours: DeflateParameters, theirs: DeflateParameters) -> None:
    """A client that offers and a server that accepts always agree, on no more than either wished."""
    at_server = accept_deflate(parse_extensions([format_deflate_offer(theirs)]), ours)
    assert at_server is not None
    at_client = confirm(format_deflate_response(at_server), theirs)
    assert at_client == at_server
    for name in ("server_no_context_takeover", "client_no_context_takeover"):
        assert getattr(at_server, name) == (getattr(ours, name) or getattr(theirs, name))
    for name in ("server_max_window_bits", "client_max_window_bits"):
        wishes = [bits for bits in (getattr(ours, name), getattr(theirs, name)) if bits is not None]
        assert getattr(at_server, name) == min(wishes, default=None)
