"""A WSGI application in webfw: ``webfw_wsgi.py PORT MODULE:NAME THREADS asyncio|uvloop``."""

import asyncio
import importlib
import sys

from webfw.httpserver import HTTPServer
from webfw.wsgi import WSGIContainer


async def main() -> None:
    module, _, name = sys.argv[2].partition(":")
    app = getattr(importlib.import_module(module), name)
    container = WSGIContainer(app, threads=int(sys.argv[3]), log_function=lambda handler: None)
    HTTPServer(container).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[4] == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
