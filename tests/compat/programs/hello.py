#!/usr/bin/env python
"""The smallest program: one page, and a page that counts."""

import asyncio

import tornado
from tornado.options import define, options

define("port", default=8888, help="run on the given port", type=int)


class MainHandler(tornado.web.RequestHandler):
    def get(self):
        self.write("Hello, world")


class CountHandler(tornado.web.RequestHandler):
    def initialize(self, state):
        self.state = state

    def get(self, step=None):
        self.state["count"] += int(step or 1)
        self.write({"count": self.state["count"], "version": tornado.version_info[0] >= 0})


async def main():
    tornado.options.parse_command_line()
    application = tornado.web.Application(
        [(r"/", MainHandler), (r"/count(?:/(\d+))?", CountHandler, {"state": {"count": 0}})]
    )
    http_server = tornado.httpserver.HTTPServer(application)
    sockets = tornado.netutil.bind_sockets(options.port, "127.0.0.1")
    http_server.add_sockets(sockets)
    print("port", sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
