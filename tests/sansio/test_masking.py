"""Both twins of `apply_mask` beside RFC 6455 section 5.3 by the letter."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio import masking

try:
    from webfw.sansio import _native
except ImportError:
    native: Any = None
else:
    native = _native.apply_mask

TWINS = pytest.mark.parametrize(
    "apply_mask",
    [
        pytest.param(masking._apply_mask, id="pure"),
        pytest.param(native, id="native", marks=pytest.mark.skipif(native is None, reason="not built")),
    ],
)
Twin = Callable[..., bytes]

KEY = b"\x37\xfa\x21\x3d"


def by_the_letter(key: bytes, payload: bytes) -> bytes:
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


# --- what comes out ---


@TWINS
@pytest.mark.parametrize(
    "sizes", [range(301), range(505, 521), [4096, 16_384, 65_535, 65_536, 65_537, 1_048_581]]
)
def test_every_size(apply_mask: Twin, sizes: "range | list[int]") -> None:
    for size in sizes:
        payload = os.urandom(size)
        masked = apply_mask(KEY, payload)
        assert type(masked) is bytes
        assert masked == by_the_letter(KEY, payload)
        assert apply_mask(KEY, masked) == payload


@TWINS
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_every_alignment(apply_mask: Twin, kind: Callable[[bytes], Any]) -> None:
    """The key goes with the payload's first byte, wherever in memory that lies."""
    memory = kind(os.urandom(1100))
    for begin in range(17):
        for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 513, 1000, 1083):
            view = memoryview(memory)[begin : begin + size]
            assert apply_mask(KEY, view) == by_the_letter(KEY, bytes(view))


@TWINS
def test_every_octet_at_every_place_of_the_key(apply_mask: Twin) -> None:
    short, long = os.urandom(37), os.urandom(603)
    for octet in range(256):
        for place in range(4):
            key = bytearray(b"\x00\x80\xff\x01")
            key[place] = octet
            for payload in (short, long):
                assert apply_mask(bytes(key), payload) == by_the_letter(key, payload)


@TWINS
@given(key=st.binary(min_size=4, max_size=4), payload=st.binary(max_size=2000))
def test_anything(apply_mask: Twin, key: bytes, payload: bytes) -> None:
    masked = apply_mask(key, payload)
    assert masked == by_the_letter(key, payload)
    assert apply_mask(key, masked) == payload


@TWINS
@pytest.mark.parametrize("size", [0, 1, 2, 600])
def test_what_goes_in_stays_as_it_is(apply_mask: Twin, size: int) -> None:
    """Python shares the empty and the one-byte strings, and a mask of zeros must not give the payload itself out."""
    frozen, mutable = bytes(size), bytearray(size)
    for payload in (frozen, mutable):
        masked = apply_mask(KEY, payload)
        assert masked == (KEY * size)[:size]
        assert payload == b"\x00" * size
    assert bytes(0) == b""
    assert [bytes([octet])[0] for octet in range(256)] == list(range(256))
    kept = apply_mask(bytes(4), mutable)
    mutable[:] = b"\xff" * size
    assert kept == frozen


@TWINS
def test_threads_do_not_meet(apply_mask: Twin) -> None:
    def work(number: int) -> bool:
        key = bytes([number, 0x55, 0xAA, number])
        payloads = [bytes([number]) * size for size in (3, 64, 700, 20_000)]
        expected = [by_the_letter(key, payload) for payload in payloads]
        return all([apply_mask(key, payload) for payload in payloads] == expected for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


# --- what may not go in ---


@TWINS
@pytest.mark.parametrize("size", [0, 1, 3, 5, 8])
@pytest.mark.parametrize("payload", [b"", b"abc", bytes(1000)], ids=len)
def test_key_of_a_wrong_length(apply_mask: Twin, size: int, payload: bytes) -> None:
    with pytest.raises(ValueError, match=f"^a masking key has 4 bytes, not {size}$"):
        apply_mask(bytes(size), payload)


@TWINS
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (KEY,),
        (KEY, b"", b""),
        ("abcd", b""),
        ("abcd", b"abcd"),
        ("abcd", bytes(600)),
        (None, b""),
        (1234, b""),
        (KEY, ""),
        (KEY, "text"),
        (KEY, "x" * 600),
        (KEY, None),
        (KEY, 4),
    ],
    ids=repr,
)
def test_wrong_arguments(apply_mask: Twin, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        apply_mask(*arguments)


@TWINS
def test_arguments_have_no_names(apply_mask: Twin) -> None:
    with pytest.raises(TypeError):
        apply_mask(key=KEY, payload=b"")


@TWINS
def test_lets_go_of_the_payload(apply_mask: Twin) -> None:
    """A bytearray cannot grow while somebody holds its memory."""
    payload = bytearray(b"hello")
    apply_mask(KEY, payload)
    payload += b"!"
    with pytest.raises(ValueError, match="masking key"):
        apply_mask(b"abc", payload)
    payload += b"!"
    with pytest.raises(TypeError):
        apply_mask(None, payload)
    payload += b"!"


@pytest.mark.skipif(native is None, reason="not built")
def test_native_lets_go_of_the_key() -> None:
    key = bytearray(KEY)
    native(key, b"hello")
    with pytest.raises(TypeError):
        native(key, None)
    key += b"!"
    with pytest.raises(ValueError, match="masking key"):
        native(key, b"hello")
    key += b"!"


@pytest.mark.skipif(native is None, reason="not built")
def test_native_refuses_memory_with_gaps() -> None:
    with pytest.raises(BufferError):
        native(KEY, memoryview(b"abcdef")[::2])
