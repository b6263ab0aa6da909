"""Flask and Django beside native handlers, on one port: ``webfw serve demos.legacy:app``."""

from demos.legacy.application import app, make_app

__all__ = ["app", "make_app"]
