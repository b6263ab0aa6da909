"""Autoreload: a program is started again when its files change, in development; serving is another room's work."""

from webfw.autoreload.reloader import start, wait, watch
from webfw.autoreload.restart import add_reload_hook
from webfw.autoreload.watcher import Watcher
from webfw.autoreload.wrapper import main

__all__ = ["Watcher", "add_reload_hook", "main", "start", "wait", "watch"]
