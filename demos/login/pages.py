"""What the pages of the site and of the provider share."""

import re
from typing import Any
from urllib.parse import urlsplit

from webfw import web

#: Hosts that are this machine.  The site asks its provider at the host that the browser has asked for; with any other
#: one, whoever sends a request could choose who is told the site's secret.
HERE = ("127.0.0.1", "localhost", "::1")


class PageHandler(web.RequestHandler):
    """Safe headers, an error page that looks like the rest, and the address the demo is at."""

    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
        self.set_header("X-Content-Type-Options", "nosniff")
        # What the provider sends a browser back with is nobody else's business.
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.show_error(status_code, self._reason)

    def show_error(self, status: int, text: str) -> None:
        self.set_status(status)
        self.render("error.html", status=status, text=text)

    @property
    def origin(self) -> str:
        """The address of the demo, as the browser knows it."""
        origin = f"{self.request.protocol}://{self.request.host}"
        try:
            host = urlsplit(origin).hostname
        except ValueError:
            host = None
        if host not in HERE:
            raise web.HTTPError(400, "the demo is for this machine only", reason="Only for this machine")
        return origin


def local_path(path: str) -> str:
    """A path of this site to go to; anything that would lead elsewhere becomes the first page."""
    return path if re.fullmatch(r"/(?![/\\])[!-\[\]-~]{0,1000}", path) else "/"
