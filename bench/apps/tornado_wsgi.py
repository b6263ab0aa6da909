"""A WSGI application in Tornado: ``tornado_wsgi.py PORT MODULE:NAME THREADS``; 0 threads: on the loop."""

import asyncio
import importlib
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

from tornado.httpserver import HTTPServer
from tornado.wsgi import WSGIContainer


async def main() -> None:
    module, _, name = sys.argv[2].partition(":")
    threads = int(sys.argv[3])
    app = getattr(importlib.import_module(module), name)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    container = WSGIContainer(app, ThreadPoolExecutor(threads) if threads else None)
    HTTPServer(container).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
