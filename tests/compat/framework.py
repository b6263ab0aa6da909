"""The framework that the command line names, as ``fw``: ``fw.web`` is ``tornado.web`` or ``webfw.web``."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

NAME = sys.argv[1]
ROOMS = ("web", "escape", "httputil", "routing", "template", "locale", "log", "ioloop", "iostream")
fw = SimpleNamespace(**{room: importlib.import_module(f"{NAME}.{room}") for room in ROOMS})

SITE = Path(sys.argv[2])
