"""Host names to addresses: `Resolver` and its kinds; connecting to what they find is tcpclient's work."""

import asyncio
import concurrent.futures
import os
import socket
import threading
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar

from webfw.concurrent import dummy_executor
from webfw.ioloop import IOLoop
from webfw.util import Configurable

__all__ = [
    "BlockingResolver",
    "DefaultExecutorResolver",
    "DefaultLoopResolver",
    "ExecutorResolver",
    "OverrideResolver",
    "Resolver",
    "ThreadedResolver",
]

#: What resolving yields: (address family, address for ``socket.connect``) pairs in order of preference.
Addresses = list[tuple[int, Any]]


def _pairs(found: list[tuple[Any, ...]]) -> Addresses:
    # The same address may come several times, once for every socket type.
    return list(dict.fromkeys((info[0], info[4]) for info in found))


def _resolve_here(host: str, port: int, family: int = socket.AF_UNSPEC) -> Addresses:
    return _pairs(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))


class Resolver(Configurable):
    """Turns host names into addresses; ``Resolver()`` makes a `DefaultLoopResolver` by default.

    ``Resolver.configure("webfw.netutil.ThreadedResolver", num_threads=5)`` chooses another kind for the
    process.
    """

    @classmethod
    def configurable_base(cls) -> type["Resolver"]:
        return Resolver

    @classmethod
    def configurable_default(cls) -> type["Resolver"]:
        return DefaultLoopResolver

    @classmethod
    def configure(cls, impl: str | type[Configurable] | None, **kwargs: Any) -> None:
        """Choose the kind of resolver that ``Resolver()`` makes; see `webfw.util.Configurable.configure`.

        :param impl: a class, its dotted name, or None for the default.  A name that begins with ``tornado.`` means the
            class of that name here.
        """
        if isinstance(impl, str) and impl.startswith("tornado."):
            impl = "webfw." + impl.removeprefix("tornado.")
        super().configure(impl, **kwargs)

    def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Awaitable[Addresses]:
        """Return an awaitable of the addresses of a host.

        :param host: a name or an IP address.
        :param port: put into the addresses.
        :param family: ``socket.AF_INET`` or ``socket.AF_INET6`` to get only those.
        :return: (family, address) pairs, in the order to be tried.
        :raises OSError: (from the awaitable) the host has no address.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the resolver uses, such as threads; it cannot be used any more."""


class DefaultLoopResolver(Resolver):
    """Uses the ``getaddrinfo`` of the running asyncio loop."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Addresses:
        loop = asyncio.get_running_loop()
        return _pairs(await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))


class DefaultExecutorResolver(Resolver):
    """Looks names up in the default executor of the loop."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Addresses:
        found: Addresses = await IOLoop.current().run_in_executor(None, _resolve_here, host, port, family)
        return found


class ExecutorResolver(Resolver):
    """Looks names up in an executor of your own.

    :param executor: a ``concurrent.futures.Executor``; None blocks the loop for the time of the lookup.
    :param close_executor: whether `close` shuts the executor down.
    """

    def initialize(
        self, executor: concurrent.futures.Executor | None = None, close_executor: bool = True
    ) -> None:
        self.executor: concurrent.futures.Executor | None = dummy_executor if executor is None else executor
        self.close_executor = close_executor and executor is not None

    def close(self) -> None:
        if self.close_executor and self.executor is not None:
            self.executor.shutdown()
        self.executor = None

    def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> "asyncio.Future[Addresses]":
        if self.executor is None:
            raise RuntimeError(f"{type(self).__name__} is closed")
        future: asyncio.Future[Addresses] = IOLoop.current().run_in_executor(
            self.executor, _resolve_here, host, port, family
        )
        return future


class BlockingResolver(ExecutorResolver):
    """Looks names up on the loop's own thread, which waits for the answer: for scripts and tests."""

    def initialize(self) -> None:  # type: ignore[override]
        super().initialize()


class ThreadedResolver(ExecutorResolver):
    """Looks names up in threads that all resolvers of this kind share.

    :param num_threads: the most lookups at a time; the first resolver of a process decides.
    """

    _pool: ClassVar[concurrent.futures.ThreadPoolExecutor | None] = None
    _pool_pid: ClassVar[int | None] = None
    _pool_lock: ClassVar[threading.Lock] = threading.Lock()

    def initialize(self, num_threads: int = 10) -> None:  # type: ignore[override]
        super().initialize(executor=self._shared_pool(num_threads), close_executor=False)

    @classmethod
    def _shared_pool(cls, num_threads: int) -> concurrent.futures.ThreadPoolExecutor:
        with cls._pool_lock:
            pid = os.getpid()
            # The threads do not come along into a forked child.
            if cls._pool is None or cls._pool_pid != pid:
                cls._pool = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="resolver")
                cls._pool_pid = pid
            return cls._pool


class OverrideResolver(Resolver):
    """Asks another resolver after replacing hosts by a table, as ``/etc/hosts`` does, for tests.

    :param resolver: the resolver that is asked.
    :param mapping: keys are ``(host, port, family)``, ``(host, port)`` or ``host``, tried in this order;
        values are ``(host, port)`` or, for the last kind of key, a host.
    """

    def initialize(self, resolver: Resolver, mapping: Mapping[Any, Any]) -> None:
        self.resolver = resolver
        self.mapping = mapping

    def close(self) -> None:
        self.resolver.close()

    def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Awaitable[Addresses]:
        mapping = self.mapping
        if (host, port, family) in mapping:
            host, port = mapping[host, port, family]
        elif (host, port) in mapping:
            host, port = mapping[host, port]
        elif host in mapping:
            host = mapping[host]
        return self.resolver.resolve(host, port, family)
