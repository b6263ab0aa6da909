"""Tests of webfw.netutil.resolver."""

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from webfw import netutil
from webfw.netutil import (
    BlockingResolver,
    DefaultExecutorResolver,
    DefaultLoopResolver,
    ExecutorResolver,
    OverrideResolver,
    Resolver,
    ThreadedResolver,
)

KINDS = [BlockingResolver, DefaultExecutorResolver, DefaultLoopResolver, ExecutorResolver, ThreadedResolver]


@pytest.fixture(autouse=True)
def _configuration() -> Iterator[None]:
    saved = Resolver._save_configuration()
    yield
    Resolver._restore_configuration(saved)


@pytest.fixture(autouse=True, scope="module")
def _shared_threads() -> Iterator[None]:
    yield
    if ThreadedResolver._pool is not None:
        ThreadedResolver._pool.shutdown()
        ThreadedResolver._pool = None


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_resolves_an_address(kind: type[Resolver]) -> None:
    resolver = kind()
    assert await resolver.resolve("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert await resolver.resolve("::1", 80, socket.AF_INET6) == [(socket.AF_INET6, ("::1", 80, 0, 0))]
    resolver.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_fails_with_an_oserror(
    kind: type[Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail, raising=False)
    resolver = kind()
    with pytest.raises(OSError, match="not known"):
        await resolver.resolve("an invalid domain", 80)
    resolver.close()


def test_the_default_and_how_to_change_it() -> None:
    assert type(Resolver()) is DefaultLoopResolver
    Resolver.configure("webfw.netutil.ThreadedResolver", num_threads=3)
    assert type(Resolver()) is ThreadedResolver
    Resolver.configure(None)
    assert type(Resolver()) is DefaultLoopResolver


async def test_an_executor_of_ones_own() -> None:
    pool = concurrent.futures.ThreadPoolExecutor(1)
    resolver = ExecutorResolver(executor=pool, close_executor=False)
    await resolver.resolve("127.0.0.1", 80)
    resolver.close()
    with pytest.raises(RuntimeError, match="ExecutorResolver is closed"):
        resolver.resolve("127.0.0.1", 80)
    assert pool.submit(int).result() == 0
    ExecutorResolver(executor=pool).close()
    with pytest.raises(RuntimeError):
        pool.submit(int)


async def test_threads_are_shared_and_not_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread().name)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    first, second = ThreadedResolver(), ThreadedResolver(num_threads=2)
    assert first.executor is second.executor
    await first.resolve("127.0.0.1", 80)
    assert threads[0].startswith("resolver")
    first.close()
    await second.resolve("127.0.0.1", 80)


def test_a_forked_process_gets_its_own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = ThreadedResolver._shared_pool(1)
    monkeypatch.setattr("os.getpid", lambda: -1)
    child = ThreadedResolver._shared_pool(1)
    assert child is not parent
    child.shutdown()
    parent.shutdown()
    ThreadedResolver._pool = None


async def test_a_table_of_other_places() -> None:
    resolver = OverrideResolver(
        BlockingResolver(),
        {
            ("all.example", 80, socket.AF_INET): ("127.0.0.4", 8004),
            ("all.example", 80): ("127.0.0.3", 8003),
            "all.example": "127.0.0.2",
        },
    )

    async def where(host: str, port: int, family: Any = socket.AF_UNSPEC) -> Any:
        return (await resolver.resolve(host, port, family))[0][1]

    assert await where("all.example", 443) == ("127.0.0.2", 443)
    assert await where("all.example", 80) == ("127.0.0.3", 8003)
    assert await where("all.example", 80, socket.AF_INET) == ("127.0.0.4", 8004)
    assert await where("127.0.0.9", 80) == ("127.0.0.9", 80)
    inner = resolver.resolver
    resolver.close()
    assert isinstance(inner, BlockingResolver)
    assert inner.executor is None


def test_the_base_class_is_only_a_face() -> None:
    class Half(Resolver):
        pass

    with pytest.raises(NotImplementedError):
        Half().resolve("127.0.0.1", 80)
    Half().close()


async def test_repeated_answers_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [entry, entry])
    assert await BlockingResolver().resolve("x", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]


def test_names_of_tornados_mean_ours() -> None:
    for name in ("netutil.ThreadedResolver", "netutil.BlockingResolver", "netutil.DefaultLoopResolver"):
        Resolver.configure(f"tornado.{name}")
        assert type(Resolver()) is getattr(netutil, name.partition(".")[2])
    with pytest.raises(ImportError):
        Resolver.configure("tornado.netutil.NoSuchResolver")
    Resolver.configure(ThreadedResolver, num_threads=2)
    assert isinstance(Resolver(), ThreadedResolver)
