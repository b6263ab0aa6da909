"""Ids and what is missing between two of them; the scripts are tested where they run, in test_redis.py."""

import pytest

from webfw.pubsub.chains import known, missing, newer, unpack
from webfw.pubsub.messages import Message


def id(number: int, ms: int = 1000, life: str = "0123abcd") -> str:
    return f"{life}-{ms:013d}-{number:05d}"


def test_known() -> None:
    assert known(id(1))
    for other in (
        "",
        "x" + id(1),
        id(1) + "0",
        id(1) + "\n",
        id(1).upper(),
        id(1)[:-1] + "\u0665",
        id(1)[:-1],
    ):
        assert not known(other)


def test_newer() -> None:
    assert newer(id(2), id(1))
    assert newer(id(1, 1001), id(99999))
    assert not newer(id(1), id(1))
    assert not newer(id(1), id(2))
    assert newer(id(1, 1, "00000000"), id(2))  # another life cannot be compared


def test_unpack() -> None:
    pushed = f"{id(0)} {id(1)} 4 {id(2)} 1 {id(3)} 3\n".encode() + b"b\n\n\0" + b"s" + b"j{}"
    assert unpack("c", pushed) == (
        id(0),
        [Message("c", id(1), b"\n\n\0"), Message("c", id(2), ""), Message("c", id(3), {})],
    )
    assert unpack("c", id(0).encode() + b"\n") == (id(0), [])


@pytest.mark.parametrize(
    "pushed",
    [
        b"",
        b"\n",
        b"nonsense\n",
        id(0).encode() + b" 1\n",
        f"{id(0)} {id(1)} x\nsx".encode(),
        f"{id(0)} {id(1)} 0\n".encode(),
        f"{id(0)} {id(1)} 1\nx".encode(),
        f"{id(0)} {id(1)} 1 {id(2)}\ns".encode(),
        b"\xff " + f"{id(1)} 1\ns".encode(),
    ],
)
def test_unpack_refuses_what_others_have_written(pushed: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack("c", pushed)


@pytest.mark.parametrize(
    ("position", "before", "ids", "expected"),
    [
        (id(3), id(3), [id(4)], False),
        (id(3), id(4), [id(5)], True),
        (id(3), id(1), [id(2), id(3)], False),  # all of it was seen
        (id(3), id(1), [id(2)], False),
        (id(3), id(2), [id(3), id(4)], False),  # some of it was
        (id(3), id(2), [id(1, 2000)], True),  # the server has forgotten 3
        (id(3), id(0, 1, "ffffffff"), [id(1, 1, "ffffffff")], False),  # a chain that begins before our eyes
        (id(3), id(1, 1, "ffffffff"), [id(2, 1, "ffffffff")], True),  # one that began behind our back
    ],
)
def test_missing(position: str, before: str, ids: list[str], expected: bool) -> None:
    assert missing(position, before, [Message("c", each, 1) for each in ids]) is expected
