"""A field block as pairs of octets, in C and in Python."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.http1 import fields
from webfw.sansio.http1.fields import raw_fields
from webfw.sansio.native import native

BLOCKS = {
    "": [],
    "Host: a\r\n": [(b"host", b"a")],
    "HOST:a\r\nX-A: \t b c \t\r\nx-a:\r\n": [(b"host", b"a"), (b"x-a", b"b c"), (b"x-a", b"")],
    "A: bc\nB: d\r\n": [(b"a", b"bc\nB: d")],
    "A: b\rc\r\r\n": [(b"a", b"b\rc\r")],
    "A: bc": [(b"a", b"bc")],
    "no colon\r\n: no name\r\n\r\n": [(b"", b"no name")],
    "A: b:c\r\n": [(b"a", b"b:c")],
    "A: \xe9\x85\xa0\r\nB: c\r\n": [(b"a", b"\xe9\x85\xa0"), (b"b", b"c")],
    "[]@Z`{: x\r\n": [(b"[]@z`{", b"x")],
}


@pytest.fixture(params=["native", "pure"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure":
        monkeypatch.setattr(fields, "_raw_fields", None)
    elif native is None:
        pytest.skip("not built")


@pytest.mark.usefixtures("twin")
@pytest.mark.parametrize("block", BLOCKS)
def test_blocks(block: str) -> None:
    assert raw_fields(block) == BLOCKS[block]


@pytest.mark.skipif(native is None, reason="not built")
@given(st.lists(st.tuples(st.text("!#aZ-9`[", min_size=1, max_size=9), st.text("a: \t\x80\xff", max_size=9))))
def test_both_say_the_same(pairs: list[tuple[str, str]]) -> None:
    block = "".join(f"{name}:{value}\r\n" for name, value in pairs)
    known = native.raw_fields(block)  # type: ignore[union-attr]
    wanted = [(n.lower().encode(), v.encode("latin-1").strip(b" \t")) for n, v in pairs]
    assert known is None or known == wanted
    assert raw_fields(block) == wanted
