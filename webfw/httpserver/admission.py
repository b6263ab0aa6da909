"""Who is let in: limits on connections, in all and for each address, and a way out for others; no HTTP is read."""

import socket
from functools import partial
from typing import TYPE_CHECKING

from webfw.httpserver.http1exchange import plain_answer
from webfw.httpserver.tally import Tally
from webfw.ioloop import deadlines
from webfw.log import gen_log
from webfw.process.descriptors import descriptor_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from webfw.httpserver.limits import Limits
    from webfw.iostream.wire import Wire

__all__ = ["Admission", "by_descriptors", "network_of"]

#: Seconds until who was sent away may try again.
RETRY_AFTER = 1

#: The most connections that are being closed politely (fewer where there are few descriptors); the oldest has to go
#: for the next.
MOST_LEAVING = 64

#: What this process needs besides, of the descriptors it may have: at least, at most, and the part in between.
_RESERVE = (64, 2000, 4)

_LIMITS = ("max_connections", "max_connections_per_address")


def by_descriptors(limit: int | None) -> int:
    """How many connections a process can have that may have ``limit`` descriptors; 0 for any number.

    The rest is for what else is open: listeners, files that are sent, bodies on disk, databases, those who are being
    sent away, and those who are accepted in one turn of the loop, before they can be.
    """
    if limit is None:
        return 0
    least, most, part = _RESERVE
    return max(limit - max(least, min(most, limit // part)), limit // 2, 1)


def network_of(host: str) -> str | bytes:
    """Whom an address stands for, in the count for each: one host in IPv4, a network of 64 bits in IPv6.

    Whoever has IPv6 has at least that many addresses.  An IPv4 address that is written as IPv6 is what it says.
    """
    if ":" not in host:
        return host
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return host
    if packed.startswith(b"\x00" * 10 + b"\xff\xff"):
        return ".".join(map(str, packed[12:]))
    return packed[:8]


class Admission:
    """Counts the connections of one server for each address, and sends those away who are too many.

    :param limits: of the server.
    :param exempt: addresses that may have any number: proxies, behind which there are many clients.
    :param told: called with the name of the limit for everyone who is sent away.

    What is counted is an object for each connection, which may be followed by another (`follow`): from the wire that is
    accepted to the protocol that has taken it over.
    """

    def __init__(
        self, limits: "Limits", exempt: frozenset[str], told: "Callable[[str], None] | None" = None
    ) -> None:
        #: The most connections in all, 0 for any number; found out with the first one where the limits do not say.
        self.most = limits.max_connections
        #: The most of one address, 0 for any number.
        self.most_each = limits.max_connections_per_address
        #: How many have been sent away.
        self.refused = 0
        self._limits = limits
        self._exempt = exempt
        self._told = told
        self._networks: dict[object, str | bytes] = {}
        self._counts: dict[str | bytes, int] = {}
        self._most_leaving = MOST_LEAVING
        self._leaving: dict[_Leaving, None] = {}
        # One message for each limit.
        self._tallies = {limit: Tally(partial(self._tell, limit)) for limit in _LIMITS}

    # Counting.

    def admit(self, wire: "Wire", connections: int, tls: bool) -> bool:
        """Whether a connection that has just been accepted may stay; else it is on its way out.

        :param connections: how many there are without it.
        :param tls: whether its client expects a TLS handshake, so that there is no way to tell it anything.
        """
        most = self.most
        if most is None:
            most = self._find_most()
        if most and connections >= most:
            self._refuse(wire, "max_connections", tls)
            return False
        return not self.most_each or self._admit_address(wire, tls)

    def _find_most(self) -> int:
        limit = descriptor_limit()
        if limit is not None:
            self._most_leaving = min(MOST_LEAVING, limit // 8 + 1)
        self.most = by_descriptors(limit)
        return self.most

    def _admit_address(self, wire: "Wire", tls: bool) -> bool:
        address = wire.get_extra_info("peername")
        if not isinstance(address, tuple) or address[0] in self._exempt:  # a unix socket's clients have none
            return True
        network = network_of(address[0])
        count = self._counts.get(network, 0)
        if count >= self.most_each:
            self._refuse(wire, "max_connections_per_address", tls)
            return False
        self._counts[network] = count + 1
        self._networks[wire] = network
        return True

    def follow(self, former: object, now: object) -> None:
        """The same connection goes by another object from now on."""
        network = self._networks.pop(former, None)
        if network is not None:
            self._networks[now] = network

    def left(self, gone: object) -> None:
        """A connection is over."""
        network = self._networks.pop(gone, None)
        if network is not None:
            count = self._counts[network] - 1
            if count:
                self._counts[network] = count
            else:
                del self._counts[network]

    # Sending away.

    def _refuse(self, wire: "Wire", limit: str, tls: bool) -> None:
        self.refused += 1
        self._tallies[limit].add(wire)
        if self._told is not None:
            self._told(limit)
        if tls:
            wire.abort()
            return
        if len(self._leaving) >= self._most_leaving:
            next(iter(self._leaving)).end()
        wire.write(plain_answer(503, "too many connections", more=(("Retry-After", str(RETRY_AFTER)),)))
        wire.write_eof()
        self._leaving[_Leaving(self._leaving, wire, self._limits)] = None

    def _tell(self, limit: str, count: int, peer: str, _: str) -> None:
        most = self.most if limit == "max_connections" else self.most_each
        gen_log.warning("connections refused: %d (%s is %s); the last from %s", count, limit, most, peer)

    def close(self) -> None:
        """Cut those who are being sent away."""
        for leaving in list(self._leaving):
            leaving.end()


class _Leaving:
    """The consumer of a wire whose client has its answer: what it sends is dropped until it closes, for a while.

    A close with unread input would reset the connection, and the answer might not arrive.
    """

    __slots__ = ("_among", "_left", "_wire", "deadline")

    def __init__(self, among: "dict[_Leaving, None]", wire: "Wire", limits: "Limits") -> None:
        self._among = among
        self._wire = wire
        self._left = limits.linger_size
        wire.consumer = self
        patience = limits.linger_timeout or 0.1
        sweeper = deadlines.for_loop(wire.loop)
        self.deadline = sweeper.refresh() + patience
        sweeper.watch(self, patience)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.end()

    def eof_received(self) -> bool:
        return False

    def deadline_passed(self, now: float) -> None:
        self.end()

    def end(self) -> None:
        """It has had its time."""
        self.connection_lost(None)
        self._wire.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.pop(self, None)
        deadlines.for_loop(self._wire.loop).unwatch(self)

    def resume_writing(self) -> None:
        pass
