"""Handlers for ``webfw static``: files, and pages that list directories; which addresses they serve may not enter."""

import asyncio
import os
import stat
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from webfw.cli.tables import printable
from webfw.template import Template
from webfw.web import HTTPError, RequestHandler, StaticFileHandler
from webfw.web.static.files import is_below, leads_out

__all__ = ["DirectoryHandler", "Entry", "entries_of"]

#: The one hidden name that is served: RFC 8615.
WELL_KNOWN = ".well-known"

_COLUMNS = {"name": "Name", "size": "Size", "modified": "Last changed"}


class Entry(NamedTuple):
    """One line of a listing.

    :ivar name: as the system has it; what is not UTF-8 in it is a surrogate.
    :ivar size: in bytes; None for a directory.
    :ivar modified: seconds since the epoch.
    """

    name: str
    size: int | None
    modified: float

    @property
    def href(self) -> str:
        """The URL, relative to the directory's."""
        # With ./ a name with a colon is not taken for a scheme (RFC 3986 section 4.2).
        return "./" + quote(os.fsencode(self.name)) + ("/" if self.size is None else "")

    @property
    def label(self) -> str:
        """The name for people."""
        return printable(self.name) + ("/" if self.size is None else "")

    @property
    def size_text(self) -> str:
        """The size for people."""
        if self.size is None:
            return ""
        if self.size < 1024:
            return f"{self.size} B"
        number, units = self.size / 1024, iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
        unit = next(units)
        while number >= 999.95:
            number, unit = number / 1024, next(units)
        return f"{number:.1f} {unit}"

    @property
    def time(self) -> str:
        """The time as ISO 8601, in UTC."""
        return _moment(self.modified).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def time_text(self) -> str:
        """The time for people, in UTC."""
        return _moment(self.modified).strftime("%Y-%m-%d %H:%M")


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # file systems can hold times that no calendar has
        return datetime.fromtimestamp(0, UTC)


def is_hidden(name: str) -> bool:
    """Whether a name is not to be shown or served."""
    return name.startswith(".") and name != WELL_KNOWN


def entries_of(root: str, directory: str) -> list[Entry]:
    """What a directory has to offer: files and directories that are neither hidden nor lead out of the root by links.

    :param root: absolute and normalised, as is the directory, which is in it.
    :raises OSError: the directory cannot be read.
    """
    found = []
    with os.scandir(directory) as items:
        for item in items:
            if is_hidden(item.name):
                continue
            try:
                status = item.stat()
                if item.is_symlink() and leads_out(root, os.path.join(directory, item.name)):
                    continue
            except OSError:
                continue  # a link to nothing, or gone by now
            if stat.S_ISDIR(status.st_mode):
                found.append(Entry(item.name, None, status.st_mtime))
            elif stat.S_ISREG(status.st_mode):
                found.append(Entry(item.name, status.st_size, status.st_mtime))
    return found


def _sorted(entries: list[Entry], column: str, descending: bool) -> list[Entry]:
    """Directories before files; by name where the rest is equal."""
    entries.sort(key=lambda entry: (entry.name.casefold(), entry.name))
    if column == "size":
        entries.sort(key=lambda entry: entry.size or 0, reverse=descending)
    elif column == "modified":
        entries.sort(key=lambda entry: entry.modified, reverse=descending)
    elif descending:
        entries.reverse()
    entries.sort(key=lambda entry: entry.size is not None)
    return entries


class DirectoryHandler(StaticFileHandler):
    """Serves the files of a directory and pages that list it, for people.

    :param path: the directory.
    :param spa: whether paths that do not exist get the ``index.html`` of the root, for applications that run in the
        browser and make their own paths.

    A directory with an ``index.html`` is answered with that.  Names that begin with a dot are hidden, but for
    ``.well-known`` (RFC 8615).  Browsers keep files, but ask each time whether they have changed.
    """

    def initialize(self, path: str, spa: bool = False) -> None:  # type: ignore[override]  # fewer than the others
        super().initialize(path, "index.html")
        self._spa = spa

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Take names as the system does, which need not be UTF-8."""
        return os.fsdecode(value)

    def get(self, path: str, include_body: bool = True) -> Awaitable[None]:
        if any(map(is_hidden, path.replace(os.sep, "/").split("/"))):
            raise HTTPError(404)
        root = os.path.abspath(self.root)
        absolute = self.get_absolute_path(root, self.parse_url_path(path))
        safe = "\0" not in path and is_below(root, absolute) and not leads_out(root, absolute)
        if safe and os.path.isdir(absolute) and not os.path.exists(os.path.join(absolute, "index.html")):
            if self.request.path.endswith("/"):
                return self._list(root, absolute)
        elif safe and self._spa and not os.path.exists(absolute) and self._is_navigation():
            path = "index.html"
        return super().get(path, include_body)

    def _is_navigation(self) -> bool:
        """Whether a browser wants a page: scripts and pictures that are missing are better 404."""
        return "text/html" in self.request.headers.get("Accept", "")

    def compute_etag(self) -> str | None:
        """A list's is made of what it says, a file's of the file."""
        return super().compute_etag() if self.absolute_path else RequestHandler.compute_etag(self)

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-cache")

    def get_cache_time(self, path: str, modified: datetime | None, mime_type: str) -> int:
        """Say nothing: a version in the URL (``?v=``) is none of ours here."""
        return 0

    async def _list(self, root: str, directory: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            entries = await loop.run_in_executor(None, entries_of, root, directory)
        except PermissionError:
            raise HTTPError(403, "%s may not be read", directory) from None
        except OSError:
            raise HTTPError(404) from None
        wanted = self.get_query_argument("sort", "name")
        column = wanted.removeprefix("-")
        descending = wanted.startswith("-") and column in _COLUMNS
        column = column if column in _COLUMNS else "name"
        # Nothing is loaded, nothing is run, whatever the names are.
        self.set_header(
            "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        )
        self.write(
            _PAGE.generate(
                crumbs=self._crumbs(),
                entries=_sorted(entries, column, descending),
                columns=[_heading(name, column, descending) for name in _COLUMNS],
            )
        )

    def _crumbs(self) -> list[tuple[str, str]]:
        """The directories on the way here, the root first: what each is called, and its URL."""
        crumbs = [("Home", "/")]
        for part in self.request.path.strip("/").split("/"):
            if part:
                name = os.fsdecode(unquote_to_bytes(part))
                crumbs.append((printable(name), f"{crumbs[-1][1]}{part}/"))
        return crumbs


def _heading(name: str, column: str, descending: bool) -> dict[str, Any]:
    turned = name == column and not descending
    order = ("descending" if descending else "ascending") if name == column else None
    return {
        "id": name,
        "label": _COLUMNS[name],
        "sort": f"?sort={'-' if turned else ''}{name}",
        "order": order,
    }


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<title>{{ crumbs[-1][0] }} - directory</title><link rel="icon" href="data:,"><style>
:root { --text: #1c2128; --soft: #57606a; --back: #fff; --line: #d8dee4; --link: #0b57d0; --row: #f4f6f8 }
@media (prefers-color-scheme: dark) { :root { --text: #dbe1e8; --soft: #97a3af; --back: #14181d; --line: #2c343d;
  --link: #8ab4f8; --row: #1c2229 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 60rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif }
a { color: var(--link); text-decoration: none }
a:hover, a:focus-visible { text-decoration: underline }
nav ol { list-style: none; margin: 0 0 1.25rem; padding: 0; display: flex; flex-wrap: wrap }
nav li { font-size: 1.25rem; overflow-wrap: anywhere }
nav li + li::before { content: "/"; color: var(--soft); margin: 0 .4rem }
nav h1 { display: inline; font-size: inherit; margin: 0 }
table { width: 100%; border-collapse: collapse }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .5rem }
th { text-align: left; font-weight: 600; border-bottom: 1px solid var(--line); white-space: nowrap }
th a { color: inherit }
th, td { padding: .35rem .75rem }
th:first-child, td:first-child { overflow-wrap: anywhere }
tbody tr:nth-child(even) { background: var(--row) }
tbody tr:hover { background: var(--line) }
.size, .modified { white-space: nowrap; color: var(--soft); font-variant-numeric: tabular-nums }
.size { text-align: right }
.directory { font-weight: 600 }
@media (max-width: 32rem) { .modified { display: none } }
</style></head><body>
<nav aria-label="Where you are"><ol>
{% for label, url in crumbs[:-1] %}<li><a href="{{ url }}"><bdi>{{ label }}</bdi></a></li>
{% end %}<li aria-current="page"><h1><bdi>{{ crumbs[-1][0] }}</bdi></h1></li>
</ol></nav>
<main>
<table>
<caption>{{ len(entries) }} {{ "entry" if len(entries) == 1 else "entries" }}, times in UTC</caption>
<thead><tr>
{% for column in columns %}<th scope="col" class="{{ column["id"] }}"{% if column["order"] %} \
aria-sort="{{ column["order"] }}"{% end %}><a href="{{ column["sort"] }}">{{ column["label"] }}</a>\
{% if column["order"] %}<span aria-hidden="true"> {{ "▴" if column["order"] == "ascending" else "▾" }}</span>{% end %}\
</th>
{% end %}</tr></thead>
<tbody>
{% if len(crumbs) > 1 %}<tr><td class="directory"><a href="../" rel="up">../ (parent directory)</a></td>\
<td class="size"></td><td class="modified"></td></tr>
{% end %}{% for entry in entries %}<tr><td{% if entry.size is None %} class="directory"{% end %}>\
<a href="{{ entry.href }}"><bdi>{{ entry.label }}</bdi></a></td>\
<td class="size"{% if entry.size is not None %} title="{{ "{:,}".format(entry.size) }} bytes"{% end %}>\
{{ entry.size_text }}</td>\
<td class="modified"><time datetime="{{ entry.time }}">{{ entry.time_text }}</time></td></tr>
{% end %}</tbody>
</table>
</main>
</body></html>
""")
