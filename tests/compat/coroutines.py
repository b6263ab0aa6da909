"""Call a framework's coroutines, locks and queues: ``coroutines.py FRAMEWORK DIRECTORY`` prints the results as JSON.

The calls stand in `CALLS` by name, each a function or a coroutine function without arguments.
"""

import asyncio
import concurrent.futures
import contextvars
import datetime
import importlib
import json
import logging
import warnings

from framework import NAME
from library import outcome

concurrent_room, gen, ioloop, locks, queues = (
    importlib.import_module(f"{NAME}.{room}") for room in ("concurrent", "gen", "ioloop", "locks", "queues")
)
NOW = datetime.timedelta(0)
SOON = datetime.timedelta(milliseconds=2)
LONG = datetime.timedelta(minutes=1)
VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")
CALLS = {}
LOGGED = []


def call(function):
    """The function as one call, under its own name."""
    CALLS[function.__name__.replace("_", " ")] = function
    return function


def calls(name, function, values):
    for value in values:
        CALLS[f"{name} {value!r:.60}"] = lambda value=value: function(value)


class Keep(logging.Handler):
    """Keeps what is logged, as its level and the kind of exception."""

    def emit(self, record):
        kind = record.exc_info and record.exc_info[0]
        LOGGED.append([record.levelname, kind and kind.__name__])


def done(value=None):
    future = asyncio.Future()
    future.set_result(value)
    return future


def failed(error):
    future = asyncio.Future()
    future.set_exception(error)
    return future


def cancelled():
    future = asyncio.Future()
    future.cancel()
    return future


async def turns(count=4):
    for _ in range(count):
        await asyncio.sleep(0)


def state(future):
    """How a future stands, in words."""
    if not future.done():
        return "pending"
    if future.cancelled():
        return "cancelled"
    return [type(future.exception()).__name__ if future.exception() else future.result()]


async def end(future):
    """The state of a future once it is done, or after 0.2 seconds."""
    await asyncio.wait([future], timeout=0.2)
    return state(future)


def native(value, error=None):
    async def run():
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return value

    return run()


# --- convert_yielded, maybe_future, moment ---


def converted(thing):
    future = gen.convert_yielded(thing)
    return [future.done(), future.result() if future.done() else None, future is thing]


calls("convert_yielded", converted, [None, [], {}, [None], {"a": None}, [[], [None, {}]]])
calls("convert_yielded wrong", converted, [3, "x", (), (None,), b"", 1.5, True, {1}, [3], {"a": "b"}, int])


@call
def convert_moment():
    return [converted(gen.moment), gen.convert_yielded(None) is gen.moment]


@call
async def await_moment():
    order = []
    asyncio.get_running_loop().call_soon(order.append, "turn")
    await gen.moment
    return order


@call
async def convert_awaitables():
    return [
        await gen.convert_yielded(thing) for thing in (native(1), done(2), asyncio.ensure_future(native(3)))
    ]


@call
async def convert_registered():
    class Job:
        pass

    @gen.convert_yielded.register(Job)
    def _(job):
        return done("registered")

    return [await gen.convert_yielded(Job()), await gen.multi([Job()])]


@call
async def maybe_future():
    future = done(1)
    return [
        gen.maybe_future(future) is future,
        *(state(gen.maybe_future(value)) for value in (None, 3, [future and 1])),
    ]


@call
async def maybe_future_of_a_coroutine():
    coroutine = native(1)
    future = gen.maybe_future(coroutine)
    return [future.result() is coroutine, await coroutine]


@call
async def sleep():
    future = gen.sleep(0)
    return [isinstance(future, asyncio.Future), state(future), await end(future), await end(gen.sleep(-1))]


# --- coroutine ---


def coroutine(name):
    """Decorates a function that is called as a coroutine of the framework, and looked at at once and in the end."""

    def decorate(function):
        async def run():
            future = gen.coroutine(function)()
            return [state(future), await end(future)]

        CALLS["coroutine " + name] = run
        return function

    return decorate


@coroutine("plain value")
def _():
    return 5


@coroutine("plain exception")
def _():
    raise ValueError


@coroutine("plain Return")
def _():
    raise gen.Return(5)


@coroutine("plain Return of nothing")
def _():
    raise gen.Return


@coroutine("plain StopIteration")
def _():
    raise StopIteration(5)


@coroutine("plain cancelled")
def _():
    raise asyncio.CancelledError


@coroutine("no yield reached")
def _():
    return 5
    yield


@coroutine("exception before the first yield")
def _():
    raise ValueError
    yield


@coroutine("Return before the first yield")
def _():
    raise gen.Return(6)
    yield


@coroutine("return after done futures")
def _():
    first = yield done(1)
    second = yield [done(2), None]
    return [first, second, (yield {"a": done(3)})]


@coroutine("return after waiting")
def _():
    return [(yield native(1)), (yield [native(2), native(3)]), (yield {"a": native(4)})]


@coroutine("Return after waiting")
def _():
    raise gen.Return((yield native(1)))


@coroutine("exception after waiting")
def _():
    yield native(1)
    raise KeyError


@coroutine("StopIteration in a generator")
def _():
    yield None
    raise StopIteration(5)


@coroutine("exception thrown in")
def _():
    found = []
    for thing in (failed(ValueError()), native(1, KeyError()), [done(), failed(OSError())], 3, (1,), "x"):
        try:
            found.append((yield thing))
        except Exception as error:
            found.append(type(error).__name__)
    return found


@coroutine("exception not caught")
def _():
    yield native(1, KeyError())


@coroutine("bad yield not caught")
def _():
    yield 3


@coroutine("cancelled future not caught")
def _():
    yield cancelled()


@coroutine("cancelled future caught")
def _():
    try:
        yield cancelled()
    except asyncio.CancelledError:
        return "caught"


@coroutine("cancelled task")
def _():
    task = asyncio.ensure_future(native(1))
    task.cancel()
    yield task


@coroutine("cancelled after waiting")
def _():
    yield None
    raise asyncio.CancelledError


@coroutine("None and moment")
def _():
    return [(yield), (yield None), (yield gen.moment), (yield gen.sleep(0))]


@coroutine("gather and wait_for")
def _():
    return [(yield asyncio.gather(native(1), native(2))), (yield asyncio.wait_for(native(3), 1))]


@coroutine("thread")
def _():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return [(yield pool.submit(int, "3")), (yield [pool.submit(int, "4"), None])]


@coroutine("finished future of a thread")
def _():
    future = concurrent.futures.Future()
    future.set_result(7)
    return (yield future)


@coroutine("nested")
def _():
    @gen.coroutine
    def nested(depth):
        if depth:
            below = yield nested(depth - 1)
            return below + 1
        yield None
        return 0

    return (yield nested(30))


@coroutine("many done futures")
def _():
    ready = done()
    for _ in range(5000):
        yield ready
    return "end"


@coroutine("few done futures")
def _():
    ready = done()
    for _ in range(500):
        yield ready
    return "end"


@coroutine("a future is a value")
def _():
    return done(3)


@coroutine("finally after return")
def _():
    found = []
    try:
        yield None
        return found
    finally:
        yield None
        found.append("finally")


@call
async def coroutine_of_async_def():
    @gen.coroutine
    async def run():
        return 5

    result = await run()
    if asyncio.iscoroutine(result):
        return ["a coroutine", await result]
    return result


@call
async def coroutine_cancelled_from_outside():
    seen = []

    @gen.coroutine
    def run():
        try:
            yield gen.sleep(0.005)
            seen.append("went on")
        except asyncio.CancelledError:
            seen.append("cancelled")

    future = run()
    future.cancel()
    await asyncio.sleep(0.02)
    return [seen, state(future)]


@call
async def coroutine_failing_after_it_was_cancelled():
    @gen.coroutine
    def run():
        yield gen.sleep(0)
        raise ValueError

    run().cancel()
    await asyncio.sleep(0.01)
    return LOGGED


@call
async def coroutine_contexts():
    seen = []

    @gen.coroutine
    def run():
        seen.append(VARIABLE.get())
        VARIABLE.set("inner")
        yield None
        seen.append(VARIABLE.get())
        yield native(1)
        yield asyncio.ensure_future(native(2))
        seen.append(VARIABLE.get())

    @gen.coroutine
    def outer():
        VARIABLE.set("outer")
        yield run()
        seen.append(VARIABLE.get())

    async def around():
        VARIABLE.set("native")
        await outer()
        seen.append(VARIABLE.get())

    VARIABLE.set("caller")
    await around()
    future = run()
    seen.append(VARIABLE.get())
    await future
    return seen


@call
async def coroutine_context_of_a_plain_function():
    @gen.coroutine
    def run():
        VARIABLE.set("inner")

    VARIABLE.set("caller")
    run()
    return VARIABLE.get()


@call
async def coroutine_order_of_turns():
    order = []
    loop = asyncio.get_running_loop()

    @gen.coroutine
    def run(name, thing):
        order.append(f"{name} starts")
        yield thing
        order.append(f"{name} goes on")

    loop.call_soon(order.append, "turn 1")
    loop.call_soon(loop.call_soon, order.append, "turn 2")
    futures = [run("none", None), run("done", done()), run("moment", gen.moment), run("list", [done()])]
    loop.call_soon(order.append, "end of turn 1")
    await asyncio.wait(futures)
    return order


@call
def is_coroutine_function():
    @gen.coroutine
    def decorated():
        """Text."""

    async def plain():
        pass

    found = [gen.is_coroutine_function(thing) for thing in (decorated, plain, gen.sleep, 3, None)]
    return [found, decorated.__name__, decorated.__doc__, decorated.__wrapped__.__name__]


@call
def return_exceptions():
    return [gen.Return().value, gen.Return(3).value, gen.Return(3).args, issubclass(gen.Return, Exception)]


@call
async def wrong_arguments():
    @gen.coroutine
    def run(needed):
        yield

    return await end(run())


@call
async def concurrent_helpers():
    first, second = asyncio.Future(), asyncio.Future()
    gen.chain_future(first, second)
    first.set_result(3)
    await turns()
    return [state(second), gen.is_future(first), gen.is_future(3), gen.Future is asyncio.Future]


# --- callbacks ---


@call
async def callbacks():
    seen = []

    @gen.coroutine
    def run(value):
        yield None
        seen.append(value)

    loop = ioloop.IOLoop.current()
    loop.add_callback(run, 1)
    loop.spawn_callback(run, value=2)
    loop.add_future(run(3), lambda future: seen.append("future"))
    await asyncio.sleep(0.01)
    return sorted(map(str, seen))


@call
async def callbacks_that_fail():
    @gen.coroutine
    def run():
        yield None
        raise ValueError

    ioloop.IOLoop.current().add_callback(run)
    await asyncio.sleep(0.01)
    return LOGGED


# --- multi ---

calls(
    "multi",
    lambda children: state(gen.multi(children)),
    [[], (), {}, [None], (None,), {1: None}, [[None], {}]],
)
calls("multi wrong", lambda children: state(gen.multi(children)), [3, [3], {"a": 3}, None, "ab", [None, ()]])


@call
async def multi_results():
    return [
        await gen.multi([native(1), done(2), [native(3)]]),
        await gen.multi({"b": native(1), "a": done(2)}),
        await gen.multi(iter([done(1), done(1)])),
        await gen.multi_future([done(1)]),
        await gen.Multi({1: done(2)}),
    ]


@call
async def multi_same_child_twice():
    child = asyncio.Future()
    both = gen.multi([child, child])
    child.set_result(1)
    return await end(both)


MULTIS = {
    "first fails": lambda: [failed(ValueError()), done(1)],
    "last fails": lambda: [native(1), failed(ValueError())],
    "two fail": lambda: [failed(ValueError()), failed(KeyError())],
    "late fails first": lambda: [native(1, ValueError()), failed(KeyError())],
    "dict fails": lambda: {"a": done(1), "b": native(2, ValueError())},
    "cancelled": lambda: [cancelled(), done(1)],
    "cancelled and fails": lambda: [cancelled(), failed(ValueError())],
    "fails and cancelled": lambda: [failed(ValueError()), cancelled()],
    "fails and waits": lambda: [failed(ValueError()), asyncio.Future()],
    "all cancelled": lambda: [cancelled(), cancelled()],
}
for title, children in MULTIS.items():
    for quiet in ((), ValueError, (KeyError, OSError)):

        async def run_multi(children=children, quiet=quiet):
            return [await end(gen.multi(children(), quiet_exceptions=quiet)), LOGGED]

        CALLS[f"multi {title}, quiet {quiet}"] = run_multi


@call
async def multi_cancelled_from_outside():
    child = asyncio.Future()
    both = gen.multi([child])
    both.cancel()
    await turns()
    return [state(child), state(both)]


# --- with_timeout ---

for title, make in {
    "done": lambda: done(1),
    "native": lambda: native(1),
    "fails": lambda: native(1, ValueError()),
    "list": lambda: [native(1), None],
    "None": lambda: None,
    "cancelled": cancelled,
    "never": asyncio.Future,
    "wrong": lambda: 3,
}.items():
    for deadline in (LONG, SOON):

        async def run_timeout(make=make, deadline=deadline):
            return await end(gen.with_timeout(deadline, make()))

        CALLS[f"with_timeout {title}, {deadline}"] = run_timeout

calls(
    "with_timeout wrong deadline",
    lambda deadline: gen.with_timeout(deadline, asyncio.Future()),
    [None, "x", (1,), []],
)


async def timed_out(**options):
    try:
        await gen.with_timeout(NOW, asyncio.Future(), **options)
    except TimeoutError as error:
        return str(error)


calls("with_timeout message", lambda message: timed_out(message=message), [None, "text", ""])


@call
async def with_timeout_made_message():
    return await timed_out(message=lambda: "made")


@call
async def with_timeout_absolute():
    now = ioloop.IOLoop.current().time()
    return [await end(gen.with_timeout(now + delay, gen.sleep(0.03))) for delay in (0.001, 10)]


@call
async def with_timeout_does_not_cancel():
    future = asyncio.Future()
    found = [await end(gen.with_timeout(SOON, future)), state(future)]
    outer = gen.with_timeout(LONG, future)
    outer.cancel()
    await turns()
    return [*found, state(future)]


for title, error in {"ValueError": ValueError(), "KeyError": KeyError()}.items():
    for quiet in ((), ValueError, (ValueError, OSError)):

        async def run_late(error=error, quiet=quiet):
            future = asyncio.Future()
            found = await end(gen.with_timeout(SOON, future, quiet_exceptions=quiet))
            future.set_exception(error)
            await turns()
            return [found, LOGGED]

        CALLS[f"with_timeout late {title}, quiet {quiet}"] = run_late


@call
async def with_timeout_late_cancellation():
    future = asyncio.Future()
    found = await end(gen.with_timeout(SOON, future))
    future.cancel()
    await turns()
    return [found, LOGGED]


# --- WaitIterator ---


async def iterate(iterator):
    found = []
    while not iterator.done():
        try:
            value = await iterator.next()
        except (Exception, asyncio.CancelledError) as error:
            value = type(error).__name__
        found.append([value, iterator.current_index])
    return found


@call
async def wait_iterator():
    first, second, third = futures = [asyncio.Future() for _ in range(3)]
    iterator = gen.WaitIterator(*futures)
    found = [iterator.current_index, iterator.current_future, iterator.done()]
    waiting = iterator.next()
    second.set_result("second")
    found += [await end(waiting), iterator.current_index, iterator.current_future is second]
    third.set_exception(ValueError())
    first.set_result("first")
    await turns()
    return [*found, await iterate(iterator)]


@call
async def wait_iterator_names():
    return await iterate(gen.WaitIterator(a=done(1), b=cancelled(), c=failed(KeyError())))


@call
async def wait_iterator_twice_the_same():
    future = done(1)
    return await iterate(gen.WaitIterator(future, done(2), future))


@call
async def wait_iterator_async_for():
    return [value async for value in gen.WaitIterator(done(1), asyncio.ensure_future(native(2)), done(3))]


@call
async def wait_iterator_of_nothing():
    return [gen.WaitIterator().done(), [value async for value in gen.WaitIterator()]]


@call
def wait_iterator_both():
    return gen.WaitIterator(done(), a=done())


@call
async def wait_iterator_of_a_native_coroutine():
    coroutine = native(1)
    try:
        return await gen.WaitIterator(coroutine).next()
    finally:
        coroutine.close()


# --- locks ---

KINDS = {"Lock": locks.Lock, "Semaphore": locks.Semaphore, "BoundedSemaphore": locks.BoundedSemaphore}
DEADLINES = {"zero": 0, "no time": NOW, "soon": SOON, "negative": -5, "past": datetime.timedelta(seconds=-3)}


def each_kind(kinds):
    def decorate(function):
        for name, kind in kinds.items():
            CALLS[f"{name}: {function.__name__.replace('_', ' ')}"] = lambda kind=kind: function(kind)
        return function

    return decorate


@each_kind(KINDS)
async def in_the_order_they_came(kind):
    lock = kind()
    futures = [lock.acquire() for _ in range(4)]
    futures[2].cancel()
    found = [[future.done() for future in futures]]
    for _ in range(2):
        lock.release()
        found.append([future.done() for future in futures])
    return found


@each_kind(KINDS)
async def context_managers(kind):
    lock = kind()
    with await lock.acquire() as nothing:
        found = [nothing, lock.acquire(LONG).done()]
    lock.release()
    async with lock as nothing:
        found += [nothing]
    return found


@each_kind(KINDS)
def plain_with(kind):
    with kind():
        pass


@each_kind(KINDS)
async def released_too_often(kind):
    lock = kind()
    await lock.acquire()
    lock.release()
    lock.release()
    return "released"


@each_kind(KINDS)
async def deadlines(kind):
    lock = kind()
    await lock.acquire()
    found = [await end(lock.acquire(deadline)) for deadline in DEADLINES.values()]
    lock.release()
    for deadline in DEADLINES.values():
        future = lock.acquire(deadline)
        found.append(future.done())
        await future
        lock.release()
    return found


@each_kind(KINDS)
async def wrong_deadline(kind):
    lock = kind()
    await lock.acquire()
    return lock.acquire("x")


@each_kind(KINDS)
async def late_ones_are_passed_over(kind):
    lock = kind()
    await lock.acquire()
    late, patient = lock.acquire(SOON), lock.acquire()
    found = [await end(late)]
    lock.release()
    return [*found, patient.done()]


@each_kind(KINDS)
async def in_a_generator(kind):
    lock, seen = kind(), []

    @gen.coroutine
    def use(name):
        with (yield lock.acquire()):
            seen.append(name)
            yield None
            seen.append(name)

    await gen.multi([use("a"), use("b"), use("c")])
    return seen


@each_kind(KINDS)
async def given_to_a_task_that_is_cancelled(kind):
    lock = kind()

    async def use():
        async with lock:
            return "had it"

    await lock.acquire()
    first, second = asyncio.ensure_future(use()), asyncio.ensure_future(use())
    await turns()
    lock.release()
    first.cancel()
    found = [await end(first), await end(second)]
    second.cancel()
    return found


calls("Semaphore", lambda value: locks.Semaphore(value).acquire().done(), [0, 1, 5, -1, "x", None, True, 0.5])
calls("BoundedSemaphore", lambda value: locks.BoundedSemaphore(value).acquire().done(), [0, 1, -1])


@call
def semaphore_released_first():
    semaphore = locks.Semaphore(0)
    semaphore.release()
    semaphore.release()
    return [semaphore.acquire().done(), semaphore.acquire().done(), semaphore.acquire().done()]


@call
async def lock_family():
    return [
        issubclass(locks.BoundedSemaphore, locks.Semaphore),
        issubclass(locks.Lock, locks.Semaphore),
        "[locked,waiters:1]" in (semaphore := locks.Semaphore(0), semaphore.acquire(), repr(semaphore))[2],
        "[unlocked,value:3]" in repr(locks.Semaphore(3)),
    ]


@call
async def condition():
    waiting = locks.Condition()
    futures = [waiting.wait() for _ in range(6)]
    futures[0].cancel()
    found = [repr(waiting)]
    for count in (0, -1, 1, 2):
        waiting.notify(count)
        found.append([state(future) for future in futures])
    waiting.notify_all()
    waiting.notify()
    return [*found, [state(future) for future in futures], repr(waiting)]


@call
async def condition_deadlines():
    waiting = locks.Condition()
    found = [await end(waiting.wait(deadline)) for deadline in DEADLINES.values()]
    waiting.notify()
    return [*found, await end(waiting.wait(NOW))]


calls("Condition wrong deadline", lambda deadline: locks.Condition().wait(deadline), ["x", (1,)])


@call
async def event():
    flag = locks.Event()
    found = [flag.is_set(), repr(flag)]
    waiting = [flag.wait(), flag.wait(LONG)]
    waiting[0].cancel()
    flag.set()
    flag.clear()
    found += [await end(waiting[1]), flag.is_set(), state(flag.wait())]
    flag.set()
    return [*found, flag.is_set(), repr(flag), state(flag.wait()), state(flag.wait(0))]


@call
async def event_deadlines():
    flag = locks.Event()
    found = [await end(flag.wait(deadline)) for deadline in DEADLINES.values()]
    flag.set()
    return [*found, [state(flag.wait(deadline)) for deadline in DEADLINES.values()]]


# --- queues ---

QUEUES = {"Queue": queues.Queue, "PriorityQueue": queues.PriorityQueue, "LifoQueue": queues.LifoQueue}


@each_kind(QUEUES)
async def order(kind):
    queue = kind()
    for item in (3, 1, 2):
        queue.put_nowait(item)
    return [str(queue), queue.get_nowait(), await queue.get(), state(queue.get()), str(queue)]


@each_kind(QUEUES)
async def bounds(kind):
    queue = kind(2)
    found = [
        state(queue.put(3)),
        state(queue.put(1)),
        queue.full(),
        queue.empty(),
        queue.qsize(),
        queue.maxsize,
    ]
    waiting = [queue.put(2), queue.put(0)]
    found += [[state(future) for future in waiting], str(queue), queue.get_nowait(), state(waiting[0])]
    found += [
        state(queue.get()),
        [state(future) for future in waiting],
        queue.get_nowait(),
        queue.get_nowait(),
    ]
    return [*found, queue.empty(), str(queue)]


@each_kind(QUEUES)
async def put_into_a_full_one(kind):
    queue = kind(1)
    queue.put_nowait(1)
    queue.put_nowait(2)


@each_kind(QUEUES)
async def get_from_an_empty_one(kind):
    return kind().get_nowait()


@each_kind(QUEUES)
async def handed_over(kind):
    queue = kind(1)
    getters = [queue.get() for _ in range(4)]
    getters[1].cancel()
    found = [str(queue)]
    queue.put_nowait(1)
    queue.put(2)
    return [*found, [state(getter) for getter in getters], str(queue), queue.qsize()]


@each_kind(QUEUES)
async def item_given_to_a_task_that_is_cancelled(kind):
    queue = kind()

    async def get():
        return await queue.get()

    task = asyncio.ensure_future(get())
    await turns()
    queue.put_nowait(1)
    task.cancel()
    return [await end(task), queue.qsize()]


@each_kind(QUEUES)
async def deadlines_of_a_queue(kind):
    queue = kind(1)
    found = [await end(queue.get(deadline)) for deadline in DEADLINES.values()]
    queue.put_nowait(1)
    found += [await end(queue.put(2, deadline)) for deadline in DEADLINES.values()]
    found += [await end(queue.join(deadline)) for deadline in DEADLINES.values()]
    return [*found, state(queue.get(0)), str(queue), state(queue.put(1, 0))]


@each_kind(QUEUES)
async def putters_that_leave(kind):
    queue = kind(1)
    queue.put_nowait(1)
    putters = [queue.put(2, SOON), queue.put(3), queue.put(4)]
    found = [await end(putters[0])]
    putters[1].cancel()
    return [*found, queue.get_nowait(), [state(putter) for putter in putters], str(queue)]


calls(
    "Queue of size",
    lambda size: [queues.Queue(size).maxsize, queues.Queue(size).full()],
    [0, 3, -1, None, "x", 1.5],
)


@call
async def task_done_and_join():
    queue = queues.Queue()
    found = [state(queue.join())]
    queue.put_nowait(1)
    queue.put_nowait(2)
    joined = queue.join()
    for _ in range(2):
        queue.get_nowait()
        queue.task_done()
        found.append(state(joined))
    try:
        queue.task_done()
    except ValueError:
        found.append("ValueError")
    return [*found, await end(joined), str(queue)]


@call
async def queue_iteration():
    queue, seen = queues.Queue(2), []

    async def consume():
        async for item in queue:
            seen.append(item)
            queue.task_done()

    task = asyncio.ensure_future(consume())
    for item in range(8):
        await queue.put(item)
    await queue.join()
    task.cancel()
    return seen


@call
async def queue_hooks():
    class Shouting(queues.Queue):
        def _init(self):
            self._queue = []

        def _put(self, item):
            self._queue.insert(0, item)

        def _get(self):
            return self._queue.pop().upper()

    queue = Shouting(2)
    waiting = queue.get()
    queue.put_nowait("a")
    queue.put_nowait("b")
    queue.put_nowait("c")
    late = queue.put("d")
    return [await waiting, str(queue), await queue.get(), state(late), str(queue)]


async def main():
    # Future reports that were never asked for, and the like, are no part of the comparison.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger(NAME).addHandler(Keep())
    logging.getLogger(NAME).propagate = False
    warnings.simplefilter("ignore")
    found = {}
    for name, function in CALLS.items():
        LOGGED.clear()
        found[name] = await outcome(function)
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
