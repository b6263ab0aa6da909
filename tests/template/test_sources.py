"""Source lines for tracebacks."""

import linecache

from webfw.template import sources


def test_lines_survive_a_check_of_the_cache() -> None:
    sources.publish("<not on disk>", "a\x0c\u2028b\r\nc\n")
    linecache.checkcache()
    assert linecache.getlines("<not on disk>") == ["a\x0c\u2028b\r\n", "c\n"]


def test_only_the_last_are_kept() -> None:
    for number in range(sources.LIMIT + 3):
        sources.publish(f"many/{number}", "x\n")
        sources.publish("many/again", "y\n")
    kept = [name for name in linecache.cache if name.startswith("many/")]
    assert len(kept) == sources.LIMIT
    assert {"many/again", f"many/{sources.LIMIT + 2}"} <= set(kept)
    assert "many/0" not in kept
