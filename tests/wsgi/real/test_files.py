"""What applications give to `wsgi.file_wrapper`: files of every kind, whole and in part, sent over real HTTP."""

import bz2
import gzip
import io
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.real.site import Site, contain

CONTENT = b"0123456789" * 1000


def plain(path: Path) -> Any:
    path.write_bytes(CONTENT)
    return path.open("rb")


def unbuffered(path: Path) -> Any:
    path.write_bytes(CONTENT)
    return path.open("rb", buffering=0)


def both_ways(path: Path) -> Any:
    file = path.open("wb+")
    file.write(CONTENT)
    file.seek(0)
    return file


def temporary(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile(dir=path.parent)  # noqa: SIM115  # the server closes it
    file.write(CONTENT)
    file.seek(0)
    return file


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=10)  # noqa: SIM115  # the server closes it
    file.write(CONTENT)
    file.seek(0)
    return file


def in_memory(path: Path) -> Any:
    return io.BytesIO(CONTENT)


def zipped(path: Path) -> Any:
    path.write_bytes(gzip.compress(CONTENT))
    return gzip.open(path)


def bzipped(path: Path) -> Any:
    path.write_bytes(bz2.compress(CONTENT))
    return bz2.open(path)


def xzipped(path: Path) -> Any:
    path.write_bytes(lzma.compress(CONTENT))
    return lzma.open(path)


class Reader:
    """The least that a file-like object may be: it can only be read."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int) -> bytes:
        block, self.content = self.content[:size], self.content[size:]
        return block


def reader(path: Path) -> Any:
    return Reader(CONTENT)


def in_part(path: Path) -> Any:
    path.write_bytes(b"not this" + CONTENT)
    file = path.open("rb")
    assert file.read(8) == b"not this"
    return file


KINDS = [
    plain,
    unbuffered,
    both_ways,
    temporary,
    spooled,
    in_memory,
    zipped,
    bzipped,
    xzipped,
    reader,
    in_part,
]


@pytest.mark.parametrize("mode", ["threads", "inline", "validated"])
@pytest.mark.parametrize("open_file", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_file(
    sites: Callable[..., Site], tmp_path: Path, open_file: Callable[[Path], Any], mode: str
) -> None:
    opened: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        opened.append(open_file(tmp_path / "file"))
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return environ["wsgi.file_wrapper"](opened[-1], 1000)

    site = sites(lambda: contain(app, mode))
    with site.visitor() as visitor:
        assert visitor.get("/").body == CONTENT
        assert visitor.get("/").body == CONTENT
    site.stop()
    assert len(opened) == 2
    assert all(file.closed for file in opened if hasattr(file, "closed"))
