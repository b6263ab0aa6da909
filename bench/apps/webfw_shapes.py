"""The pages of `bench http` in webfw: ``webfw_shapes.py PORT SHAPE FOLDER``."""

import asyncio
import sys
from typing import Any

import pages
import uvloop

import webfw.web


class Json(webfw.web.RequestHandler):
    def get(self) -> None:
        self.write(pages.RECORD)


class Await(webfw.web.RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write(pages.TEXT)


class Item(webfw.web.RequestHandler):
    def get(self, item: str) -> None:
        self.write(item)


class Form(webfw.web.RequestHandler):
    def post(self) -> None:
        self.write(self.get_body_argument("city"))


def handlers(shape: str, folder: str) -> list[Any]:
    if shape.startswith("routes"):
        return [(rf"/resource{number}/([^/]+)", Item) for number in pages.routes(shape)]
    if shape == "static":
        return [(r"/static/(.*)", webfw.web.StaticFileHandler, {"path": folder})]
    return [("/", {"json": Json, "await": Await, "form": Form}[shape])]


async def main() -> None:
    app = webfw.web.Application(handlers(*sys.argv[2:4]), log_function=lambda handler: None)
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
