"""A first application: ``webfw serve demos.hello:app``."""

from demos.hello.application import app, make_app

__all__ = ["app", "make_app"]
