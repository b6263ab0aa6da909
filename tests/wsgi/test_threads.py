"""Threads that run applications: how many wait, what happens to a stuck one, and what handing over costs."""

import asyncio
import threading
from typing import Any

import pytest

from tests.wsgi.conftest import Serve, request, until
from webfw.wsgi.threads import Mailbox, ThreadPool, stack_of

PLAIN = [("Content-Type", "text/plain")]


class Job:
    """Waits until it may end."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.thread: threading.Thread | None = None
        self.ran_in: threading.Thread | None = None
        self.running, self.gate, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.error = error

    def execute(self) -> None:
        self.ran_in = self.thread
        self.running.set()
        self.gate.wait(10)
        self.ended.set()
        if self.error is not None:
            raise self.error


# --- the mailbox ---


async def test_one_wake_up_for_what_is_ready_together(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    woken: list[Any] = []
    call_soon_threadsafe = loop.call_soon_threadsafe

    def counting(*args: Any, **kwargs: Any) -> Any:
        woken.append(args)
        return call_soon_threadsafe(*args, **kwargs)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    mailbox = Mailbox(loop)
    done: list[int] = []
    for turn in range(3):
        for i in range(100):
            mailbox.post(lambda i=i: done.append(i))  # type: ignore[misc]
        assert len(woken) == turn + 1
        await asyncio.sleep(0)
        assert done == list(range(100)) * (turn + 1)


async def test_what_is_posted_meanwhile_has_its_turn_later() -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    turns = 0

    def again() -> None:
        nonlocal turns
        turns += 1
        if turns < 1000:
            mailbox.post(again)

    mailbox.post(again)
    for _ in range(5):
        await asyncio.sleep(0)
    assert turns <= 6
    await until(lambda: turns == 1000)


async def test_nothing_is_lost_between_threads_and_loop() -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    got: list[tuple[int, int]] = []

    def post(number: int) -> None:
        for i in range(3000):
            mailbox.post(lambda: got.append((number, i)))  # noqa: B023  # the loop may see a later one
            if i % 50 == 0:
                threading.Event().wait(0.0001)

    threads = [threading.Thread(target=post, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    await until(lambda: not any(thread.is_alive() for thread in threads))
    await until(lambda: len(got) == 9000)


async def test_one_that_fails_keeps_no_other(expect_log: Any) -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    done: list[int] = []
    with expect_log("webfw.application", "while a response was taken from its thread", count=1):
        mailbox.post(lambda: done.append(1))
        mailbox.post(lambda: done[1000])  # type: ignore[arg-type, return-value]
        mailbox.post(lambda: done.append(2))
        await asyncio.sleep(0)
    assert done == [1, 2]


def test_a_closed_loop_takes_nothing() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    assert mailbox.post(lambda: None) is False
    assert mailbox.post(lambda: None) is False
    assert not mailbox._calls


# --- the pool ---


def test_threads_start_when_they_are_needed_and_end_when_told() -> None:
    pool = ThreadPool(3, 100, "test")
    assert not pool._threads
    for _ in range(20):
        job = Job()
        job.gate.set()
        assert pool.submit(job)
        assert job.ended.wait(10)
        while pool.busy:
            pass
    assert len(pool._threads) == 1
    jobs = [Job() for _ in range(5)]
    for job in jobs:
        assert pool.submit(job)
    for job in jobs[:3]:
        assert job.running.wait(10)
    assert len(pool._threads) == 3
    assert not jobs[3].running.is_set()
    assert all(thread.name.startswith("test-") and thread.daemon for thread in pool._threads)
    pool.close()
    pool.close()
    assert not pool.submit(Job())
    for job in jobs:
        job.gate.set()
    pool.join(10)
    assert all(job.ended.is_set() for job in jobs)  # what waited was run
    assert not pool._threads
    assert pool.busy == 0


def test_how_many_may_wait() -> None:
    pool = ThreadPool(1, 2, "test")
    jobs = [Job() for _ in range(4)]
    assert [pool.submit(job) for job in jobs] == [True, True, True, False]
    jobs[0].gate.set()
    assert jobs[1].running.wait(10)
    assert pool.submit(jobs[3])
    for job in jobs:
        job.gate.set()
    pool.close()
    pool.join(10)


def test_jobs_of_one_turn_are_handed_over_together() -> None:
    turns: list[Any] = []
    pool = ThreadPool(1, 100, "test", turns.append)
    jobs = [Job() for _ in range(5)]
    for job in jobs:
        job.gate.set()
        assert pool.submit(job)
    assert len(turns) == 1
    assert pool._jobs.empty()
    turns.pop()()
    for job in jobs:
        assert job.ended.wait(10)
    last = Job()
    last.gate.set()
    pool.submit(last)
    pool.close()  # what has not been handed over yet is run
    pool.join(10)
    assert last.ended.is_set()
    turns.pop()()
    assert pool.busy == 0


def test_sizes_that_are_none() -> None:
    with pytest.raises(ValueError, match="a pool needs at least 1 thread, not 0"):
        ThreadPool(0, 1, "test")


def test_whatever_a_job_raises_costs_no_thread(expect_log: Any) -> None:
    pool = ThreadPool(1, 10, "test")
    for error in (ValueError("broken"), SystemExit(1), KeyboardInterrupt()):
        job = Job(error)
        job.gate.set()
        with expect_log("webfw.application", "Uncaught exception in test-1", count=1):
            pool.submit(job)
            while pool.busy:
                pass
    assert [thread.name for thread in pool._threads] == ["test-1"]
    pool.close()
    pool.join(10)


def test_a_stuck_thread_is_replaced() -> None:
    pool = ThreadPool(2, 10, "test")
    stuck, other, late = Job(), Job(), Job()
    pool.submit(stuck)
    pool.submit(other)
    assert stuck.running.wait(10)
    assert other.running.wait(10)
    pool.submit(late)
    thread = stuck.thread
    assert thread is not None
    assert "self.gate.wait(10)" in stack_of(thread)
    pool.replace(thread)
    pool.replace(thread)
    assert late.running.wait(10)
    assert len(pool._threads) == 2
    assert pool.busy == 2
    stuck.gate.set()  # it comes back, and ends
    thread.join(10)
    assert not thread.is_alive()
    assert "the thread has ended" in stack_of(thread)
    assert pool.busy == 2
    for job in (other, late):
        job.gate.set()
    pool.close()
    pool.replace(thread)
    pool.join(10)
    assert pool.busy == 0


# --- through a server ---


class Gated:
    """An application that waits until it may answer."""

    def __init__(self, kind: str = "list") -> None:
        self.gates: dict[str, threading.Event] = {}
        self.running: list[str] = []
        self.kind = kind
        self.returned: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith("/wait"):
            start_response("200 OK", list(PLAIN))
            return [b"quick"]
        gate = self.gates.setdefault(path, threading.Event())
        if self.kind == "half":
            return self.half(path, gate, start_response)
        self.running.append(path)
        gate.wait(20)
        write = start_response("200 OK", list(PLAIN))
        if self.kind == "write":
            write(b"too late")
        self.returned.append(path)
        return [b"waited"] if self.kind != "large" else [b"x" * 300_000]

    def half(self, path: str, gate: threading.Event, start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        yield b"first"
        self.running.append(path)
        gate.wait(20)
        yield b"second"


@pytest.mark.parametrize("mode", ["threads", "executor"])
async def test_too_many_are_sent_away(serve: Serve, mode: str) -> None:
    app = Gated()
    async with serve(app, mode, threads=2, max_waiting=3, wrong=True) as served:
        clients = [await served.connect() for _ in range(5)]
        for i, client in enumerate(clients):
            client.send(request(f"/wait{i}"))
        await until(lambda: _taken(served) == 5)
        assert served.container.load() == {"threads": 2, "busy": 2, "waiting": 3, "max_waiting": 3}
        late = await served.connect()
        for _ in range(2):
            answer = await late.ask()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert served.log == [503, 503]
        for i in range(5):
            app.gates.setdefault(f"/wait{i}", threading.Event()).set()
        assert [(await client.answer()).body for client in clients] == [b"waited"] * 5
        await until(lambda: _taken(served) == 0)
        assert (await late.ask()).body == b"quick"
        await until(lambda: served.container.load()["busy"] == 0)


def _taken(served: Any) -> int:
    pool = served.container._pool
    return int(pool.busy if pool is not None else served.container._waiting)


@pytest.mark.parametrize("kind", ["list", "write", "large"])
async def test_a_request_that_takes_too_long(serve: Serve, kind: str, expect_log: Any) -> None:
    app = Gated(kind)
    async with serve(app, threads=2, request_timeout=0.3, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", r"GET /wait .*takes too long", count=1) as records:
            answer = await client.ask("/wait")
            assert (answer.status, answer.body) == (504, b"504 Gateway Timeout\n")
        assert "gate.wait(20)" in records[0].getMessage()
        served.container.request_timeout = 60.0  # what follows is quick, but perhaps not on a busy machine
        pool = served.container._pool
        assert pool.busy == 0
        assert len(pool._threads) == 1
        assert (await client.ask()).body == b"quick"  # on the same connection
        app.gates["/wait"].set()  # it comes back late, and what it gives is dropped
        await until(lambda: app.returned or kind == "write")
        await until(lambda: not _stuck(pool))
        for _ in range(3):
            assert (await client.ask()).body == b"quick"
        assert len(pool._threads) <= 2
        assert served.log == [504, 200, 200, 200, 200]


_others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def threads_of_earlier_tests() -> None:
    """Containers that nobody has closed keep their threads: they are none of ours."""
    _others.clear()
    _others.update(threading.enumerate())


def _stuck(pool: ThreadPool) -> list[threading.Thread]:
    ours = [thread for thread in threading.enumerate() if thread.name.startswith(pool._name)]
    return [thread for thread in ours if thread not in pool._threads and thread not in _others]


async def test_too_long_in_the_middle_cuts(serve: Serve, expect_log: Any) -> None:
    app = Gated("half")
    async with serve(
        lambda e, s: app.half("/", app.gates.setdefault("/", threading.Event()), s),
        request_timeout=0.3,
        wrong=True,
    ) as served:
        client = await served.connect()
        with expect_log("webfw.application", "takes too long", count=1):
            answer = await client.ask()
            assert (answer.status, answer.cut) == (200, True)
        app.gates["/"].set()
        await until(lambda: not served.log or served.log == [200])
        await until(lambda: not _stuck(served.container._pool))


async def test_no_thread_was_free_in_time(serve: Serve, expect_log: Any) -> None:
    app = Gated()
    async with serve(app, threads=1, request_timeout=0.5, wrong=True) as served:
        first, second = await served.connect(), await served.connect()
        with (
            expect_log("webfw.application", "takes too long", count=1),
            expect_log("webfw.application", "no thread was free in time", count=None) as waited,
        ):
            first.send(request("/wait1"))
            await until(lambda: app.running)
            run = _watched(served)[0]
            second.send(request("/wait2"))
            await until(lambda: len(_watched(served)) == 2)
            late = next(one for one in _watched(served) if one is not run)
            late.deadline = 0.0  # before the first one's
            assert (await second.answer()).status == 504
            assert len(waited) == 1
            assert (await first.answer()).status == 504
        served.container.request_timeout = 60.0
        app.gates["/wait1"].set()
        assert (await second.ask()).body == b"quick"
        assert app.running == ["/wait1"]  # the second one was not run any more
        await until(lambda: not _stuck(served.container._pool))
        await until(lambda: not _watched(served))


def _watched(served: Any) -> list[Any]:
    from webfw.ioloop import deadlines
    from webfw.wsgi.threaded import ThreadRun

    sweeper = deadlines.for_loop(asyncio.get_running_loop())
    return [one for one in sweeper._watched if isinstance(one, ThreadRun)]


async def test_a_stuck_thread_is_replaced_though_its_client_has_gone(serve: Serve, expect_log: Any) -> None:
    app = Gated()
    async with serve(app, threads=1, request_timeout=0.5, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "takes too long", count=1):
            client.send(request("/wait"))
            await until(lambda: app.running)
            client.reset()
            assert await served.logged(1) == [499]
            # Not before: who asks in between may wait too long himself.
            await until(lambda: _stuck(served.container._pool))
            served.container.request_timeout = 60.0
            assert (await served.ask()).body == b"quick"  # by another thread
        app.gates["/wait"].set()
        await until(lambda: not _stuck(served.container._pool))
        assert not _watched(served)


@pytest.mark.parametrize("mode", ["threads", "executor"])
async def test_in_time_nothing_is_watched_any_more(serve: Serve, mode: str) -> None:
    async with serve(Gated(), mode, request_timeout=60) as served:
        for _ in range(5):
            assert (await served.ask()).body == b"quick"
        await until(lambda: not _watched(served))


async def test_a_stream_that_moves_is_not_too_long(serve: Serve) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        for _ in range(6):
            threading.Event().wait(0.2)
            yield b"tick"

    async with serve(app, request_timeout=1.0) as served:
        assert (await served.ask()).body == b"tick" * 6


async def test_a_slow_client_is_not_the_applications_fault(serve: Serve) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        for _ in range(120):
            yield b"x" * 100_000

    async with serve(app, request_timeout=0.2, max_response_backlog=100_000) as served:
        client = await served.connect()
        client.send(request())
        await asyncio.sleep(0.7)  # time in which nobody reads: several deadlines
        assert len((await client.answer()).body) == 12_000_000


async def test_thread_locals_live_as_long_as_their_thread(serve: Serve) -> None:
    local = threading.local()
    barrier = threading.Barrier(3)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        local.count = getattr(local, "count", 0) + 1
        if environ["PATH_INFO"] == "/meet":
            barrier.wait(10)
        start_response("200 OK", list(PLAIN))
        return [f"{threading.current_thread().name} {local.count}".encode()]

    async with serve(app, threads=3) as served:
        answers = await asyncio.gather(*[served.ask("/meet") for _ in range(3)])
        assert len({answer.body.split()[0] for answer in answers}) == 3
        counts = {answer.body.split()[0]: int(answer.body.split()[1]) for answer in answers}
        for _ in range(30):
            name, count = (await served.ask()).body.split()
            counts[name] += 1
            assert counts[name] == int(count)


async def test_a_thousand_requests(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        body = environ["PATH_INFO"].encode()
        return [body] if len(body) % 2 else iter([body[:3], body[3:]])

    async def one(served: Any, number: int) -> None:
        client = await served.connect()
        for i in range(50):
            assert (await client.ask(f"/{number * 50 + i}")).body == f"/{number * 50 + i}".encode()

    async with serve(app, mode) as served:
        await asyncio.gather(*[one(served, number) for number in range(20)])
        assert served.log == [200] * 1000


async def test_a_result_is_one_hand_over(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[Any] = []
    post = Mailbox.post

    def counting(self: Mailbox, call: Any) -> bool:
        posted.append(call)
        return post(self, call)

    monkeypatch.setattr(Mailbox, "post", counting)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [*PLAIN, ("Content-Length", "5")])
        return [b"hello"] if environ["PATH_INFO"] == "/list" else iter([b"hello"])

    async with serve(app, wrong=True) as served:
        client = await served.connect()
        for path in ("/list", "/iterator"):
            posted.clear()
            assert (await client.ask(path)).body == b"hello"
            await until(lambda: served.container._pool.busy == 0)
            assert len(posted) == 1
