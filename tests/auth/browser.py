"""Requests over real sockets with nothing of webfw in them, and a browser that follows redirects with its cookies."""

import asyncio
import io
from email.message import Message
from email.parser import BytesParser
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from webfw.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from webfw.httputil import HTTPHeaders


class Answer(NamedTuple):
    status: int
    headers: Message
    body: str
    url: str


async def send(
    method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1", f"the network must not be asked for {url}"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"Host": parts.netloc, "Connection": "close", **(headers or {})}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    writer.write("\r\n".join(lines).encode() + (body or b""))
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, content = data.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    return Answer(
        int(line.split(b" ")[1]), BytesParser().parsebytes(rest, headersonly=True), content.decode(), url
    )


class PlainClient:
    """What the mixins ask of a client, over `send`: what they send is seen as it is."""

    async def fetch(self, request: str, **options: Any) -> HTTPResponse:
        asked = HTTPRequest(request, **options)
        answer = await send(asked.method, asked.url, dict(asked.headers.get_all()), asked.body)
        headers = HTTPHeaders(dict(answer.headers.items()))
        response = HTTPResponse(asked, answer.status, headers, io.BytesIO(answer.body.encode()))
        if not 200 <= answer.status < 300:
            raise HTTPClientError(answer.status, response=response)
        return response


class Browser:
    """Follows redirects as a user's browser does, and keeps cookies by host and port and path."""

    def __init__(self) -> None:
        self.jar: dict[tuple[str, str, str], str] = {}
        self.seen: list[str] = []
        self.lines: list[str] = []

    def cookies(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        return {
            name: value
            for (host, path, name), value in self.jar.items()
            if host == parts.netloc
            and (path == "/" or parts.path == path or parts.path.startswith(path.rstrip("/") + "/"))
        }

    async def get(self, url: str, *, follow: bool = True, method: str = "GET") -> Answer:
        for _ in range(10):
            self.seen.append(url)
            kept = "; ".join(f"{name}={value}" for name, value in self.cookies(url).items())
            answer = await send(method, url, {"Cookie": kept} if kept else {})
            for line in answer.headers.get_all("Set-Cookie", []):
                self.lines.append(line)
                for name, morsel in SimpleCookie(line).items():
                    key = (urlsplit(url).netloc, morsel["path"] or "/", name)
                    if not morsel.value:  # as in all that ends a cookie here
                        self.jar.pop(key, None)
                    else:
                        self.jar[key] = morsel.coded_value
            if not follow or answer.status not in (301, 302, 303):
                return answer
            url, method = urljoin(url, answer.headers["Location"]), "GET"
        raise AssertionError(f"too many redirects: {self.seen}")
