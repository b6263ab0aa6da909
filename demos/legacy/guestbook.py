"""The Flask application: a guest book that also tells the live page, and a view that takes its time."""

import secrets
import time
from collections import deque
from pathlib import Path
from typing import Any

import flask

HERE = Path(__file__).parent

#: Entries that are kept, and characters of one.
KEPT = 50
LONGEST = 200
#: Seconds for which the slow view sleeps, as one would that asks a slow database.
SLOW = 2.0


def make_app() -> flask.Flask:
    """Build the application; its ``PUBLISH`` tells whoever listens."""
    app = flask.Flask(__name__, template_folder=str(HERE / "templates" / "flask"), static_folder=None)
    app.config.update(
        SECRET_KEY=secrets.token_hex(32),
        APPLICATION_ROOT="/flask",  # the path of its cookie
        SESSION_COOKIE_NAME="guestbook",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=10_000,
        PUBLISH=lambda source, text: None,
    )
    entries: deque[tuple[str, str]] = deque(maxlen=KEPT)  # append is atomic: threads may share it

    @app.get("/")
    def home() -> str:
        return flask.render_template("guestbook.html", entries=list(entries)[::-1], longest=LONGEST)

    @app.post("/sign")
    def sign() -> Any:
        name = " ".join(flask.request.form.get("name", "").split())[:40]
        text = " ".join(flask.request.form.get("text", "").split())[:LONGEST]
        if not name or not text:
            flask.abort(400, "A name and a text are needed.")
        flask.session["name"] = name
        entries.append((name, text))
        app.config["PUBLISH"]("flask", f"{name}: {text}")
        if flask.request.accept_mimetypes.best == "application/json":
            return flask.jsonify(signed=True)
        return flask.redirect(flask.url_for("home"), 303)

    @app.get("/slow")
    def slow() -> Any:
        time.sleep(SLOW)
        return flask.jsonify(seconds=SLOW)

    @app.after_request
    def safe(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app
