"""What every response says of its server, and of its time; which other fields it has stays outside."""

from time import time
from typing import Final

from webfw._version import __version__
from webfw.httputil.values import format_timestamp

__all__ = ["SERVER", "date_now"]

#: The value of Server (RFC 9110 section 10.2.4).
SERVER: Final = f"webfw/{__version__}"

_date = ""
_second = 0.0


def date_now() -> str:
    """Return the present time as the value of a Date field (RFC 9110 section 6.6.1); rendered once a second."""
    global _date, _second
    now = time()
    if not 0 <= now - _second < 1:  # also when the clock has been set back
        _second = now // 1
        _date = format_timestamp(_second)
    return _date
