"""Requests run in threads: clients that go meanwhile, and interrupts."""

import threading
from typing import Any

from tests.wsgi.conftest import Serve, request, until
from tests.wsgi.test_run import PLAIN, Body, raising


async def test_an_interrupt_in_a_thread_is_a_failure_like_others(serve: Serve, expect_log: Any) -> None:
    async with serve(raising(KeyboardInterrupt()), "threads", wrong=True) as served:
        with expect_log("webfw.application", "uncaught exception", count=2):
            assert (await served.ask()).status == 500
            assert (await served.ask()).status == 500


async def test_gone_while_it_runs(serve: Serve) -> None:
    gate, told = threading.Event(), []
    running = threading.Event()
    made = Body(b"hello")

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        running.set()
        gate.wait(10)
        told.append(environ["webfw.client_disconnected"]())
        start_response("200 OK", list(PLAIN))
        return made

    for mode in ("threads", "executor"):
        running.clear()
        gate.clear()
        async with serve(app, mode, wrong=True) as served:
            client = await served.connect()
            client.send(request())
            await until(running.is_set)
            client.reset()
            assert await served.logged(1) == [499]
            gate.set()
    assert told == [True, True]
    assert made.closed == 2


async def test_gone_while_it_waits_for_a_thread(serve: Serve) -> None:
    gate, ran = threading.Event(), []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        ran.append(environ["PATH_INFO"])
        gate.wait(10)
        start_response("200 OK", list(PLAIN))
        return [b"hello"]

    async with serve(app, threads=1) as served:
        first, second, third = [await served.connect() for _ in range(3)]
        first.send(request("/1"))
        await until(lambda: ran)
        second.send(request("/2"))
        third.send(request("/3"))
        await until(lambda: served.container._pool.busy == 3)
        second.reset()
        assert await served.logged(1) == [499]
        gate.set()
        assert (await third.answer()).body == (await first.answer()).body == b"hello"
        assert ran == ["/1", "/3"]
