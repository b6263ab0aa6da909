"""Answering again with what was served lately, as long as the file is the same; how it is found may not enter."""

import datetime
import os
from typing import TYPE_CHECKING, Any

from webfw.web.state import HandlerState
from webfw.web.static.recent import Recent, Served

__all__ = ["Keeping", "finds_alike"]

# What finds and describes a file, or tells that the client has it: a class that does so in its own way keeps nothing.
_FINDING = (
    "parse_url_path",
    "get_absolute_path",
    "validate_absolute_path",
    "get_content",
    "get_content_size",
    "get_content_type",
    "get_content_version",
    "get_modified_time",
    "compute_etag",
    "set_etag_header",
    "set_headers",
    "should_return_304",
    "_get_cached_version",
)

_DESCRIBING = ("Accept-Ranges", "Etag", "Last-Modified", "Content-Type")


def finds_alike(cls: type, other: type) -> bool:
    """Say whether a class finds and describes files by the very methods of another one."""
    return all(_method(cls, name) is _method(other, name) for name in _FINDING)


def _method(cls: type, name: str) -> Any:
    method = getattr(cls, name)
    return getattr(method, "__func__", method)


class Keeping(HandlerState):
    """The part of `StaticFileHandler` that keeps small files for a few seconds."""

    # What the file was asked for with, where it may be kept; what the head says of it, whatever the request; and its
    # content, where that is kept.
    _key: tuple[Any, ...] | None = None
    _described: dict[str, str] | None = None
    _content: bytes | None = None

    if TYPE_CHECKING:
        allowed_symlink_directory: str | None
        default_filename: str | None
        root: str
        path: str
        absolute_path: str | None
        modified: datetime.datetime | None
        _recent: Recent
        _status: tuple[str, os.stat_result | None] | None
        _has_siblings: bool
        _etag: str | None

        def parse_url_path(self, url_path: str) -> str: ...
        def _describe_use(self, content_type: str) -> None: ...

    def _recall(self, path: str) -> bool:
        """Serve a file as it was served lately, if it still is the same; whether it is."""
        settings = self.application.settings
        if type(self.root) is not str or not settings.get("static_hash_cache", True):
            return False
        self._key = key = (
            type(self),
            self.root,
            path,
            self.default_filename is not None and (self.default_filename, self.request.path[-1:]),
            self.allowed_symlink_directory,
            settings.get("static_precompressed", True),
        )
        found = self._recent.find(key)
        if found is None:
            return False
        served, status = found
        self.path = self.parse_url_path(path)
        self.absolute_path, self.modified = served.path, served.modified
        self._status = served.path, status
        self._content = served.content
        fields = served.fields
        self._etag = fields.get("Etag")
        headers = self._headers
        for name, value in fields.items():
            headers[name] = value
        self._describe_use(fields["Content-Type"])
        return True

    def _note_description(self) -> None:
        """Note what the head says of the file, before anything is added that depends on the request."""
        if self._key is not None:
            headers = self._headers
            self._described = {name: headers[name] for name in _DESCRIBING if name in headers}

    def _keep(self, content: bytes) -> None:
        """Keep the file for the next request."""
        path, known, fields = self.absolute_path, self._status, self._described
        if path is None or known is None or fields is None or self._has_siblings:
            return
        if known[0] == path and known[1] is not None:
            self._recent.keep(self._key, Served(path, fields, self.modified, content), known[1])
