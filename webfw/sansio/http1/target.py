"""The forms of a request target (RFC 9112 section 3.2); no field may be looked at here."""

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.framing import excerpt
from webfw.sansio.http1.grammar import ABSOLUTE_FORM, is_host

__all__ = ["authority_of", "origin_form"]


def authority_of(method: str, target: str) -> str:
    """The host and port that the request target itself names, "" for origin-form and asterisk-form.

    :param target: visible ASCII without "#".
    :raises RemoteProtocolError: 400 when the target has none of the four forms, or one the method does not
        go with.
    """
    if method == "CONNECT":
        # Section 3.2.3: authority-form = uri-host ":" port; RFC 9110 section 9.3.6: an empty or invalid port
        # MUST be refused.
        _, colon, port = target.rpartition(":")
        if not (colon and port.isdigit() and port.strip("0") and is_host(target)):
            raise RemoteProtocolError(f"CONNECT needs host:port, not {excerpt(target)}")
        return target
    if target[0] == "/":
        return ""
    if target == "*":
        if method != "OPTIONS":
            raise RemoteProtocolError('request target "*" is for OPTIONS only')
        return ""
    match = ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise RemoteProtocolError(f"malformed request target: {excerpt(target)}")
    authority: str = match[1]
    # RFC 9110 section 4.2.1: an http URI with an empty host is invalid; section 4.2.4: user information is
    # an error.
    if not is_host(authority):
        raise RemoteProtocolError(f"malformed host in request target: {excerpt(authority)}")
    return authority


def origin_form(target: str) -> str:
    """The path and query of an accepted request target in absolute-form; any other target as it is.

    ``http://example.com?x`` is ``/?x`` (RFC 9112 section 3.2.1); ``/a``, ``*`` and ``host:port`` stay.
    """
    match = ABSOLUTE_FORM.fullmatch(target) if target[:1] not in "/*" else None
    if match is None:
        return target
    path: str = match[2]
    return path if path.startswith("/") else "/" + path
