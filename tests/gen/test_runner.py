"""Coroutines made from generators."""

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import traceback
import weakref
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import Site
from webfw import gen
from webfw.gen.runner import MAX_STEPS, Runner
from webfw.ioloop import IOLoop
from webfw.web import Application, RequestHandler

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def done(value: Any = None) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.Future()
    future.set_result(value)
    return future


# --- what goes in and what comes out ---


async def test_a_generator_runs_at_once_up_to_where_it_waits() -> None:
    steps = []
    gate: asyncio.Future[str] = asyncio.Future()

    @gen.coroutine
    def run(number: int, *, name: str) -> Any:
        steps.append((number, name))
        steps.append((yield gate))
        return "end"

    future = run(3, name="x")
    assert type(future) is asyncio.Future
    assert steps == [(3, "x")]
    gate.set_result("open")
    assert await future == "end"
    assert steps == [(3, "x"), "open"]


async def test_what_does_not_wait_costs_no_turn() -> None:
    @gen.coroutine
    def plain() -> Any:
        return 5

    @gen.coroutine
    def empty() -> Any:
        return 6
        yield

    @gen.coroutine
    def ready() -> Any:
        a = yield done(1)
        b = yield [done(2), done(3)]
        c = yield {"a": done(4)}
        d = yield plain()
        return a, b, c, d

    assert plain().result() == 5
    assert empty().result() == 6
    assert ready().result() == (1, [2, 3], {"a": 4}, 5)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("value", [None, 0, "x", (1, 2)])
async def test_return_exception(wait: bool, value: Any) -> None:
    @gen.coroutine
    def run() -> Any:
        yield asyncio.sleep(0) if wait else done()
        raise gen.Return(value)

    @gen.coroutine
    def plain() -> Any:
        raise gen.Return(value)

    assert await run() == value
    assert await plain() == value
    assert gen.Return(value).value == value
    assert gen.Return().value is None
    assert gen.Return(3).args == (3,)


async def test_exceptions_go_to_the_future() -> None:
    @gen.coroutine
    def plain() -> Any:
        raise ValueError("plain")

    @gen.coroutine
    def first() -> Any:
        raise ValueError("first")
        yield

    @gen.coroutine
    def later() -> Any:
        yield asyncio.sleep(0)
        raise ValueError("later")

    for function in (plain, first, later):
        with pytest.raises(ValueError, match=function.__name__):
            await function()


async def test_exceptions_are_thrown_in_where_it_waits() -> None:
    @gen.coroutine
    def run(waited_for: Any) -> Any:
        try:
            yield waited_for
        except ValueError as error:
            result = yield done(str(error))
            return result

    async def fail() -> None:
        raise ValueError("later")

    failed: asyncio.Future[None] = asyncio.Future()
    failed.set_exception(ValueError("at once"))
    assert await run(fail()) == "later"
    assert run(failed).result() == "at once"


async def test_wrong_arguments_go_to_the_future() -> None:
    @gen.coroutine
    def run(needed: int) -> Any:
        yield

    with pytest.raises(TypeError, match="needed"):
        await run()
    error = run().exception()
    assert error is not None
    assert error.__traceback__ is not None


async def test_unknown_things_are_thrown_in() -> None:
    @gen.coroutine
    def run() -> Any:
        found = []
        for thing in (3, (1,), "x"):
            try:
                yield thing
            except gen.BadYieldError as error:
                found.append(str(error))
        return found

    assert await run() == [f"yielded unknown object {thing!r}" for thing in (3, (1,), "x")]

    @gen.coroutine
    def careless() -> Any:
        yield 3

    assert isinstance(careless().exception(), gen.BadYieldError)


async def test_all_kinds_of_things_are_waited_for() -> None:
    async def native(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    @gen.coroutine
    def other(value: Any) -> Any:
        yield None
        return value

    @gen.coroutine
    def run(pool: concurrent.futures.Executor) -> Any:
        results = [
            (yield native(1)),
            (yield other(2)),
            (yield pool.submit(int, "3")),
            (yield [native(4), other(5), pool.submit(int, "6"), None]),
            (yield {"a": native(7), "b": [other(8)]}),
            (yield asyncio.create_task(native(9))),
            (yield asyncio.gather(native(10), other(11))),
            (yield),
            (yield gen.moment),
            (yield gen.sleep(0)),
        ]
        return results

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = await run(pool)
    assert found == [1, 2, 3, [4, 5, 6, None], {"a": 7, "b": [8]}, 9, [10, 11], None, None, None]


async def test_a_registered_type_may_lead_to_a_threads_future() -> None:
    class Job:
        pass

    @gen.convert_yielded.register
    def _(job: Job) -> Any:
        future: concurrent.futures.Future[str] = concurrent.futures.Future()
        asyncio.get_running_loop().call_soon(future.set_result, "job")
        return future

    @gen.coroutine
    def run() -> Any:
        return (yield Job())

    assert await run() == "job"


async def test_what_a_converter_raises_is_thrown_in() -> None:
    class Broken:
        pass

    @gen.convert_yielded.register
    def _(broken: Broken) -> Any:
        raise OSError("no way")

    @gen.coroutine
    def run() -> Any:
        try:
            yield Broken()
        except OSError as error:
            return str(error)

    assert await run() == "no way"


async def test_native_coroutines_may_be_decorated() -> None:
    @gen.coroutine
    async def run(value: Any) -> Any:
        await asyncio.sleep(0)
        if value is None:
            raise ValueError("none")
        return value

    assert await run(3) == 3
    with pytest.raises(ValueError, match="none"):
        await run(None)


async def test_methods_and_names() -> None:
    class Thing:
        value = 3

        @gen.coroutine
        def get(self) -> Any:
            """Get it."""
            yield None
            return self.value

        async def native(self) -> None:
            pass

    assert await Thing().get() == 3
    assert Thing.get.__name__ == "get"
    assert Thing.get.__doc__ == "Get it."
    assert Thing.get.__wrapped__.__name__ == "get"  # type: ignore[attr-defined]
    assert gen.is_coroutine_function(Thing.get)
    assert gen.is_coroutine_function(Thing().get)
    assert not gen.is_coroutine_function(Thing.native)
    assert not gen.is_coroutine_function(3)


async def test_a_future_is_a_plain_value_for_a_plain_function() -> None:
    inner = done(3)

    @gen.coroutine
    def run() -> Any:
        return inner

    assert await run() is inner


async def test_other_generators_are_driven_too() -> None:
    class Steps(Generator[Any, Any, Any]):
        """A generator that is no function, as compilers make them."""

        sent: Any = None

        def send(self, value: Any) -> Any:
            if value == "over":
                raise StopIteration("result")
            return done("over")

        def throw(self, *args: Any) -> Any:
            raise args[0]

    @gen.coroutine
    def run() -> Any:
        return Steps()

    assert await run() == "result"


# --- turns ---


async def test_yield_none_and_moment_take_one_turn() -> None:
    for thing in (None, gen.moment):
        order: list[str] = []

        @gen.coroutine
        def run(thing: Any = thing, order: list[str] = order) -> Any:
            yield thing
            order.append("resumed")

        asyncio.get_running_loop().call_soon(order.append, "before")
        future = run()
        asyncio.get_running_loop().call_soon(order.append, "after")
        await future
        await asyncio.sleep(0)
        assert order == ["before", "resumed", "after"]


async def test_many_done_futures_neither_overflow_nor_starve_the_loop() -> None:
    loop = asyncio.get_running_loop()
    steps = 0
    seen = []

    @gen.coroutine
    def run() -> Any:
        nonlocal steps
        ready = done()
        for _ in range(20_000):
            steps += 1
            yield ready

    future = run()
    loop.call_soon(lambda: seen.append(steps))
    await future
    assert steps == 20_000
    assert MAX_STEPS <= seen[0] < 3 * MAX_STEPS
    assert MAX_STEPS > 100  # what is done after a few steps is done when the call returns


async def test_done_coroutines_nest_deeply_without_turns() -> None:
    @gen.coroutine
    def nested(depth: int) -> Any:
        if depth:
            below = yield nested(depth - 1)
            return below + 1
        return 0

    assert nested(100).result() == 100


async def test_a_chain_of_waiting_coroutines_unwinds() -> None:
    gate: asyncio.Future[int] = asyncio.Future()

    @gen.coroutine
    def above(below: Any) -> Any:
        return (yield below) + 1

    top = gate
    for _ in range(10_000):
        top = above(top)
    gate.set_result(0)
    assert await top == 10_000


STEPS = st.just("bad") | st.recursive(
    st.sampled_from(["none", "done", "native", "failed", "fails later", "cancelled"]),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


def thing(step: Any) -> Any:
    """What is waited for in a step: a list for a tuple of steps."""

    async def native(error: Exception | None = None) -> str:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return "native"

    if isinstance(step, tuple):
        return [thing(inner) for inner in step]
    if step == "failed":
        failed: asyncio.Future[Any] = asyncio.Future()
        failed.set_exception(ValueError("failed"))
        return failed
    if step == "cancelled":
        cancelled: asyncio.Future[Any] = asyncio.Future()
        cancelled.cancel()
        return cancelled
    if step == "fails later":
        return native(KeyError("later"))
    return native() if step == "native" else {"none": None, "done": done("done"), "bad": 3}[step]


@given(st.lists(STEPS, max_size=6))
async def test_a_generator_sees_what_a_native_coroutine_sees(steps: list[Any]) -> None:
    """Whatever is waited for: the same results and exceptions, in the same order."""
    logging.getLogger("webfw.application").disabled = True  # what fails beside another is logged by multi

    @gen.coroutine
    def generator() -> Any:
        seen: list[Any] = []
        for step in steps:
            try:
                seen.append((yield thing(step)))
            except (Exception, asyncio.CancelledError) as error:
                seen.append(type(error))
        return seen

    async def native() -> Any:
        seen: list[Any] = []
        for step in steps:
            try:
                seen.append(await gen.convert_yielded(thing(step)))
            except (Exception, asyncio.CancelledError) as error:
                seen.append(type(error))
        return seen

    try:
        assert await generator() == await native()
    finally:
        logging.getLogger("webfw.application").disabled = False


# --- contexts ---


async def test_all_steps_see_one_context_that_is_the_callers_copy() -> None:
    seen = []

    async def native() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("native's own")

    @gen.coroutine
    def inner() -> Any:
        seen.append(VARIABLE.get())
        VARIABLE.set("inner's own")
        yield None

    @gen.coroutine
    def run() -> Any:
        seen.append(VARIABLE.get())
        token = VARIABLE.set("set in it")
        yield None
        seen.append(VARIABLE.get())
        yield native()
        yield inner()
        yield asyncio.sleep(0)
        yield done()
        seen.append(VARIABLE.get())
        VARIABLE.reset(token)
        seen.append(VARIABLE.get())

    VARIABLE.set("caller's")
    future = run()
    assert VARIABLE.get() == "caller's"
    VARIABLE.set("changed since")
    await future
    assert VARIABLE.get() == "changed since"
    assert seen == ["caller's", "set in it", "set in it", "set in it", "set in it", "caller's"]


async def test_contexts_from_a_native_coroutine() -> None:
    @gen.coroutine
    def show() -> Any:
        before = VARIABLE.get()
        yield gen.moment
        return before, VARIABLE.get()

    async def native(value: str) -> Any:
        VARIABLE.set(value)
        return await show()

    found = await gen.multi([native("a"), native("b")])
    assert found == [("a", "a"), ("b", "b")]
    assert VARIABLE.get() == "unset"


async def test_converters_run_in_the_coroutines_context() -> None:
    class Named:
        pass

    @gen.convert_yielded.register
    def _(named: Named) -> Any:
        return done(VARIABLE.get())

    @gen.coroutine
    def run() -> Any:
        VARIABLE.set("mine")
        first = yield Named()
        yield None
        return first, (yield Named())

    assert await run() == ("mine", "mine")


# --- cancellation ---


async def test_a_cancelled_future_cancels_the_coroutine() -> None:
    gate: asyncio.Future[None] = asyncio.Future()
    seen = []

    @gen.coroutine
    def run() -> Any:
        try:
            yield gate
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    future = run()
    gate.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert seen == ["cancelled"]
    assert future.cancelled()


async def test_cancellation_may_be_caught() -> None:
    gate: asyncio.Future[None] = asyncio.Future()
    gate.cancel()

    @gen.coroutine
    def run() -> Any:
        try:
            yield gate
        except asyncio.CancelledError:
            return "caught"

    assert run().result() == "caught"


@pytest.mark.parametrize("wait", [False, True])
async def test_raising_cancelled_error_cancels_the_future(wait: bool) -> None:
    @gen.coroutine
    def run() -> Any:
        if wait:
            yield None
        raise asyncio.CancelledError

    future = run()
    await asyncio.wait([future])
    assert future.cancelled()


async def test_cancelling_the_result_does_not_stop_the_generator(expect_log: Any) -> None:
    gate: asyncio.Future[None] = asyncio.Future()
    seen = []

    @gen.coroutine
    def run(error: Exception | None) -> Any:
        yield gate
        seen.append("went on")
        if error is not None:
            raise error

    for future in (run(None), run(ValueError("nobody waits"))):
        future.cancel()
    with expect_log("webfw.application", "Exception after Future was cancelled", count=1) as records:
        gate.set_result(None)
        while len(seen) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert records[0].exc_info[0] is ValueError


async def test_other_base_exceptions_end_the_coroutine() -> None:
    @gen.coroutine
    def run() -> Any:
        yield None
        raise GeneratorExit

    future = run()
    await asyncio.wait([future])
    assert isinstance(future.exception(), GeneratorExit)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_get_through_to_the_loop(error: type[BaseException]) -> None:
    loop = asyncio.new_event_loop()

    @gen.coroutine
    def run(wait: bool) -> Any:
        if wait:
            yield None
        raise error

    async def main(wait: bool) -> None:
        await run(wait)

    try:
        for wait in (False, True):
            task = loop.create_task(main(wait))
            with pytest.raises(error):
                loop.run_until_complete(task)
            if not task.done():
                with pytest.raises(error):
                    loop.run_until_complete(task)
            assert isinstance(task.exception(), error)
    finally:
        loop.close()


# --- tracebacks and references ---


async def test_tracebacks_show_the_generators_only() -> None:
    @gen.coroutine
    def bottom(wait: bool) -> Any:
        if wait:
            yield None
        raise ValueError("bottom")

    @gen.coroutine
    def middle(wait: bool) -> Any:
        yield bottom(wait)

    @gen.coroutine
    def top(wait: bool) -> Any:
        yield middle(wait)

    for wait in (False, True):
        try:
            await top(wait)
        except ValueError as error:
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        else:
            raise AssertionError("nothing was raised")
        assert names[-3:] == ["top", "middle", "bottom"]
        assert names[0] == "test_tracebacks_show_the_generators_only"
        assert len(names) == 4


async def test_two_who_wait_do_not_see_each_others_frames() -> None:
    failed: asyncio.Future[None] = asyncio.Future()

    @gen.coroutine
    def first() -> Any:
        yield failed

    @gen.coroutine
    def second() -> Any:
        yield failed

    both = [first(), second()]
    failed.set_exception(ValueError("shared"))
    await asyncio.wait(both)
    assert isinstance(both[0].exception(), ValueError)
    try:
        await both[1]
    except ValueError as error:
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert "second" in names
    assert "first" not in names


async def test_an_exception_nobody_asks_for_is_logged_by_asyncio(expect_log: Any) -> None:
    @gen.coroutine
    def run() -> Any:
        raise ValueError("lost")

    with expect_log("asyncio", "exception was never retrieved", count=1):
        run()
        gc.collect()


async def test_whoever_holds_the_result_keeps_the_generator() -> None:
    weak: Any = None

    @gen.coroutine
    def run() -> Any:
        nonlocal weak
        gate: asyncio.Future[str] = asyncio.Future()
        weak = weakref.ref(gate)
        waiting = gate
        del gate
        return (yield waiting)

    future = run()
    gc.collect()
    weak().set_result("alive")
    assert await future == "alive"


async def test_nothing_is_left_of_a_finished_coroutine() -> None:
    class Thing:
        pass

    references = []

    @gen.coroutine
    def run(fail: bool) -> Any:
        thing = Thing()
        references.append(weakref.ref(thing))
        yield asyncio.sleep(0)
        try:
            if fail:
                raise ValueError("inner")
        except ValueError:
            yield None
        return None

    gc.collect()
    gc.disable()
    try:
        await run(False)
        await run(True)
        await asyncio.sleep(0)
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


async def test_an_abandoned_generator_is_closed() -> None:
    seen = []

    @gen.coroutine
    def run() -> Any:
        try:
            yield asyncio.Future()
        finally:
            seen.append("closed")

    run()
    gc.collect()
    assert seen == ["closed"]


# --- the runner by itself ---


async def test_runner_by_hand() -> None:
    gate: asyncio.Future[str] = asyncio.Future()

    def steps() -> Any:
        try:
            return (yield gate)
        except ValueError as error:
            return f"caught {error}"

    def start() -> tuple[Runner, "asyncio.Future[Any]"]:
        generator = steps()
        result: asyncio.Future[Any] = asyncio.Future()
        return Runner(contextvars.copy_context().run, generator, result, next(generator)), result

    runner, result = start()
    assert (runner.running, runner.finished, runner.future) == (False, False, gate)
    assert runner.io_loop is IOLoop.current()
    assert runner.result_future is result
    runner.run()  # waits still
    assert not result.done()
    assert runner.handle_exception(ValueError, ValueError("it"), None)
    assert result.result() == "caught it"
    assert runner.finished
    assert not runner.handle_exception(ValueError, ValueError("late"), None)
    runner.run()
    runner, result = start()
    gate.set_result("open")
    assert await result == "open"


async def test_an_exception_thrown_in_replaces_what_was_waited_for() -> None:
    gates = [asyncio.Future[str](), asyncio.Future[str]()]

    def steps() -> Any:
        try:
            yield gates[0]
        except ValueError:
            return (yield gates[1])

    generator = steps()
    result: asyncio.Future[Any] = asyncio.Future()
    runner = Runner(contextvars.copy_context().run, generator, result, next(generator))
    runner.handle_exception(ValueError, ValueError("it"), None)
    gates[0].set_result("too late")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not result.done()
    gates[1].set_result("in time")
    assert await result == "in time"


# --- with the loop and in handlers ---


def test_run_sync_and_callbacks() -> None:
    loop = IOLoop(make_current=False)
    seen = []

    @gen.coroutine
    def run(value: Any = 3) -> Any:
        yield gen.sleep(0)
        seen.append(value)
        return value

    try:
        assert loop.run_sync(run) == 3
        loop.add_callback(run, 4)
        loop.spawn_callback(run, value=5)
        loop.run_sync(lambda: gen.sleep(0.001))
        assert sorted(seen) == [3, 4, 5]
    finally:
        loop.close()


@pytest.mark.parametrize("prepare_waits", [False, True])
async def test_handlers(prepare_waits: bool, expect_log: Callable[..., Any]) -> None:
    class Handler(RequestHandler):
        @gen.coroutine
        def prepare(self) -> Any:
            if prepare_waits:
                yield gen.moment
            self.name = "prepared"

        @gen.coroutine
        def get(self, what: str) -> Any:
            if what == "fail":
                yield None
                raise ValueError("from the generator")
            first, second = yield [gen.sleep(0), gen.maybe_future("second")]
            self.write(f"{self.name} {what} {first} {second}")

        @gen.coroutine
        def post(self, what: str) -> Any:
            self.write(what)
            raise gen.Return(None)

        @gen.coroutine
        def write_error(self, status_code: int, **kwargs: Any) -> Any:
            self.finish(f"error {status_code}")

    site = Site(Application([("/(.*)", Handler)]))
    loop = asyncio.get_running_loop()
    answer = await site.ask("/x", "POST", b"")
    assert (answer.status, answer.body) == (200, b"x")
    site.wire.feed(b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
    end = loop.time() + 5
    received = b""
    while b"second" not in received and loop.time() < end:
        received += await site.settle()
    assert received.endswith(b"prepared y None second")
    with expect_log("webfw.application", "Uncaught exception"), expect_log("webfw.access", "500"):
        answer = await site.ask("/fail")
    assert (answer.status, answer.body) == (500, b"error 500")
    site.wire.close()
    await site.settle()
