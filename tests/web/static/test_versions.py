import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.web.errors import HTTPError
from webfw.web.static.versions import Versions


class Files(Versions):
    reads = 0

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        return os.path.abspath(os.path.join(root, path))

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> bytes | Iterable[bytes]:
        cls.reads += 1
        return Path(abspath).read_bytes()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    Files.reset()
    Files.reads = 0
    yield
    Files.reset()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "a.txt").write_text("hello")
    return {"static_path": str(tmp_path)}


HELLO = hashlib.sha512(b"hello").hexdigest()


def test_the_version_is_a_hash_of_the_content(settings: dict[str, Any]) -> None:
    assert Files.get_version(settings, "a.txt") == HELLO


def test_content_may_come_in_pieces(settings: dict[str, Any]) -> None:
    class Pieces(Files):
        @classmethod
        def get_content(
            cls, abspath: str, start: int | None = None, end: int | None = None
        ) -> Iterable[bytes]:
            return iter([b"he", b"llo"])

    assert Pieces.get_content_version("x") == HELLO


def test_a_version_is_remembered_until_the_file_changes(settings: dict[str, Any], tmp_path: Path) -> None:
    for _ in range(3):
        Files.get_version(settings, "a.txt")
    assert Files.reads == 1
    file = tmp_path / "a.txt"
    status = file.stat()
    assert Files._known_version(str(file), status) == HELLO
    file.write_text("other")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert Files._known_version(str(file), file.stat()) is None
    assert Files.get_version(settings, "a.txt") == hashlib.sha512(b"other").hexdigest()
    assert Files.reads == 2


def test_reset_forgets(settings: dict[str, Any]) -> None:
    Files.get_version(settings, "a.txt")
    Files.reset()
    Files.get_version(settings, "a.txt")
    assert Files.reads == 2


def test_a_big_file_goes_by_time_and_size(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Files, "MAX_VERSION_CONTENT_SIZE", 4)
    status = (tmp_path / "a.txt").stat()
    assert Files.get_version(settings, "a.txt") == f"{status.st_mtime_ns:x}-5"
    assert Files.reads == 0


def test_the_oldest_version_is_forgotten(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Files, "MAX_CACHED_VERSIONS", 2)
    for name in "bcd":
        (tmp_path / name).write_text(name)
        Files.get_version(settings, name)
    assert [os.path.basename(path) for path in Files._static_hashes] == ["c", "d"]


def test_a_file_that_is_not_there_has_no_version(
    settings: dict[str, Any], expect_log: Callable[..., Any]
) -> None:
    with expect_log("webfw.general", "Could not open static file '.*nothing'", level=logging.ERROR, count=1):
        assert Files.get_version(settings, "nothing") is None
        assert Files.make_static_url(settings, "nothing") == "/static/nothing"


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "x/../../a"])
def test_no_version_outside_of_the_root(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(HTTPError) as caught:
        Files.get_version(settings, path)
    assert caught.value.status_code == 403
    assert Files.reads == 0


def test_roots_of_another_kind_are_the_business_of_the_subclass(tmp_path: Path) -> None:
    class Several(Files):
        @classmethod
        def get_absolute_path(cls, root: Any, path: str) -> str:
            return os.path.join(root[0], path)

    (tmp_path / "a.txt").write_text("hello")
    assert Several.get_version({"static_path": [str(tmp_path)]}, "a.txt") == HELLO


def test_static_urls(settings: dict[str, Any]) -> None:
    assert Files.make_static_url(settings, "a.txt") == f"/static/a.txt?v={HELLO}"
    assert Files.make_static_url(settings, "a.txt", include_version=False) == "/static/a.txt"
    settings["static_url_prefix"] = "/s/"
    assert Files.make_static_url(settings, "a.txt") == f"/s/a.txt?v={HELLO}"
