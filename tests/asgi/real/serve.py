"""Serves an application on one of the servers until its standard input ends: ``python -m tests.asgi.real.serve``."""

import importlib
import logging
import sys

from tests.asgi.real.site import Site


def main(kind: str, target: str) -> None:
    module, _, name = target.partition(":")
    site = Site(kind, getattr(importlib.import_module(module), name))
    print(site.port, flush=True)
    sys.stdin.read()
    site.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(*sys.argv[1:])
