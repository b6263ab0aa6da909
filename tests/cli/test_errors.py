"""Tests of webfw.cli.errors."""

from webfw.cli.errors import FAILED, USAGE, CommandError


def test_carries_sentence_and_status() -> None:
    assert (str(CommandError("no such file")), CommandError("no such file").status) == (
        "no such file",
        FAILED,
    )
    assert CommandError("what?", USAGE).status == 2
