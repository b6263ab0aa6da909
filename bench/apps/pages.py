"""What the applications of `bench http` answer with, the same in all of them."""

import json

TEXT = "Hello, world"
BODY = TEXT.encode()
HTML = "text/html; charset=UTF-8"
#: What is sent as JSON.
RECORD = {
    "id": 4711,
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "tags": ["first", "engine"],
    "active": True,
}
#: How many routes there are where there are many, and the number of the one that is asked for.
MANY = 200
MIDDLE = MANY // 2


def routes(shape: str) -> list[int]:
    """The numbers of the routes with an argument: one or two hundred of them."""
    return list(range(MANY)) if shape == "routes-200" else [MIDDLE]


def encoded() -> bytes:
    return json.dumps(RECORD).encode()
