"""White space modes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.template.whitespace import MODES, default_mode, filter_whitespace

SAMPLE = " a  b\t\tc \n \n d\r\n e\t\n\tf  "


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("all", SAMPLE), ("single", " a b c\nd\ne\nf "), ("oneline", " a b c d e f ")],
)
def test_modes(mode: str, expected: str) -> None:
    assert filter_whitespace(mode, SAMPLE) == expected


def test_single_leaves_other_white_space_without_newline() -> None:
    assert filter_whitespace("single", "a\r\r\x0cb") == "a\r\r\x0cb"


@pytest.mark.parametrize("mode", ["", "none", "SINGLE"])
def test_unknown_mode(mode: str) -> None:
    with pytest.raises(ValueError, match="unknown whitespace mode"):
        filter_whitespace(mode, "x")


@given(st.sampled_from(MODES), st.text(alphabet=" \t\r\n\x0cab"))
def test_twice_is_once(mode: str, text: str) -> None:
    once = filter_whitespace(mode, text)
    assert filter_whitespace(mode, once) == once
    assert "".join(once.split()) == "".join(text.split())


def test_time_is_linear() -> None:
    # A run of white space without a newline is looked at once: 2 MB would take hours at quadratic cost.
    assert filter_whitespace("single", "\r" * 2_000_000 + "x") == "\r" * 2_000_000 + "x"


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.html", "single"), ("x/a.js", "single"), ("a.txt", "all"), ("a.HTML", "all"), ("<string>", "all")],
)
def test_default_mode(name: str, mode: str) -> None:
    assert default_mode(name) == mode
