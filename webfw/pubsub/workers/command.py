"""The hub as a process: ``python -m webfw.pubsub.workers``; what a hub does is decided elsewhere."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from webfw.ioloop.backend import new_event_loop
from webfw.log import enable_pretty_logging
from webfw.pubsub.broker import BrokerUnavailable
from webfw.pubsub.workers.hub import WorkersHub
from webfw.pubsub.workers.places import default_path

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a hub until it is told to end, by SIGTERM or SIGINT, or its last worker has gone.

    :raises SystemExit: with a text, when the path cannot be used or another hub is there.
    """
    parser = argparse.ArgumentParser(
        prog="python -m webfw.pubsub.workers",
        description="The hub of publish/subscribe among the worker processes of one machine.",
    )
    parser.add_argument("--socket", metavar="PATH", help="of its socket; else $WEBFW_WORKERS_SOCKET")
    parser.add_argument(
        "--linger", type=float, metavar="SECONDS", help="end so long after the last worker has gone"
    )
    parser.add_argument("--background", action="store_true", help="go on in another process once it listens")
    parser.add_argument("--lock-fd", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    enable_pretty_logging()
    try:
        hub = WorkersHub(given.socket or default_path(), linger=given.linger, lock_fd=given.lock_fd)
        hub.claim()
        if given.background and os.fork():
            os._exit(0)  # without a word to the standard streams, or to `atexit`: the other process goes on
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(hub))
    except (BrokerUnavailable, ValueError) as error:
        sys.exit(str(error))


async def _serve(hub: WorkersHub) -> None:
    loop = asyncio.get_running_loop()
    await hub.start()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, hub._end)
    await hub.wait()
