"""`HTTP1ServerConnection`: the requests of one stream, one after another; what a request is stays outside."""

import asyncio

from webfw.http1connection.connection import HTTP1Connection
from webfw.http1connection.parameters import HTTP1ConnectionParameters
from webfw.httputil import HTTPServerConnectionDelegate
from webfw.iostream import IOStream, StreamClosedError
from webfw.log import app_log

__all__ = ["HTTP1ServerConnection"]


class HTTP1ServerConnection:
    """An HTTP/1.x server on a stream that somebody has accepted; `HTTPServer` has more, and is quicker.

    :param stream: a connected stream.
    :param params: limits and deadlines.
    :param context: kept as `context`, and that of every request's connection.
    """

    def __init__(
        self,
        stream: IOStream,
        params: HTTP1ConnectionParameters | None = None,
        context: object = None,
    ) -> None:
        self.stream = stream
        self.params = params or HTTP1ConnectionParameters()
        self.context = context
        self._serving: asyncio.Task[None] | None = None

    def start_serving(self, delegate: HTTPServerConnectionDelegate) -> None:
        """Serve requests until the connection closes.

        :param delegate: asked for a message delegate before each request, and told when the connection has closed.
        """
        self._serving = self.stream.io_loop.asyncio_loop.create_task(self._serve(delegate))

    async def close(self) -> None:
        """Close the connection and wait until nothing is served on it; a delegate does not wait for itself."""
        self.stream.close()
        if self._serving is not None and self._serving is not asyncio.current_task():
            await asyncio.wait([self._serving])

    async def _serve(self, delegate: HTTPServerConnectionDelegate) -> None:
        try:
            while True:
                conn = HTTP1Connection(self.stream, False, self.params, self.context)
                message = delegate.start_request(self, conn)
                if not await conn.read_response(message):
                    return
                await asyncio.sleep(0)  # a client that pipelines must not keep others waiting
        except StreamClosedError:
            pass
        except Exception:
            # Border: nobody awaits this task, so what an application raises is told here.
            app_log.error("Uncaught exception while serving a request", exc_info=True)
            self.stream.close()
        finally:
            delegate.on_close(self)
