"""Every case class of the Autobahn test suite but compression, written from RFC 6455, for both sides.

The numbers in the names are those of the suite's classes; the bytes are made here, by the letter of section 5.2, and
each case runs whole, byte by byte, with trailing bytes and split at random.
"""

import codecs
import random
from collections.abc import Callable, Iterable
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from webfw.sansio.websocket import Close, FrameError, Machine, Ping, Pong

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEYS = [b"\x37\xfa\x21\x3d", b"\x00\x00\x00\x00", b"\xff\xfe\xfd\xfc"]
GREETING = "Hello-µ@ßöäüàá-UTF-8!!"
KOSME = "κόσμε"


class Failed:
    """How a stream ends that breaks a rule: nothing comes after it."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and self.code == other.code

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Failed({self.code})"


PROTOCOL_ERROR = Failed(1002)
NOT_UTF8 = Failed(1007)
TOO_BIG = Failed(1009)


class Frame:
    """A frame by the letter of section 5.2, right or wrong.

    :param rsv: the three reserved bits as a number.
    :param form: how many bytes the length is to take (1, 3 or 9), whatever it is.
    :param masked: the other side's duty when None.
    """

    def __init__(
        self,
        opcode: int,
        payload: bytes | str = b"",
        fin: bool = True,
        *,
        rsv: int = 0,
        form: int | None = None,
        masked: bool | None = None,
    ) -> None:
        self.opcode = opcode
        self.payload = payload.encode() if isinstance(payload, str) else payload
        self.fin = fin
        self.rsv = rsv
        size = len(self.payload)
        self.form = form or (1 if size < 126 else 3 if size < 65536 else 9)
        self.masked = masked

    def __repr__(self) -> str:
        return f"Frame({self.opcode}, {self.payload!r}, {self.fin}, rsv={self.rsv}, masked={self.masked})"

    def encode(self, to_server: bool, key: bytes = KEYS[0]) -> bytes:
        masked = to_server if self.masked is None else self.masked
        size = len(self.payload)
        second = {1: size, 3: 126, 9: 127}[self.form]
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode, masked << 7 | second])
        if self.form > 1:
            head += size.to_bytes(self.form - 1, "big")
        if not masked:
            return head + self.payload
        repeated = key * (size // 4 + 1)
        return head + key + bytes(map(int.__xor__, self.payload, repeated))


def run(server: bool, stream: bytes, cuts: Iterable[int], options: dict[str, Any]) -> list[Any]:
    """What a machine makes of a stream, given in pieces."""
    machine = Machine(server=server, **options)
    events: list[Any] = []
    begin = 0
    for end in [*cuts, len(stream)]:
        machine.feed(stream[begin:end])
        begin = end
        try:
            while (event := machine.next_event()) is not None:
                events.append(event)
        except FrameError as error:
            events.append(Failed(error.close_code))
    assert machine.next_event() is None
    return events


def four_ways(frames: Iterable[Frame], server: bool, **options: Any) -> list[Any]:
    frames = list(frames)
    keys = random.Random(len(frames))
    stream = b"".join(frame.encode(server, keys.choice(KEYS)) for frame in frames)
    size = len(stream)
    events = run(server, stream, [], options)
    if size <= 70_000:
        assert run(server, stream, range(1, size), options) == events, "byte by byte"
    for _ in range(3):
        cuts = sorted(keys.randrange(size + 1) for _ in range(keys.randrange(1, 6)))
        assert run(server, stream, cuts, options) == events, f"split at {cuts}"
    last = events[-1] if events else None
    if isinstance(last, (Failed, Close)):
        for trailing in (b"\x00", b"\xff" * 20, Frame(PING, b"a").encode(server)):
            assert run(server, stream + trailing, [], options) == events, "what follows is discarded"
            assert run(server, stream + trailing, [size], options) == events, "what is read later too"
    else:
        ping = Frame(PING, b"trailing").encode(server)
        for stop in range(len(ping)):
            assert run(server, stream + ping[:stop], [], options) == events, "trailing bytes"
        assert run(server, stream + ping, [], options) == [*events, Ping(b"trailing")]
    return events


Check = Callable[..., None]


@pytest.fixture(params=["server", "client"])
def check(request: pytest.FixtureRequest) -> Check:
    """``check(frames, *events)``: what a machine of either side makes of frames, four ways."""

    def compare(frames: Iterable[Frame], *events: Any, **options: Any) -> None:
        assert four_ways(frames, request.param == "server", **options) == list(events)

    return compare


def chopped(opcode: int, payload: bytes, size: int) -> list[Frame]:
    """One message in fragments of `size` bytes."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    last = len(pieces) - 1
    return [Frame(CONT if at else opcode, piece, at == last) for at, piece in enumerate(pieces)]


# --- 1: framing ---

LENGTHS = [0, 1, 125, 126, 127, 128, 65535, 65536]


@pytest.mark.parametrize("length", LENGTHS)
def test_1_1_text_messages(check: Check, length: int) -> None:
    check([Frame(TEXT, b"*" * length)], "*" * length)


@pytest.mark.parametrize("length", LENGTHS)
def test_1_2_binary_messages(check: Check, length: int) -> None:
    check([Frame(BINARY, b"\xfe" * length)], b"\xfe" * length)


@pytest.mark.parametrize(
    ("length", "form"), [(0, 3), (125, 3), (0, 9), (125, 9), (126, 9), (65535, 9)], ids=str
)
def test_1_length_in_more_bytes_than_needed(check: Check, length: int, form: int) -> None:
    """Section 5.2: "in all cases, the minimal number of bytes MUST be used to encode the length"."""
    for opcode in (TEXT, BINARY):
        check([Frame(opcode, b"*" * length, form=form)], PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("server", [True, False])
def test_1_length_of_64_bits(server: bool, length: int) -> None:
    """Section 5.2: "the most significant bit MUST be 0"; 1002 and not 1009."""
    stream = bytes([0x82, server << 7 | 127]) + length.to_bytes(8, "big") + b"abcd"
    for cuts in ([], range(len(stream))):
        assert run(server, stream, cuts, {"max_message_size": 1 << 70}) == [PROTOCOL_ERROR]


@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("length", [0, 5, 125, 126, 70000])
def test_1_mask_missing_or_needless(check: Check, opcode: int, length: int) -> None:
    """Section 5.1: a server must fail on a frame that is not masked, a client on one that is."""
    for wrong in ("server", "client"):
        server = wrong == "server"
        if length > 125 and opcode >= CLOSE:
            continue
        frame = Frame(opcode, b"\x00" * length, masked=not server)
        assert four_ways([frame], server) == [PROTOCOL_ERROR]


# --- 2: pings and pongs ---


@pytest.mark.parametrize(
    "payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125]
)
def test_2_1_to_2_4_ping(check: Check, payload: bytes) -> None:
    check([Frame(PING, payload)], Ping(payload))


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("length", [126, 127, 65536])
def test_2_5_control_frame_too_long(check: Check, opcode: int, length: int) -> None:
    check([Frame(opcode, b"\xfe" * length)], PROTOCOL_ERROR)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("form", [3, 9])
def test_2_5_control_frame_with_a_longer_length(check: Check, opcode: int, form: int) -> None:
    check([Frame(opcode, b"ab", form=form)], PROTOCOL_ERROR)


@pytest.mark.parametrize("payload", [b"", b"unsolicited pong payload"])
def test_2_7_and_2_8_unsolicited_pong(check: Check, payload: bytes) -> None:
    check([Frame(PONG, payload)], Pong(payload))


def test_2_9_unsolicited_pong_and_ping(check: Check) -> None:
    check([Frame(PONG, b"unsolicited"), Frame(PING, b"ping")], Pong(b"unsolicited"), Ping(b"ping"))


def test_2_10_and_2_11_ten_pings(check: Check) -> None:
    payloads = [b"payload-%d" % number for number in range(10)]
    check([Frame(PING, payload) for payload in payloads], *map(Ping, payloads))


# --- 3: reserved bits ---


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG, CONT])
def test_3_reserved_bits(check: Check, opcode: int, rsv: int) -> None:
    check([Frame(opcode, b"", rsv=rsv)], PROTOCOL_ERROR)
    check([Frame(TEXT, GREETING), Frame(opcode, GREETING, rsv=rsv), Frame(PING)], GREETING, PROTOCOL_ERROR)


@pytest.mark.parametrize("rsv", range(1, 8))
def test_3_reserved_bits_within_a_message(check: Check, rsv: int) -> None:
    check([Frame(TEXT, b"a", False), Frame(CONT, b"b", rsv=rsv)], PROTOCOL_ERROR)
    check([Frame(TEXT, b"a", False), Frame(PING, b"b", rsv=rsv)], PROTOCOL_ERROR)


# --- 4: opcodes ---


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_4_reserved_opcodes(check: Check, opcode: int) -> None:
    check([Frame(opcode)], PROTOCOL_ERROR)
    check([Frame(opcode, b"reserved opcode payload")], PROTOCOL_ERROR)
    check([Frame(opcode, b"", False)], PROTOCOL_ERROR)
    check([Frame(TEXT, GREETING), Frame(opcode, b"\xff"), Frame(PING)], GREETING, PROTOCOL_ERROR)
    check([Frame(TEXT, b"a", False), Frame(opcode, b"b")], PROTOCOL_ERROR)


# --- 5: fragmentation ---


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_5_1_and_5_2_fragmented_control_frame(check: Check, opcode: int) -> None:
    check([Frame(opcode, b"fragment1", False), Frame(CONT, b"fragment2")], PROTOCOL_ERROR)


def test_5_3_to_5_5_two_fragments(check: Check) -> None:
    check([Frame(TEXT, b"fragment1", False), Frame(CONT, b"fragment2")], "fragment1fragment2")
    check([Frame(BINARY, b"fragment1", False), Frame(CONT, b"fragment2")], b"fragment1fragment2")


def test_5_6_to_5_8_ping_between_two_fragments(check: Check) -> None:
    check(
        [Frame(TEXT, b"fragment1", False), Frame(PING, b"ping"), Frame(CONT, b"fragment2")],
        *(Ping(b"ping"), "fragment1fragment2"),
    )
    check([Frame(TEXT, b"fragment1", False), Frame(PING, b"ping")], Ping(b"ping"))


@pytest.mark.parametrize("fin", [True, False])
def test_5_9_to_5_14_continuation_of_nothing(check: Check, fin: bool) -> None:
    check([Frame(CONT, b"non-continuation payload", fin), Frame(TEXT, GREETING)], PROTOCOL_ERROR)
    check([Frame(CONT, b"", fin)], PROTOCOL_ERROR)


@pytest.mark.parametrize("fin", [True, False])
def test_5_15_to_5_17_continuation_after_the_end(check: Check, fin: bool) -> None:
    check(
        [Frame(TEXT, b"a", False), Frame(CONT, b"b"), Frame(CONT, b"c", fin), Frame(TEXT, b"d")],
        *("ab", PROTOCOL_ERROR),
    )
    check([Frame(BINARY, b"a"), Frame(CONT, b"c", fin)], b"a", PROTOCOL_ERROR)


@pytest.mark.parametrize(("first", "second"), list(product([TEXT, BINARY], repeat=2)))
def test_5_18_new_message_within_a_fragmented_one(check: Check, first: int, second: int) -> None:
    check([Frame(first, b"fragment1", False), Frame(second, b"fragment2")], PROTOCOL_ERROR)
    check([Frame(first, b"", False), Frame(second, b"", False)], PROTOCOL_ERROR)


def test_5_19_and_5_20_pings_between_five_fragments(check: Check) -> None:
    frames = [Frame(TEXT, b"fragment1", False), Frame(CONT, b"fragment2", False), Frame(PING, b"one")]
    frames += [Frame(CONT, b"fragment3", False), Frame(PING, b"two"), Frame(CONT, b"fragment4", False)]
    frames += [Frame(CONT, b"fragment5"), Frame(BINARY, b"next")]
    text = "fragment1fragment2fragment3fragment4fragment5"
    check(frames, Ping(b"one"), Ping(b"two"), text, b"next")


def test_5_close_within_a_message(check: Check) -> None:
    frames = [Frame(TEXT, b"a", False), Frame(CLOSE, b"\x03\xe8"), Frame(CONT, b"b")]
    check(frames, Close(1000, ""))


# --- 6: UTF-8 ---


def texts(check: Check, payload: bytes, *events: Any) -> None:
    """A text message whole, in two fragments cut at every byte, and in fragments of one byte."""
    check([Frame(TEXT, payload)], *events)
    for cut in range(len(payload) + 1):
        check([Frame(TEXT, payload[:cut], False), Frame(CONT, payload[cut:])], *events)
    if payload:
        check(chopped(TEXT, payload, 1), *events)


def test_6_1_empty_texts(check: Check) -> None:
    check([Frame(TEXT)], "")
    check([Frame(TEXT, b"", False), Frame(CONT, b"", False), Frame(CONT)], "")
    check([Frame(TEXT, b"", False), Frame(CONT, b"middle", False), Frame(CONT)], "middle")


def test_6_2_valid_in_fragments(check: Check) -> None:
    texts(check, GREETING.encode(), GREETING)


INVALID_TAIL = b"\xed\xa0\x80"


def test_6_3_invalid_in_fragments(check: Check) -> None:
    texts(check, KOSME.encode() + INVALID_TAIL + b"edited", NOT_UTF8)


#: Bytes after which nothing can make a valid text, and how many of them are the beginning of one.
HOPELESS = [
    (b"\xf4\x90", 1),
    (b"\xed\xa0", 1),
    (b"\xed\xbf", 1),
    (b"\xe0\x9f", 1),
    (b"\xf0\x8f", 1),
    (b"\xc0", 0),
    (b"\xc1", 0),
    (b"\xf5", 0),
    (b"\xff", 0),
    (b"\x80", 0),
    (b"\xe1\x80\x7f", 2),
    (b"\xf1\x80\x80\x41", 3),
    (b"\xc3(", 1),
]


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize(("bad", "good"), HOPELESS, ids=lambda value: repr(value))
@pytest.mark.parametrize("fin", [True, False])
def test_6_4_fails_at_once(server: bool, bad: bytes, good: int, fin: bool) -> None:
    """Section 8.1, at the first byte that leaves no hope, whatever is still to come of the frame."""
    for before in (b"", KOSME.encode(), b"a" * 200):
        payload = before + bad + b"a" * 3000
        stream = Frame(TEXT, payload, fin).encode(server)
        head = len(stream) - len(payload)
        stop = head + len(before) + good
        assert run(server, stream[:stop], [], {}) == []
        assert run(server, stream[: stop + 1], [], {}) == [NOT_UTF8]
        assert run(server, stream[: stop + 1], range(stop + 1), {}) == [NOT_UTF8]


@pytest.mark.parametrize("server", [True, False])
def test_6_4_fails_in_the_fragment_that_is_wrong(server: bool) -> None:
    frames = [Frame(TEXT, KOSME, False), Frame(CONT, b"\xf4\x90\x80\x80", False)]
    assert four_ways(frames, server) == [NOT_UTF8]
    frames = [
        Frame(TEXT, KOSME, False),
        Frame(CONT, b"\xf4", False),
        Frame(PING),
        Frame(CONT, b"\x90", False),
    ]
    assert four_ways(frames, server) == [Ping(b""), NOT_UTF8]


def test_6_5_valid(check: Check) -> None:
    for text in ("κ", KOSME, "a", "ab", "€", "𐐷"):
        texts(check, text.encode(), text)


def test_6_6_prefixes(check: Check) -> None:
    """A text that ends within a character is not UTF-8; one that ends between two is."""
    data = KOSME.encode()
    whole = {len(KOSME[:count].encode()): KOSME[:count] for count in range(len(KOSME) + 1)}
    for size in range(len(data) + 1):
        texts(check, data[:size], whole.get(size, NOT_UTF8))


@pytest.mark.parametrize("point", [0, 0x80, 0x800, 0x10000, 0x7F, 0x7FF, 0xFFFF, 0x10FFFF], ids=hex)
def test_6_7_and_6_9_first_and_last_of_each_length(check: Check, point: int) -> None:
    texts(check, chr(point).encode(), chr(point))


BEYOND = ["f888808080", "fc8480808080", "f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf", "f4908080"]


@pytest.mark.parametrize("octets", BEYOND)
def test_6_8_and_6_10_five_and_six_bytes(check: Check, octets: str) -> None:
    texts(check, bytes.fromhex(octets), NOT_UTF8)


@pytest.mark.parametrize("point", [0xD7FF, 0xE000, 0xFFFD, 0x10FFFF], ids=hex)
def test_6_11_other_bounds(check: Check, point: int) -> None:
    texts(check, chr(point).encode(), chr(point))


@pytest.mark.parametrize("octets", ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80bf"])
def test_6_12_unexpected_continuation_bytes(check: Check, octets: str) -> None:
    texts(check, bytes.fromhex(octets), NOT_UTF8)
    check([Frame(TEXT, bytes(range(0x80, 0xC0)))], NOT_UTF8)


@pytest.mark.parametrize(
    ("low", "high"), [(0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD)]
)
def test_6_13_lonely_start_bytes(check: Check, low: int, high: int) -> None:
    check([Frame(TEXT, b"".join(bytes([first]) + b" " for first in range(low, high + 1)))], NOT_UTF8)
    for first in range(low, high + 1):
        check([Frame(TEXT, bytes([first]) + b" ")], NOT_UTF8)
        check([Frame(TEXT, bytes([first]))], NOT_UTF8)


MISSING_LAST = [
    "c0",
    "e080",
    "f08080",
    "f8808080",
    "fc80808080",
    "df",
    "efbf",
    "f7bfbf",
    "fbbfbfbf",
    "fdbfbfbfbf",
]


@pytest.mark.parametrize("octets", MISSING_LAST)
def test_6_14_last_byte_missing(check: Check, octets: str) -> None:
    texts(check, bytes.fromhex(octets), NOT_UTF8)


def test_6_15_incomplete_sequences_together(check: Check) -> None:
    check([Frame(TEXT, bytes.fromhex("".join(MISSING_LAST)))], NOT_UTF8)


@pytest.mark.parametrize("octets", ["fe", "ff", "fefeffff"])
def test_6_16_impossible_bytes(check: Check, octets: str) -> None:
    texts(check, bytes.fromhex(octets), NOT_UTF8)


OVERLONG = [
    *("c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"),  # 6.17: a slash
    *("c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"),  # 6.18: the highest of each length
    *("c080", "e08080", "f0808080", "f880808080", "fc8080808080"),  # 6.19: NUL
]


@pytest.mark.parametrize("octets", OVERLONG)
def test_6_17_to_6_19_overlong(check: Check, octets: str) -> None:
    texts(check, bytes.fromhex(octets), NOT_UTF8)


SURROGATES = [0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF]


@pytest.mark.parametrize("point", SURROGATES, ids=hex)
def test_6_20_surrogates(check: Check, point: int) -> None:
    texts(check, chr(point).encode("utf-8", "surrogatepass"), NOT_UTF8)


@pytest.mark.parametrize("high", SURROGATES[:4], ids=hex)
@pytest.mark.parametrize("low", [0xDC00, 0xDFFF], ids=hex)
def test_6_21_pairs_of_surrogates(check: Check, high: int, low: int) -> None:
    texts(check, (chr(high) + chr(low)).encode("utf-8", "surrogatepass"), NOT_UTF8)


NONCHARACTERS = [plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)]


@pytest.mark.parametrize("point", [*NONCHARACTERS, *range(0xFDD0, 0xFDD4)], ids=hex)
def test_6_22_noncharacters_are_valid(check: Check, point: int) -> None:
    texts(check, chr(point).encode(), chr(point))


@pytest.mark.parametrize("point", [0xFEFF, *range(0xFFF9, 0x10000)], ids=hex)
def test_6_23_specials_are_valid(check: Check, point: int) -> None:
    texts(check, chr(point).encode(), chr(point))


def test_6_line_ends_stay(check: Check) -> None:
    texts(check, b"a\r\nb\rc\nd\x00e", "a\r\nb\rc\nd\x00e")


def test_6_binary_messages_are_not_checked(check: Check) -> None:
    for octets in (*OVERLONG, *BEYOND, *MISSING_LAST):
        check([Frame(BINARY, bytes.fromhex(octets))], bytes.fromhex(octets))


# --- 7: closing ---


def test_7_1_1_message_and_close(check: Check) -> None:
    check([Frame(TEXT, b"Hello"), Frame(CLOSE, b"\x03\xe8")], "Hello", Close(1000, ""))


@pytest.mark.parametrize(
    "after",
    [Frame(CLOSE, b"\x03\xe8"), Frame(PING, b"a"), Frame(TEXT, b"a"), Frame(3, rsv=7), Frame(TEXT, b"\xff")],
    ids=["close", "ping", "text", "nonsense", "bad UTF-8"],
)
def test_7_1_2_to_7_1_6_what_follows_a_close_is_discarded(check: Check, after: Frame) -> None:
    check([Frame(CLOSE, b"\x03\xe8"), after], Close(1000, ""))
    check([Frame(TEXT, b"a" * 70000), Frame(CLOSE, b"\x03\xe8"), after], "a" * 70000, Close(1000, ""))


def test_7_3_1_close_without_code(check: Check) -> None:
    check([Frame(CLOSE)], Close(None, ""))


def test_7_3_2_close_of_one_byte(check: Check) -> None:
    check([Frame(CLOSE, b"a")], PROTOCOL_ERROR)
    check([Frame(CLOSE, b"\x03")], PROTOCOL_ERROR)


@pytest.mark.parametrize("reason", ["", "Hello World!", "*" * 123, "ä" * 61])
def test_7_3_3_to_7_3_5_close_with_code_and_reason(check: Check, reason: str) -> None:
    check([Frame(CLOSE, b"\x03\xe8" + reason.encode())], Close(1000, reason))


def test_7_3_6_close_too_long(check: Check) -> None:
    check([Frame(CLOSE, b"\x03\xe8" + b"*" * 124)], PROTOCOL_ERROR)


@pytest.mark.parametrize("octets", [*OVERLONG, *BEYOND, *MISSING_LAST, "ff", "eda080"])
def test_7_5_1_reason_is_not_utf8(check: Check, octets: str) -> None:
    check([Frame(CLOSE, b"\x03\xe8" + b"Hello " + bytes.fromhex(octets))], NOT_UTF8)


VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]


@pytest.mark.parametrize("code", VALID_CODES)
def test_7_7_codes_that_may_be_sent(check: Check, code: int) -> None:
    check([Frame(CLOSE, code.to_bytes(2, "big"))], Close(code, ""))
    check([Frame(CLOSE, code.to_bytes(2, "big") + b"why")], Close(code, "why"))


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535], ids=str
)
def test_7_9_and_7_13_codes_that_may_not(check: Check, code: int) -> None:
    check([Frame(CLOSE, code.to_bytes(2, "big"))], PROTOCOL_ERROR)
    check([Frame(CLOSE, code.to_bytes(2, "big") + b"why")], PROTOCOL_ERROR)


# --- 9 and 10: limits ---


@pytest.mark.parametrize("size", [1 << 16, 1 << 18, 1 << 20])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_9_1_and_9_2_large_messages(check: Check, opcode: int, size: int) -> None:
    payload = b"*" * size
    check([Frame(opcode, payload)], payload.decode() if opcode == TEXT else payload)


@pytest.mark.slow
@pytest.mark.parametrize("size", [4 << 20, 8 << 20, 16 << 20])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_9_1_and_9_2_largest_messages(check: Check, opcode: int, size: int) -> None:
    payload = b"*" * size
    check([Frame(opcode, payload)], payload.decode() if opcode == TEXT else payload, max_message_size=size)


@pytest.mark.parametrize("size", [64, 256, 1000, 1024, 4096, 16384, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_9_3_and_9_4_fragments_of_a_large_message(check: Check, opcode: int, size: int) -> None:
    payload = ("*ä€😀" * 20_000).encode()
    frames = chopped(opcode, payload, size)
    check(frames, payload.decode() if opcode == TEXT else payload)


@pytest.mark.parametrize("step", [64, 128, 997, 1024, 2048])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("server", [True, False])
def test_9_5_and_9_6_large_message_read_in_small_pieces(opcode: int, step: int, server: bool) -> None:
    payload = ("*ä€😀" * 20_000).encode()
    stream = Frame(opcode, payload).encode(server)
    expected = payload.decode() if opcode == TEXT else payload
    assert run(server, stream, range(step, len(stream), step), {}) == [expected]


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096])
def test_9_7_and_9_8_many_messages(check: Check, size: int) -> None:
    frames = [Frame(TEXT if number % 2 else BINARY, b"*" * size) for number in range(100)]
    check(frames, *["*" * size if number % 2 else b"*" * size for number in range(100)])


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_9_over_the_limit(check: Check, opcode: int) -> None:
    for limit in (0, 1, 125, 126, 1000, 65535, 65536):
        payload = b"*" * limit
        whole = payload.decode() if opcode == TEXT else payload
        check([Frame(opcode, payload)], whole, max_message_size=limit)
        check([Frame(opcode, payload + b"*")], TOO_BIG, max_message_size=limit)
        frames = [Frame(opcode, payload, False), Frame(CONT)]
        check(frames, whole, max_message_size=limit)
        frames = [
            Frame(opcode, payload, False),
            Frame(PING, b"a"),
            Frame(CONT, b"", False),
            Frame(CONT, b"*"),
        ]
        check(frames, Ping(b"a"), TOO_BIG, max_message_size=limit)


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("fin", [True, False])
def test_9_over_the_limit_is_seen_in_the_header(server: bool, fin: bool) -> None:
    whole = Frame(BINARY, b"*" * 1001, fin).encode(server)
    head = len(whole) - 1001
    assert run(server, whole[: head - 1], [], {"max_message_size": 1000}) == []
    assert run(server, whole[:head], [], {"max_message_size": 1000}) == [TOO_BIG]
    first = Frame(BINARY, b"*" * 500, False).encode(server)
    second = Frame(CONT, b"*" * 501, fin).encode(server)
    stream = first + second[: len(second) - 501]
    assert run(server, stream[:-1], [], {"max_message_size": 1000}) == []
    assert run(server, stream, [], {"max_message_size": 1000}) == [TOO_BIG]


def test_10_1_1_text_in_fragments_of_1300(check: Check) -> None:
    check(chopped(TEXT, b"*" * 65536, 1300), "*" * 65536)


# --- beside another reading of the RFC ---

#: Never reached: a message in the wrong place and over the limit may end with either code.
LIMIT = 1 << 20


class Reference:
    """What the sans-I/O protocol of the websockets package, which gives frames, makes of a stream."""

    def __init__(self, server: bool) -> None:
        self.protocol: ServerProtocol | ClientProtocol
        if server:
            self.protocol = ServerProtocol(state=State.OPEN, max_size=LIMIT)
        else:
            self.protocol = ClientProtocol(parse_uri("ws://a/"), state=State.OPEN, max_size=LIMIT)

    def events(self, stream: bytes) -> list[Any]:
        self.protocol.receive_data(stream)
        events: list[Any] = []
        opcode = CONT
        data = b""
        for frame in self.protocol.events_received():
            if frame.opcode is Opcode.PING:
                events.append(Ping(frame.data))
            elif frame.opcode is Opcode.PONG:
                events.append(Pong(frame.data))
            elif frame.opcode is Opcode.CLOSE:
                code = int.from_bytes(frame.data[:2], "big") if frame.data else None
                return [*events, Close(code, frame.data[2:].decode())]
            else:
                if frame.opcode is not Opcode.CONT:
                    opcode, data = int(frame.opcode), b""
                data += frame.data
                if opcode == TEXT and not is_beginning_of_utf8(data, frame.fin):
                    return [*events, NOT_UTF8]
                if frame.fin:
                    events.append(data.decode() if opcode == TEXT else data)
        # It answers what is wrong by a Close with the code, which its events do not show.
        sent = [data for data in self.protocol.data_to_send() if data[:1] == b"\x88"]
        if sent:
            begin = 2 if self.protocol.side.name == "SERVER" else 6
            key = sent[0][2:6]
            payload = sent[0][begin:]
            if begin == 6:
                payload = bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))
            events.append(Failed(int.from_bytes(payload[:2], "big")))
        return events


def is_beginning_of_utf8(data: bytes, final: bool) -> bool:
    """Whether some text begins with `data`, or is all of it: tried with every ending there can be."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        return False
    held = decoder.getstate()[0]
    return not held or any(decodes(held + ending) for ending in ENDINGS)


ENDINGS = (
    [b"\x80" * count for count in range(4)]
    + [b"\x90" + b"\x80" * count for count in range(3)]
    + [b"\xa0\x80"]
)


def decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


PAYLOADS = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"\xed\xa0", b"\xf4\x90", b"\xe2\x82", b"\xac", b"a" * 125, b"a" * 126, b"a" * 200]),
)
CLOSES = st.builds(
    lambda code, reason: code.to_bytes(2, "big") + reason,
    st.sampled_from([*VALID_CODES, 999, 1004, 1005, 1006, 1015, 2999, 5000]),
    st.sampled_from([b"", b"why", b"\xff", b"a" * 123, b"a" * 124]),
)
RIGHT = st.one_of(
    st.builds(Frame, st.sampled_from([TEXT, BINARY, CONT]), PAYLOADS, st.booleans()),
    st.builds(Frame, st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    st.builds(Frame, st.just(CLOSE), CLOSES),
)
ANY = st.builds(
    Frame,
    *(st.integers(0, 15), PAYLOADS, st.booleans()),
    rsv=st.sampled_from([0, 0, 0, 1, 2, 4]),
    masked=st.sampled_from([None, None, None, True, False]),
)


@st.composite
def messages(draw: st.DrawFn) -> list[Frame]:
    """One message in fragments, possibly with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(st.text(max_size=30)).encode("utf-8", "replace")
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4))), len(payload)]
    frames: list[Frame] = []
    for number, (begin, end) in enumerate(pairwise(cuts)):
        if draw(st.booleans()) and number:
            frames.append(Frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=9))))
        frames.append(Frame(CONT if number else opcode, payload[begin:end], number == len(cuts) - 2))
    return frames


def first_close_is_wrong_twice(frames: list[Frame]) -> bool:
    """Whether it has a bad code and a bad reason: 1002 and 1007 are both right, the RFC gives no order."""
    payload = next((frame.payload for frame in frames if frame.opcode == CLOSE), b"")
    code = int.from_bytes(payload[:2], "big")
    bad_code = code not in VALID_CODES and not 3000 <= code <= 4999
    return bad_code and not decodes(payload[2:])


def closes_within_a_message(frames: list[Frame]) -> bool:
    """Whether the first Close comes between fragments, which section 5.4 allows and the other reading does not."""
    within = False
    for frame in frames:
        if frame.opcode == CLOSE:
            return within
        if frame.opcode < CLOSE:
            within = not frame.fin
    return False


@pytest.mark.parametrize("server", [True, False])
@settings(max_examples=400)
@given(
    parts=st.lists(
        st.one_of(messages(), messages(), RIGHT.map(lambda one: [one]), ANY.map(lambda one: [one]))
    ),
    data=st.data(),
)
def test_same_as_websockets(server: bool, parts: list[list[Frame]], data: st.DataObject) -> None:
    frames = [frame for part in parts for frame in part]
    stream = b"".join(frame.encode(server) for frame in frames)
    expected = Reference(server).events(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    events = run(server, stream, cuts, {"max_message_size": LIMIT})
    if events != expected and first_close_is_wrong_twice(frames):
        assert (events.pop(), expected.pop()) == (PROTOCOL_ERROR, NOT_UTF8)
    elif events != expected and closes_within_a_message(frames):
        assert isinstance(events.pop(), Close)
        assert expected.pop() == PROTOCOL_ERROR
    assert events == expected
