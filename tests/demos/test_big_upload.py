"""A gigabyte goes through the demo's upload, and the server's memory stays flat."""

import hashlib
import json
import re
import socket
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

GIGABYTE = 1 << 30
PIECE = bytes(range(256)) * 4096


def peak_memory(pid: int) -> int:
    """The most resident memory a process has had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gigabyte_leaves_memory_flat(
    webfw_command: Callable[..., Any], framing: str, record_property: Callable[[str, object], None]
) -> None:
    command = webfw_command("serve", "demos.hello:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0")
    url = command.url()
    jar = CookieJar()
    page = (
        urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        .open(url, timeout=20)
        .read()
        .decode()
    )
    token = re.search(r'name="_xsrf" value="([^"]+)"', page)[1]  # type: ignore[index]
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
    port = int(url.rstrip("/").rpartition(":")[2])
    before = peak_memory(command.process.pid)

    begin = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    end = b"\r\n--edge--\r\n"
    size = len(begin) + GIGABYTE + len(end)
    body_framing = f"Content-Length: {size}" if framing == "length" else "Transfer-Encoding: chunked"
    head = (
        f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\nX-XSRFToken: {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=edge\r\n{body_framing}\r\nConnection: close\r\n\r\n"
    )
    digest = hashlib.sha256()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(head.encode())
        pieces = [begin, *[PIECE] * (GIGABYTE // len(PIECE)), end]
        for piece in pieces:
            sock.sendall(piece if framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
            if piece is PIECE:
                digest.update(piece)
        if framing == "chunked":
            sock.sendall(b"0\r\n\r\n")
        answer = b""
        while part := sock.recv(65536):
            answer += part
    grown = peak_memory(command.process.pid) - before
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    (file,) = json.loads(answer.partition(b"\r\n\r\n")[2])["files"]
    assert file["size"] == GIGABYTE
    assert file["sha256"] == digest.hexdigest()
    record_property("grown_kib", grown)
    print(f"1 GiB upload ({framing}): the server's peak memory grew by {grown} KiB")
    assert grown < 8 * 1024
