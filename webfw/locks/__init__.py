"""Locks between coroutines of one loop, with deadlines: conditions, events, semaphores; nothing for threads.

Each wait returns a `Future` at once, so that generators can yield it. Those who wait are served in the order they
came. Whoever is cancelled in the very turn in which it was woken passes what it was given on to the next.
"""

from webfw.locks.semaphores import BoundedSemaphore, Lock, Semaphore
from webfw.locks.signals import Condition, Event
from webfw.util import TimeoutError

__all__ = ["BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore", "TimeoutError"]
