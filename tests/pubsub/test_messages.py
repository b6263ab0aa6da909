"""Messages, gaps, and data on its way to bytes and back."""

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.pubsub.messages import (
    Gap,
    History,
    Message,
    check_channel,
    check_count,
    decode,
    encode,
    normal,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON | st.binary())
def test_data_comes_back_as_it_was(data: Any) -> None:
    for back in (decode(encode(data)), normal(data)):
        assert back == data
        assert repr(back) == repr(data)


@given(st.binary(max_size=30))
def test_decode_takes_any_bytes_or_says_no(data: bytes) -> None:
    try:
        back = decode(data)
    except ValueError:
        return
    assert encode(back)[:1] == data[:1]


def test_encoded_forms() -> None:
    assert encode(b"\x00\xff") == b"b\x00\xff"
    assert encode("\u00e9") == b"s\xc3\xa9"
    assert encode({"a": [1, None]}) == b'j{"a":[1,null]}'
    assert encode(bytearray(b"x")) == encode(memoryview(b"x")) == b"bx"
    assert encode(memoryview(b"abcdef")[::2]) == b"bace"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"j",
        b"j{",
        b"jNaN]",
        b"s\xff",
        b"j\xff",
        b"s\xed\xa0\x80",
        b"j\xef\xbb\xbf1",
        b"j" + b"[" * 99_999,
    ],
)
def test_decode_refuses(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        decode(data)


class Colour(str, enum.Enum):  # noqa: UP042 - a str with a __str__ of its own
    RED = "red"


class Raw(bytes):
    pass


def test_normal_gives_plain_types() -> None:
    for data, wanted in (
        (Colour.RED, "red"),
        (Raw(b"x"), b"x"),
        (bytearray(b"x"), b"x"),
        ((1, (2,)), [1, [2]]),
        ({1: Colour.RED, None: 0.5}, {"1": "red", "null": 0.5}),
    ):
        assert normal(data) == decode(encode(data)) == wanted
        assert type(normal(data)) is type(wanted)
    assert normal(True) is True


def test_normal_copies() -> None:
    inner: list[int] = []
    made = normal({"a": inner})
    inner.append(1)
    assert made == {"a": []}


def nested(depth: int) -> Any:
    data: Any = []
    for _ in range(depth):
        data = [data]
    return data


@pytest.mark.parametrize("convert", [normal, encode])
def test_what_is_no_message(convert: Any) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    for data in (object(), {1}, [b""], {b"": 1}, 1j):
        with pytest.raises(TypeError, match="bytes, str or a JSON value"):
            convert(data)
    for data in ("\ud800", "x\udfff", ["\ud800"], {"\ud800": 1}):
        with pytest.raises(ValueError, match="surrogate"):
            convert(data)
    for data in (float("nan"), [float("-inf")], endless, nested(100_000), 10**5000):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            convert(data)


@pytest.mark.parametrize(
    "name", ["a", " ", "a b/c:*>.?#%", "\u00e9" * 100, "x" * 200, "\U0001f600", "\u2028", "\xa0"]
)
def test_channel_names(name: str) -> None:
    check_channel(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "1 to 200 bytes, not 0"),
        ("x" * 201, "not 201"),
        ("\u00e9" * 101, "not 202"),
        ("\ud800", "Unicode text"),
        *((f"a{chr(code)}b", "control characters") for code in (0, 10, 31, 127, 128, 0x85, 159)),
    ],
)
def test_no_channel_names(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_channel(name)


@pytest.mark.parametrize("name", [None, b"a", 1, ["a"]])
def test_channel_names_are_str(name: Any) -> None:
    with pytest.raises(TypeError, match="must be a str, not"):
        check_channel(name)


def test_check_count() -> None:
    check_count("last", 0)
    with pytest.raises(ValueError, match="last must not be negative: -1"):
        check_count("last", -1)


def test_messages_and_gaps_compare_by_what_they_are() -> None:
    one, same = Message("a", "1", [2]), Message("a", "1", [2])
    assert one == same
    assert hash(one) == hash(same)
    assert one not in (Message("b", "1", [2]), Message("a", "2", [2]), Message("a", "1", [3]))
    assert one != ("a", "1", [2])
    assert Gap("a", "history") == Gap("a", "history") != Gap("a", "backlog")
    assert Gap("a", "history") not in (one, Gap("b", "history"))
    assert len({Gap("a", "history"), Gap("a", "history"), one, same}) == 2
    one.forms["frame"] = b"..."
    assert one == same
    assert same.forms == {}


def test_reprs() -> None:
    assert repr(Message("a", "1", {"b": 2})) == "Message('a', '1', {'b': 2})"
    assert repr(Gap("a", "backlog")) == "Gap('a', 'backlog')"
    assert repr(History([], True, "7")) == "History([], complete=True, position='7')"
    assert json.loads(encode([1])[1:]) == [1]
