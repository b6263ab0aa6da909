"""Where a redirect leads, and what is sent there (RFC 9110 section 15.4); nothing is sent from here."""

from urllib.parse import urljoin, urlsplit

from webfw.httpclient.origin import Place, shown
from webfw.httpclient.outgoing import Outgoing
from webfw.httputil import HTTPHeaders

__all__ = ["REDIRECTS", "CannotFollowError", "follow", "for_another_server"]

#: The statuses that send a client elsewhere.
REDIRECTS = frozenset({301, 302, 303, 307, 308})

# What was said to one server and is not for another.
_PRIVATE = ("Authorization", "Cookie", "Host", "Proxy-Authorization")
# What was said of a body that is not sent again.
_OF_THE_BODY = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Type",
    "Digest",
    "Expect",
    "Last-Modified",
    "Transfer-Encoding",
)


class CannotFollowError(Exception):
    """A redirect that cannot be followed; says why."""


def follow(sent: Outgoing, status: int, location: str) -> Outgoing:
    """The message that a redirect asks for.

    A POST becomes a GET after 301 and 302, and everything but HEAD does after 303; 307 and 308 keep what there is.

    :param sent: the message it answers.
    :param status: one of `REDIRECTS`.
    :param location: the value of Location.
    :raises CannotFollowError: it leads out of HTTP, its body is gone, or would leave TLS.
    """
    try:
        # Latin-1, as all fields are, stands for bytes, and those most likely for UTF-8 (RFC 3987).
        text = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        text = location
    try:
        url = _join(sent, text)
        place = Place.of(url)
    except ValueError as error:
        raise CannotFollowError(f"redirected to {shown(text)}: {error}") from None
    if place.unix_path is not None and place.unix_path != sent.place.unix_path:
        # No server says to a client which of its machine's own servers it is to ask.
        raise CannotFollowError(f"redirected from {sent.place.name} to the Unix domain socket {place.name}")
    method, body, producer, headers = sent.method, sent.body, sent.producer, sent.headers
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body, producer = "GET", None, None
        headers = headers.copy()
        for name in _OF_THE_BODY:
            headers.pop(name, None)
    if producer is not None:
        raise CannotFollowError(
            f"redirected to {shown(url)}, but its body_producer cannot send the body again"
        )
    if body is not None and sent.place.secure and not place.secure:
        raise CannotFollowError(f"redirected to {shown(url)}, where the body would be sent without TLS")
    credentials = place.userinfo or sent.credentials
    if not place.same_origin(sent.place):
        credentials = place.userinfo
        headers = for_another_server(headers)
    elif place.userinfo is not None and sent.credentials is not None:
        credentials = sent.credentials
    return Outgoing(url, place, method, headers, body, producer, credentials)


def _join(sent: Outgoing, location: str) -> str:
    """An address relative to that of a message (RFC 3986 section 5)."""
    if sent.place.unix_path is None:
        return urljoin(sent.url, location)
    # urljoin() knows nothing of such a scheme, and the server nothing of its name: it was told "localhost".
    _, colon, rest = sent.url.partition(":")
    joined = urlsplit(urljoin(f"http{colon}{rest}", location))
    netloc = urlsplit(sent.url).netloc
    if joined.scheme == "http" and joined.netloc in (netloc, sent.place.authority):
        joined = joined._replace(scheme="http+unix", netloc=netloc)
    return joined.geturl()


def for_another_server(headers: HTTPHeaders) -> HTTPHeaders:
    """A copy of the fields of a request, without what was for one server."""
    headers = headers.copy()
    for name in _PRIVATE:
        headers.pop(name, None)
    return headers
