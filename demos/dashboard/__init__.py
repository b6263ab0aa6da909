"""Live numbers of the server itself: ``webfw serve demos.dashboard:app``."""

from demos.dashboard.application import app, make_app

__all__ = ["app", "make_app"]
