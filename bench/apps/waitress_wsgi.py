"""A WSGI application in waitress: ``waitress_wsgi.py PORT MODULE:NAME THREADS``."""

import importlib
import logging
import sys

import waitress

if __name__ == "__main__":
    module, _, name = sys.argv[2].partition(":")
    app = getattr(importlib.import_module(module), name)
    logging.getLogger("waitress.queue").setLevel(
        logging.ERROR
    )  # a line for each request that waits for a thread
    options = {"host": "127.0.0.1", "port": int(sys.argv[1]), "threads": int(sys.argv[3])}
    waitress.serve(
        app, connection_limit=1000, **options
    )  # of the 100 that it takes by default slow clients are more
