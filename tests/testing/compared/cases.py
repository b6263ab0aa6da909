"""Test cases run under Tornado's `testing` and ours, in a process each; many of them fail on purpose."""

# ruff: noqa: PT009, PT027, LOG015  # unittest, as programs for Tornado have it

import asyncio
import contextlib
import importlib
import logging
import os
import time
import unittest
from typing import Any

PACKAGE = os.environ["UNDER_TEST"]

testing: Any = importlib.import_module(PACKAGE + ".testing")
web: Any = importlib.import_module(PACKAGE + ".web")
gen: Any = importlib.import_module(PACKAGE + ".gen")
ioloop: Any = importlib.import_module(PACKAGE + ".ioloop")
httpclient: Any = importlib.import_module(PACKAGE + ".httpclient")


class Waiting(testing.AsyncTestCase):
    def test_stop_before_wait(self) -> None:
        self.stop("early")
        self.assertEqual(self.wait(), "early")

    def test_stop_from_callback(self) -> None:
        self.io_loop.add_callback(self.stop, "late")
        self.assertEqual(self.wait(), "late")

    def test_stop_with_keywords(self) -> None:
        self.io_loop.add_callback(self.stop, a=1, b=2)
        self.assertEqual(self.wait(), {"a": 1, "b": 2})

    def test_stop_with_nothing(self) -> None:
        self.io_loop.add_callback(self.stop)
        self.assertIsNone(self.wait())

    def test_stop_with_both(self) -> None:
        self.stop(1, a=2)

    def test_twice(self) -> None:
        for number in range(3):
            self.io_loop.add_callback(self.stop, number)
            self.assertEqual(self.wait(), number)

    def test_condition(self) -> None:
        seen: list[int] = []

        def step() -> None:
            seen.append(1)
            self.stop(len(seen))
            if len(seen) < 3:
                self.io_loop.add_callback(step)

        self.io_loop.add_callback(step)
        self.assertEqual(self.wait(condition=lambda: len(seen) >= 3), 3)

    def test_timeout(self) -> None:
        self.wait(timeout=0.01)

    def test_timeout_from_environment(self) -> None:
        os.environ["ASYNC_TEST_TIMEOUT"] = "0.01"
        try:
            self.wait()
        finally:
            del os.environ["ASYNC_TEST_TIMEOUT"]

    def test_wait_after_timeout(self) -> None:
        with contextlib.suppress(self.failureException):
            self.wait(timeout=0.01)
        self.stop("again")
        self.assertEqual(self.wait(), "again")

    def test_late_timeout_does_not_disturb(self) -> None:
        self.io_loop.add_callback(self.stop)
        self.wait(timeout=0.02)
        self.io_loop.call_later(0.05, self.stop, "second")
        self.assertEqual(self.wait(timeout=1), "second")

    def test_loop_is_current(self) -> None:
        self.assertIs(self.io_loop, ioloop.IOLoop.current())

    def test_tasks_left_are_cancelled(self) -> None:
        async def for_ever() -> None:
            await asyncio.sleep(1000)

        self.task = self.io_loop.asyncio_loop.create_task(for_ever())
        self.addCleanup(lambda: self.assertTrue(self.task.cancelled()))
        self.addCleanup(lambda: self.assertTrue(self.io_loop.asyncio_loop.is_closed()))


class Own(testing.AsyncTestCase):
    loop = None

    def get_new_ioloop(self) -> Any:
        Own.loop = ioloop.IOLoop(make_current=False)
        return Own.loop

    def test_own_loop(self) -> None:
        self.assertIs(self.io_loop, Own.loop)
        self.assertIs(ioloop.IOLoop.current(), Own.loop)


class Forgotten(testing.AsyncTestCase):
    async def test_coroutine(self) -> None:
        self.fail("does not run")

    def test_generator(self) -> Any:
        yield

    def test_value(self) -> Any:
        return 42

    @gen.coroutine
    def test_future(self) -> Any:
        yield gen.moment


class SetUpFails(testing.AsyncTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(lambda: None)
        raise ValueError("no")

    def test(self) -> None:
        self.fail("does not run")


class GenTest(testing.AsyncTestCase):
    @testing.gen_test
    async def test_native(self) -> None:
        await asyncio.sleep(0)

    @testing.gen_test
    def test_generator(self) -> Any:
        yield gen.moment
        value = yield [gen.maybe_future(1), gen.maybe_future(2)]
        self.assertEqual(value, [1, 2])

    @testing.gen_test
    def test_plain(self) -> None:
        self.assertTrue(True)

    @testing.gen_test()
    async def test_called(self) -> None:
        await asyncio.sleep(0)

    @testing.gen_test
    async def test_failure(self) -> None:
        await asyncio.sleep(0)
        self.assertEqual(1, 2)

    @testing.gen_test
    async def test_error(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("lost")

    @testing.gen_test(timeout=0.01)
    async def test_timeout(self) -> None:
        await asyncio.sleep(1000)

    @testing.gen_test(timeout=0.01)
    def test_timeout_of_generator(self) -> Any:
        yield asyncio.sleep(1000)

    @testing.gen_test(timeout=1)
    async def test_longer_timeout(self) -> None:
        await asyncio.sleep(0.02)

    @testing.gen_test
    async def test_skip(self) -> None:
        self.skipTest("not today")

    @unittest.expectedFailure
    @testing.gen_test
    async def test_expected_failure(self) -> None:
        self.fail("as expected")

    @testing.gen_test
    async def test_subtests(self) -> None:
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)

    def test_arguments(self) -> None:
        class Other(testing.AsyncTestCase):
            @testing.gen_test
            async def check(self, one: int, *, two: int) -> int:
                await asyncio.sleep(0)
                return one + two

            def runTest(self) -> None:
                assert self.check(1, two=2) in (None, 3)
                assert Other.check.__name__ == "check"

        result = unittest.TestResult()
        Other().run(result)
        self.assertTrue(result.wasSuccessful(), result.errors)


class Handler(web.RequestHandler):
    def get(self, what: str) -> None:
        if what == "error":
            raise RuntimeError("broken")
        if what == "agent":
            self.write(self.request.headers.get("X-Who", "nobody"))
            return
        if what != "ok":
            raise web.HTTPError(404)
        self.write(self.request.full_url())

    def post(self, what: str) -> None:
        self.write({"body": self.request.body.decode(), "protocol": self.request.protocol})


class Http(testing.AsyncHTTPTestCase):
    def get_app(self) -> Any:
        self.port_in_get_app = self.get_http_port()
        return web.Application([("/(.*)", Handler)])

    def get_httpserver_options(self) -> Any:
        return {"no_keep_alive": True, "max_body_size": 10}

    def test_get(self) -> None:
        response = self.fetch("/ok")
        self.assertEqual(response.code, 200)
        self.assertEqual(response.body.decode(), self.get_url("/ok"))
        self.assertTrue(self.get_url("/x").startswith("http://127.0.0.1:"))
        self.assertEqual(self.port_in_get_app, self.get_http_port())

    def test_absolute(self) -> None:
        self.assertEqual(self.fetch(self.get_url("/ok")).code, 200)

    def test_headers(self) -> None:
        self.assertEqual(self.fetch("/agent", headers={"X-Who": "me"}).body, b"me")

    def test_post(self) -> None:
        response = self.fetch("/x", method="POST", body="a=1")
        self.assertEqual(response.body, b'{"body": "a=1", "protocol": "http"}')

    def test_options_are_used(self) -> None:
        response = self.fetch("/x", method="POST", body="a" * 11)
        self.assertNotEqual(response.code, 200)

    def test_error_status(self) -> None:
        self.assertEqual(self.fetch("/missing").code, 404)

    def test_raise_error(self) -> None:
        with self.assertRaises(httpclient.HTTPClientError) as caught:
            self.fetch("/missing", raise_error=True)
        self.assertEqual(caught.exception.code, 404)

    def test_uncaught(self) -> None:
        with testing.ExpectLog(PACKAGE + ".application", "Uncaught exception") as log:
            self.assertEqual(self.fetch("/error").code, 500)
        self.assertTrue(log.logged_stack)

    def test_attributes(self) -> None:
        self.assertIsInstance(self._app, web.Application)
        self.assertIsInstance(self.http_client, httpclient.AsyncHTTPClient)
        self.assertEqual(self.get_protocol(), "http")
        self.assertTrue(self.http_server)

    @testing.gen_test
    async def test_in_gen_test(self) -> None:
        response = await self.http_client.fetch(self.get_url("/ok"))
        self.assertEqual(response.code, 200)


class Https(testing.AsyncHTTPSTestCase):
    def get_app(self) -> Any:
        return web.Application([("/(.*)", Handler)])

    def test_get(self) -> None:
        response = self.fetch("/x", method="POST", body="s")
        self.assertEqual(response.body, b'{"body": "s", "protocol": "https"}')
        self.assertTrue(self.get_url("/").startswith("https://127.0.0.1:"))
        self.assertEqual(set(self.get_ssl_options()), {"certfile", "keyfile"})


class Logs(unittest.TestCase):
    def setUp(self) -> None:
        self.logger = logging.getLogger("compared")
        self.seen: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.seen.append(record.getMessage())  # type: ignore[method-assign]
        self.logger.addHandler(handler)
        self.logger.propagate = False
        self.addCleanup(self.logger.removeHandler, handler)

    def test_taken_out(self) -> None:
        with testing.ExpectLog(self.logger, "one"):
            self.logger.warning("one")
            self.logger.warning("two")
        self.assertEqual(self.seen, ["two"])

    def test_missing(self) -> None:
        with testing.ExpectLog("compared", "one"):
            self.logger.warning("two")

    def test_not_required(self) -> None:
        with testing.ExpectLog("compared", "one", required=False):
            pass

    def test_match_or_search(self) -> None:
        with testing.ExpectLog("compared", "one", required=False) as log:
            self.logger.warning("the one")
        self.assertEqual((self.seen, log.matched), (["the one"], 0))

    def test_level(self) -> None:
        before = self.logger.level
        with testing.ExpectLog("compared", "one", level=logging.INFO):
            self.logger.info("one")
            self.logger.warning("one")
        self.assertEqual(self.logger.level, before)
        self.assertEqual(self.seen, ["one"])

    def test_level_missing(self) -> None:
        with testing.ExpectLog("compared", "one", level=logging.DEBUG):
            self.logger.info("one")

    def test_below_warning(self) -> None:
        self.logger.setLevel(logging.INFO)
        self.addCleanup(self.logger.setLevel, logging.NOTSET)
        with self.assertWarns(DeprecationWarning), testing.ExpectLog("compared", "one"):
            self.logger.info("one")
        self.assertEqual(self.seen, [])

    def test_exception_wins(self) -> None:
        with testing.ExpectLog("compared", "one"):
            raise KeyError("own")

    def test_of_a_child(self) -> None:
        with testing.ExpectLog("compared", "one", required=False) as log:
            logging.getLogger("compared.child").warning("one")
        self.assertEqual((self.seen, log.matched), (["one"], 0))

    def test_count(self) -> None:
        with testing.ExpectLog("compared", "one") as log:
            self.logger.warning("one")
            self.logger.error("one")
        self.assertEqual((self.seen, log.matched, log.deprecated_level_matched), ([], 2, 0))
        with testing.ExpectLog("compared", "one", required=False) as log:
            self.logger.debug("one")
        self.assertEqual((log.matched, log.deprecated_level_matched, log.orig_level), (0, 0, None))

    def test_root(self) -> None:
        with testing.ExpectLog("", "one"):
            logging.warning("one")


class Small(unittest.TestCase):
    def test_bind_unused_port(self) -> None:
        sock, port = testing.bind_unused_port()
        with sock:
            self.assertEqual(sock.getsockname(), ("127.0.0.1", port))
            sock.setblocking(True)

    def test_reuse_port(self) -> None:
        sock, port = testing.bind_unused_port(reuse_port=True, address="127.0.0.2")
        with sock:
            self.assertEqual(sock.getsockname(), ("127.0.0.2", port))

    def test_async_test_timeout(self) -> None:
        self.assertEqual(testing.get_async_test_timeout(), 5)
        for text, seconds in (("7.5", 7.5), ("long", 5)):
            os.environ["ASYNC_TEST_TIMEOUT"] = text
            try:
                self.assertEqual(testing.get_async_test_timeout(), seconds)
            finally:
                del os.environ["ASYNC_TEST_TIMEOUT"]

    def test_setup_with_context_manager(self) -> None:
        steps: list[str] = []

        @contextlib.contextmanager
        def manager() -> Any:
            steps.append("in")
            yield "value"
            steps.append("out")

        class Case(unittest.TestCase):
            def setUp(self) -> None:
                self.value = testing.setup_with_context_manager(self, manager())

            def runTest(self) -> None:
                steps.append(self.value)

        Case().run(unittest.TestResult())
        self.assertEqual(steps, ["in", "value", "out"])

    def test_names(self) -> None:
        self.assertIs(testing.unittest.TestCase, unittest.TestCase)
        self.assertIs(testing.gen, gen)


class Slow(testing.AsyncTestCase):
    @testing.gen_test(timeout=0.05)
    async def test_late_but_done(self) -> None:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
