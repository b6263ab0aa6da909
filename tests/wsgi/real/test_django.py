"""Django: admin on SQLite, forms with their tokens, static files, streams, files and uploads, over real HTTP."""

import gc
import hashlib
import importlib
import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.real.site import Site, Visitor, contain
from webfw.web import Application, RequestHandler, StaticFileHandler

django = pytest.importorskip("django")

BIG = random.Random(2).randbytes(3 * 1024 * 1024)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The project, with a database of its own; a process can have only one."""
    os.environ["LIBRARY_DIR"] = str(tmp_path_factory.mktemp("library"))
    library = importlib.import_module("tests.wsgi.real.library")
    library.prepare()
    (library.DIRECTORY / "download.bin").write_bytes(BIG)
    library.Book.objects.bulk_create(library.Book(title=f"Book {n}") for n in range(100))
    yield library
    from django.db import connections

    connections.close_all()
    del os.environ["LIBRARY_DIR"]


@pytest.fixture(scope="module", params=["threads", "validated"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def site(library: Any, mode: str, sites: Callable[..., Site]) -> Site:
    return sites(lambda: contain(library.application, mode))


def token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found, page[:500]
    return found[1]


def log_in(visitor: Visitor, root: str = "") -> None:
    page = visitor.get(f"{root}/admin/login/?next={root}/admin/")
    fields = {"username": "ada", "password": "lovelace", "next": f"{root}/admin/"}
    answer = visitor.post(f"{root}/admin/login/", {**fields, "csrfmiddlewaretoken": token(page.text)})
    assert (answer.status, answer.headers["Location"]) == (302, f"{root}/admin/")


# --- the admin ---


def use_the_admin(library: Any, visitor: Visitor, root: str = "") -> None:
    answer = visitor.get(f"{root}/admin/")
    assert answer.headers["Location"] == f"{root}/admin/login/?next={root}/admin/"
    log_in(visitor, root)
    assert "Site administration" in visitor.get(f"{root}/admin/").text

    add = f"{root}/admin/library/book/add/"
    fields = {
        "title": "Größe & <b>Wert</b>",
        "pages": "12",
        "csrfmiddlewaretoken": token(visitor.get(add).text),
    }
    answer = visitor.upload(add, {**fields, "_save": "Save"}, {"cover": ("cover.png", BIG)})
    assert (answer.status, answer.headers["Location"]) == (302, f"{root}/admin/library/book/")
    page = visitor.get(f"{root}/admin/library/book/?q=Wert").text
    assert "was added successfully" in page
    assert "Größe &amp; &lt;b&gt;Wert&lt;/b&gt;</a>" in page
    book = library.Book.objects.get(pages=12)
    assert Path(book.cover.path).read_bytes() == BIG

    change = f"{root}/admin/library/book/{book.pk}/change/"
    fields = {"title": "Changed", "pages": "-1", "csrfmiddlewaretoken": token(visitor.get(change).text)}
    assert "Please correct the error below" in visitor.upload(change, fields, {}).text
    assert visitor.upload(change, {**fields, "pages": "13"}, {}).status == 302
    book.refresh_from_db()
    assert (book.title, book.pages) == ("Changed", 13)
    assert visitor.upload(change, {"title": "Forged", "pages": "1"}, {}).status == 403

    delete = f"{root}/admin/library/book/{book.pk}/delete/"
    fields = {"post": "yes", "csrfmiddlewaretoken": token(visitor.get(delete).text)}
    assert visitor.post(delete, fields).status == 302
    assert not library.Book.objects.filter(pk=book.pk).exists()

    fields = {"csrfmiddlewaretoken": token(visitor.get(f"{root}/admin/").text)}
    assert "Logged out" in visitor.post(f"{root}/admin/logout/", fields).text
    assert visitor.get(f"{root}/admin/").status == 302


def test_the_admin(library: Any, visitor: Visitor) -> None:
    use_the_admin(library, visitor)


def test_wrong_password(visitor: Visitor) -> None:
    page = visitor.get("/admin/login/").text
    fields = {"username": "ada", "password": "byron", "csrfmiddlewaretoken": token(page)}
    assert "Please enter the correct username and password" in visitor.post("/admin/login/", fields).text


def test_static_files(visitor: Visitor) -> None:
    page = visitor.get("/admin/login/").text
    links = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(links) >= 5
    for link in links:
        answer = visitor.get(link)
        assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(answer.body))
        assert answer.headers["Content-Type"].startswith(("text/css", "text/javascript"))
        again = visitor.get(link, If_Modified_Since=answer.headers["Last-Modified"])
        assert (again.status, again.body) == (304, b"")
    assert visitor.get("/static/none.css").status == 404


# --- forms, uploads, streams, files ---


def test_a_form_needs_its_token(visitor: Visitor) -> None:
    given = token(visitor.get("/add").text)
    answer = visitor.post("/add", {"title": "Zwölf", "csrfmiddlewaretoken": given})
    assert answer.status == 303
    assert visitor.get(answer.headers["Location"]).json["title"] == "Zwölf"
    assert visitor.post("/add", {"title": "Forged"}).status == 403
    assert visitor.post("/add", {"title": "By header"}, X_CSRFToken=given).status == 303
    visitor.cookies.clear()
    assert visitor.post("/add", {"title": "Forged", "csrfmiddlewaretoken": given}).status == 403


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (0, "InMemoryUploadedFile"),
        (50_000, "InMemoryUploadedFile"),
        (150_000, "TemporaryUploadedFile"),
        (len(BIG), "TemporaryUploadedFile"),
    ],
)
def test_uploads_below_and_above_djangos_threshold(visitor: Visitor, size: int, kind: str) -> None:
    content = BIG[:size]
    answer = visitor.upload("/upload", {"note": "x"}, {"file": ("größe.bin", content)})
    assert answer.json == {"file": ["größe.bin", size, hashlib.sha256(content).hexdigest(), kind]}


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_a_body_is_read_to_its_end(visitor: Visitor, size: int) -> None:
    assert visitor.fetch("POST", "/echo", BIG[:size]).body == BIG[:size]
    pieces = (BIG[i : min(i + 99_991, size)] for i in range(0, size, 99_991))
    assert visitor.fetch("POST", "/echo", pieces).body == BIG[:size]  # chunked


def test_a_stream_from_the_database(visitor: Visitor) -> None:
    lines = visitor.get("/titles").text.splitlines()
    assert lines[:100] == [f"Book {n}" for n in range(100)]


def test_a_file_response(visitor: Visitor) -> None:
    answer = visitor.get("/download")
    assert (answer.status, answer.body == BIG) == (200, True)
    assert answer.headers["Content-Length"] == str(len(BIG))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="download.bin"'
    head = visitor.fetch("HEAD", "/download")
    assert (head.headers["Content-Length"], head.body) == (str(len(BIG)), b"")


def test_errors(visitor: Visitor) -> None:
    assert visitor.get("/none").status == 404
    crash = visitor.get("/crash")
    assert (crash.status, b"a bug" in crash.body) == (500, False)
    assert visitor.get("/plain", Host="evil.example").status == 400
    assert visitor.get("/plain").text == "no database, GET"


# --- threads and connections ---


class Connections:
    """The connections to the database that are opened in threads of the server."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    def __call__(self, connection: Any, **kwargs: Any) -> None:
        if threading.current_thread().name.startswith("webfw-wsgi"):
            self.opened.append((threading.current_thread(), connection, connection.connection))

    @property
    def open(self) -> int:
        return sum(connection.connection is own for _, connection, own in self.opened)


@pytest.fixture
def opened(library: Any) -> Iterator[Connections]:
    from django.db.backends.signals import connection_created

    receiver = Connections()
    connection_created.connect(receiver)
    yield receiver
    connection_created.disconnect(receiver)


def many(site: Site, paths: list[str]) -> list[Any]:
    def visit(path: str) -> Any:
        with site.visitor() as visitor:
            return visitor.get(path)

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(visit, paths))


@pytest.mark.parametrize("path", ["/count", "/titles", "/download", "/none"])
def test_connections_are_closed_with_their_requests(
    library: Any, sites: Callable[..., Site], opened: Connections, path: str
) -> None:
    """Django closes them in ``close()`` of the response: in the thread that has opened them, or not at all."""
    site = sites(lambda: contain(library.application, "threads"))
    answers = many(site, [path] * 20)
    site.stop()
    assert {answer.status for answer in answers} == {404 if path == "/none" else 200}
    assert len(opened.opened) == (0 if path == "/none" else 20)
    assert opened.open == 0


def test_persistent_connections_stay_with_their_threads(
    library: Any, sites: Callable[..., Site], opened: Connections
) -> None:
    from django.db import connections

    settings = connections["default"].settings_dict
    settings["CONN_MAX_AGE"] = None
    try:
        site = sites(lambda: contain(library.application, "threads"))
        answers = many(site, ["/count"] * 40)
        assert len({answer.text for answer in answers}) == 1
        assert 1 <= len(opened.opened) == len({thread for thread, *_ in opened.opened}) <= 4
        assert opened.open == len(opened.opened)
    finally:
        settings["CONN_MAX_AGE"] = 0
    many(site, ["/count"] * 40)
    site.stop()
    for thread, connection, _ in opened.opened:
        thread.join(10)
        if connection.connection is not None:
            connection.inc_thread_sharing()
            connection.close()
    gc.collect()


def test_transactions_of_several_threads(library: Any, site: Site) -> None:
    book = library.Book.objects.create(title="counted", pages=0)
    answers = many(site, [f"/borrow?pk={book.pk}"] * 24)
    assert sorted(answer.json["pages"] for answer in answers) == list(range(1, 25))
    book.refresh_from_db()
    assert book.pages == 24


def test_on_the_loop_django_refuses_its_database(library: Any, sites: Callable[..., Site]) -> None:
    """It asks for a running loop: ``threads=0`` is for what does not use the database."""
    with sites(lambda: contain(library.application, "inline")).visitor() as visitor:
        assert visitor.get("/plain").text == "no database, GET"
        assert visitor.get("/count").status == 500


# --- below a mount ---


class Native(RequestHandler):
    def get(self) -> None:
        self.write("native")


def test_below_a_mount(library: Any, mode: str, sites: Callable[..., Site]) -> None:
    def make() -> Application:
        from django.contrib import admin

        # Where Django's own handler of static files looks for them knows nothing of a mount.
        static = {"path": str(Path(admin.__file__).parent / "static")}
        mounted = contain(library.without_static, mode, mount="/django")
        return Application(
            [("/", Native), (r"/django(?:/.*)?", mounted), (r"/static/(.*)", StaticFileHandler, static)],
            log_function=lambda handler: None,
        )

    with sites(make).visitor() as visitor:
        assert visitor.get("/").text == "native"
        given = token(visitor.get("/django/add").text)
        answer = visitor.post("/django/add", {"title": "Mounted", "csrfmiddlewaretoken": given})
        assert answer.headers["Location"].startswith("/django/books/")
        url = f"http://127.0.0.1:{visitor.port}{answer.headers['Location']}"
        assert visitor.get(answer.headers["Location"]).json == {
            "title": "Mounted",
            "url": url,
            "root": answer.headers["Location"],
        }
        use_the_admin(library, visitor, "/django")
        links = re.findall(r'(?:href|src)="(/static/[^"]+)"', visitor.get("/django/admin/login/").text)
        assert {visitor.get(link).status for link in links} == {200}
