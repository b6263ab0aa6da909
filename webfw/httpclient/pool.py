"""Connections kept open, and the order in which requests get one; no HTTP and no connecting may enter.

A `Guest` asks for a place at a key, which stands for one way to one server.  It is admitted at once or in its turn: at
most ``max_active`` have a place at a time, and at most ``max_per_key`` at one key.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Iterator
from math import inf
from typing import Generic, Protocol, TypeVar

from webfw.ioloop.deadlines import Sweeper

__all__ = ["Guest", "Kept", "Pool"]


#: Seconds after which a server that says nothing of closing a connection, and does it, has done it.
SETTLED = 0.1


class Kept(Protocol):
    """A connection as the pool sees it."""

    key: Hashable
    #: When it was given back, in the loop's time.
    idle_since: float
    #: How often it was used.
    requests: int

    def hung_up(self) -> bool:
        """Whether the system knows of something that has come from the peer, such as its farewell."""

    def abort(self) -> None:
        """Close it at once."""


class Guest(Protocol):
    """Who asks for connections."""

    key: Hashable

    def admitted(self) -> None:
        """There is a place: `Pool.take` a connection, or make one; some day `Pool.leave` must follow."""

    def abandoned(self, error: BaseException) -> None:
        """The pool is closed, which is not to be told of this guest any more."""


_K = TypeVar("_K", bound=Kept)


class Pool(Generic[_K]):
    """The connections of one client.

    :param sweeper: the one of the loop.
    :param max_active: guests that have a place at a time; also how many connections are kept at most.
    :param max_per_key: guests that have a place at one key; None for no limit of its own.
    :param idle_timeout: seconds a connection is kept without use; 0 keeps none.
    :ivar active: the guests that have a place.
    :ivar queue: those that wait for one, in order; without those that wait for their key.
    :ivar deadline: when the connection that has been kept for longest was kept long enough.
    """

    __slots__ = (
        "__weakref__",
        "_admitting",
        "_at_key",
        "_guard",
        "_held",
        "_idle",
        "_idle_count",
        "_idle_timeout",
        "_max_active",
        "_max_per_key",
        "_sweeper",
        "active",
        "closed",
        "deadline",
        "queue",
    )

    def __init__(
        self, sweeper: Sweeper, max_active: int, max_per_key: int | None = None, idle_timeout: float = 15.0
    ) -> None:
        self._sweeper = sweeper
        self._max_active = max_active
        self._max_per_key: float = inf if max_per_key is None else max_per_key
        self._idle_timeout = idle_timeout
        self.active: dict[Guest, None] = {}
        self.queue: OrderedDict[Guest, None] = OrderedDict()
        #: Those that had their turn, but not at their key.
        self._held: dict[Hashable, OrderedDict[Guest, None]] = {}
        self._at_key: dict[Hashable, int] = {}
        #: By key, in the order in which they were given back.
        self._idle: dict[Hashable, list[_K]] = {}
        self._idle_count = 0
        self._admitting = False
        self.deadline = inf
        self.closed = False
        self._guard: AsyncGenerator[None] | None = None

    # Places.

    def enter(self, guest: Guest) -> None:
        """Have a guest wait for a place, which it may get at once."""
        if self._guard is None:
            self._set_guard()
        self.queue[guest] = None
        self._admit()

    def move(self, guest: Guest, key: Hashable) -> None:
        """Give a guest that has a place one at another key, before all others."""
        self._release(guest)
        guest.key = key
        self.queue[guest] = None
        self.queue.move_to_end(guest, last=False)
        self._admit()

    def leave(self, guest: Guest) -> None:
        """Take a guest's place, or its wait, from it; one that has none is ignored."""
        if guest in self.active:
            self._release(guest)
        elif guest in self.queue:
            del self.queue[guest]
        elif guest in self._held.get(guest.key, ()):
            self._unhold(guest.key, guest)
        self._admit()

    def _release(self, guest: Guest) -> None:
        del self.active[guest]
        self._count(guest.key, -1)
        held = self._held.get(guest.key)
        if held:
            # It has waited for longer than anyone in the queue.
            longest = self._unhold(guest.key, next(iter(held)))
            self.queue[longest] = None
            self.queue.move_to_end(longest, last=False)

    def waiting(self) -> Iterator[Guest]:
        """All that wait, for whatever."""
        for held in self._held.values():
            yield from held
        yield from self.queue

    def _admit(self) -> None:
        if self._admitting:  # a guest has left while it was admitted: the loop below goes on
            return
        self._admitting = True
        try:
            while self.queue and len(self.active) < self._max_active:
                guest, _ = self.queue.popitem(last=False)
                if self._at_key.get(guest.key, 0) >= self._max_per_key:
                    self._held.setdefault(guest.key, OrderedDict())[guest] = None
                    continue
                self.active[guest] = None
                self._count(guest.key, 1)
                guest.admitted()
        finally:
            self._admitting = False

    def _count(self, key: Hashable, change: int) -> None:
        if self._max_per_key < inf:
            number = self._at_key.get(key, 0) + change
            if number:
                self._at_key[key] = number
            else:
                del self._at_key[key]

    def _unhold(self, key: Hashable, guest: Guest) -> Guest:
        held = self._held[key]
        del held[guest]
        if not held:
            del self._held[key]
        return guest

    # Connections.

    def take(self, key: Hashable, now: float, sure: bool = False) -> _K | None:
        """The connection at a key that was used last; None when there is none.

        None of which the system knows that something has come: what was not asked for would be taken for the answer to
        the next request.

        :param now: the loop's time.
        :param sure: take only one that the server surely means to keep: it has served more than one request, or stood
            for a while.
        """
        kept = self._idle.get(key)
        if kept and kept[0].idle_since + self._idle_timeout <= now:
            self.deadline_passed(now)  # by a loop that stood still, as that of the blocking client does
            kept = self._idle.get(key)
        if not kept:
            return None
        for index in range(len(kept) - 1, -1, -1):
            connection = kept[index]
            if connection.hung_up():
                del kept[index]
                self._idle_count -= 1
                connection.abort()
            elif not sure or connection.requests > 1 or connection.idle_since + SETTLED <= now:
                del kept[index]
                self._idle_count -= 1
                return connection
        return None

    def keep(self, connection: _K, now: float) -> None:
        """Keep a connection that can be used again; call it before `leave`, so that who is next can have it.

        :param now: the loop's time.
        """
        if self.closed or self._idle_timeout <= 0:
            connection.abort()
            return
        connection.idle_since = now
        kept = self._idle.get(connection.key)
        if kept is None:
            kept = self._idle[connection.key] = []
        kept.append(connection)
        self._idle_count += 1
        if self._idle_count > self._max_active:
            oldest = min((kept[0] for kept in self._idle.values() if kept), key=_idle_since)
            self.forget(oldest)
            oldest.abort()
        if self.deadline == inf:
            self.deadline = now + self._idle_timeout
            self._sweeper.watch(self, self._idle_timeout)

    def forget(self, connection: _K) -> None:
        """Keep a connection no longer, since it is closed; one that is not kept is ignored."""
        kept = self._idle.get(connection.key, [])
        if connection in kept:
            kept.remove(connection)
            self._idle_count -= 1

    @property
    def idle(self) -> int:
        """How many connections are kept."""
        return self._idle_count

    def deadline_passed(self, now: float) -> None:
        """Close what was kept long enough, and find the next deadline."""
        self.deadline = inf
        for key, kept in list(self._idle.items()):
            while kept and kept[0].idle_since + self._idle_timeout <= now:
                self._idle_count -= 1
                kept.pop(0).abort()
            if kept:
                self.deadline = min(self.deadline, kept[0].idle_since + self._idle_timeout)
            else:
                del self._idle[key]
        if self.deadline == inf:
            self._sweeper.unwatch(self)

    # The end.

    def close(self, error: BaseException) -> None:
        """Close what is kept and abandon all guests, which are told why."""
        if self.closed:
            return
        self.closed = True
        self._abandon_all(error)
        guard, self._guard = self._guard, None
        if guard is not None:
            try:
                guard.aclose().send(None)  # it has nothing to wait for, as `closed` is set
            except StopIteration:
                pass

    def abort(self) -> None:
        """Close what is kept, and cancel what guests wait for: nobody will be there for it."""
        self.close(asyncio.CancelledError())

    def _abandon_all(self, error: BaseException) -> None:
        guests = [*self.active, *self.waiting()]
        self.active.clear()
        self.queue.clear()
        self._held.clear()
        self._at_key.clear()
        for guest in guests:
            guest.abandoned(error)
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()
        self._idle_count = 0
        self.deadline = inf
        self._sweeper.unwatch(self)

    def _set_guard(self) -> None:
        """Be told when the loop ends: ``asyncio.run`` finishes asynchronous generators before it closes the loop.

        Connections that are open then would be reported as left behind; all programs of this kind leave them.
        """
        self._guard = self._until_the_loop_ends()
        try:
            self._guard.asend(None).send(None)
        except StopIteration:  # how a generator says that it has come to its yield
            pass

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if not self.closed:
                self._guard = None  # of a loop that goes on, there will be another
                self._abandon_all(asyncio.CancelledError())
                for _ in range(3):  # sockets are closed in the turns after
                    await asyncio.sleep(0)


def _idle_since(connection: Kept) -> float:
    return connection.idle_since
