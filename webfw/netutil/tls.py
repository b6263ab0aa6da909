"""TLS settings: Tornado's dictionaries to `ssl.SSLContext`; no connection is made here."""

import socket as _socket
import ssl
from collections.abc import Mapping
from typing import Any

__all__ = ["ssl_options_to_context", "ssl_wrap_socket"]

#: The keys of an ``ssl_options`` dictionary.
_KEYS = frozenset({"ssl_version", "certfile", "keyfile", "cert_reqs", "ca_certs", "ciphers"})

# ``ssl_version`` values that name one version; those that mean "the best both know" need no entry.
_ONE_VERSION = {
    getattr(ssl, name): version
    for name, version in (
        ("PROTOCOL_TLSv1", ssl.TLSVersion.TLSv1),
        ("PROTOCOL_TLSv1_1", ssl.TLSVersion.TLSv1_1),
        ("PROTOCOL_TLSv1_2", ssl.TLSVersion.TLSv1_2),
    )
    if hasattr(ssl, name)
}


def ssl_options_to_context(
    ssl_options: Mapping[str, Any] | ssl.SSLContext, server_side: bool | None = None
) -> ssl.SSLContext:
    """Return an `ssl.SSLContext` for the options; a context is returned as it is.

    :param ssl_options: a context, or a dictionary of the arguments the old ``ssl.wrap_socket`` took:
        ``certfile``, ``keyfile``, ``cert_reqs``, ``ca_certs``, ``ciphers``, ``ssl_version``.
    :param server_side: for which side it is; None takes a ``certfile`` as the sign of a server.
    :raises ValueError: an unknown key, or a version below TLS 1.2 (RFC 8996).
    :raises OSError: a file cannot be read; `ssl.SSLError` if it holds no certificate or key.

    A client verifies the server (against the system's authorities unless ``ca_certs`` is given) and its name
    unless ``cert_reqs`` is ``ssl.CERT_NONE``.
    """
    if isinstance(ssl_options, ssl.SSLContext):
        return ssl_options
    unknown = sorted(set(ssl_options) - _KEYS)
    if unknown:
        raise ValueError(f"unknown ssl_options: {', '.join(unknown)} (known: {', '.join(sorted(_KEYS))})")
    certfile = ssl_options.get("certfile")
    if server_side is None:
        server_side = certfile is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    only = _ONE_VERSION.get(ssl_options.get("ssl_version"))
    if only is not None and only < ssl.TLSVersion.TLSv1_2:
        raise ValueError(f"ssl_version {only.name} is not supported: TLS 1.2 is the lowest version")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if only is not None:
        context.maximum_version = only
    # Compression would leak secrets (CRIME).
    context.options |= ssl.OP_NO_COMPRESSION
    if certfile is not None:
        context.load_cert_chain(certfile, ssl_options.get("keyfile"))
    cert_reqs = ssl_options.get("cert_reqs")
    if cert_reqs is not None:
        if cert_reqs == ssl.CERT_NONE:
            context.check_hostname = False
        context.verify_mode = cert_reqs
    if ssl_options.get("ca_certs") is not None:
        context.load_verify_locations(ssl_options["ca_certs"])
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH)
    if ssl_options.get("ciphers") is not None:
        context.set_ciphers(ssl_options["ciphers"])
    return context


def ssl_wrap_socket(
    socket: _socket.socket,
    ssl_options: Mapping[str, Any] | ssl.SSLContext,
    server_hostname: str | None = None,
    server_side: bool | None = None,
    **kwargs: Any,
) -> ssl.SSLSocket:
    """Return an `ssl.SSLSocket` around a socket.

    :param ssl_options: see `ssl_options_to_context`.
    :param server_hostname: the name a client asks for (RFC 6066) and verifies.
    :param server_side: True for the accepting side; None means False.
    :param kwargs: for ``SSLContext.wrap_socket``, such as ``do_handshake_on_connect``.
    """
    context = ssl_options_to_context(ssl_options, server_side=bool(server_side))
    return context.wrap_socket(
        socket, server_hostname=server_hostname, server_side=bool(server_side), **kwargs
    )
