"""The event loop: `IOLoop` over an asyncio loop, timers, deadlines; no socket I/O may enter."""

from webfw.ioloop import backend, deadlines
from webfw.ioloop.backend import new_event_loop
from webfw.ioloop.deadlines import Sweeper
from webfw.ioloop.loop import IOLoop
from webfw.ioloop.periodic import PeriodicCallback
from webfw.ioloop.start import start
from webfw.util import Configurable, TimeoutError, import_object

__all__ = [
    "Configurable",
    "IOLoop",
    "PeriodicCallback",
    "Sweeper",
    "TimeoutError",
    "backend",
    "deadlines",
    "import_object",
    "new_event_loop",
    "start",
]
