"""The part of an exchange that is the same for every version of HTTP."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver import DONE, Done, Exchange
from webfw.httputil import HTTPConnection, HTTPHeaders


async def test_done_behaves_like_a_future() -> None:
    assert await DONE is None  # type: ignore[func-returns-value]
    assert await asyncio.wait_for(DONE, 1) is None
    assert await asyncio.gather(DONE, DONE) == [None, None]
    assert DONE.done()
    assert not DONE.cancelled()
    assert not DONE.cancel()
    assert DONE.result() is DONE.exception() is None
    called: list[Any] = []
    DONE.add_done_callback(called.append)
    assert not called
    await asyncio.sleep(0)
    assert called == [DONE]
    assert DONE.remove_done_callback(called.append) == 0
    assert not hasattr(Done(), "__dict__")


def test_an_exchange_is_a_connection_as_tornado_has_it() -> None:
    assert issubclass(Exchange, HTTPConnection)
    line = Exchange.start_line(404, "Not Found")
    assert (line.version, line.code, line.reason) == ("HTTP/1.1", 404, "Not Found")


@pytest.mark.parametrize(
    "use",
    [
        lambda e: e.server_connection,
        lambda e: e.respond(200, "OK", HTTPHeaders(), b""),
        lambda e: e.write_headers(e.start_line(200, "OK"), HTTPHeaders()),
        lambda e: e.write(b""),
        lambda e: e.finish(),
        lambda e: e.set_trailers([]),
        lambda e: e.send_informational(103, HTTPHeaders()),
        lambda e: e.sendfile(io.BytesIO(), 0, 0).send(None),
        lambda e: e.abort_response(),
        lambda e: e.set_close_callback(None),
        lambda e: e.set_max_body_size(0),
        lambda e: e.set_body_timeout(0),
        lambda e: e.get_extra_info("socket"),
        lambda e: e.detach(),
    ],
)
def test_what_a_version_must_define(use: Callable[[Exchange], object]) -> None:
    with pytest.raises(NotImplementedError):
        use(Exchange())
