"""Who is at the other end: address and scheme of a connection, and the proxies trusted to say otherwise."""

from typing import Any

from webfw.httputil import HTTPHeaders
from webfw.netutil import is_valid_ip

__all__ = ["RequestContext", "behind_proxy", "context_of"]


class RequestContext:
    """What is known of the client, as ``request.connection.context``.

    ``remote_ip`` and ``protocol`` are what requests show; ``_orig_remote_ip`` and ``_orig_protocol`` stay the facts of
    the connection itself, whatever a proxy said.  ``memo`` is for whoever answers: what it has worked out for one
    request and may be of use for the next; it goes with the connection.
    """

    __slots__ = (
        "_orig_protocol",
        "_orig_remote_ip",
        "address",
        "memo",
        "protocol",
        "remote_ip",
        "trusted_downstream",
    )

    def __init__(
        self, address: Any, remote_ip: str, protocol: str, trusted_downstream: frozenset[str]
    ) -> None:
        self.address = address
        self.memo: Any = None
        self.remote_ip = self._orig_remote_ip = remote_ip
        self.protocol = self._orig_protocol = protocol
        self.trusted_downstream = trusted_downstream

    def __str__(self) -> str:
        return self.remote_ip


def context_of(
    address: Any, tls: bool, protocol: str | None, trusted_downstream: frozenset[str]
) -> RequestContext:
    """The context of a connection.

    :param address: what the socket calls the peer: a tuple for TCP, anything else for a unix socket, whose clients
        have no address (their ``remote_ip`` is ``0.0.0.0``).
    :param protocol: the scheme to report, where the server was told one; else it follows from ``tls``.
    """
    remote_ip = address[0] if isinstance(address, tuple) and address else "0.0.0.0"
    return RequestContext(address, remote_ip, protocol or ("https" if tls else "http"), trusted_downstream)


def behind_proxy(context: RequestContext, headers: HTTPHeaders) -> RequestContext:
    """The context of one request that came through a proxy, by its headers (``xheaders=True``).

    ``X-Forwarded-For`` is read from the right: the first address that is not in ``trusted_downstream`` is the client.
    ``X-Real-Ip`` wins over it.  ``X-Scheme`` and ``X-Forwarded-Proto`` give the scheme, the last of a list.  What is
    no address or no scheme is ignored.
    """
    remote_ip = context.remote_ip
    hop = ""
    for hop in reversed(headers.get("X-Forwarded-For", remote_ip).split(",")):
        hop = hop.strip()
        if hop not in context.trusted_downstream:
            break
    hop = headers.get("X-Real-Ip", hop)
    if is_valid_ip(hop):
        remote_ip = hop
    protocol = headers.get("X-Scheme", headers.get("X-Forwarded-Proto", context.protocol))
    protocol = protocol.rpartition(",")[2].strip()
    seen = RequestContext(context.address, remote_ip, context.protocol, context.trusted_downstream)
    seen._orig_remote_ip = context._orig_remote_ip
    seen._orig_protocol = context._orig_protocol
    if protocol in ("http", "https"):
        seen.protocol = protocol
    return seen
