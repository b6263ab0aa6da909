"""Versions of static files: a hash of their content, in their URLs and entity tags; serving stays outside."""

import hashlib
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from webfw.log import gen_log
from webfw.web.errors import HTTPError
from webfw.web.static.files import is_below, regular_file
from webfw.web.static.recent import Recent

__all__ = ["Versions"]


class Versions:
    """The part of `StaticFileHandler` that names the state a file is in."""

    #: Versions that are remembered; beyond it the oldest is forgotten.
    MAX_CACHED_VERSIONS = 10_000

    #: Bytes up to which a file's content is hashed; a bigger one goes by its size and time of change.
    MAX_VERSION_CONTENT_SIZE = 64 * 1024 * 1024

    # Absolute path -> (time of change in ns, size, version).  Programs reset and replace it, hence on the
    # class.
    _static_hashes: dict[str, Any] = {}
    _lock = threading.Lock()

    _recent = Recent()

    if TYPE_CHECKING:

        @classmethod
        def get_absolute_path(cls, root: str, path: str) -> str: ...
        @classmethod
        def get_content(
            cls, abspath: str, start: int | None = None, end: int | None = None
        ) -> bytes | Iterable[bytes]: ...

    @classmethod
    def get_content_version(cls, abspath: str) -> str:
        """Return a version for a file's content: its SHA-512, in hexadecimal.

        :param abspath: the file, as `get_absolute_path` gives it.
        """
        content = cls.get_content(abspath)
        hasher = hashlib.sha512(usedforsecurity=False)
        for piece in (content,) if isinstance(content, bytes) else content:
            hasher.update(piece)
        return hasher.hexdigest()

    @classmethod
    def _get_cached_version(cls, abspath: str) -> str | None:
        """Return the version of a file, remembered until the file changes; None when it cannot be read."""
        status = regular_file(abspath)
        changed, size = (status.st_mtime_ns, status.st_size) if status is not None else (None, None)
        # One look at a dict needs no lock.
        known = cls._static_hashes.get(abspath)
        if type(known) is tuple and known[0] == changed and known[1] == size:
            remembered: str | None = known[2]
            return remembered
        version: str | None
        if size is not None and size > cls.MAX_VERSION_CONTENT_SIZE:
            version = f"{changed:x}-{size:x}"
        else:
            try:
                version = cls.get_content_version(abspath)
            except Exception:
                # Border: content may come from a subclass.  A page must not fail for a file it only links to.
                gen_log.error("Could not open static file %r", abspath)
                version = None
        with cls._lock:
            hashes = cls._static_hashes
            hashes.pop(abspath, None)
            while len(hashes) >= cls.MAX_CACHED_VERSIONS > 0:
                del hashes[next(iter(hashes))]
            hashes[abspath] = (changed, size, version)
        return version

    @classmethod
    def _known_version(cls, abspath: str, status: os.stat_result) -> str | None:
        """Return a file's version if it is remembered, without another look at the file; None otherwise."""
        known = cls._static_hashes.get(abspath)
        if type(known) is tuple and known[0] == status.st_mtime_ns and known[1] == status.st_size:
            version: str | None = known[2]
            return version
        return None

    @classmethod
    def get_version(cls, settings: dict[str, Any], path: str) -> str | None:
        """Return the version for a static URL, or None when the file cannot be read.

        :param settings: the application's settings, with ``static_path``.
        :param path: the file, relative to it.
        :raises HTTPError: 403 when the path leads out of ``static_path``.
        """
        root = settings["static_path"]
        abspath = cls.get_absolute_path(root, path)
        if isinstance(root, str | os.PathLike) and abspath and not is_below(os.path.abspath(root), abspath):
            raise HTTPError(403, "%s is not in root static directory", path)
        return cls._get_cached_version(abspath)

    @classmethod
    def make_static_url(cls, settings: dict[str, Any], path: str, include_version: bool = True) -> str:
        """Return the URL of a static file: the setting ``static_url_prefix``, the path and ``?v=`` with its version.

        Override it together with `parse_url_path` to put the version elsewhere.

        :param include_version: False leaves the version out.
        """
        url = f"{settings.get('static_url_prefix', '/static/')}{path}"
        version = cls.get_version(settings, path) if include_version else None
        return f"{url}?v={version}" if version else url

    @classmethod
    def reset(cls) -> None:
        """Forget all versions, and the files that were served lately."""
        cls._recent.clear()
        with cls._lock:
            cls._static_hashes = {}
