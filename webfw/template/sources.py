"""Lets tracebacks show the source lines of templates that are not files on disk; holds nothing else.

Only templates that failed are entered, and only the last of them are kept, so that a program that makes
templates out of its data does not grow.
"""

import io
import linecache
import threading
from collections import OrderedDict

__all__ = ["LIMIT", "publish"]

#: How many templates are kept.
LIMIT = 256

_published: OrderedDict[str, None] = OrderedDict()
_lock = threading.Lock()


def publish(filename: str, text: str) -> None:
    """Make the lines of `text` known to `linecache` (and so to `traceback`) as those of `filename`."""
    lines = list(io.StringIO(text, newline="\n"))
    with _lock:
        linecache.cache[filename] = (len(text), None, lines, filename)
        _published[filename] = None
        _published.move_to_end(filename)
        while len(_published) > LIMIT:
            oldest, _ = _published.popitem(last=False)
            linecache.cache.pop(oldest, None)
