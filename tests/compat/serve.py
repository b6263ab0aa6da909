"""Serve the site of app.py: ``serve.py FRAMEWORK DIRECTORY`` prints the ports as JSON, then runs until EOF."""

import asyncio
import importlib
import json
import logging
import os
import sys
import time

#: The time of every clock in here, so that signed cookies of both processes are the same.
NOW = 1_700_000_000.0


class Keep(logging.Handler):
    """Keep the records that the framework logs."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def main() -> None:
    import app
    import framework

    server_class = importlib.import_module(f"{framework.NAME}.httpserver").HTTPServer
    ports = {}
    for name, (application, arguments) in app.servers().items():
        server = server_class(application, **arguments)
        server.listen(0, "127.0.0.1")
        ports[name] = next(iter(server._sockets.values())).getsockname()[1]
    logger = logging.getLogger(framework.NAME)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(Keep(app.Logs.records))
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    # Before the framework is imported: it may take the function itself.
    time.time = lambda: NOW
    os.environ["TZ"] = "UTC"
    time.tzset()
    asyncio.run(main())
