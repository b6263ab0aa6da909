"""The chapter of a handler on who is asking; how somebody proves it may not enter."""

from typing import Any, Final

from webfw.web.state import HandlerState

__all__ = ["Identity"]

_UNKNOWN: Final = object()


class Identity(HandlerState):
    """The user of a request."""

    _current_user: Any = _UNKNOWN

    @property
    def current_user(self) -> Any:
        """The user that is logged in; something false when none is.

        There are two ways to it.  Override `get_current_user`, which is called the first time this is asked for; or
        set it in `RequestHandler.prepare`, where that must wait for something.
        """
        if self._current_user is _UNKNOWN:
            self._current_user = self.get_current_user()
        return self._current_user

    @current_user.setter
    def current_user(self, value: Any) -> None:
        self._current_user = value

    def get_current_user(self) -> Any:
        """Override it to tell the user from the request, for instance from a signed cookie.  It must not wait."""
        return None

    def get_login_url(self) -> str:
        """The URL of the page to log in at, by default the ``login_url`` setting; override it to choose by request.

        :raises Exception: the setting is missing.
        """
        self.require_setting("login_url", "@webfw.web.authenticated")
        url: str = self.application.settings["login_url"]
        return url
