"""The pages of `bench http` in aiohttp on uvloop: ``aiohttp_shapes.py PORT SHAPE FOLDER``."""

import asyncio
import sys

import pages
import uvloop
from aiohttp import web


def page(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


async def as_json(request: web.Request) -> web.Response:
    return web.json_response(pages.RECORD)


async def awaiting(request: web.Request) -> web.Response:
    await asyncio.sleep(0)
    return page(pages.TEXT)


async def item(request: web.Request) -> web.Response:
    return page(request.match_info["item"])


async def form(request: web.Request) -> web.Response:
    return page(str((await request.post())["city"]))


def application(shape: str, folder: str) -> web.Application:
    app = web.Application()
    if shape.startswith("routes"):
        for number in pages.routes(shape):
            app.router.add_get(f"/resource{number}/{{item}}", item)
    elif shape == "static":
        app.router.add_static("/static/", folder)
    elif shape == "form":
        app.router.add_post("/", form)
    else:
        app.router.add_get("/", {"json": as_json, "await": awaiting}[shape])
    return app


if __name__ == "__main__":
    web.run_app(
        application(*sys.argv[2:4]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
