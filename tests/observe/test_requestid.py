"""Tests of webfw.observe.requestid: ids in and out, in logs, and the trace they belong to."""

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import Answer, Sites
from tests.wsgi.conftest import until
from webfw.httputil import HTTPServerRequest, RequestStartLine
from webfw.observe import (
    RequestIdFilter,
    RequestIds,
    TraceParent,
    current_request_id,
    outgoing_fields,
    parse_traceparent,
)
from webfw.routing import AnyMatches, Rule, RuleRouter
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MADE = re.compile(r"[0-9a-f]{16}-[0-9a-f]+")


@pytest.fixture
def sites() -> Iterator[Sites]:
    made = Sites()
    yield made
    made.end()


class Tells(RequestHandler):
    """Answers with the id, by all the ways there are to it."""

    async def get(self) -> None:
        first = current_request_id()
        await asyncio.sleep(0)
        later = await asyncio.create_task(self.ask())
        assert first == later == self.request.request_id
        self.write(f"{first}")

    async def ask(self) -> str | None:
        return current_request_id()


async def test_each_request_gets_an_id(sites: Sites) -> None:
    site = sites(Tells, server={"observer": RequestIds()})
    seen = set()
    for _ in range(3):
        answer = await site.ask("/", X_Request_ID="from-outside")
        name = answer.headers["X-Request-ID"]
        assert MADE.fullmatch(name)
        assert answer.body.decode() == name
        seen.add(name)
    assert len(seen) == 3
    assert current_request_id() is None


async def test_behind_a_router_of_the_programs_own(sites: Sites) -> None:
    router = RuleRouter([Rule(AnyMatches(), Application([("/", Tells)]))])
    answer = await sites(router, server={"observer": RequestIds()}).ask("/")
    assert answer.status == 200
    assert answer.body.decode() == answer.headers["X-Request-ID"]


async def test_each_maker_has_a_prefix_of_its_own(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = []
    ids = RequestIds()
    for pid in (1, 1, 2):  # as after a fork
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        answer = await sites(Tells, server={"observer": ids}).ask("/")
        prefixes.append(answer.headers["X-Request-ID"].split("-")[0])
    assert prefixes[0] == prefixes[1] != prefixes[2]


@pytest.mark.parametrize(
    "name", ["a", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "1-5759e988-bd862e3fe/x:y=+@~_.", "x" * 128]
)
async def test_an_id_from_a_trusted_peer_is_taken(sites: Sites, name: str) -> None:
    answer = await sites(Tells, server={"observer": RequestIds(trust=True)}).ask("/", X_Request_ID=name)
    assert answer.headers["X-Request-ID"] == answer.body.decode() == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a,b", '"', "<script>", "\xe9", "a\tb", "${jndi}"])
async def test_one_that_is_not_sane_is_replaced(sites: Sites, name: str) -> None:
    answer = await sites(Tells, server={"observer": RequestIds(trust=True)}).ask("/", X_Request_ID=name)
    assert MADE.fullmatch(answer.headers["X-Request-ID"])


async def test_where_the_trusted_peer_gives_none_one_is_made(sites: Sites) -> None:
    answer = await sites(Tells, server={"observer": RequestIds(trust=True)}).ask("/")
    assert MADE.fullmatch(answer.headers["X-Request-ID"])


async def test_two_of_them_are_none(sites: Sites) -> None:
    site = sites(Tells, server={"observer": RequestIds(trust=True)})
    data = Sites.request("/", X_Request_ID="one").replace(b"\r\n\r\n", b"\r\nX-Request-ID: two\r\n\r\n")
    assert MADE.fullmatch(Answer(await site.send(data)).headers["X-Request-ID"])


async def test_the_application_may_say_something_else(sites: Sites) -> None:
    class Own(RequestHandler):
        def get(self) -> None:
            self.set_header("X-Request-ID", "own")

    answer = await sites(Own, server={"observer": RequestIds()}).ask("/")
    assert answer.headers.get_list("X-Request-ID") == ["own"]


async def test_answers_of_the_server_itself_have_it_too(sites: Sites) -> None:
    site = sites(Tells, server={"observer": RequestIds(), "max_body_size": 1})
    answer = await site.ask("/", "POST", b"too much")
    assert answer.status == 413
    assert MADE.fullmatch(answer.headers["X-Request-ID"])


async def test_nothing_in_the_response_where_that_is_not_wanted(sites: Sites) -> None:
    answer = await sites(Tells, server={"observer": RequestIds(respond=False)}).ask("/")
    assert "X-Request-ID" not in answer.headers
    assert MADE.fullmatch(answer.body.decode())


async def test_without_it_there_is_no_id(sites: Sites) -> None:
    answer = await sites(Tells).ask("/", X_Request_ID="abc")
    assert answer.body == b"None"
    assert HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.0")).request_id is None


@pytest.mark.parametrize("threads", [0, 1])
async def test_wsgi(sites: Sites, threads: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['HTTP_X_REQUEST_ID']} {current_request_id()}".encode()]

    container = WSGIContainer(app, threads=threads, log_function=lambda entry: None)
    site = sites(container, server={"observer": RequestIds(trust=True)})
    for asked, got in (("abc", "abc"), ("not sane", None)):
        site.wire.feed(Sites.request("/", X_Request_ID=asked))
        await until(lambda: site.wire.sent)
        answer = Answer(site.wire.take())
        name = answer.headers["X-Request-ID"]
        assert answer.body.decode() == f"{name} {name}"
        assert name == got or (got is None and MADE.fullmatch(name))
    container.close()


async def test_requests_of_one_connection_do_not_see_each_other(sites: Sites) -> None:
    site = sites(Tells, server={"observer": RequestIds(trust=True)})
    data = await site.send(Sites.request("/", X_Request_ID="one") + Sites.request("/", X_Request_ID="two"))
    assert re.findall(rb"\r\n\r\n(one|two)", data) == [b"one", b"two"]


async def test_logs_know_the_request(sites: Sites) -> None:
    log = logging.Logger("of a program")  # noqa: LOG001  # nobody else shall see it
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.request_id)  # type: ignore[attr-defined, method-assign]
    handler.addFilter(RequestIdFilter())
    log.addHandler(handler)

    class Logs(RequestHandler):
        def get(self) -> None:
            log.warning("in")

    log.warning("before")
    await sites(Logs, server={"observer": RequestIds(trust=True)}).ask("/", X_Request_ID="abc")
    log.warning("after", extra={"request_id": "given"})
    assert seen == ["-", "abc", "given"]


# The trace.


def test_a_traceparent_is_taken_apart() -> None:
    found = parse_traceparent(TRACE)
    assert found == TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)
    assert found.sampled
    assert str(found) == TRACE
    assert parse_traceparent(f" {TRACE}\t") == found
    later = parse_traceparent("cc" + TRACE[2:-1] + "2-what-comes-later")
    assert later == found._replace(flags=2)
    assert not later.sampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE.upper(),
        TRACE + "-more",
        TRACE[:-1],
        "ff" + TRACE[2:],
        "00-" + "0" * 32 + TRACE[35:],
        TRACE[:36] + "0" * 16 + "-01",
        TRACE.replace("-", "_"),
        "cc" + TRACE[2:] + "x",
        TRACE + "\n",
        TRACE.replace("0af7", "xaf7"),
        TRACE.replace("1", "\u0661"),
    ],
)
def test_others_are_ignored(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.text(), st.integers(0, 55), st.integers(0, 55))
def test_no_text_breaks_it(text: str, begin: int, end: int) -> None:
    found = parse_traceparent(TRACE[:begin] + text + TRACE[end:])
    assert found is None or str(found)[3:52] in TRACE[:begin] + text + TRACE[end:]


class Passes(RequestHandler):
    def get(self) -> None:
        self.write(outgoing_fields())


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        ({}, {}),
        ({"traceparent": TRACE}, {"traceparent": TRACE}),
        ({"traceparent": TRACE, "tracestate": "a=1"}, {"traceparent": TRACE, "tracestate": "a=1"}),
        ({"traceparent": "rubbish", "tracestate": "a=1"}, {}),
        ({"tracestate": "a=1"}, {}),
    ],
)
async def test_fields_for_requests_to_others(
    sites: Sites, fields: dict[str, str], passed: dict[str, str]
) -> None:
    site = sites(Application([("/", Passes)]), server={"observer": RequestIds(trust=True)})
    site.application.settings["log_function"] = lambda handler: None
    import json

    answer = await site.ask("/", X_Request_ID="abc", **fields)
    assert json.loads(answer.body) == {"X-Request-ID": "abc", **passed}
    assert outgoing_fields() == {}
