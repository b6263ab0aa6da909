from types import SimpleNamespace
from typing import Any

import pytest

from webfw.web.cookies import Cookies
from webfw.web.identity import Identity


class Handler(Identity, Cookies):
    def __init__(self, user: Any = None, **settings: Any) -> None:
        self.user = user
        self.asked = 0
        self.application = SimpleNamespace(settings=settings)  # type: ignore[assignment]

    def get_current_user(self) -> Any:
        self.asked += 1
        return self.user


@pytest.mark.parametrize("user", ["me", None, 0])
def test_user_is_asked_for_once(user: Any) -> None:
    one = Handler(user)
    assert one.asked == 0
    assert [one.current_user, one.current_user] == [user, user]
    assert one.asked == 1


def test_user_may_be_set() -> None:
    one = Handler("me")
    one.current_user = None
    assert one.current_user is None
    assert one.asked == 0


def test_nobody_by_default() -> None:
    assert Identity().current_user is None


def test_login_url() -> None:
    assert Handler(login_url="/login").get_login_url() == "/login"
    with pytest.raises(
        Exception, match="'login_url' setting in your application to use @webfw.web.authenticated"
    ):
        Handler().get_login_url()
