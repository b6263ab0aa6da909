"""Tests of webfw.cli.routes: the table, JSON, Django's routes in a process of their own, failures."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webfw.cli.main import main

APP = """
from webfw.web import Application, RequestHandler, url
class Page(RequestHandler):
    def get(self): ...
app = Application([url("/", Page, name="home"), ("/x", Page)])
empty = Application([])
print("noise")
"""

DJANGO = """
from django.conf import settings
settings.configure(ROOT_URLCONF="dj_site", SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"])
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path
from django.views import View
class Thing(View):
    def get(self, request, pk): ...
    def delete(self, request, pk): ...
def index(request): ...
shop = ([path("<int:pk>/", Thing.as_view(), name="thing")], "shop")
urlpatterns = [path("", index), path("shop/", include(shop))]
application = get_wsgi_application()
from django.core.asgi import get_asgi_application
asgi = get_asgi_application()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes_app.py").write_text(APP)
    return tmp_path


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "routes_app:app"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines() == [
        "PATH  METHODS  HANDLER          NAME",
        "/     GET      routes_app.Page  home",
        "/x    GET      routes_app.Page",
    ]


def test_json_and_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "routes_app:app", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "host": None,
        "path": "/",
        "methods": ["GET"],
        "handler": "routes_app.Page",
        "name": "home",
    }
    assert main(["routes", "routes_app:empty"]) == 0
    assert capsys.readouterr().out == "no routes\n"


def test_the_directory_to_work_in(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "there").mkdir()
    (place / "there" / "webfw.toml").write_text('app = "routes_there:app"\n')
    (place / "there" / "routes_there.py").write_text(APP)
    assert main(["routes", "--chdir", "there"]) == 0
    assert "routes_there.Page" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["routes_app:none"], 2, "has no attribute 'none'"),
        ([], 2, "nothing to serve"),
        (["routes_broken:app"], 3, "ZeroDivisionError"),
        (["--chdir", "none", "x:y"], 1, "there is no directory none"),
    ],
)
def test_failures(
    capsys: pytest.CaptureFixture[str], place: Path, arguments: list[str], status: int, sentence: str
) -> None:
    (place / "routes_broken.py").write_text("1 / 0")
    assert main(["routes", *arguments]) == status
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_django(webfw_command: Callable[..., Any], place: Path) -> None:
    pytest.importorskip("django")
    (place / "dj_site.py").write_text(DJANGO)
    status, output, errors = webfw_command("routes", "dj_site:application").end()
    assert (status, errors) == (0, "")
    assert [line.split() for line in output.splitlines()[1:]] == [
        ["/", "dj_site.index"],
        ["/shop/<int:pk>/", "GET", "DELETE", "OPTIONS", "dj_site.Thing", "shop:thing"],
    ]
    status, output, _ = webfw_command("check", "dj_site:application").end()
    assert status == 1
    assert "a WSGI application (Django), 2 routes, 8 threads" in output
    assert "Django's SECRET_KEY is short" in output
    assert "manage.py check --deploy" in output
    # The same routes, whichever way it is called.
    command = webfw_command("routes", "dj_site:asgi")
    assert "shop:thing" in command.end()[1]
    assert "an ASGI application (Django), 2 routes" in webfw_command("check", "dj_site:asgi").end()[1]
