"""A site that logs in by OAuth 2, and the provider it logs in by: ``webfw serve demos.login:app``."""

from demos.login.application import app, make_app

__all__ = ["app", "make_app"]
