"""Tests of webfw.cli.guess: the application that a directory has, found without running it."""

from pathlib import Path

import pytest

from webfw.cli.errors import CommandError
from webfw.cli.guess import guess_target


@pytest.mark.parametrize(
    ("files", "target"),
    [
        ({"app.py": "app = 1"}, "app:app"),
        ({"main.py": "application: object = 1"}, "main:application"),
        ({"app.py": "x = 1", "main.py": "app = 1"}, "main:app"),
        ({"app.py": "app = 1", "main.py": "app = 1"}, "app:app"),
        ({"app.py": "def make_app():\n    pass"}, "app:make_app()"),
        ({"app.py": "async def make_app(debug=True):\n    pass"}, "app:make_app()"),
        ({"app.py": "def create_app(*, x=1):\n    pass"}, "app:create_app()"),
        ({"app.py": "def application(environ, start_response):\n    pass"}, "app:application"),
        ({"app.py": "def app():\n    pass"}, "app:app()"),
        ({"app.py": "def make_app():\n    pass\napp = make_app()"}, "app:app"),
        ({"app.py": "from shop import application as app"}, "app:app"),
        ({"app.py": "try:\n    import x\nexcept ImportError:\n    app = 1"}, "app:app"),
        ({"app.py": "if True:\n    pass\nelse:\n    a, app = 1, 2"}, "app:app"),
        ({"wsgi.py": "application = 1"}, "wsgi:application"),
        ({"wsgi.py": "application = 1", "asgi.py": "application = 1"}, "wsgi:application"),
        ({"asgi.py": "async def app(scope, receive, send):\n    pass"}, "asgi:app"),
        ({"app/__init__.py": "app = 1"}, "app:app"),
        ({"app.py": "app = = 1"}, "app:app"),
        ({"app.py": "\0"}, "app:app"),
        ({"app.py": "class app:\n    pass"}, "app:app"),
    ],
)
def test_found(tmp_path: Path, files: dict[str, str], target: str) -> None:
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    assert guess_target(str(tmp_path)) == target


@pytest.mark.parametrize("source", ["", "def f():\n    app = 1", "print('app')", "x = 1"])
def test_not_found(tmp_path: Path, source: str) -> None:
    (tmp_path / "app.py").write_text(source)
    with pytest.raises(
        CommandError,
        match="nothing to serve: there is no app, application, make_app or create_app in app.py, ",
    ) as raised:
        guess_target(str(tmp_path))
    assert raised.value.status == 2
