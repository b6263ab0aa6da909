"""Tests of webfw.pubsub.assets: the client for browsers can be served."""

from pathlib import Path
from typing import Any

from tests.web.conftest import Sites
from webfw.pubsub import STATIC_PATH
from webfw.web import StaticFileHandler


async def test_the_client_can_be_served() -> None:
    sites = Sites()
    site: Any = sites([(r"/webfw/(.*)", StaticFileHandler, {"path": STATIC_PATH})])
    answer = await site.ask("/webfw/webfw-live.js")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert (Path(STATIC_PATH) / "webfw-live.js").stat().st_size == int(answer.headers["Content-Length"])
    sites.end()
