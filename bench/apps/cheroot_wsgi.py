"""A WSGI application in cheroot: ``cheroot_wsgi.py PORT MODULE:NAME THREADS``."""

import importlib
import sys

from cheroot.wsgi import Server

if __name__ == "__main__":
    module, _, name = sys.argv[2].partition(":")
    app = getattr(importlib.import_module(module), name)
    Server(("127.0.0.1", int(sys.argv[1])), app, numthreads=int(sys.argv[3]), max=int(sys.argv[3])).start()
