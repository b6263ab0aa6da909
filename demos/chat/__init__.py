"""A chat with rooms: ``webfw serve demos.chat:app``."""

from demos.chat.application import app, make_app

__all__ = ["app", "make_app"]
