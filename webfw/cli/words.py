"""What ``webfw serve`` says on the terminal, and to whom it says it; when is the matter of its callers."""

import contextlib

from webfw._version import __version__
from webfw.cli.applications import places
from webfw.cli.listeners import Listeners
from webfw.cli.sources import Configuration

__all__ = ["SAY_AFTER", "announcements", "say", "say_ended", "say_stopping"]

#: Seconds until somebody who waits for the end is told why.
SAY_AFTER = 0.15


def say(line: str) -> None:
    """Tell whoever started the command."""
    with contextlib.suppress(BrokenPipeError):
        print(line + "\n", end="", flush=True)  # in one write: log lines come from other processes


def announcements(configuration: Configuration, listeners: Listeners, workers: int) -> list[str]:
    """Lines that say what is served and where."""
    names = ", ".join(place.target for place in places(configuration))
    behind = f" with {workers} workers" if workers > 1 else ""
    tls = configuration["certfile"] is not None
    return [f"webfw {__version__} serving {names} on {listener.url(tls)}{behind}" for listener in listeners]


def say_stopping(seconds: float) -> None:
    """Tell somebody who has to wait for what."""
    say(f"webfw stopping: running requests have {seconds:g} seconds, another signal stops at once")


def say_ended(status: int, cut: int) -> None:
    """The last words."""
    if status <= 128:
        say("webfw stopped")
    else:
        say(f"webfw stopped at once, {cut} {'connection' if cut == 1 else 'connections'} cut")
