"""The client for browsers, webfw-live.js, in a real browser: three transports, and what goes wrong with each."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.liveserver import CHANNEL, LiveServer

pytest.importorskip("selenium")

pytestmark = pytest.mark.needs("chromium", "chromedriver")

TRANSPORTS = ["websocket", "events", "poll"]

#: Delays that a test can wait for.
QUICK = {"minDelay": 40, "maxDelay": 400, "spread": 200, "openTimeout": 3000}


class Client:
    """The page with its `webfw.Live`, seen from the test."""

    def __init__(self, driver: Any, server: LiveServer, eventually: Callable[..., Any]) -> None:
        self.driver = driver
        self.server = server
        self.eventually = eventually

    def run(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(script, *args)

    def start(self, *transports: str, **options: Any) -> None:
        given = {**self.server.urls, **QUICK, "transports": list(transports or TRANSPORTS), **options}
        self.run("start(arguments[0])", given)

    def events(self, name: str) -> list[Any]:
        """The arguments of every event of that name so far."""
        return [event[1:] for event in self.run("return events") if event[0] == name]

    def data(self) -> list[Any]:
        """What the messages so far have brought."""
        return [event[0] for event in self.events("message")]

    def states(self) -> list[str]:
        return [event[0]["state"] for event in self.events("status")]

    def status(self, state: str) -> list[dict[str, Any]]:
        return [event[0] for event in self.events("status") if event[0]["state"] == state]

    def until_state(self, state: str, times: int = 1) -> dict[str, Any]:
        return self.eventually(lambda: len(s := self.status(state)) >= times and s[-1])

    def until_joined(self, transport: str = "", times: int = 1) -> None:
        """Until the server has the client (that often) and the client knows its position."""
        self.eventually(lambda: self.run("return live.state === 'open' && live.cursor !== ''"))
        self.eventually(lambda: [p for p in self.server.places if p.transport in (transport, p.transport)])
        assert not transport or self.run("return live.transport") == transport

    def until_data(self, *data: Any) -> None:
        self.eventually(lambda: len(self.events("message")) >= len(data))
        assert self.data() == list(data)


@pytest.fixture(scope="module")
def module_server() -> Iterator[LiveServer]:
    server = LiveServer()
    yield server
    server.shut_down()


@pytest.fixture
def server(module_server: LiveServer) -> LiveServer:
    module_server.do(module_server.reset)
    return module_server


@pytest.fixture
def client(chromium: Any, server: LiveServer, eventually: Callable[..., Any]) -> Iterator[Client]:
    chromium.get(server.url)
    yield Client(chromium, server, eventually)
    chromium.execute_script("window.live?.close()")
    server.do(server.end)
    chromium.get("about:blank")


def publish(server: LiveServer, *data: Any) -> None:
    for one in data:
        server.do(server.publish, one)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


# --- one transport at a time ---


def test_messages_arrive(client: Client, server: LiveServer, transport: str) -> None:
    client.start(transport)
    client.until_joined(transport)
    values = [{"text": "ä\u2028<b>"}, "text", None, [1, {}], 0, False]
    publish(server, *values)
    client.until_data(*values)
    assert client.events("message")[0][1] == {"channel": CHANNEL, "id": "x-1"}
    assert client.states() == ["connecting", "open"]
    assert client.status("open") == [{"state": "open", "transport": transport}]
    assert client.run("return Object.fromEntries(new URLSearchParams(live.cursor))") == {CHANNEL: "x-6"}
    assert client.events("lost") == []


def test_bytes_arrive_as_an_array(client: Client, server: LiveServer, transport: str) -> None:
    client.start(transport)
    client.until_joined()
    publish(server, bytes(range(256)))
    client.eventually(lambda: client.events("message"))
    script = (
        "const data = events.find(([n]) => n === 'message')[1]; return [data.constructor.name, [...data]]"
    )
    assert client.run(script) == ["Uint8Array", list(range(256))]


def test_goes_on_after_a_cut(client: Client, server: LiveServer, transport: str) -> None:
    """What was published while it was away comes first, once, and in order."""
    client.start(transport)
    client.until_joined()
    publish(server, 1, 2)
    client.until_data(1, 2)
    server.answers[transport] = 503
    server.do(server.end, "abort" if transport == "websocket" else None)
    client.until_state("waiting")
    publish(server, 3, 4)
    server.answers[transport] = None
    client.until_data(1, 2, 3, 4)
    publish(server, 5)
    client.until_data(1, 2, 3, 4, 5)
    assert (transport, {CHANNEL: "x-2"}) in server.came
    assert client.events("lost") == []


def test_goes_on_before_the_first_message(client: Client, server: LiveServer, transport: str) -> None:
    """The position it was told when it joined counts, though nothing has arrived."""
    publish(server, "old")
    client.start(transport)
    client.until_joined()
    server.answers[transport] = 500
    server.do(server.end)
    client.eventually(lambda: (transport, None) in server.came[1:])
    publish(server, "new")
    server.answers[transport] = None
    client.until_data("new")


def test_never_delivers_twice(client: Client, server: LiveServer, transport: str) -> None:
    server.resend_all = True
    client.start(transport)
    client.until_joined()
    publish(server, "a", "b")
    client.until_data("a", "b")
    came = len(server.came)
    server.do(server.end)
    client.eventually(lambda: len(server.came) > came)
    publish(server, "c")
    client.until_data("a", "b", "c")


def test_says_when_messages_are_lost(client: Client, server: LiveServer, transport: str) -> None:
    client.start(transport)
    client.until_joined()
    publish(server, "a")
    client.until_data("a")
    server.forgotten = True
    server.serial = 900
    server.do(server.end)
    client.eventually(lambda: client.events("lost") == [[CHANNEL]])
    client.until_joined()
    publish(server, "b")
    client.until_data("a", "b")
    assert client.events("message")[1][1]["id"] == "x-901"
    assert len(client.events("lost")) == 1


def test_starts_from_a_cursor(client: Client, server: LiveServer, transport: str) -> None:
    publish(server, "a", "b", "c")
    cursor = client.run("return new URLSearchParams([[arguments[0], 'x-1']]).toString()", CHANNEL)
    client.start(transport, since=cursor)
    client.until_data("b", "c")
    assert server.came[0] == (transport, {CHANNEL: "x-1"})


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refused_by_status(client: Client, server: LiveServer, transport: str, status: int) -> None:
    """A WebSocket hides the status from scripts: another transport has to find out."""
    server.answers = dict.fromkeys(TRANSPORTS, status)
    client.start() if transport == "websocket" else client.start(transport)
    assert client.until_state("refused")["reason"] == f"HTTP {status}"
    attempts = len(server.came)
    client.run("window.dispatchEvent(new Event('online'))")
    assert client.run("return live.send(1).then(String, String)") == "Error: the connection is refused"
    assert len(server.came) == attempts == (3 if transport == "websocket" else 1)


@pytest.mark.parametrize("transport", ["events", "poll"])
def test_waits_as_long_as_a_busy_server_asks(client: Client, server: LiveServer, transport: str) -> None:
    server.answers[transport] = 503
    server.headers = {"Retry-After": "100"}
    client.start(transport)
    status = client.until_state("waiting")
    assert 100_000 <= status["retryIn"] <= 100_040
    assert status["reason"] == "HTTP 503"
    server.answers[transport] = None
    client.run("window.dispatchEvent(new Event('online'))")  # the network is back: no need to wait
    client.until_joined()


# --- WebSocket ---


def test_comes_back_within_the_spread_after_a_restart(client: Client, server: LiveServer) -> None:
    client.run("Math.random = () => 0.5")
    client.start("websocket", spread=60_000, minDelay=1000, maxDelay=1000)
    client.until_joined()
    server.do(server.end, 1012)
    assert client.until_state("waiting") == {
        "state": "waiting",
        "transport": "websocket",
        "retryIn": 30_500,
        "reason": "1012 as told",
    }


@pytest.mark.parametrize("code", [1008, 4000, 4999])
def test_refused_by_close_code(client: Client, server: LiveServer, code: int) -> None:
    client.start()
    client.until_joined("websocket")
    server.do(server.end, code)
    assert client.until_state("refused")["reason"] == f"{code} as told"
    assert [transport for transport, _ in server.came] == ["websocket"]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013, 3000])
def test_comes_back_after_other_close_codes(client: Client, server: LiveServer, code: int) -> None:
    client.start()
    client.until_joined("websocket")
    server.do(server.end, code)
    client.until_state("open", 2)


def test_what_is_no_message_is_an_envelope(client: Client, server: LiveServer) -> None:
    client.start("websocket")
    client.until_joined()
    for frame in ["no JSON", '"a string"', "null", "7", "[1]", "{}", '{"own": true}', b"\x00\xff"]:
        server.do(server.tell, frame)
    publish(server, "after")
    client.until_data("after")
    envelopes = [value for (value,) in client.events("envelope")]
    assert envelopes[0] == {"channel": CHANNEL, "id": "x-0", "joined": True}
    assert envelopes[1:7] == ["no JSON", "a string", None, 7, [1], {"own": True}]
    assert client.run("return events.filter(([n]) => n === 'envelope').at(-1)[1] instanceof Uint8Array")


def test_silence_ends_a_websocket_that_had_heartbeats(client: Client, server: LiveServer) -> None:
    client.start("websocket", silence=400)
    client.until_joined()
    server.do(server.tell, {})
    assert client.until_state("waiting")["reason"] == "nothing heard"
    client.until_state("open", 2)


def test_a_websocket_without_heartbeats_may_be_silent(client: Client, server: LiveServer) -> None:
    client.start("websocket", silence=40)
    client.until_joined()
    client.driver.execute_async_script("setTimeout(arguments[0], 400)")
    publish(server, "still here")
    client.until_data("still here")
    assert client.states() == ["connecting", "open"]


def test_a_computer_that_has_slept_trusts_no_connection(client: Client, server: LiveServer) -> None:
    client.start("websocket", silence=400)
    client.until_joined()
    client.run("const now = Date.now; Date.now = () => now() + 600_000")
    client.eventually(lambda: len(server.came) == 2)
    client.eventually(lambda: len(server.places) == 1)
    publish(server, 1)
    client.until_data(1)
    assert "waiting" not in client.states()


# --- events ---


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_event_stream_in_pieces(client: Client, server: LiveServer, end: str) -> None:
    client.start("events")
    client.until_joined()
    lines = [
        ": a comment",
        "retry: 7000",
        "retry: soon",
        "event: other",
        'data: {"channel": "é",',
        'data:"id": "1",',
        "unknown: field",
        'data: "data": "\u2028ok"}',  # a line end for JavaScript, none for a stream
        "",
        "id: none",
        "",
        'data: "left over"',
    ]
    server.do(server.tell, end.join(lines).encode())
    client.until_data("\u2028ok")
    assert client.events("message")[0][1] == {"channel": "é", "id": "1"}
    server.do(server.end)
    status = client.until_state("waiting")
    assert 7000 <= status["retryIn"] <= 7040
    assert status["reason"] == "end of stream"


@pytest.mark.slow
def test_silence_ends_a_stream_but_comments_keep_it(client: Client, server: LiveServer) -> None:
    client.start("events", silence=1000)
    client.until_joined()
    for _ in range(16):
        client.driver.execute_async_script("setTimeout(arguments[0], 100)")
        server.do(server.tell, b": still here\n")
    assert client.states() == ["connecting", "open"]
    assert client.until_state("waiting")["reason"] == "nothing heard"
    client.until_state("open", 2)


def test_an_answer_that_is_no_stream(client: Client, server: LiveServer) -> None:
    client.start("events", events="/webfw/webfw-live.js")
    assert client.until_state("waiting")["reason"] == "not an event stream"
    client.run("live.close()")
    client.start("events", events="/say")  # GET is not allowed there
    assert client.until_state("refused")["reason"] == "HTTP 405"


def test_a_browser_that_is_offline_for_a_while(client: Client, server: LiveServer) -> None:
    client.run("Math.random = () => 0.999999")
    client.start("events", minDelay=20_000, maxDelay=20_000, silence=400)
    client.until_joined()
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    client.driver.execute_cdp_cmd("Network.enable", {})
    try:
        client.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**network, "offline": True})
        client.until_state("waiting")
        publish(server, "meanwhile")
    finally:
        client.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**network, "offline": False})
    client.until_data("meanwhile")
    assert client.states() == ["connecting", "open", "waiting", "connecting", "open"]


# --- poll ---


def test_silence_ends_a_poll_that_is_never_answered(client: Client, server: LiveServer) -> None:
    client.start("poll", silence=600)
    client.until_joined()
    assert client.until_state("waiting")["reason"] == "nothing heard"
    publish(server, 1)
    client.until_data(1)


def test_poll_goes_on_after_time_outs(client: Client, server: LiveServer) -> None:
    server.poll_timeout = 0.05
    client.start("poll")
    client.until_joined()
    client.eventually(lambda: len(server.came) > 3)
    publish(server, "a")
    client.until_data("a")
    assert client.states() == ["connecting", "open"]


@pytest.mark.slow
def test_poll_does_not_run_hot(client: Client, server: LiveServer) -> None:
    """An answer at once with nothing in it, time after time, is asked for twice a second."""
    server.poll_timeout = 0
    client.start("poll")
    client.until_state("open")
    client.driver.execute_async_script("setTimeout(arguments[0], 1200)")
    assert 2 <= len(server.came) <= 5


def test_poll_comes_back_when_the_server_says(client: Client, server: LiveServer) -> None:
    client.start("poll")
    client.until_joined()
    client.eventually(lambda: len(server.came) == 2)
    server.do(server.end, 5000)
    status = client.until_state("waiting")
    assert 5000 <= status["retryIn"] <= 5040
    assert status["reason"] == "going away"


def test_poll_is_open_without_waiting_for_news(client: Client, server: LiveServer) -> None:
    """Its first request asks for an answer at once; the second one stays."""
    client.start(
        "poll", since=client.run("return String(new URLSearchParams([[arguments[0], 'x-0']]))", CHANNEL)
    )
    client.until_joined("poll")
    assert server.came == [("poll", {CHANNEL: "x-0"})] * 2


def test_poll_answer_that_is_no_json(client: Client, server: LiveServer) -> None:
    client.start("poll", poll="/")
    assert "JSON" in client.until_state("waiting")["reason"]


# --- from one transport to another ---


@pytest.mark.parametrize(
    ("answers", "used"),
    [
        ({}, "websocket"),
        ({"websocket": 403}, "events"),
        ({"websocket": "hang"}, "events"),
        ({"websocket": 503, "events": 503}, "poll"),
        ({"websocket": "hang", "events": "hang"}, "poll"),
    ],
)
def test_falls_back_to_what_works(
    client: Client, server: LiveServer, answers: dict[str, Any], used: str
) -> None:
    server.answers.update(answers)
    client.start(openTimeout=300)
    client.until_joined(used)
    publish(server, "hello")
    client.until_data("hello")
    failed = [transport for transport, cursor in server.came if cursor is None and transport in answers]
    assert failed == [transport for transport in answers for _ in range(2)]


def test_uses_what_it_has_urls_for(client: Client, server: LiveServer) -> None:
    client.start(websocket=None, events=None)
    client.until_joined("poll")
    assert (
        client.run("try { new webfw.Live({events: ''}) } catch (error) { return error.name }") == "TypeError"
    )
    assert (
        client.run("try { start({transports: ['pigeon']}) } catch (error) { return error.name }")
        == "TypeError"
    )


def test_returns_to_a_better_transport_without_a_gap(client: Client, server: LiveServer) -> None:
    server.answers["websocket"] = 503
    client.start(upgrade=200)
    client.until_joined("events")
    publish(server, 1, 2)
    client.until_data(1, 2)
    client.eventually(lambda: len([c for c in server.came if c[0] == "websocket"]) > 3)
    assert client.states()[-1] == "open", "attempts to return disturb nobody"
    server.resend_all = True
    server.answers["websocket"] = None
    client.eventually(lambda: client.run("return live.transport") == "websocket")
    client.eventually(lambda: [place.transport for place in server.places] == ["websocket"])
    publish(server, 3)
    client.until_data(1, 2, 3)
    came = len(server.came)
    client.driver.execute_async_script("setTimeout(arguments[0], 500)")
    assert len(server.came) == came, "there is nothing better than the best"


def test_a_restart_does_not_cost_a_transport_that_works(client: Client, server: LiveServer) -> None:
    """One that has been open is tried longer: the server is down, not the way blocked."""
    client.start(maxDelay=40)
    client.until_joined("websocket")
    for name in TRANSPORTS:
        server.answers[name] = 503
    server.do(server.end, 1012)
    client.eventually(lambda: len(server.came) >= 5)
    for name in TRANSPORTS:
        server.answers[name] = None
    client.until_joined("websocket")


def test_a_restart_loses_nothing(client: Client, server: LiveServer, transport: str) -> None:
    client.start(transport)
    client.until_joined()
    publish(server, 1)
    client.until_data(1)
    server.do(server.stop)
    client.until_state("waiting", 2)
    publish(server, 2)
    server.do(server.start)
    client.until_data(1, 2)
    publish(server, 3)
    client.until_data(1, 2, 3)


# --- when to come back ---


def test_delays_double_up_to_the_longest_with_full_jitter(client: Client, server: LiveServer) -> None:
    server.answers["events"] = 500
    client.run("Math.random = () => 0.999999")
    client.start("events", minDelay=10, maxDelay=100)
    client.until_state("waiting", 6)
    assert [status["retryIn"] for status in client.status("waiting")][:6] == [10, 20, 40, 80, 100, 100]
    client.run("Math.random = () => 0")
    count = len(client.status("waiting"))
    assert client.until_state("waiting", count + 2)["retryIn"] == 0


def test_opening_for_a_moment_does_not_reset_the_delays(client: Client, server: LiveServer) -> None:
    client.run("Math.random = () => 0.999999")
    client.start("events", minDelay=10)
    for times in range(1, 4):
        client.until_state("open", times)
        client.until_joined()
        server.do(server.end)
        client.until_state("waiting", times)
    assert [status["retryIn"] for status in client.status("waiting")] == [10, 20, 40]


@pytest.mark.parametrize(
    "event",
    ["window.dispatchEvent(new Event('online'))", "document.dispatchEvent(new Event('visibilitychange'))"],
)
def test_does_not_wait_when_the_network_or_the_visitor_is_back(
    client: Client, server: LiveServer, event: str
) -> None:
    client.run("Math.random = () => 0.999999")
    client.start("websocket", minDelay=60_000, maxDelay=60_000)
    client.until_joined()
    server.do(server.end, "abort")
    assert client.until_state("waiting")["retryIn"] == 60_000
    client.run(event)
    client.until_state("open", 2)


def test_a_changed_network_replaces_the_connection(
    client: Client, server: LiveServer, transport: str
) -> None:
    """The old one may be dead without knowing; it goes when the new one is open."""
    client.start(transport)
    client.until_joined()
    publish(server, 1)
    client.until_data(1)
    came = len(server.came)
    (old,) = client.eventually(lambda: list(server.places))
    client.run("window.dispatchEvent(new Event('online'))")
    client.eventually(lambda: len(server.came) > came)
    client.eventually(lambda: len(server.places) == 1 and old not in server.places)
    publish(server, 2)
    client.until_data(1, 2)
    assert "waiting" not in client.states()


def test_a_connection_in_doubt_ends_when_it_cannot_be_replaced(client: Client, server: LiveServer) -> None:
    client.start("websocket")
    client.until_joined()
    server.answers["websocket"] = 503
    client.run("window.dispatchEvent(new Event('online'))")
    client.until_state("waiting")
    server.answers["websocket"] = None
    client.until_state("open", 2)


def test_a_page_that_only_was_loaded_replaces_nothing(client: Client, server: LiveServer) -> None:
    client.start("websocket")
    client.until_joined()
    client.run("window.dispatchEvent(new PageTransitionEvent('pageshow'))")
    client.run("document.dispatchEvent(new Event('visibilitychange'))")
    publish(server, 1)
    client.until_data(1)
    assert len(server.came) == 1
    client.run("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    client.eventually(lambda: len(server.came) == 2)


def test_a_page_that_was_left_holds_no_connection(client: Client, server: LiveServer, transport: str) -> None:
    """The browser keeps it for the way back, and then it goes on."""
    client.start(transport)
    client.until_joined()
    publish(server, 1)
    client.until_data(1)
    client.eventually(lambda: server.places)
    client.driver.get("about:blank")
    client.eventually(lambda: not server.places)
    publish(server, 2)
    client.driver.back()
    if client.run("return events.length") == 0:
        pytest.skip("this browser has not kept the page")
    client.until_data(1, 2)
    client.until_joined(transport)


# --- sending ---


def test_sends(client: Client, server: LiveServer, transport: str) -> None:
    client.start(transport, headers={"X-Test": "yes"})
    client.until_joined()
    values = [{"text": "ä<b>"}, "text", None, 3]
    for value in values:
        client.run("return live.send(arguments[0])", value)
    client.eventually(lambda: len(server.said) == 4)
    assert server.said == values
    assert server.say_headers == ([] if transport == "websocket" else [("application/json", "yes")] * 4)


def test_queues_until_it_is_connected(client: Client, server: LiveServer, transport: str) -> None:
    server.answers[transport] = 503
    client.start(transport, queue=20)
    client.run("window.sent = []; for (let i = 0; i < 20; i++) live.send(i).then(() => sent.push(i))")
    assert client.run("return live.send(21).catch((error) => error.name)") == "RangeError"
    client.until_state("waiting", 2)
    assert client.run("return sent") == server.said == []
    server.answers[transport] = None
    client.eventually(lambda: len(server.said) == 20)
    client.eventually(lambda: len(client.run("return sent")) == 20)
    assert server.said == client.run("return sent") == list(range(20))


def test_repeats_a_post_that_was_not_answered(client: Client, server: LiveServer) -> None:
    client.start("events")
    client.until_joined()
    server.answers["say"] = 503
    client.run("window.done = 0; for (const value of ['a', 'b']) live.send(value).then(() => done++)")
    client.eventually(lambda: len([c for c in server.came if c[0] == "say"]) > 2)
    server.answers["say"] = None
    client.eventually(lambda: client.run("return done") == 2)
    assert server.said == ["a", "b"]


def test_a_post_that_is_refused_is_not_repeated(client: Client, server: LiveServer) -> None:
    client.start("events")
    client.until_joined()
    server.answers["say"] = 413
    assert client.run("return live.send('long').catch((error) => error.message)") == "HTTP 413"
    server.answers["say"] = None
    client.run("return live.send('short')")
    assert server.said == ["short"]
    assert client.states()[-1] == "open"


def test_sending_without_a_way_to_send(client: Client, server: LiveServer) -> None:
    client.start("events", send=None)
    client.until_joined()
    assert "option `send`" in client.run("return live.send(1).catch((error) => error.message)")
    assert (
        client.run("const a = {}; a.a = a; return live.send(a).catch((error) => error.name)") == "TypeError"
    )


# --- the object itself ---


def test_close_is_the_end(client: Client, server: LiveServer, transport: str) -> None:
    client.start(transport)
    client.until_joined()
    client.run("live.close(); live.close()")
    client.eventually(lambda: not server.places)
    came = len(server.came)
    client.run("window.dispatchEvent(new Event('online'))")
    assert client.run("return live.send(1).then(String, String)") == "Error: the connection is closed"
    assert client.states() == ["connecting", "open", "closed"]
    assert len(server.came) == came


def test_close_before_it_is_open(client: Client, server: LiveServer) -> None:
    server.answers["websocket"] = 503
    client.start("websocket")
    client.until_state("waiting")
    waiting = "const sent = live.send(1).then(String, String); live.close(); return sent"
    assert client.run(waiting) == "Error: the connection is closed"
    client.run("start({events: '/events', since: 'a=x-0'}); live.close()")
    assert [transport for transport, _ in server.came] == ["websocket"] * len(server.came)


def test_a_listener_can_leave_and_may_fail(client: Client, server: LiveServer) -> None:
    client.run(
        "window.heard = []; window.failures = [];"
        "window.addEventListener('error', (event) => { failures.push(event.message); event.preventDefault(); });"
        "start(arguments[0]);"
        "live.on('message', () => { throw new Error('mine'); });"
        "const leave = live.on('message', (data) => { heard.push(data); if (data === 2) leave(); });",
        {**server.urls, **QUICK},
    )
    client.until_joined()
    publish(server, 1, 2, 3)
    client.until_data(1, 2, 3)
    assert client.run("return heard") == [1, 2]
    assert len(client.run("return failures")) == 3


def test_remembers_a_bounded_number_of_ids(client: Client, server: LiveServer) -> None:
    client.start("websocket", remember=2)
    client.until_joined()
    publish(server, 1, 2, 3)
    client.until_data(1, 2, 3)
    for envelope in server.history[::-1]:
        server.do(server.tell, envelope)
    client.until_data(1, 2, 3, 1)


def test_a_message_without_an_id_is_delivered(client: Client, server: LiveServer) -> None:
    client.start("websocket")
    client.until_joined()
    for _ in range(2):
        server.do(server.tell, {"channel": CHANNEL, "data": "now"})
    client.until_data("now", "now")
    assert client.run("return Object.fromEntries(new URLSearchParams(live.cursor))") == {CHANNEL: "x-0"}


def test_is_a_module_for_bundlers(client: Client) -> None:
    script = (
        "const source = await (await fetch('/webfw/webfw-live.js')).text();"
        "const module = {exports: {}}; new Function('module', source)(module);"
        "return [Object.keys(module.exports), module.exports.Live === webfw.Live]"
    )
    assert client.run(f"return (async () => {{ {script} }})()") == [["Live"], True]


def test_works_in_a_worker(client: Client, server: LiveServer) -> None:
    source = (
        f"importScripts({json.dumps(server.url + '/webfw/webfw-live.js')});"
        f"const live = new webfw.Live({{websocket: {json.dumps(server.urls['websocket'])}}});"
        "live.on('message', (data) => postMessage(data));"
    )
    client.run(
        "window.worker = new Worker(URL.createObjectURL(new Blob([arguments[0]])));"
        "worker.onmessage = ({data}) => events.push(['message', data]);",
        source,
    )
    client.eventually(lambda: server.places)
    publish(server, {"from": "a worker"})
    client.until_data({"from": "a worker"})
