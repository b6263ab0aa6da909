"""A page in Starlette, for the servers of `bench http --shapes asgi`."""

import pages
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route


async def hello(request: Request) -> HTMLResponse:
    return HTMLResponse(pages.TEXT)


app = Starlette(routes=[Route("/", hello)])
