"""Tests of webfw.cli.errors."""

import pytest

from webfw.cli.errors import FAILED, USAGE, CommandError, in_one_sentence


def test_carries_sentence_and_status() -> None:
    assert (str(CommandError("no such file")), CommandError("no such file").status) == (
        "no such file",
        FAILED,
    )
    assert CommandError("what?", USAGE).status == 2


def test_what_a_room_below_says_is_the_sentence() -> None:
    with pytest.raises(CommandError, match="^no way in$") as caught, in_one_sentence(ValueError, OSError):
        raise PermissionError("no way in")
    assert caught.value.status == FAILED
    with pytest.raises(KeyError), in_one_sentence(ValueError):
        raise KeyError("else")
