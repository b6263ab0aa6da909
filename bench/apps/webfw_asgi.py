"""An ASGI application in webfw on uvloop: ``webfw_asgi.py PORT MODULE:NAME``."""

import asyncio
import importlib
import sys

import uvloop

from webfw.asgi import ASGIContainer
from webfw.httpserver import HTTPServer


async def main() -> None:
    module, _, name = sys.argv[2].partition(":")
    container = ASGIContainer(getattr(importlib.import_module(module), name))
    HTTPServer(container).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
