"""A Django project in one file: books with an admin, forms, streams and uploads; its files are in LIBRARY_DIR.

``webfw serve tests.wsgi.real.library:app`` serves it after `prepare`.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings

DIRECTORY = Path(os.environ["LIBRARY_DIR"])
#: Above this, Django keeps an uploaded file in a temporary file of its own.
IN_MEMORY = 100_000

if not settings.configured:
    settings.configure(
        SECRET_KEY="for tests only",
        DEBUG=False,
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            __name__,
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": DIRECTORY / "library.sqlite3",
                "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
            }
        },
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        STATIC_URL="static/",
        MEDIA_ROOT=DIRECTORY / "media",
        FILE_UPLOAD_MAX_MEMORY_SIZE=IN_MEMORY,
        FILE_UPLOAD_TEMP_DIR=DIRECTORY,
        USE_TZ=True,
        LOGGING_CONFIG=None,
        MIGRATION_MODULES={"library": None},
    )
    django.setup()

from django.apps import apps  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import models, transaction  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines  # noqa: E402
from django.urls import path, reverse  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


class Book(models.Model):
    """What the library has."""

    title = models.CharField(max_length=100)
    pages = models.PositiveIntegerField(default=1)
    cover = models.FileField(upload_to="covers", blank=True)

    class Meta:
        app_label = "library"

    def __str__(self) -> str:
        return self.title


# Django looks for models in a module of that name; those of this project are here.
apps.get_app_config("library").models_module = sys.modules[__name__]


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "pages")
    search_fields = ("title",)


FORM = """<form method="post" enctype="multipart/form-data">{% csrf_token %}<input name="title"></form>"""


def add(request: HttpRequest) -> HttpResponse:
    """A form with its token against forged requests."""
    if request.method == "POST":
        book = Book.objects.create(title=request.POST["title"])
        return HttpResponse(status=303, headers={"Location": reverse("book", args=[book.pk])})
    return HttpResponse(engines["django"].from_string(FORM).render({}, request))


def show(request: HttpRequest, pk: int) -> HttpResponse:
    book = Book.objects.get(pk=pk)
    return JsonResponse({"title": book.title, "url": request.build_absolute_uri(), "root": request.path})


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """Say what has arrived, and in what Django keeps it."""
    return JsonResponse(
        {
            name: [file.name, file.size, hashlib.sha256(file.read()).hexdigest(), type(file).__name__]
            for name, file in request.FILES.items()
        }
    )


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.read(), content_type="application/octet-stream")


def titles(request: HttpRequest) -> StreamingHttpResponse:
    """Read from the database while the response leaves."""

    def lines() -> Iterator[str]:
        for book in Book.objects.order_by("pk").iterator(chunk_size=10):
            yield f"{book.title}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def download(request: HttpRequest) -> FileResponse:
    Book.objects.exists()  # a response that has used the database gives its connection back
    return FileResponse((DIRECTORY / "download.bin").open("rb"), as_attachment=True)


def count(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"books": Book.objects.count()})


def borrow(request: HttpRequest) -> HttpResponse:
    """Count one up, as one transaction."""
    with transaction.atomic():
        book = Book.objects.get(pk=request.GET["pk"])
        book.pages += 1
        book.save()
    return JsonResponse({"pages": book.pages})


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"no database, {request.META['REQUEST_METHOD']}")


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("add", add),
    path("books/<int:pk>", show, name="book"),
    path("upload", upload),
    path("echo", echo),
    path("titles", titles),
    path("download", download),
    path("count", count),
    path("borrow", borrow),
    path("plain", plain),
    path("crash", crash),
]

#: Without static files, and with them.
without_static = WSGIHandler()
application = StaticFilesHandler(without_static)


def prepare() -> None:
    """Make the database and somebody who may use the admin."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_superuser("ada", "ada@example.org", "lovelace")


def __getattr__(name: str) -> Any:
    if name == "app":
        from webfw.wsgi import WSGIContainer

        return WSGIContainer(application, threads=4)
    raise AttributeError(name)
