"""A client that sends raw bytes and says what came back, in a form that two servers can be compared in."""

import asyncio
import contextlib
import email.utils
import re
import time
import zlib
from dataclasses import dataclass, field, replace

#: Seconds without an answer after which a server is taken to be waiting for more.
PATIENCE = 10.0
PROBE = b"GET /?probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """Bytes for one connection to one server of the site.

    Between the parts of ``data`` a response is awaited.  ``count`` responses are read, then a last request shows
    whether the connection is still open.  ``first`` is sent before on a connection of its own; from its response
    come the values for ``%ETAG%``, ``%MODIFIED%``, ``%COOKIES%`` and ``%XSRF%``.
    """

    name: str
    data: bytes | list[bytes]
    server: str = "main"
    count: int = 1
    first: bytes | None = None
    #: Less than `PATIENCE` for the cases in which one of the servers is known to wait.
    patience: float = PATIENCE


@dataclass
class Response:
    status: int
    reason: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    cut: bool = False

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Outcome:
    responses: list[Response] = field(default_factory=list)
    #: "open", "closed", "waiting", or "reset".
    end: str = ""

    def lines(self) -> list[str]:
        """The outcome as text to compare and to show; what may differ freely is made equal."""
        text = []
        for response in self.responses:
            text.append(f"{response.version} {response.status} {response.reason}")
            names = sorted((name, normal(name, value)) for name, value in response.headers)
            text += [f"{name}: {value}" for name, value in names]
            text.append(f"body {normal_body(response)!r}" + (" cut" if response.cut else ""))
        return [*text, self.end]


def normal(name: str, value: str) -> str:
    """A header's value without what depends on the moment, on chance or on the algorithm of an ETag."""
    low = name.lower()
    if low == "date":
        return "now" if email.utils.parsedate_to_datetime(value) else value
    if low == "expires":
        return expiry(value)
    if low == "server":
        return re.sub(r"^(TornadoServer|webfw)/[\w.]+$", "default", value)
    if low == "etag":
        return re.sub(r'"[0-9a-f]{16,128}"$', '"hash"', value)
    if low == "set-cookie":
        value = re.sub(r"2\|[0-9a-f]{8}\|[0-9a-f]+\|\d+", "TOKEN", value)
        value = re.sub(r"=[0-9a-f]{32}(?=;|$)", "=TOKEN1", value)
        return re.sub(r"(?<=expires=)[^;]+", lambda match: expiry(match[0]), value, flags=re.IGNORECASE)
    return value


def expiry(text: str) -> str:
    """A date that is near as a distance from now."""
    days = (email.utils.parsedate_to_datetime(text).timestamp() - time.time()) / 86400
    return f"{days:+.1f} days" if abs(days) < 4000 else text


def normal_body(response: Response) -> bytes:
    body = response.body
    if response.get("Content-Encoding") == "gzip":
        body = b"gzip of " + zlib.decompress(body, 31) if body else b""
    if body.startswith(b"Traceback "):
        body = b"Traceback ... " + body.rpartition(b"\n")[2]
    body = re.sub(rb"2\|[0-9a-f]{8}\|[0-9a-f]+\|\d+", b"TOKEN", body)
    body = re.sub(rb'(?<=name="_xsrf" value=")[0-9a-f]{32}(?=")', b"TOKEN1", body)
    body = re.sub(rb"(?<=\?v=)[0-9a-f]{16,128}", b"HASH", body)
    return re.sub(rb"\b(tornado|webfw)\b", b"FW", body)


async def talk(case: Case, port: int) -> Outcome:
    """Play a case against a server."""
    values: dict[bytes, bytes] = {}
    if case.first is not None:
        before = await play([case.first], port, 1, case.patience)
        values = found(before.responses[0])
    parts = case.data if isinstance(case.data, list) else [case.data]
    for name, value in values.items():
        parts = [part.replace(name, value) for part in parts]
    return await play(parts, port, case.count, case.patience)


def found(response: Response) -> dict[bytes, bytes]:
    pairs = [value.split(";")[0] for name, value in response.headers if name == "Set-Cookie"]
    token = re.search(rb'name="_xsrf" value="([^"]*)"', response.body)
    return {
        b"%ETAG%": (response.get("Etag") or "").encode(),
        b"%MODIFIED%": (response.get("Last-Modified") or "").encode(),
        b"%COOKIES%": "; ".join(pairs).encode(),
        b"%XSRF%": token[1] if token else b"",
    }


async def play(parts: list[bytes], port: int, count: int, patience: float) -> Outcome:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    outcome = Outcome()
    sent = b""
    try:
        for part in parts[:-1]:
            writer.write(part)
            sent += part
            outcome.responses.append(await read(reader, sent, len(outcome.responses), patience))
        writer.write(parts[-1])
        sent += parts[-1]
        while len(outcome.responses) < count:
            outcome.responses.append(await read(reader, sent, len(outcome.responses), patience))
        writer.write(PROBE)
        while True:
            outcome.responses.append(await read(reader, sent, len(outcome.responses), patience))
            outcome.end = "open"
            last = outcome.responses.pop()
            if last.get("Connection") == "close":
                break
            outcome.responses.append(last)
    except EOFError:
        outcome.end = "closed"
    except TimeoutError:
        outcome.end = "waiting"
    except ConnectionError:
        outcome.end = "closed"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return outcome


def method_of(sent: bytes, number: int) -> str:
    """The method of a request among pipelined ones; good enough to know a HEAD."""
    methods = re.findall(rb"(?:^|\n|(?<=\}))([A-Z]+) [^\r\n]* HTTP/", sent)
    return methods[number].decode() if number < len(methods) else ""


async def read(reader: asyncio.StreamReader, sent: bytes, number: int, patience: float) -> Response:
    """Read one response, framed as RFC 9112 section 6.3 says; EOFError when there is none."""
    async with asyncio.timeout(patience):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                return Response(0, "no head", "", [], error.partial, cut=True)
            raise EOFError from None
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, status, *reason = line.split(" ", 2)
        headers = [(name, value.strip()) for name, _, value in (text.partition(":") for text in lines)]
        response = Response(int(status), "".join(reason), version, headers)
        try:
            response.body = await read_body(reader, response, method_of(sent, number))
        except asyncio.IncompleteReadError as error:
            response = replace(response, body=error.partial, cut=True)
        except ConnectionError:
            response = replace(response, cut=True)
    return response


async def read_body(reader: asyncio.StreamReader, response: Response, method: str) -> bytes:
    if method == "HEAD" or response.status in (204, 304) or response.status < 200:
        return b""
    if response.get("Transfer-Encoding") == "chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return body
    length = response.get("Content-Length")
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read()
