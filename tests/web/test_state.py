from typing import Any

from webfw.web import RequestHandler
from webfw.web.state import HandlerState


def test_every_chapter_shares_this_state() -> None:
    for chapter in RequestHandler.__bases__:
        assert issubclass(chapter, HandlerState)


def test_no_chapter_overrides_another() -> None:
    """Each noun has one owner; what is declared for the type checker alone is not there when it runs."""
    owners: dict[str, type] = {}
    for chapter in RequestHandler.__bases__:
        for name, value in vars(chapter).items():
            if callable(value) and not name.startswith("__"):
                assert name not in owners, f"{name} is in {owners[name]} and {chapter}"
                owners[name] = chapter
    assert "write" in owners
    assert not any(callable(value) for name, value in vars(HandlerState).items() if not name.startswith("__"))


def test_settings_are_those_of_the_application() -> None:
    class Application:
        settings: dict[str, Any] = {"a": 1}

    state = HandlerState()
    state.application = Application()  # type: ignore[assignment]  # all that is looked at
    assert state.settings is Application.settings
