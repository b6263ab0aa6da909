"""The Django project, in one file: notes in SQLite, with the admin; what is saved is told to the live page."""

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

HERE = Path(__file__).parent

#: Who may use the admin.  A demo that is open to others needs another password.
USER, PASSWORD = "demo", "demo"


def _directory() -> Path:
    named = os.environ.get("LEGACY_DIR")
    if named:
        Path(named).mkdir(parents=True, exist_ok=True)
        return Path(named)
    made = tempfile.mkdtemp(prefix="webfw-legacy-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ALLOWED_HOSTS=["*"],
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
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [HERE / "templates" / "django"],
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
            "NAME": _directory() / "notes.sqlite3",
            # The threads that write wait for one another.
            "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
            # Each thread keeps its connection.
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MIGRATION_MODULES={"notes": None},
    # Where the project is mounted; the paths of its pages come from SCRIPT_NAME.
    STATIC_URL="/django/static/",
    SESSION_COOKIE_PATH="/django/",
    CSRF_COOKIE_PATH="/django/",
    USE_TZ=True,
    TIME_ZONE="UTC",
    LOGGING_CONFIG=None,
)
django.setup()

from django import forms  # noqa: E402
from django.apps import apps  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.db.models.signals import post_save  # noqa: E402
from django.dispatch import receiver  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.shortcuts import redirect, render  # noqa: E402
from django.urls import path  # noqa: E402

#: Where the admin's style sheets and scripts are.
STATIC_PATH = str(Path(admin.__file__).parent / "static")

#: Tells whoever listens; the application that mounts this project sets it.
publish: Callable[[str, str], None] = lambda source, text: None  # noqa: E731


class Note(models.Model):
    """A line of text."""

    text = models.CharField(max_length=200)
    made = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "notes"
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.text


# Django looks for models in a module of that name; those of this project are here.
apps.get_app_config("notes").models_module = sys.modules[__name__]


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    """Notes in the admin."""

    list_display = ("text", "made")
    search_fields = ("text",)


@receiver(post_save, sender=Note)
def tell(sender: Any, instance: Note, created: bool, **kwargs: Any) -> None:
    """A note was saved, by whatever way."""
    publish("django", f"{'New note' if created else 'Changed note'}: {instance.text}")


class NoteForm(forms.ModelForm):
    """The form on the project's page."""

    class Meta:
        model = Note
        fields = ("text",)


def home(request: HttpRequest) -> HttpResponse:
    """The notes, and a form for the next one."""
    form = NoteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("home")
    context = {"form": form, "notes": Note.objects.all()[:20], "user": USER, "password": PASSWORD}
    return render(request, "notes.html", context, status=400 if form.errors else 200)


urlpatterns = [path("", home, name="home"), path("admin/", admin.site.urls)]


def make_app() -> WSGIHandler:
    """Make the database and its user, unless they are there, and give the project's application."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    users = get_user_model().objects
    if not users.filter(username=USER).exists():
        users.create_superuser(USER, password=PASSWORD)
    connection.close()
    return WSGIHandler()
