"""Files below a root: which paths lead out of it, what type a file has, how it is read; no request may enter."""

import mimetypes
import ntpath
import os
import stat
from collections.abc import Iterator

__all__ = [
    "PIECE",
    "content_type_of",
    "is_below",
    "leads_out",
    "read_pieces",
    "read_slice",
    "refused_on_windows",
    "regular_file",
]

#: Bytes of a file read at once.
PIECE = 64 * 1024

# Types that systems leave out of their tables.
_TYPES = {
    ".avif": "image/avif",
    ".br": "application/octet-stream",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


def content_type_of(path: str) -> str:
    """Guess the media type of a file from its name.

    The tables of `mimetypes` come first, so that ``mimetypes.add_type`` counts.  A compressed file
    (``x.tar.gz``) has the type of its compression, since it is to be saved as it is.
    """
    if not mimetypes.inited:
        mimetypes.init()
    extension = os.path.splitext(path)[1].lower()
    plain = extension not in mimetypes.encodings_map and extension not in mimetypes.suffix_map
    mime_type = mimetypes.types_map.get(extension) if plain else None
    if mime_type is not None:
        return mime_type
    mime_type, encoding = mimetypes.guess_type("x" + extension) if plain else mimetypes.guess_type(path)
    if encoding == "gzip":
        return "application/gzip"
    if encoding is not None:
        return "application/octet-stream"
    return mime_type or _TYPES.get(extension) or "application/octet-stream"


# --- staying below the root ---


def is_below(root: str, path: str) -> bool:
    """Say whether a path is a directory itself or something in it, going by the names alone.

    Both must be absolute and normalised, as `os.path.abspath` makes them.
    """
    return path == root or path.startswith(root if root.endswith(os.sep) else root + os.sep)


def leads_out(root: str, path: str, allowed: str | None = None) -> bool:
    """Say whether symbolic links take a path out of its root.

    :param root: the directory, absolute and normalised; it may itself be reached through links.
    :param path: something below it by name.
    :param allowed: another directory that links may lead to.
    """
    if os.name != "nt" and not _has_link(root, path):  # Windows has more kinds of links than one can ask for
        return False
    target = os.path.realpath(path)
    if is_below(os.path.realpath(root), target):
        return False
    return allowed is None or not is_below(os.path.realpath(allowed), target)


def _has_link(root: str, path: str) -> bool:
    """Say whether a part of a path below its root is a symbolic link; a tenth of the cost of `os.path.realpath`."""
    end = len(root.rstrip(os.sep))
    while end < len(path):
        end = path.find(os.sep, end + 1)
        if end < 0:
            end = len(path)
        try:
            if stat.S_ISLNK(os.lstat(path[:end]).st_mode):
                return True
        except OSError:
            return False  # what is not there leads nowhere
    return False


# Device names, which Windows finds in every directory and with every extension.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"]
)


def refused_on_windows(path: str) -> bool:
    """Say whether a relative path means something else on Windows than a file of that name.

    Such are drives and alternate data streams (a colon), UNC paths, devices, and names whose final dots and
    spaces Windows drops, by which one file gets several names.
    """
    if ":" in path or ntpath.splitdrive(path)[0]:
        return True
    for part in path.replace("\\", "/").split("/"):
        if part in ("", ".", ".."):
            continue
        if part[-1] in ". " or part.partition(".")[0].rstrip(" ").lower() in _DEVICES:
            return True
    return False


# --- reading ---


def regular_file(path: str) -> os.stat_result | None:
    """Return the status of a regular file, links followed; None for anything else and for what is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null character
        return None
    return status if stat.S_ISREG(status.st_mode) else None


_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)


def read_slice(path: str, start: int, count: int) -> bytes:
    """Read part of a file at once.

    :return: ``count`` bytes from ``start``, fewer where the file ends before.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        data = os.read(descriptor, count)
        while len(data) < count:
            more = os.read(descriptor, count - len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(descriptor)


def read_pieces(path: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:
    """Read part of a file, piece by piece.

    :param start: the first byte; None for the beginning.
    :param end: the byte after the last; None for the end of the file.
    """
    with open(path, "rb", buffering=0) as file:
        if start:
            file.seek(start)
        left = None if end is None else end - (start or 0)
        while left is None or left > 0:
            piece = file.read(PIECE if left is None else min(PIECE, left))
            if not piece:
                return
            if left is not None:
                left -= len(piece)
            yield piece
