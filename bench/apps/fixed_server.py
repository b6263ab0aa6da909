"""Answers every request alike, with as little as that takes: PORT [CERTIFICATE KEY]."""

import asyncio
import ssl
import sys
from typing import Any

import uvloop

BODY = b"Hello, world"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: fixed\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 12\r\n\r\n" + BODY
)


class Fixed(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.left = b""

    def data_received(self, data: bytes) -> None:
        *heads, self.left = (self.left + data).split(b"\r\n\r\n")
        for head in heads:
            self.transport.write(ANSWER)
            if b"\r\nconnection: close" in head.lower():
                self.transport.close()


async def main(port: int, files: list[str]) -> None:
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Fixed, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2:]))
