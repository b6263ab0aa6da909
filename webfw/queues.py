"""Queues between coroutines of one loop, with deadlines; not for threads, which use `queue` or `IOLoop.add_callback`.

>>> print(Queue(maxsize=2))
<Queue maxsize=2>
"""

import collections
import datetime
import heapq
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from webfw.concurrent import Future
from webfw.locks import Event
from webfw.locks.waiters import Line

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "QueueEmpty", "QueueFull"]

_T = TypeVar("_T")


class QueueEmpty(Exception):
    """Raised by `Queue.get_nowait` when there is nothing to get."""


class QueueFull(Exception):
    """Raised by `Queue.put_nowait` when there is no room."""


class _Items(Generic[_T]):
    """Iterates over what comes out of a queue, without end."""

    __slots__ = ("_queue",)

    def __init__(self, queue: "Queue[_T]") -> None:
        self._queue = queue

    def __aiter__(self) -> "_Items[_T]":
        return self

    def __anext__(self) -> "Future[_T]":
        return self._queue.get()


class Queue(Generic[_T]):
    """A queue from which items come in the order they were put.

    :param maxsize: how many items it takes before `put` waits; 0 for any number.
    :raises TypeError: the size is None.
    :raises ValueError: it is negative.

    ``async for item in queue`` gets items for ever. A get or put that returns a future is in the line from that
    moment, first come first served. If a task is cancelled in the turn in which it was given an item, the item goes to
    the next, or back to where it was; one that was putting an item has put it.

    Subclasses decide what comes first: `_init` makes ``self._queue``, which has a length, `_put` adds an item to it
    and `_get` removes and returns one.
    """

    #: What `_init` made; its length is that of the queue.
    _queue: Any = None

    def __init__(self, maxsize: int = 0) -> None:
        if maxsize is None:
            raise TypeError("the maxsize of a queue can't be None")
        if maxsize < 0:
            raise ValueError("the maxsize of a queue can't be negative")
        self._maxsize = maxsize
        self._getters = Line()
        self._putters = Line()
        self._unfinished_tasks = 0
        self._finished = Event()
        self._finished.set()
        self._init()

    # --- for subclasses ---

    def _init(self) -> None:
        self._queue = collections.deque()

    def _put(self, item: _T) -> None:
        self._queue.append(item)

    def _get(self) -> _T:
        item: _T = self._queue.popleft()
        return item

    # --- how full it is ---

    @property
    def maxsize(self) -> int:
        """How many items it takes before `put` waits; 0 for any number."""
        return self._maxsize

    def qsize(self) -> int:
        """Return the number of items in the queue."""
        return len(self._queue)

    def empty(self) -> bool:
        """Return True if there is nothing to get."""
        return not self.qsize()

    def full(self) -> bool:
        """Return True if `put` would have to wait."""
        return 0 < self._maxsize <= self.qsize()

    # --- in and out ---

    def put(self, item: _T, timeout: float | datetime.timedelta | None = None) -> "Future[None]":
        """Put an item in, waiting for room if there is none.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever.
        :raises TimeoutError: through the future, when the time is over; the item was not put then.
        :raises TypeError: the timeout is none of these.
        """
        if self.full():
            return self._putters.join(timeout, item)
        self._add(item)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def put_nowait(self, item: _T) -> None:
        """Put an item in.

        :raises QueueFull: there is no room for it.
        """
        if self.full():
            raise QueueFull
        self._add(item)

    def get(self, timeout: float | datetime.timedelta | None = None) -> "Future[_T]":
        """Take an item out, waiting for one if there is none.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever. A
            number is no duration here, which it is for `queue.Queue.get`.
        :raises TimeoutError: through the future, when the time is over.
        :raises TypeError: the timeout is none of these.
        """
        self._let_in()
        if self.empty():
            return self._getters.join(timeout, give_back=self._take_back)
        future: Future[_T] = Future()
        future.set_result(self._get())
        return future

    def get_nowait(self) -> _T:
        """Take an item out.

        :raises QueueEmpty: there is none.
        """
        self._let_in()
        if self.empty():
            raise QueueEmpty
        return self._get()

    def __aiter__(self) -> AsyncIterator[_T]:
        return _Items(self)

    def _add(self, item: _T) -> None:
        # First: what a subclass cannot take was not put.
        self._put(item)
        self._unfinished_tasks += 1
        self._finished.clear()
        # Through the queue even when somebody waits for it: `_put` and `_get` see every item.
        getter = self._getters.pop()
        if getter is not None:
            getter.set_result(self._get())

    def _let_in(self) -> None:
        """Put the item of the first who waits for room, as one is about to be taken out."""
        while self._putters and self.qsize() <= self._maxsize:
            putter = self._putters.pop()
            if putter is None:
                return
            try:
                self._add(putter.item)
            except Exception as error:
                # A border: `_put` may be anybody's, and an item it cannot take is the business of who brought it.
                putter.set_exception(error)
            else:
                putter.set_result(None)
                return

    def _take_back(self, item: _T) -> None:
        getter = self._getters.pop()
        if getter is not None:
            getter.set_result(item)
        elif type(self)._put is Queue._put:
            self._queue.appendleft(item)
        else:
            self._put(item)

    # --- who is done ---

    def task_done(self) -> None:
        """Say that the work on an item, that was taken out, is done.

        :raises ValueError: called more often than items were put.
        """
        if self._unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self._unfinished_tasks -= 1
        if self._unfinished_tasks == 0:
            self._finished.set()

    def join(self, timeout: float | datetime.timedelta | None = None) -> "Future[None]":
        """Wait until the work on all items is done: `task_done` was called for each that was put.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever.
        :raises TimeoutError: through the future, when the time is over.
        :raises TypeError: the timeout is none of these.
        """
        return self._finished.wait(timeout)

    # --- how it looks ---

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} {self._format()}>"

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._format()}>"

    def _format(self) -> str:
        parts = [f"maxsize={self.maxsize!r}"]
        if self._queue:
            parts.append(f"queue={self._queue!r}")
        if self._getters:
            parts.append(f"getters[{len(self._getters)}]")
        if self._putters:
            parts.append(f"putters[{len(self._putters)}]")
        if self._unfinished_tasks:
            parts.append(f"tasks={self._unfinished_tasks}")
        return " ".join(parts)


class PriorityQueue(Queue[_T]):
    """A `Queue` from which the least item comes first; items are often tuples of a number and something."""

    def _init(self) -> None:
        self._queue = []

    def _put(self, item: _T) -> None:
        try:
            heapq.heappush(self._queue, item)
        except BaseException:
            self._take_out(item)
            raise

    def _take_out(self, item: _T) -> None:
        """Undo a push that has failed: the item was on its way up when it met one that it cannot be compared with."""
        heap = self._queue
        place = len(heap) - 1
        way = []
        while heap[place] is not item:
            way.append(place)
            place = (place - 1) // 2
        for below in reversed(way):
            heap[place] = heap[below]
            place = below
        heap.pop()

    def _get(self) -> _T:
        item: _T = heapq.heappop(self._queue)
        return item


class LifoQueue(Queue[_T]):
    """A `Queue` from which the item comes first that was put last."""

    def _init(self) -> None:
        self._queue = []

    def _put(self, item: _T) -> None:
        self._queue.append(item)

    def _get(self) -> _T:
        item: _T = self._queue.pop()
        return item
