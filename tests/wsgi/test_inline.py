"""Requests run on the loop: what only that way has, such as answers of one turn that leave together."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.conftest import Site
from tests.wsgi.conftest import Serve, request, until
from tests.wsgi.test_run import PLAIN, Body, answering, raising
from webfw.wsgi import WSGIContainer


class Turn:
    """Clients whose requests come in one turn of the loop, and in which order what happens to them.

    :ivar order: a path for each call of the application, and the same with ``!`` for each answer.
    """

    def __init__(self, patch: pytest.MonkeyPatch, clients: int) -> None:
        self.order: list[str] = []
        self.now = 1000.0
        patch.setattr("webfw.wsgi.container.monotonic", lambda: self.now)
        self.container = WSGIContainer(self.app, threads=0, log_function=lambda entry: None)
        self.sites = [Site(self.container) for _ in range(clients)]
        for number, site in enumerate(self.sites):
            site.wire.write = self._writing(f"/{number}", site.wire.write)  # type: ignore[method-assign]

    def _writing(self, path: str, write: Any) -> Any:
        def written(data: bytes) -> None:
            self.order.append(path + "!")
            write(data)

        return written

    def app(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.order.append(environ["PATH_INFO"])
        self.now += float(environ["QUERY_STRING"] or 0)
        start_response("200 OK", list(PLAIN))
        return [b"hello"]

    async def ask(self, *queries: str) -> list[str]:
        for number, query in enumerate(queries):
            self.sites[number].wire.feed(request(f"/{number}?{query}"))
        self.sent = [await site.settle() for site in self.sites]
        for site in self.sites:
            site.wire.lose()
        return self.order


async def test_answers_of_one_turn_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Turn(monkeypatch, 3)
    assert await turn.ask("0", "0", "0") == ["/0", "/1", "/2", "/0!", "/1!", "/2!"]
    assert all(sent.endswith(b"hello") for sent in turn.sent)


async def test_an_answer_waits_a_millisecond_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Turn(monkeypatch, 4)
    assert await turn.ask("0.0006", "0.0006", "0.5", "0") == [
        "/0", "/1", "/0!", "/1!", "/2", "/2!", "/3", "/3!",
    ]  # fmt: skip


async def test_an_answer_that_cannot_be_sent_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    turn = Turn(monkeypatch, 3)
    # A log function runs at the end of each answer.
    turn.container.settings["log_function"] = lambda entry: 1 // (entry.request.path != "/1")
    with expect_log("webfw.application", r"/1\?0 .*uncaught exception", count=1):
        await turn.ask("0", "0", "0")
    assert all(sent.endswith(b"hello") for sent in turn.sent)


async def test_a_client_that_goes_while_its_answer_waits_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turn = Turn(monkeypatch, 3)
    app = turn.container.wsgi_application

    def losing(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/2":
            turn.sites[1].wire.lose()
        return app(environ, start_response)

    turn.container.wsgi_application = losing
    assert await turn.ask("0", "0", "0") == ["/0", "/1", "/2", "/0!", "/2!"]


async def test_hints_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Turn(monkeypatch, 2)
    app = turn.container.wsgi_application

    def hinting(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.early_hints"]([("Link", "</a>")])
        return app(environ, start_response)

    turn.container.wsgi_application = hinting
    assert await turn.ask("0", "0") == ["/0!", "/0", "/1!", "/1", "/0!", "/1!"]


@pytest.mark.parametrize("rest", ["raises", "goes on"])
async def test_what_comes_behind_a_whole_answer_changes_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, expect_log: Any, rest: str
) -> None:
    turn = Turn(monkeypatch, 2)

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [*PLAIN, ("Content-Length", "5")])
        yield b"hello"
        if rest == "raises":
            raise ValueError("broken")
        yield b"more"

    turn.container.wsgi_application = app
    complaint = "uncaught exception in the app" if rest == "raises" else "longer than its Content-Length"
    with expect_log("webfw.application", complaint, count=2):
        await turn.ask("", "")
    for sent in turn.sent:
        assert sent.startswith(b"HTTP/1.1 200 OK")
        assert sent.endswith(b"\r\n\r\nhello")


async def test_write_for_a_client_that_does_not_read(serve: Serve) -> None:
    # Nothing may wait on the loop: what is written goes to a file, and another client is served meanwhile.
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", list(PLAIN))
        if environ["PATH_INFO"] == "/large":
            for i in range(100):
                write(bytes([i % 256]) * 100_000)
        return [b"end"]

    async with serve(app, "inline") as served:
        slow = await served.connect()
        slow.send(request("/large"))
        assert (await served.ask()).body == b"end"
        answer = await slow.answer()
        assert answer.body == b"".join(bytes([i % 256]) * 100_000 for i in range(100)) + b"end"


async def test_an_interrupt_on_the_loop_stops_the_program(expect_log: Any) -> None:
    container = WSGIContainer(raising(KeyboardInterrupt()), threads=0, log_function=lambda entry: None)
    site = Site(container)
    site.wire.feed(request())
    assert container._turn is not None
    turn = container._turn.copy()
    container._turn.clear()  # the loop, which would run it in its next turn, is not to be stopped here
    with expect_log("webfw.application", "uncaught exception", count=1), pytest.raises(KeyboardInterrupt):
        container._run_turn(turn)
    assert site.wire.sent.startswith(b"HTTP/1.1 500 ")
    site.wire.lose()


async def test_a_stream_whose_task_is_cancelled_is_cut(serve: Serve) -> None:
    # As the end of a program does with every task.
    made = Body(*[b"x" * 1000] * 1_000_000)
    async with serve(answering(lambda: made), "inline", wrong=True) as served:
        client = await served.connect()
        client.send(request())
        await client.reader.readexactly(1000)
        (task,) = served.container._tasks
        task.cancel()
        await until(task.done)
        assert made.closed == 1
        assert served.log == [200]
        await client.rest()
