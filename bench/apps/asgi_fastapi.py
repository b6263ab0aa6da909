"""JSON from FastAPI, for the servers of `bench http --shapes asgi`."""

from typing import Any

import pages
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def record() -> dict[str, Any]:
    return pages.RECORD
