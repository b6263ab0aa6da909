"""`StaticFileHandler`: one request for a file, from its path to its bytes; what files are, the rooms beside know."""

import asyncio
import datetime
import os
import secrets
from collections.abc import Awaitable, Iterable
from typing import Any, BinaryIO

from webfw.httpserver.exchange import DONE, Exchange
from webfw.httputil import HTTPServerRequest
from webfw.httputil.values import choose_encoding, match_etag, parse_http_date
from webfw.iostream import StreamClosedError
from webfw.web.errors import HTTPError
from webfw.web.handler import RequestHandler
from webfw.web.static.files import (
    PIECE,
    content_type_of,
    is_below,
    leads_out,
    read_pieces,
    read_slice,
    refused_on_windows,
    regular_file,
)
from webfw.web.static.keeping import Keeping, finds_alike
from webfw.web.static.ranges import (
    RangeNotSatisfiable,
    content_range,
    multipart_pieces,
    range_applies,
    select_ranges,
)
from webfw.web.static.versions import Versions
from webfw.web.transforms import GZipContentEncoding, OutputTransform, gains_by_compression

__all__ = ["StaticFileHandler"]

#: Bytes up to which a file is hashed where it stands; a bigger one in a thread, the first time it is asked for.
HASH_AT_ONCE = 1024 * 1024

# Compressed siblings of a file: coding and extension, the server's favourite first.
_SIBLINGS = (("br", ".br"), ("gzip", ".gz"))

_WINDOWS = os.name == "nt"


class StaticFileHandler(Keeping, Versions, RequestHandler):
    """Serves the files of a directory.

    The application setting ``static_path`` makes one of these for ``/static/``; for others::

        Application([(r"/pictures/(.*)", StaticFileHandler, {"path": "/srv/pictures"})])

    :param path: the directory.
    :param default_filename: the file to serve for a directory, such as ``index.html``; without it
        directories are 403.
    :param allowed_symlink_directory: a directory outside of ``path`` that symbolic links in it may lead to.

    Answers have an Etag made of the content, Last-Modified, and single or several ranges on request (206).
    A file named like the one asked for with ``.br`` or ``.gz`` appended, and not older, is sent in its
    place to clients that accept that coding, unless the application setting ``static_precompressed`` is
    False.  URLs made by `make_static_url` carry a version, and what is asked for with one is kept by caches
    for ten years.

    To serve content from elsewhere override `get_content`, `get_content_size`, `get_modified_time` and
    `validate_absolute_path`.  Class methods take nothing from the request, since URLs are made outside of
    requests to their file.
    """

    #: Seconds caches may keep what was asked for with a version: ten years.
    CACHE_MAX_AGE = 86400 * 365 * 10

    #: A directory outside of the root that symbolic links may lead to, absolute; None: links must stay below the root.
    allowed_symlink_directory: str | None = None

    root: str
    path: str
    #: The file served; None while there is none, and when a redirect was sent.
    absolute_path: str | None = None
    #: When the file was changed last, in UTC, to the second.
    modified: datetime.datetime | None = None

    # The last path looked at, and its status.
    _status: tuple[str, os.stat_result | None] | None = None
    # Where the file really is: the root it was found below, and the compressed sibling that stands in for it.
    _found_below: str | None = None
    _coding: str | None = None
    _sibling: str | None = None
    _sibling_size: int = 0
    _has_siblings: bool = False
    _etag: str | None = None

    # Whether files are found and described as here, so that they may be kept.
    _keeps: bool = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._keeps = finds_alike(cls, StaticFileHandler)

    def initialize(
        self,
        path: str,
        default_filename: str | None = None,
        allowed_symlink_directory: str | None = None,
    ) -> None:
        self.root = path
        self.default_filename = default_filename
        if allowed_symlink_directory is not None:
            self.allowed_symlink_directory = allowed_symlink_directory

    def head(self, path: str) -> Awaitable[None]:
        return self.get(path, include_body=False)

    def get(self, path: str, include_body: bool = True) -> Awaitable[None]:
        """Serve a file; what comes back is done when it has been sent.

        :param path: the file, as the route's pattern found it in the URL.
        :param include_body: False sends the head alone.
        """
        if self._keeps and self._recall(path):
            if self._content is not None and include_body and _wants_all(self.request):
                self.write(self._content)
                return DONE
            return self._respond(include_body)
        self.path = self.parse_url_path(path)
        absolute_path = self.get_absolute_path(self.root, self.path)
        self.absolute_path = self.validate_absolute_path(self.root, absolute_path)
        if self.absolute_path is None:
            return DONE
        status = self._status_of(self.absolute_path)
        if (
            status is not None
            and status.st_size > HASH_AT_ONCE
            and self._known_version(self.absolute_path, status) is None
        ):
            return self._answer_after_hashing(include_body)
        return self._answer(include_body)

    # --- which file ---

    def parse_url_path(self, url_path: str) -> str:
        """Turn the path in a URL into that of a file: the separators of the system, and no version.

        The reverse of `make_static_url`.
        """
        return url_path.replace("/", os.path.sep) if os.path.sep != "/" else url_path

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        """Return the absolute path of a file; it need not exist, nor be below the root.

        :param root: the directory, usually ``self.root``.
        :param path: the file, relative to it.
        """
        return os.path.abspath(os.path.join(root, path))

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Check that a path may be served, and return the path to serve, or None after answering otherwise.

        :param root: the directory, usually ``self.root``.
        :param absolute_path: what `get_absolute_path` has made.
        :raises HTTPError: 403 for a path outside of the root (by name or by links), a directory, a device;
            404 for one that does not exist.
        """
        root = os.path.abspath(root)
        if "\0" in absolute_path:
            raise HTTPError(404)
        if not is_below(root, absolute_path):
            raise HTTPError(403, "%s is not in root static directory", self.path)
        if _WINDOWS and refused_on_windows(absolute_path[len(root) :]):
            raise HTTPError(403, "%s is not a plain file name", self.path)
        self._refuse_links(root, absolute_path)
        if self.default_filename is not None and os.path.isdir(absolute_path):
            if not self.request.path.endswith("/"):
                self._redirect_to_directory()
                return None
            absolute_path = os.path.join(absolute_path, self.default_filename)
            self._refuse_links(root, absolute_path)
        if self._status_of(absolute_path) is None:
            if not os.path.exists(absolute_path):
                raise HTTPError(404)
            raise HTTPError(403, "%s is not a file", self.path)
        self._found_below = root
        return absolute_path

    def _refuse_links(self, root: str, absolute_path: str) -> None:
        if leads_out(root, absolute_path, self.allowed_symlink_directory):
            raise HTTPError(403, "%s is not in root static directory", self.path)

    def _redirect_to_directory(self) -> None:
        """Add the slash that relative links in the directory's page need."""
        # A path that begins with two slashes, or what browsers take for them, would name another host.
        url = "/" + self.request.path.lstrip("/\\") + "/"
        if self.request.query:
            url += "?" + self.request.query
        self.redirect(url, permanent=True)

    # --- the file ---

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> bytes | Iterable[bytes]:
        """Return the content of a file, or part of it: bytes, or an iterable of them.

        :param abspath: what `validate_absolute_path` has returned.
        :param start: the first byte; None for the beginning.
        :param end: the byte after the last; None for the end.

        Where it is not overridden, the handler reads off the event loop or has the kernel send the file.
        """
        return read_pieces(abspath, start, end)

    def _status_of(self, path: str) -> os.stat_result | None:
        """Return the status of a regular file, looked at once per request; see `regular_file`."""
        if self._status is None or self._status[0] != path:
            self._status = (path, regular_file(path))
        return self._status[1]

    def _stat(self) -> os.stat_result:
        assert self.absolute_path is not None
        return self._status_of(self.absolute_path) or os.stat(self.absolute_path)

    def get_content_size(self) -> int:
        """Return the size of the content in bytes."""
        return self._stat().st_size

    def get_modified_time(self) -> datetime.datetime | None:
        """Return when the content was changed last, as an aware `datetime` without fractions of seconds, or None."""
        return datetime.datetime.fromtimestamp(int(self._stat().st_mtime), datetime.UTC)

    def get_content_type(self) -> str:
        """Return the media type for the Content-Type field, by default guessed from the file's name."""
        assert self.absolute_path is not None
        return content_type_of(self.absolute_path)

    # --- the head of the answer ---

    def compute_etag(self) -> str | None:
        """Return an entity tag made of the version of the content."""
        path = self._sibling or self.absolute_path
        if self._etag is None and path is not None:
            status = self._status[1] if self._status is not None and self._status[0] == path else None
            version = None
            if status is not None and _same(self._get_cached_version, Versions._get_cached_version):
                version = self._known_version(path, status)
            version = version or self._get_cached_version(path)
            self._etag = f'"{version}"' if version else None
        return self._etag

    def set_headers(self) -> None:
        """Set the fields that describe the file and how long it may be kept."""
        self.set_header("Accept-Ranges", "bytes")
        self.set_etag_header()
        if self.modified is not None:
            self.set_header("Last-Modified", self.modified)
        content_type = self.get_content_type()
        if content_type:
            self.set_header("Content-Type", content_type)
        self._note_description()
        self._describe_use(content_type)

    def _describe_use(self, content_type: str) -> None:
        """Set the fields that depend on the request."""
        cache_time = self.get_cache_time(self.path, self.modified, content_type)
        if cache_time > 0:
            expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=cache_time)
            self.set_header("Expires", expires)
            self.set_header("Cache-Control", f"max-age={cache_time}")
        self.set_extra_headers(self.path)

    def set_extra_headers(self, path: str) -> None:
        """Override it to set more fields.

        :param path: what `parse_url_path` has returned.
        """

    def get_cache_time(self, path: str, modified: datetime.datetime | None, mime_type: str) -> int:
        """Return how many seconds caches may keep the file; 0 says nothing about it.

        By default ten years for URLs with a version (``?v=``), since that changes with the file.
        """
        if not self.request.query:
            return 0
        return self.CACHE_MAX_AGE if "v" in self.request.arguments else 0

    def should_return_304(self) -> bool:
        """Say whether the client has the file already (RFC 9110 sections 13.1.2 and 13.1.3)."""
        if _lacks(self.request, "if-"):
            return False
        headers = self.request.headers
        if headers.get("If-None-Match"):
            return self.check_etag_header()
        since = headers.get("If-Modified-Since")
        if since is None or self.modified is None:
            return False
        date = parse_http_date(since)
        return date is not None and date >= _aware(self.modified)

    def _precondition_fails(self) -> bool:
        """Say whether the client wants another state of the file (RFC 9110 sections 13.1.1 and 13.1.4)."""
        if _lacks(self.request, "if-"):
            return False
        headers = self.request.headers
        wanted = headers.get("If-Match")
        if wanted is not None:
            return not match_etag(self._headers.get("Etag"), wanted, weak=False)
        unmodified_since = headers.get("If-Unmodified-Since")
        if unmodified_since is None or self.modified is None:
            return False
        date = parse_http_date(unmodified_since)
        return date is not None and date < _aware(self.modified)

    # --- the answer ---

    async def _answer_after_hashing(self, include_body: bool) -> None:
        """Hash a big file in a thread, so that nobody waits for it but its first client."""
        assert self.absolute_path is not None
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._get_cached_version, self.absolute_path)
        await self._answer(include_body)

    def _answer(self, include_body: bool) -> Awaitable[None]:
        self.modified = self.get_modified_time()
        self._choose_sibling()
        self.set_headers()
        if self._has_siblings:
            self._vary_by_coding()
        return self._respond(include_body)

    def _respond(self, include_body: bool) -> Awaitable[None]:
        """Send what the request wants of the file that has been found and described."""
        if self._precondition_fails():
            self._without_body(412)
            return DONE
        if self.should_return_304():
            self.set_status(304)
            return DONE
        size = self._sibling_size if self._sibling is not None else self.get_content_size()
        try:
            ranges = self._ranges(size)
        except RangeNotSatisfiable:
            self._without_body(416)
            self.set_header("Content-Range", f"bytes */{size}")
            return DONE
        heads, tail = [b""], b""
        if ranges is not None:
            self.set_status(206)
            if len(ranges) == 1:
                self.set_header("Content-Range", content_range(*ranges[0], size))
            else:
                boundary = secrets.token_hex(16)
                content_type = self._headers.get("Content-Type") or "application/octet-stream"
                heads, tail = multipart_pieces(ranges, size, content_type, boundary)
                self.set_header("Content-Type", f"multipart/byteranges; boundary={boundary}")
        return self._send(ranges, heads, tail, size, include_body)

    def _without_body(self, status: int) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain")
        self.clear_header("Content-Encoding")

    def _ranges(self, size: int) -> list[tuple[int, int]] | None:
        if _lacks(self.request, "range"):
            return None
        wanted = self.request.headers.get("Range")
        if wanted is None:
            return None
        if_range = self.request.headers.get("If-Range")
        if not range_applies(if_range, self._headers.get("Etag"), self._headers.get("Last-Modified")):
            return None
        return select_ranges(wanted, size)

    # Compressed siblings.

    def _choose_sibling(self) -> None:
        """Find out whether a compressed sibling of the file is to be sent in its place (RFC 9110 section 12.5.3)."""
        path, root = self.absolute_path, self._found_below
        if root is None or path is None or not self._reads_files():
            return
        if not self.settings.get("static_precompressed", True) or not gains_by_compression(
            self.get_content_type()
        ):
            return
        changed = int(self._stat().st_mtime)
        found: dict[str, tuple[str, int]] = {}
        for offered, extension in _SIBLINGS:
            status = regular_file(path + extension)
            if (
                status is not None
                and int(status.st_mtime) >= changed
                and not leads_out(root, path + extension, self.allowed_symlink_directory)
            ):
                found[offered] = (path + extension, status.st_size)
        if not found:
            return
        self._has_siblings = True
        coding = choose_encoding(self.request.headers.get("Accept-Encoding"), list(found))
        if coding is not None:
            self._coding = coding
            self._sibling, self._sibling_size = found[coding]

    def _vary_by_coding(self) -> None:
        vary = self._headers.get("Vary")
        if vary is None or "accept-encoding" not in vary.lower():
            self.add_header("Vary", "Accept-Encoding")
        if self._coding is not None:
            self.set_header("Content-Encoding", self._coding)

    # The bytes.

    def _reads_files(self) -> bool:
        """Whether the content is that of the file itself, so that it need not come through `get_content`."""
        return _same(self.get_content, StaticFileHandler.get_content)

    def _send(
        self,
        ranges: list[tuple[int, int]] | None,
        heads: list[bytes],
        tail: bytes,
        size: int,
        include_body: bool,
    ) -> Awaitable[None]:
        """Send the parts of the file, each after its head, then the tail."""
        assert self.absolute_path is not None
        parts = ranges or [(0, size)]
        total = sum(end - start for start, end in parts) + sum(map(len, heads)) + len(tail)
        if not include_body:
            if self.request.method == "HEAD":
                self.set_header("Content-Length", total)
            return DONE
        if not self._reads_files():
            bounds = ranges if ranges is not None else [(None, None)]
            contents = [self.get_content(self.absolute_path, start, end) for start, end in bounds]
            return self._send_contents(contents, heads, tail, total)
        path = self._sibling or self.absolute_path
        if total > PIECE:
            return self._stream(path, parts, heads, tail, total)
        for head, (start, end) in zip(heads, parts, strict=True):
            if head:
                self.write(head)
            data = self._read(path, start, end - start)
            self.write(data)
            if ranges is None and self._content is None:
                self._keep(data)
        if tail:
            self.write(tail)
        return DONE

    def _read(self, path: str, start: int, count: int) -> bytes:
        if self._content is not None:
            return self._content[start : start + count]
        try:
            data = read_slice(path, start, count)
        except PermissionError:
            raise HTTPError(403, "%s may not be read", self.path) from None
        if len(data) < count:
            raise OSError(f"{path} became shorter while it was served")
        return data

    async def _stream(
        self, path: str, parts: list[tuple[int, int]], heads: list[bytes], tail: bytes, total: int
    ) -> None:
        """Send what is too big for one write."""
        self.set_header("Content-Length", total)
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by the block below
        except PermissionError:
            raise HTTPError(403, "%s may not be read", self.path) from None
        with file:
            try:
                await self.flush()
                for head, (start, end) in zip(heads, parts, strict=True):
                    if head:
                        self.write(head)
                        await self.flush()
                    await self._send_part(file, start, end)
                if tail:
                    self.write(tail)
            except StreamClosedError:
                pass  # the client has gone: nobody is left to tell

    async def _send_part(self, file: BinaryIO, start: int, end: int) -> None:
        """Send part of a file: by the kernel where the bytes leave as they are, otherwise read in a thread."""
        connection = self.request.connection
        if isinstance(connection, Exchange) and not any(map(_changes_body, self._transforms or ())):
            await connection.sendfile(file, start, end - start)
            return
        loop = asyncio.get_running_loop()
        while start < end:
            piece = await loop.run_in_executor(None, self._read, file.name, start, min(PIECE, end - start))
            start += len(piece)
            self.write(piece)
            await self.flush()

    def _send_contents(
        self, contents: "list[bytes | Iterable[bytes]]", heads: list[bytes], tail: bytes, total: int
    ) -> Awaitable[None]:
        """Send what an overridden `get_content` gives."""
        if not all(isinstance(content, bytes) for content in contents):
            return self._stream_contents(contents, heads, tail, total)
        for head, content in zip(heads, contents, strict=True):
            self.write(head)
            self.write(content)  # type: ignore[arg-type]
        self.write(tail)
        return DONE

    async def _stream_contents(
        self, contents: "list[bytes | Iterable[bytes]]", heads: list[bytes], tail: bytes, total: int
    ) -> None:
        self.set_header("Content-Length", total)
        try:
            for head, content in zip(heads, contents, strict=True):
                self.write(head)
                for piece in [content] if isinstance(content, bytes) else content:
                    self.write(piece)
                    await self.flush()
            self.write(tail)
        except StreamClosedError:
            return  # the client has gone: nobody is left to tell


def _lacks(request: HTTPServerRequest, name: str) -> bool:
    """Say whether no field of a request is named so (lower case; part of a name will do), if that is quick to tell."""
    head = request._head
    return head is not None and name not in head.fields.lower()


def _wants_all(request: HTTPServerRequest) -> bool:
    """Say whether a request has neither conditions nor ranges, if that is quick to tell."""
    head = request._head
    if head is None:
        return False
    fields = head.fields.lower()
    return "if-" not in fields and "range" not in fields


def _same(method: Any, other: Any) -> bool:
    """Say whether two bound class methods are one, that is whether a subclass has not overridden it."""
    return method.__func__ is other.__func__


def _aware(moment: datetime.datetime) -> datetime.datetime:
    """Take a time without a zone, as older programs return it, for UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


def _changes_body(transform: OutputTransform) -> bool:
    """Whether a transform of an answer whose head is out changes its body; of one we do not know that is assumed."""
    return (
        transform.active
        if isinstance(transform, GZipContentEncoding)
        else type(transform) is not OutputTransform
    )
