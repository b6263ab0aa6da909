"""One keep-alive connection to a server, and latencies: as small as can be, as it shares a core with what it asks."""

import socket
import time

__all__ = ["Client", "percentile"]


class Client:
    """A blocking client of one connection; it understands responses with a Content-Length.

    :param timeout: seconds to wait for a response.
    """

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.port = port
        self.timeout = timeout
        self._socket: socket.socket | None = None

    def get(self, path: str = "/") -> bytes:
        """The body of a page.

        :raises OSError: no answer within the timeout, no server, or an answer that is not 200 or not whole.
        """
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), self.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
            return self._answer(self._socket)
        except OSError:
            self.close()
            raise

    def _answer(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        if b" 200 " not in head[:14]:
            raise OSError(f"answered {head[:60]!r}")
        fields = head.lower()
        length = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more(connection)
        if b"connection: close" in fields:
            self.close()
        return body

    def _more(self, connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        if not data:
            raise OSError("the server has closed the connection")
        return data

    def timed(self, path: str = "/") -> float:
        """Milliseconds that a page takes.

        :raises OSError: as `get` does.
        """
        begin = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - begin) * 1000

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
