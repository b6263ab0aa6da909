"""The Flask application: a vote, as a page that needs no script and as a piece of HTML for the page that has some."""

import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import flask

from demos.three_in_one.lines import LONGEST_NAME, one_line

HERE = Path(__file__).parent

#: What one may vote for.
GAMES = {"liars-dice": "Liar's dice", "yacht": "Yacht", "pig": "Pig", "craps": "Craps"}


def make_app() -> flask.Flask:
    """Build the application; its ``TELL`` tells the chat who has voted for what."""
    app = flask.Flask(__name__, template_folder=str(HERE / "templates" / "flask"), static_folder=None)
    app.config.update(
        SECRET_KEY=secrets.token_hex(32),
        APPLICATION_ROOT="/vote",  # the path of its cookie
        SESSION_COOKIE_NAME="ballot",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=10_000,
        TELL=lambda source, name, text: None,
    )
    votes: dict[
        str, str
    ] = {}  # a voter's secret number to a game; one assignment is atomic, so threads may share it

    def result() -> dict[str, Any]:
        """What the templates show."""
        counts = Counter(list(votes.values()))
        mine = votes.get(flask.session.get("voter", ""))
        return {"games": GAMES, "counts": counts, "total": max(1, counts.total()), "mine": mine}

    def vote() -> None:
        """Count the vote of the form, in place of an earlier one."""
        game = flask.request.form.get("game", "")
        if game not in GAMES:
            flask.abort(400, "There is no such game to vote for.")
        voter = flask.session.setdefault("voter", secrets.token_hex(8))
        if voter not in votes and len(votes) >= 10_000:
            flask.abort(503, "The ballot box is full.")
        if votes.get(voter) != game:
            votes[voter] = game
            name = one_line(flask.request.form.get("name", ""), LONGEST_NAME) or "Somebody"
            app.config["TELL"]("flask", name, f"votes for {GAMES[game]}")

    @app.get("/")
    def page() -> str:
        return flask.render_template("page.html", **result())

    @app.post("/")
    def vote_on_the_page() -> Any:
        vote()
        return flask.redirect(flask.url_for("page"), 303)

    @app.get("/ballot")
    def ballot() -> str:
        return flask.render_template("ballot.html", **result())

    @app.post("/ballot")
    def vote_by_script() -> str:
        vote()
        return flask.render_template("ballot.html", **result())

    @app.before_request
    def only_from_here() -> None:
        """A form of another site cannot vote (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/)."""
        site = flask.request.headers.get("Sec-Fetch-Site", "same-origin")
        if flask.request.method == "POST" and site != "same-origin":
            flask.abort(403, "This vote comes from another site.")

    @app.errorhandler(400)
    @app.errorhandler(403)
    @app.errorhandler(503)
    def refused(error: Any) -> Any:
        """In words that the page can show as they are."""
        return flask.Response(error.description, error.code, content_type="text/plain; charset=utf-8")

    @app.after_request
    def safe(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    return app
