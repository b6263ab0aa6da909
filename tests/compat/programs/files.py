#!/usr/bin/env python
"""Receive files: in a form, or streamed with PUT; and send them back in pieces."""

import asyncio
import logging
from urllib.parse import unquote

import tornado.httpserver
import tornado.netutil
import tornado.web
from tornado import iostream, options

log = logging.getLogger(__name__)
MB = 1024 * 1024


class POSTHandler(tornado.web.RequestHandler):
    def post(self):
        for field_name, files in self.request.files.items():
            for info in files:
                filename, content_type = info["filename"], info["content_type"]
                body = info["body"]
                log.info('POST "%s" "%s" %d bytes', filename, content_type, len(body))
                self.write(f"{field_name}: {filename} {content_type} {len(body)}\n")
        self.write("OK")


@tornado.web.stream_request_body
class PUTHandler(tornado.web.RequestHandler):
    def initialize(self):
        self.bytes_read = 0

    def prepare(self):
        self.request.connection.set_max_body_size(200 * MB)

    async def data_received(self, chunk):
        self.bytes_read += len(chunk)
        await asyncio.sleep(0)

    def put(self, filename):
        filename = unquote(filename)
        mtype = self.request.headers.get("Content-Type")
        self.write(f'PUT "{filename}" "{mtype}" {self.bytes_read} bytes')


class DownloadHandler(tornado.web.RequestHandler):
    async def get(self, size):
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", 'attachment; filename="zeros"')
        for _ in range(int(size)):
            try:
                self.write(b"\0" * MB)
                await self.flush()
            except iostream.StreamClosedError:
                break


async def main():
    options.define("port", default=8888, type=int)
    options.parse_command_line()
    app = tornado.web.Application(
        [(r"/post", POSTHandler), (r"/download/(\d+)", DownloadHandler), (r"/(.*)", PUTHandler)]
    )
    server = tornado.httpserver.HTTPServer(app, max_buffer_size=300 * MB)
    sockets = tornado.netutil.bind_sockets(options.options.port, "127.0.0.1")
    server.add_sockets(sockets)
    print("port", sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
