"""An ASGI application in webfw on uvloop: ``webfw_asgi.py PORT MODULE:NAME``."""

import asyncio
import importlib
import sys

import uvloop

from webfw.asgi import ASGIContainer
from webfw.httpserver import HTTPServer


async def main() -> None:
    module, _, name = sys.argv[2].partition(":")
    app = getattr(importlib.import_module(module), name)
    container = ASGIContainer(app, lifespan="off", log_function=lambda entry: None)
    HTTPServer(container).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
