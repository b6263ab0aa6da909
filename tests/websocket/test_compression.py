"""Tests of webfw.websocket.compression: what a program asks for, agreed with a peer."""

from typing import Any

import pytest

from webfw.sansio.errors import RemoteProtocolError
from webfw.websocket.compression import agree, confirm, offer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression_level": 9, "mem_level": 9, "threshold": 1},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {"server_max_window_bits": 10, "client_max_window_bits": 9},
    ],
)
def test_both_sides_agree(options: dict[str, Any]) -> None:
    server, accepted = agree(options, [offer(options)])
    client = confirm(options, [accepted])
    assert server is not None
    assert client is not None
    for one, other in ((server, client), (client, server)):
        for text in (b"hello " * 100, b"hello " * 100, b""):
            assert other.decompress(one.compress(text), final=True, max_size=10_000) == text


def test_the_engines_options() -> None:
    deflate, _ = agree({"compression_level": 2, "mem_level": 3, "threshold": 77}, ["permessage-deflate"])
    assert deflate is not None
    assert deflate.threshold == 77
    assert deflate.shared_key == (15, 2, 3)


@pytest.mark.parametrize("offers", [[], ["x-other"], ["permessage-deflate; unknown=1"]])
def test_nothing_to_agree_on(offers: list[str]) -> None:
    assert agree({}, offers) == (None, "")


def test_none_is_wanted() -> None:
    assert agree(None, ["permessage-deflate"]) == (None, "")
    assert offer(None) == ""
    assert confirm(None, []) is None
    assert confirm({}, []) is None


def test_malformed_offers_are_the_clients_fault_wanted_or_not() -> None:
    for options in ({}, None):
        with pytest.raises(RemoteProtocolError):
            agree(options, ["permessage-deflate; ="])


def test_a_server_that_accepts_what_was_not_offered() -> None:
    with pytest.raises(RemoteProtocolError):
        confirm(None, ["permessage-deflate"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"level": 1}, "'level'; there are: compression_level"),
        ({"compression_level": 10}, "level"),
        ({"mem_level": 0}, "level"),
        ({"server_max_window_bits": 7}, "window bits"),
    ],
)
def test_wrong_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        agree(options, ["permessage-deflate"])
