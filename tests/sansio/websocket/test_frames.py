"""Frames, masks and close payloads, beside the examples and the rules of RFC 6455."""

import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError
from webfw.sansio.websocket import frames
from webfw.sansio.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    CloseCode,
    FrameError,
    apply_mask,
    encode_close,
    encode_frame,
    parse_close,
)

# --- masks ---


def masked_by_the_letter(key: bytes, payload: bytes) -> bytes:
    """Section 5.3: octet i of the result is octet i of the payload XOR octet (i mod 4) of the key."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


@pytest.mark.parametrize("size", [*range(18), 125, 126, *range(509, 518), 1000, 4097, 65536])
def test_mask(size: int) -> None:
    payload = os.urandom(size)
    for key in (b"\x00\x00\x00\x00", b"\x01\x02\x03\x04", b"\xff\x00\xff\x00", os.urandom(4)):
        masked = apply_mask(key, payload)
        assert masked == masked_by_the_letter(key, payload)
        assert apply_mask(key, masked) == payload
        assert type(masked) is bytes


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=2000))
def test_mask_anything(key: bytes, payload: bytes) -> None:
    assert apply_mask(key, payload) == masked_by_the_letter(key, payload)


def test_payload_of_zeros_shows_the_key() -> None:
    assert apply_mask(b"abcd", bytes(7)) == b"abcdabc"


# --- encoding ---


def test_examples_of_section_5_7() -> None:
    assert encode_frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert encode_frame(TEXT, b"Hel", fin=False) == bytes.fromhex("010348656c")
    assert encode_frame(CONTINUATION, b"lo") == bytes.fromhex("80026c6f")
    assert encode_frame(PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    assert encode_frame(PONG, b"Hello") == bytes.fromhex("8a0548656c6c6f")
    assert encode_frame(BINARY, bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    assert encode_frame(BINARY, bytes(65536)) == bytes.fromhex("827f0000000000010000") + bytes(65536)


def test_masked_example_of_section_5_7() -> None:
    assert apply_mask(bytes.fromhex("37fa213d"), b"Hello") == bytes.fromhex("7f9f4d5158")


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "8200"),
        (125, "827d"),
        (126, "827e007e"),
        (127, "827e007f"),
        (65535, "827effff"),
        (65536, "827f0000000000010000"),
    ],
)
def test_length_is_encoded_in_the_least_bytes(size: int, header: str) -> None:
    payload = b"x" * size
    assert encode_frame(BINARY, payload) == bytes.fromhex(header) + payload
    masked = encode_frame(BINARY, payload, mask=True)
    begin = len(header) // 2
    assert masked[1] == bytes.fromhex(header)[1] | 0x80
    assert masked[2:begin] == bytes.fromhex(header)[2:]
    key = masked[begin : begin + 4]
    assert apply_mask(key, masked[begin + 4 :]) == payload


@pytest.mark.parametrize("opcode", range(16))
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("rsv1", [True, False])
def test_first_byte(opcode: int, fin: bool, rsv1: bool) -> None:
    for mask in (True, False):
        frame = encode_frame(opcode, b"a", fin=fin, rsv1=rsv1, mask=mask)
        assert frame[0] == fin << 7 | rsv1 << 6 | opcode
        assert frame[1] == mask << 7 | 1


def test_every_frame_has_a_new_key() -> None:
    keys = [encode_frame(BINARY, b"", mask=True)[2:] for _ in range(1000)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) > 990, "section 5.3: a fresh value; 1000 of 2**32 hardly meet"
    assert all(first != second for first, second in pairwise(keys))


def test_keys_come_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(range(256)) * (size // 256)

    monkeypatch.setattr(frames, "_keys", [])
    monkeypatch.setattr(os, "urandom", urandom)
    keys = {encode_frame(BINARY, b"", mask=True)[2:] for _ in range(256)}
    assert asked == [1024], "one system call for many keys"
    assert keys == {bytes(range(at, at + 4)) for at in range(0, 256, 4)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_processes_do_not_share_keys() -> None:
    code = """
import os
from webfw.sansio.websocket.frames import encode_frame
encode_frame(2, b"", mask=True)
if os.fork() == 0:
    os.write(1, b"".join(encode_frame(2, b"", mask=True)[2:] for _ in range(20)))
    os._exit(0)
os.wait()
os.write(1, b"".join(encode_frame(2, b"", mask=True)[2:] for _ in range(20)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    assert done.stderr == b""
    assert len(done.stdout) == 160
    assert not {done.stdout[at : at + 4] for at in range(0, 80, 4)} & {
        done.stdout[at : at + 4] for at in range(80, 160, 4)
    }


# --- close payloads ---

SENDABLE = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
NOT_SENDABLE = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", SENDABLE)
def test_close_codes(code: int) -> None:
    assert encode_close(code) == code.to_bytes(2)
    assert parse_close(encode_close(code)) == (code, "")
    assert parse_close(encode_close(code, "so lange, Grüße")) == (code, "so lange, Grüße")


@pytest.mark.parametrize("code", NOT_SENDABLE)
def test_close_codes_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"close code {code} may not be sent"):
        encode_close(code)
    with pytest.raises(FrameError, match=f"close code {code} may not be sent") as caught:
        parse_close(code.to_bytes(2) + b"why")
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("code", [-1, 65536, 1 << 40])
def test_close_codes_out_of_range(code: int) -> None:
    with pytest.raises(LocalProtocolError, match="may not be sent"):
        encode_close(code)


def test_close_without_code() -> None:
    assert encode_close(None) == b""
    assert parse_close(b"") == (None, "")
    with pytest.raises(LocalProtocolError, match="needs a close code"):
        encode_close(None, "why")


@pytest.mark.parametrize("reason", ["a" * 123, "ä" * 61 + "a", "😀" * 30 + "abc"])
def test_longest_reason(reason: str) -> None:
    payload = encode_close(CloseCode.NORMAL_CLOSURE, reason)
    assert len(payload) == 125
    assert parse_close(payload) == (1000, reason)


@pytest.mark.parametrize("reason", ["a" * 124, "ä" * 62, "😀" * 31])
def test_reason_too_long(reason: str) -> None:
    with pytest.raises(LocalProtocolError, match="124 bytes, over 123"):
        encode_close(1000, reason)


def test_reason_that_cannot_be_encoded() -> None:
    with pytest.raises(LocalProtocolError, match="surrogate"):
        encode_close(1000, "\ud800")


def test_close_payload_of_one_byte() -> None:
    with pytest.raises(FrameError, match="one byte") as caught:
        parse_close(b"\x03")
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("reason", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_reason_that_is_not_utf8(reason: bytes) -> None:
    with pytest.raises(FrameError, match="not UTF-8") as caught:
        parse_close(b"\x03\xe8" + reason)
    assert caught.value.close_code == 1007


@given(st.sampled_from(SENDABLE), st.text(max_size=123))
def test_close_round_trip(code: int, reason: str) -> None:
    try:
        payload = encode_close(code, reason)
    except LocalProtocolError:
        assert len(reason.encode("utf-8", "surrogatepass")) > 123 or not reason.isprintable()
    else:
        assert parse_close(payload) == (code, reason)


def test_frame_error_is_the_peers_fault() -> None:
    error = FrameError("no")
    assert isinstance(error, RemoteProtocolError)
    assert (str(error), error.close_code, error.status) == ("no", 1002, 400)
    assert FrameError("no", CloseCode.MESSAGE_TOO_BIG).close_code == 1009
    assert type(FrameError("no", CloseCode.MESSAGE_TOO_BIG).close_code) is int


def test_close_codes_have_the_registered_numbers() -> None:
    assert [code.value for code in CloseCode] == [1000, 1001, 1002, 1003, *range(1005, 1016)]
    assert CloseCode.SERVICE_RESTART == 1012
    assert CloseCode.TRY_AGAIN_LATER == 1013
    assert (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG) == (0, 1, 2, 8, 9, 10)
