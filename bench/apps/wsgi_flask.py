"""The hello page in Flask."""

import flask

app = flask.Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, world"
