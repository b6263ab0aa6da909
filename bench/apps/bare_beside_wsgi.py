"""What the interpreter's lock alone does to a loop: a protocol that answers a constant, beside bare threads.

``bare_beside_wsgi.py PORT asyncio|uvloop SWITCH_INTERVAL_MS``; ``/spin`` computes in a thread as long as the WSGI
application does.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from wsgi_apps import HELLO, compute

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(HELLO), HELLO)
threads = ThreadPoolExecutor(8)


class Protocol(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /spin "):
            threads.submit(self.spin, asyncio.get_running_loop())
        else:
            self.transport.write(ANSWER)

    def spin(self, loop: asyncio.AbstractEventLoop) -> None:
        compute(0.2)
        loop.call_soon_threadsafe(self.transport.write, ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    sys.setswitchinterval(float(sys.argv[3]) / 1000)
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
