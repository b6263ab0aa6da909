#!/usr/bin/env python
"""A chat by long polling: a request for messages waits until there is one, or the client goes away."""

import asyncio
import uuid

import tornado.escape
import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.web
from tornado.concurrent import Future
from tornado.options import define, options, parse_command_line

define("port", default=8888, help="run on the given port", type=int)
define("debug", default=False, help="run in debug mode")


class MessageBuffer:
    def __init__(self):
        self.waiters = set()
        self.cache = []
        self.cache_size = 200

    def get_messages_since(self, cursor):
        results = []
        for message in reversed(self.cache):
            if message["id"] == cursor:
                break
            results.append(message)
        results.reverse()
        return results

    def wait(self):
        future = Future()
        self.waiters.add(future)
        return future

    def cancel(self, future):
        self.waiters.discard(future)
        if not future.done():
            future.set_result([])

    def add_message(self, message):
        self.cache.append(message)
        self.cache = self.cache[-self.cache_size :]
        for future in self.waiters:
            if not future.done():
                future.set_result([message])
        self.waiters.clear()


global_message_buffer = MessageBuffer()


class MainHandler(tornado.web.RequestHandler):
    def get(self):
        self.render("chat.html", messages=global_message_buffer.cache)


class MessageNewHandler(tornado.web.RequestHandler):
    def post(self):
        message = {"id": str(uuid.uuid4()), "body": self.get_argument("body")}
        message["html"] = tornado.escape.to_unicode(self.render_string("message.html", message=message))
        if self.get_argument("next", None):
            self.redirect(self.get_argument("next"))
        else:
            self.write(message)
        global_message_buffer.add_message(message)


class MessageUpdatesHandler(tornado.web.RequestHandler):
    async def post(self):
        cursor = self.get_argument("cursor", None)
        messages = global_message_buffer.get_messages_since(cursor) if cursor else []
        while not messages:
            self.wait_future = global_message_buffer.wait()
            try:
                messages = await self.wait_future
            except asyncio.CancelledError:
                return
            if self.request.connection.stream.closed():
                return
        self.write({"messages": messages})

    def on_connection_close(self):
        global_message_buffer.cancel(self.wait_future)


class WaitersHandler(tornado.web.RequestHandler):
    def get(self):
        self.write(str(len(global_message_buffer.waiters)))


async def main():
    parse_command_line()
    app = tornado.web.Application(
        [
            (r"/", MainHandler),
            (r"/a/message/new", MessageNewHandler),
            (r"/a/message/updates", MessageUpdatesHandler),
            (r"/waiters", WaitersHandler),
        ],
        cookie_secret="__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__",
        template_path="templates",
        static_path="static",
        xsrf_cookies=True,
        debug=options.debug,
    )
    server = tornado.httpserver.HTTPServer(app)
    sockets = tornado.netutil.bind_sockets(options.port, "127.0.0.1")
    server.add_sockets(sockets)
    print("port", sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
