"""A native chat, Flask and FastAPI on one port: ``webfw serve demos.three_in_one:app``."""

from demos.three_in_one.application import app, make_app

__all__ = ["app", "make_app"]
