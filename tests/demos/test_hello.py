"""The demo as its visitors meet it, by curl: every page over HTTP/1.0, HTTP/1.1, TLS and a UNIX socket."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.needs("curl")

#: What curl is told for each way to the server; URL, SOCKET and CA are filled in.
WAYS = {
    "http-1.0": ["--http1.0", "URL"],
    "http-1.1": ["--http1.1", "URL"],
    "tls": ["--cacert", "CA", "TLS"],
    "unix": ["--unix-socket", "SOCKET", "http://localhost"],
}


class Site:
    """Runs curl against the demo one way, with a cookie jar."""

    def __init__(self, way: list[str], jar: Path) -> None:
        *self.options, self.base = way
        self.jar = str(jar)

    def fetch(self, path: str, *options: str) -> tuple[int, dict[str, str], bytes]:
        command = ["curl", "--silent", "--show-error", "--include", "--path-as-is", "--max-time", "30"]
        command += ["--noproxy", "*", "--cookie", self.jar, "--cookie-jar", self.jar]
        done = subprocess.run(
            [*command, *self.options, *options, self.base + path], capture_output=True, timeout=40
        )
        assert done.returncode == 0, done.stderr
        answer = done.stdout
        while True:  # interim answers come first
            head, _, answer = answer.partition(b"\r\n\r\n")
            status, *lines = head.decode("latin-1").split("\r\n")
            code = int(status.split(" ")[1])
            if code >= 200:
                break
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return code, headers, answer

    def token(self) -> str:
        page = self.fetch("/")[2].decode()
        found = re.search(r'name="_xsrf" value="([^"]+)"', page)
        assert found, page
        return found[1]


@pytest.fixture(scope="module")
def addresses(
    webfw_module_command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("hello")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    cert = authority.issue_cert("localhost", "127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(str(directory / "cert.pem"))
    unix = str(directory / "hello.sock")
    serve = ["serve", "demos.hello:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0"]
    plain = webfw_module_command(*serve, "--bind", f"unix:{unix}")
    tls = webfw_module_command(*serve, "--certfile", str(directory / "cert.pem"))
    return {"URL": plain.url(), "SOCKET": unix, "TLS": tls.url(), "CA": str(directory / "ca.pem")}


@pytest.fixture(params=list(WAYS))
def site(request: pytest.FixtureRequest, addresses: dict[str, str], tmp_path: Path) -> Site:
    return Site([addresses.get(word, word) for word in WAYS[request.param]], tmp_path / "cookies")


def test_home_and_everything_it_links_to(site: Site) -> None:
    status, headers, page = site.fetch("/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=UTF-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert b"<h1>Hello from webfw</h1>" in page
    assert page.count(b"</section>") == 4
    links = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.decode())
    assert len(links) == 4
    for link in links:
        status, headers, body = site.fetch(link)
        assert status == 200, link
        name = link.removeprefix("/static/").partition("?v=")[0]
        assert body == (ROOT / "demos/hello/static" / name).read_bytes()
        assert int(headers["content-length"]) == len(body)


def test_static_file_is_not_sent_twice(site: Site) -> None:
    etag = site.fetch("/static/hello.css")[1]["etag"]
    status, _, body = site.fetch("/static/hello.css", "--header", f"If-None-Match: {etag}")
    assert (status, body) == (304, b"")


def test_json(site: Site) -> None:
    status, headers, body = site.fetch("/api/time")
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    assert json.loads(body)["server"].startswith("webfw ")


def test_form(site: Site) -> None:
    token = site.token()
    answer = site.fetch(
        "/greet", "--data-urlencode", f"_xsrf={token}", "--data-urlencode", "name=Ada <b>&</b>"
    )
    assert answer[0] == 303
    assert answer[1]["location"] == "/"
    page = site.fetch("/")[2].decode()
    assert "<h1>Hello, Ada &lt;b&gt;&amp;&lt;/b&gt;!</h1>" in page
    assert site.fetch("/greet", "--data", f"_xsrf={token}&name=")[0] == 303
    assert "<h1>Hello from webfw</h1>" in site.fetch("/")[2].decode()


def test_form_of_another_site_is_refused(site: Site) -> None:
    site.token()
    assert site.fetch("/greet", "--data", "name=Mallory")[0] == 403
    assert "Mallory" not in site.fetch("/")[2].decode()


def test_upload(site: Site, tmp_path: Path) -> None:
    contents = {"big.bin": bytes(range(256)) * 12_000, "empty.txt": b"", "näme.txt": "größe".encode()}
    options = ["--header", f"X-XSRFToken: {site.token()}", "--form", "comment=two lines"]
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        options += ["--form", f"files=@{tmp_path / name};type=text/plain"]
    status, _, body = site.fetch("/upload", *options)
    assert status == 200, body
    assert json.loads(body)["files"] == [
        {"name": name, "type": "text/plain", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    ]


def test_upload_without_token_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    assert site.fetch("/upload", "--form", f"files=@{tmp_path / 'file'}")[0] == 403


def test_wait(site: Site) -> None:
    status, _, body = site.fetch("/api/wait?seconds=0")
    assert (status, json.loads(body)) == (200, {"waited": 0})


@pytest.mark.parametrize("seconds", ["soon", "11", "-1", "nan"])
def test_wait_refuses_what_it_cannot_do(site: Site, seconds: str) -> None:
    status, _, body = site.fetch(f"/api/wait?seconds={seconds}")
    assert status == 400
    assert b"Traceback" not in body


def test_waiting_does_not_hold_up_others(site: Site) -> None:
    """Both on one command line: the second answer is there long before the first request's wait is over."""
    with subprocess.Popen(
        ["curl", "--silent", *site.options, site.base + "/api/wait?seconds=10"], stdout=subprocess.PIPE
    ) as waiting:
        assert site.fetch("/api/time")[0] == 200
        assert waiting.poll() is None
        waiting.kill()


@pytest.mark.parametrize("path", ["/none", "/static/none.css", "/static/../application.py", "/api/%00"])
def test_what_is_not_there_has_a_page_too(site: Site, path: str) -> None:
    status, _, body = site.fetch(path)
    assert status in (403, 404)
    assert b"import" not in body


def test_head_and_wrong_method(site: Site) -> None:
    status, _, body = site.fetch("/greet")
    assert status == 405
    assert b"Method Not Allowed" in body
