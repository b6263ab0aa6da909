"""``python fetches.py tornado|webfw``: the same requests to a raw server; prints what became of each as JSON."""

import asyncio
import gzip
import importlib
import json
import logging
import re
import sys
import zlib
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def to(status: str, location: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nno".encode()


def with_body(fields: str, body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body


#: What the server answers on which path; it closes after each.
ANSWERS: dict[str, bytes] = {
    "/chunked": with_body("Transfer-Encoding: chunked", b"2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"),
    "/trailers": with_body("Transfer-Encoding: chunked", b"2\r\nok\r\n0\r\nA: b\r\n\r\n"),
    "/until-close": b"HTTP/1.1 200 OK\r\n\r\nok",
    "/1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "/204": b"HTTP/1.1 204 Nothing\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "/404": with_body("Content-Length: 2", b"no", "404 Gone Fishing"),
    "/500": with_body("Content-Length: 0", b"", "500 "),
    "/599": with_body("Content-Length: 0", b"", "599 Mine"),
    "/103": b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
    "/100": b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK,
    "/1xx-many": b"HTTP/1.1 103 Early\r\n\r\n" * 20 + OK,
    "/gzip": with_body("Content-Encoding: gzip\r\nContent-Length: 22", packed(b"ok")),
    "/gzip-cut": with_body("Content-Encoding: gzip", packed(b"ok" * 100)[:-9]),
    "/gzip-bad": with_body("Content-Encoding: gzip", b"hello, world"),
    "/gzip-big": with_body("Content-Encoding: gzip", packed(b"x" * 200_000)),
    "/deflate": with_body("Content-Encoding: deflate", zlib.compress(b"ok")),
    "/unknown-coding": with_body("Content-Encoding: mine", b"ok"),
    "/twice": with_body("A: 1\r\na: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2", b"ok"),
    "/latin-1": b"HTTP/1.1 200 OK\r\nA: \xe4\r\nContent-Length: 0\r\n\r\n",
    "/301": to("301 Moved", "/there"),
    "/302": to("302 Found", "/there"),
    "/303": to("303 See", "/there"),
    "/307": to("307 Keep", "/there"),
    "/308": to("308 Keep", "/there"),
    "/300": to("300 Choose", "/there"),
    "/relative/302": to("302 Found", "there?x"),
    "/fragment": to("302 Found", "/there#x"),
    "/loop": to("302 Found", "/loop"),
    "/no-location": with_body("Content-Length: 2", b"no", "302 Found"),
    "/ftp": to("302 Found", "ftp://a.test/"),
    "/bad-location": to("302 Found", "http://[::1"),
    "/nothing": b"",
    "/cut-head": b"HTTP/1.1 200 OK\r\nConte",
    "/cut-body": with_body("Content-Length: 20", b"ok"),
    "/cut-chunk": with_body("Transfer-Encoding: chunked", b"9\r\nok"),
    "/garbage": b"hello\r\n\r\n",
    "/two-lengths": with_body("Content-Length: 2\r\nContent-Length: 3", b"abc"),
    "/same-lengths": with_body("Content-Length: 2\r\nContent-Length: 2", b"ok"),
    "/both": with_body("Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\nok\r\n0\r\n\r\n"),
    "/bad-chunk": with_body("Transfer-Encoding: chunked", b"x\r\nok"),
    "/big": with_body("Content-Length: 2000000", b"x"),
    "/big-chunked": with_body("Transfer-Encoding: chunked", b"fffff\r\nx"),
    "/big-head": with_body("A: " + "x" * 100_000, b""),
    "/folded": with_body("A: b\r\n c\r\nContent-Length: 0", b""),
    "/lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
}

Cases = list[tuple[str, str, dict[str, Any]]]


async def produce(write: Any) -> None:
    await write(b"ab")
    await write(b"c")


async def fail(_: Any) -> None:
    raise ZeroDivisionError


def cases() -> Cases:
    """(name, path or address, arguments of fetch)"""
    rows: Cases = [(path, path, {}) for path in ANSWERS]
    rows += [
        (f"{path} raise_error=False", path, {"raise_error": False}) for path in ("/404", "/cut-body", "/loop")
    ]
    body = {"method": "POST", "body": "xx", "headers": {"Content-Type": "a/b"}}
    rows += [(f"POST {path}", path, body) for path in ("/301", "/302", "/303", "/307", "/308")]
    rows += [(f"PUT {path}", path, {"method": "PUT", "body": "xx"}) for path in ("/301", "/303", "/307")]
    rows += [(f"HEAD {path}", path, {"method": "HEAD"}) for path in ("/404", "/303", "/gzip", "/until-close")]
    rows += [(f"DELETE {path}", path, {"method": "DELETE"}) for path in ("/x", "/302", "/303")]
    post = {"method": "POST", "body_producer": produce}
    user = {"auth_username": "a", "auth_password": "b"}
    rows += [
        ("no redirects", "/302", {"follow_redirects": False}),
        ("max_redirects 0", "/302", {"max_redirects": 0}),
        ("max_redirects 1", "/302", {"max_redirects": 1}),
        ("path with a space", "/x y", {}),
        ("path in UTF-8", "/ä?ö", {}),
        ("fragment", "/x#y", {}),
        ("user", "/x", user),
        ("user and field", "/x", {**user, "headers": {"Authorization": "C d"}}),
        ("user in the address", "http://u:p@HOST/", user),
        ("quoted user in the address", "http://u%40:p%3a@HOST/", {}),
        ("digest", "/x", {**user, "auth_mode": "digest"}),
        ("user agent", "/x", {"user_agent": "me"}),
        ("if modified since", "/x", {"if_modified_since": 0}),
        ("no decompression", "/gzip", {"decompress_response": False}),
        ("use_gzip", "/gzip", {"use_gzip": False}),
        ("own Host", "/x", {"headers": {"Host": "other"}}),
        ("field twice", "/x", {"headers": [("A", "1"), ("A", "2")]}),
        ("injected field", "/x", {"headers": {"A": "b\r\nC: d"}}),
        ("method unknown", "/x", {"method": "FOO"}),
        ("method unknown, allowed", "/x", {"method": "FOO", "allow_nonstandard_methods": True}),
        ("method injected", "/x", {"method": "A B\r\nC", "allow_nonstandard_methods": True}),
        ("POST without", "/x", {"method": "POST"}),
        ("POST without, allowed", "/x", {"method": "POST", "allow_nonstandard_methods": True}),
        ("GET with", "/x", {"body": "x"}),
        ("GET with, allowed", "/x", {"body": "x", "allow_nonstandard_methods": True}),
        ("DELETE with, allowed", "/x", {"method": "DELETE", "body": "x", "allow_nonstandard_methods": True}),
        ("POST empty", "/x", {"method": "POST", "body": ""}),
        ("POST text", "/x", {"method": "POST", "body": "ä"}),
        ("PATCH", "/x", {"method": "PATCH", "body": "x"}),
        ("producer", "/x", post),
        ("producer with length", "/x", {**post, "headers": {"Content-Length": "3"}}),
        ("producer with less", "/x", {**post, "headers": {"Content-Length": "2"}}),
        ("producer fails", "/x", {"method": "POST", "body_producer": fail}),
        ("streaming fails", "/x", {"streaming_callback": fail}),
        ("proxy", "/x", {"proxy_host": "a", "proxy_port": 1}),
        ("interface", "/x", {"network_interface": "eth0"}),
        ("source address", "/x", {"network_interface": "127.0.0.1"}),
        ("no scheme", "nowhere", {}),
        ("other scheme", "ftp://a.test/", {}),
        ("no host", "http:///x", {}),
        ("port too high", "http://127.0.0.1:99999/", {}),
        ("port no number", "http://127.0.0.1:x/", {}),
        ("unknown host", "http://nowhere.invalid/", {}),
        ("refused", "http://127.0.0.1:1/", {}),
        ("no answer", "/silent", {"request_timeout": 0.1}),
        ("no end", "/endless", {"request_timeout": 0.1}),
        ("TLS to none", "https://HOST/x", {"connect_timeout": 0.2}),
    ]  # fmt: skip
    return rows


class Raw:
    """The server; it keeps what it was asked for the request at hand."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?m)^Content-Length: (\d+)\r$", head)
                body = b""
                if length:
                    body = await reader.readexactly(int(length[1]))
                elif "Transfer-Encoding: chunked" in head:
                    body = await reader.readuntil(b"0\r\n\r\n")
                self.asked.append(head + body.decode())
                path = head.split()[1].partition("?")[0]
                if path == "/silent":
                    await reader.read()
                    return
                if path == "/endless":
                    writer.write(OK[:-1])
                    await reader.read()
                    return
                writer.write(ANSWERS.get(path, OK))
                await writer.drain()
                writer.close()
                return
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()


def asked(text: str, host: str) -> list[Any]:
    """A request without what names the client: the first line, the fields in order of their names, the body."""
    head, _, body = text.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    hidden = ("User-Agent: Tornado", "User-Agent: webfw", "Accept-Encoding: ", "Connection: close")
    return [first, sorted(line.replace(host, "HOST") for line in lines if not line.startswith(hidden)), body]


def kinds(error: BaseException) -> list[str]:
    """The types of an exception that a program might name."""
    left = {"object", "BaseException", "Exception"}
    return sorted({kind.__name__ for kind in type(error).__mro__} - left)


async def main(framework: str) -> dict[str, Any]:
    library = importlib.import_module(f"{framework}.httpclient")
    simple = importlib.import_module(f"{framework}.simple_httpclient").SimpleAsyncHTTPClient
    headers = importlib.import_module(f"{framework}.httputil").HTTPHeaders
    raw = Raw()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    results: dict[str, Any] = {}
    client = simple(force_instance=True, max_body_size=100_000)
    for name, path, arguments in cases():
        raw.asked.clear()
        lines: list[str] = []
        arguments = {"header_callback": lines.append, **arguments}
        if isinstance(arguments.get("headers"), list):
            fields = headers()
            for field in arguments["headers"]:
                fields.add(*field)
            arguments["headers"] = fields
        url = f"http://{host}{path}" if path.startswith("/") else path.replace("HOST", host)
        outcome: dict[str, Any] = {}
        try:
            response = await client.fetch(url, **arguments)
        except Exception as error:  # what is compared
            outcome["raises"] = kinds(error)
            response = getattr(error, "response", None)
            if isinstance(error, library.HTTPClientError):
                outcome["code"] = error.code
        if response is not None:
            outcome["response"] = [response.code, response.reason, response.body.decode("latin-1")]
            outcome["fields"] = sorted(response.headers.get_all())
            outcome["url"] = response.effective_url.replace(host, "HOST")
        outcome["lines"] = [line for line in lines if not line.startswith("HTTP/")]
        outcome["asked"] = [asked(text, host) for text in raw.asked]
        results[name] = outcome
    client.close()
    server.close()
    return results


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    json.dump(asyncio.run(main(sys.argv[1])), sys.stdout)
