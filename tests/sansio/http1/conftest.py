"""Every parser case four ways: whole, byte by byte, with trailing bytes, split at random; all must agree."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, parse_head, parse_response_head

LIMITS = HeadLimits()

#: What may follow a head in the same read; a parser must not look at it.
TRAILING = [
    b"\x00",
    b"\n\n",
    b"\r",
    b" folded\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"a" * 99,
]


class Refused:
    """What a parser raised, comparable."""

    def __init__(self, error: RemoteProtocolError) -> None:
        self.status = error.status
        self.message = str(error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused) and (self.status, self.message) == (other.status, other.message)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Refused({self.status}, {self.message!r})"


def slots(head: Any) -> dict[str, Any]:
    return {name: getattr(head, name) for name in type(head).__slots__}


def feed(
    parse: Callable[..., Any], stream: bytes, stops: Iterable[int], start: int, limits: HeadLimits
) -> Any:
    """Parse prefixes of `stream` that end at `stops` until one of them decides; `None` if none does."""
    seen = start
    for stop in stops:
        try:
            head = parse(stream[:stop], start, seen, limits)
        except RemoteProtocolError as error:
            return Refused(error)
        if head is not None:
            return slots(head)
        seen = stop
    return None


def four_ways(
    parse: Callable[..., Any], data: bytes, limits: HeadLimits = LIMITS, cuts: Iterable[int] | None = None
) -> Any:
    """The one outcome of parsing `data`: the attributes of a head, a `Refused`, or `None` for "need more"."""
    size = len(data)
    whole = feed(parse, data, [size], 0, limits)
    if size < 3000:
        assert feed(parse, data, range(size + 1), 0, limits) == whole, "byte by byte"
    if cuts is None:
        seeded = random.Random(data)
        cuts = [seeded.randrange(size + 1) for _ in range(seeded.randrange(1, 6))] if size else []
    assert feed(parse, data, [*sorted(set(cuts)), size], 0, limits) == whole, "split at random"
    for trailing in TRAILING if whole is not None else []:
        assert feed(parse, data + trailing, [size + len(trailing)], 0, limits) == whole, "trailing bytes"
    shifted = feed(parse, b"\r\nX" + data, [size + 3], 3, limits)
    if isinstance(shifted, dict):
        shifted["end"] -= 3
    assert shifted == whole, "not at the beginning"
    return whole


@pytest.fixture(scope="session")
def parse_request() -> Callable[..., Any]:
    """``parse_request(data, limits=..., cuts=...)``: `parse_head` four ways."""

    def check(data: bytes, limits: HeadLimits = LIMITS, cuts: Iterable[int] | None = None) -> Any:
        return four_ways(parse_head, data, limits, cuts)

    return check


@pytest.fixture(scope="session")
def parse_response() -> Callable[..., Any]:
    """``parse_response(data, method=..., limits=..., cuts=...)``: `parse_response_head` four ways."""

    def check(
        data: bytes, method: str = "GET", limits: HeadLimits = LIMITS, cuts: Iterable[int] | None = None
    ) -> Any:
        def parse(data: bytes, start: int, seen: int, limits: HeadLimits) -> Any:
            return parse_response_head(data, start, seen, limits, method)

        return four_ways(parse, data, limits, cuts)

    return check


@pytest.fixture(scope="session")
def decode_body() -> Callable[..., Any]:
    """``decode_body(make, data, cuts=...)``: the payload, the decoder and what is left over, or a `Refused`.

    `make` returns a fresh decoder.  A decoder that is cut off by the end of `data` must say so at EOF.
    """

    def run(make: Callable[[], Any], data: bytes, stops: Iterable[int]) -> Any:
        decoder = make()
        payload = b""
        at = 0
        for stop in stops:
            try:
                found, offset = decoder.receive(data[:stop], at)
            except RemoteProtocolError as error:
                return Refused(error)
            payload += found
            assert at <= offset <= stop
            assert decoder.done or offset == stop, "takes everything until it is done"
            at = offset
            if decoder.done:
                break
        if decoder.done:
            assert decoder.receive(data, at) == (b"", at), "takes nothing when it is done"
            decoder.receive_eof()
        return payload, decoder.done, data[at:], getattr(decoder, "trailers", None)

    def check(make: Callable[[], Any], data: bytes, cuts: Iterable[int] | None = None) -> Any:
        size = len(data)
        whole = run(make, data, [size])
        if size < 3000:
            assert run(make, data, range(size + 1)) == whole, "byte by byte"
        if cuts is None:
            seeded = random.Random(data)
            cuts = [seeded.randrange(size + 1) for _ in range(seeded.randrange(1, 6))] if size else []
        assert run(make, data, [*sorted(set(cuts)), size]) == whole, "split at random"
        if isinstance(whole, Refused):
            assert run(make, data + b"\r\n0\r\n\r\n", [size + 7]) == whole, "trailing bytes"
        elif whole[1]:
            for trailing in TRAILING:
                payload, done, left, trailers = run(make, data + trailing, [size + len(trailing)])
                assert (payload, done, trailers) == (whole[0], True, whole[3]), "trailing bytes"
                assert left == whole[2] + trailing
        return whole

    return check
