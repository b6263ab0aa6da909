"""`CaresResolver`: host names resolved by c-ares (the pycares package); other resolvers live in `webfw.netutil`."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from webfw.ioloop import IOLoop
from webfw.netutil import Resolver, is_valid_ip

__all__ = ["CaresResolver"]


class CaresResolver(Resolver):
    """Asks the name servers itself, through c-ares, without threads: ``Resolver.configure("…CaresResolver")``.

    It may answer otherwise than the system's resolver, since it knows no plugins of the system (mDNS, LDAP).  It is
    bound to the loop it was made on.

    :raises ImportError: the pycares package (version 4 or later) is not installed.
    """

    def initialize(self) -> None:
        try:
            import pycares
        except ImportError as exc:
            raise ImportError("CaresResolver needs the pycares package: pip install pycares") from exc
        self.io_loop: IOLoop = IOLoop.current()
        #: Descriptor -> the events it is watched for.
        self.fds: dict[int, int] = {}
        self._timer: object | None = None
        self._waiting = 0
        self._closed = False
        # No descriptor: what has only timed out is to be looked at.
        self._nothing = pycares.ARES_SOCKET_BAD
        self._why: Callable[[int], str | bytes] = pycares.errno.strerror
        self.channel: Any = pycares.Channel(sock_state_cb=self._sock_state)

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        if is_valid_ip(host):
            return await _literal(host, port, family)
        future: asyncio.Future[Any] = self.io_loop.asyncio_loop.create_future()

        def done(result: Any, error: int | None) -> None:
            if future.done():  # whoever asked has gone
                return
            if error:
                future.set_exception(
                    socket.gaierror(
                        socket.EAI_NONAME, f"{host} cannot be resolved: {_text(self._why(error))}"
                    )
                )
            else:
                future.set_result(result)

        self._waiting += 1
        try:
            self.channel.getaddrinfo(
                host=host, port=port, family=family, type=socket.SOCK_STREAM, callback=done
            )
            self._set_timer()
            result = await future
        finally:
            self._waiting -= 1
        return [(node.family, _address(node)) for node in result.nodes]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waiting = 0
        self._set_timer()
        self.channel.cancel()
        for fd in list(self.fds):
            self._sock_state(fd, False, False)
        self.channel.close()

    # --- what c-ares wants to know ---

    def _sock_state(self, fd: int, readable: bool, writable: bool) -> None:
        """c-ares wants a socket watched, or no longer."""
        events = IOLoop.READ * readable | IOLoop.WRITE * writable
        if fd in self.fds:
            if events:
                self.io_loop.update_handler(fd, events)
            else:
                self.io_loop.remove_handler(fd)
                del self.fds[fd]
                return
        elif events:
            self.io_loop.add_handler(fd, self._ready, events)
        else:
            return
        self.fds[fd] = events

    def _ready(self, fd: int, events: int) -> None:
        self.channel.process_fd(
            fd if events & IOLoop.READ else self._nothing, fd if events & IOLoop.WRITE else self._nothing
        )
        self._set_timer()

    def _set_timer(self) -> None:
        """Let c-ares try again, or give up, when its time has come."""
        if self._timer is not None:
            self.io_loop.remove_timeout(self._timer)
            self._timer = None
        if self._waiting:
            wait = self.channel.timeout()
            self._timer = self.io_loop.call_later(max(0.01, min(wait, 1.0)) if wait else 1.0, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.channel.process_fd(self._nothing, self._nothing)
        self._set_timer()


async def _literal(host: str, port: int, family: int) -> list[tuple[int, Any]]:
    """The address that a host is already."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    return [(info[0], info[4]) for info in found]


def _address(node: Any) -> tuple[Any, ...]:
    host, *rest = node.addr
    return (_text(host), *rest)


def _text(value: str | bytes) -> str:
    """What pycares gives as bytes up to version 4."""
    return value.decode() if isinstance(value, bytes) else value
