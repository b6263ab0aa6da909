"""The beginning of a connection that comes from a proxy: its PROXY header, awaited; nothing of HTTP may enter."""

from collections.abc import Callable
from math import inf

from webfw.httpserver.tally import Tally
from webfw.ioloop import deadlines
from webfw.iostream.wire import Wire
from webfw.log import gen_log
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.proxyline import ProxyHeader, parse_proxy_header

__all__ = ["ProxyPreface", "comes_from", "without_header"]


def comes_from(wire: Wire, proxies: frozenset[str]) -> bool:
    """Whether a connection was made by one of the proxies.

    Who connects to a Unix domain socket has no address, and is one: its permissions say who may.
    """
    address = wire.get_extra_info("peername")
    return not isinstance(address, tuple) or address[0] in proxies


def without_header() -> Tally:
    """What one server tells of proxies that did not say for whom they come: a fault in how the two are set up."""
    return Tally(_tell)


def _tell(count: int, peer: str, why: str) -> None:
    if count == 1:
        gen_log.warning("connection from %s closed: %s", peer, why)
    else:
        gen_log.warning("connections closed: %d, the last from %s: %s", count, peer, why)


class ProxyPreface:
    """The consumer of a wire from accept until its PROXY header is there.

    It belongs to the connections of a server like those that speak HTTP, until one of two functions is called.

    :param wire: the connection.
    :param timeout: seconds the header may take, 0 for any time.
    :param introduced: called with this, the header and what came behind it; has the wire consumed by somebody else.
    :param gone: called with this when the connection has ended before.
    :param faults: counts those whose header is wrong, late or missing (`without_header`).
    """

    __slots__ = ("__weakref__", "_data", "_faults", "_gone", "_introduced", "_sweeper", "deadline", "wire")

    def __init__(
        self,
        wire: Wire,
        timeout: float,
        introduced: "Callable[[ProxyPreface, ProxyHeader, bytes], None]",
        gone: "Callable[[ProxyPreface], None]",
        faults: Tally,
    ) -> None:
        self.wire = wire
        self._data = b""
        self._introduced = introduced
        self._gone = gone
        self._faults = faults
        self._sweeper = deadlines.for_loop(wire.loop)
        self.deadline = self._sweeper.refresh() + (timeout or inf)
        self._sweeper.watch(self, timeout or inf)
        wire.consumer = self

    def data_received(self, data: bytes) -> None:
        """Take bytes from the wire (the `Consumer` interface)."""
        # A header is bounded: what is refused for its length is refused before it has come.
        self._data += data
        try:
            header = parse_proxy_header(self._data)
        except RemoteProtocolError as error:
            self._give_up(str(error))
            return
        if header is not None:
            self._sweeper.unwatch(self)
            self._introduced(self, header, self._data[header.end :])

    def eof_received(self) -> bool:
        """Nothing can be answered to who has not been introduced."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended (the `Consumer` interface)."""
        self._sweeper.unwatch(self)
        self._gone(self)

    def resume_writing(self) -> None:
        """Nothing was written."""

    def deadline_passed(self, now: float) -> None:
        """The header has not come in time."""
        self.deadline = inf
        self._give_up("no PROXY header in time")

    def _give_up(self, why: str) -> None:
        # The proxy is ours, and nobody else would say what is wrong with it.
        self._faults.add(self.wire, why)
        self.abort()

    def abort(self) -> None:
        """End the connection now."""
        self.wire.abort()

    # No request has come that could be answered first.
    close_when_idle = abort
