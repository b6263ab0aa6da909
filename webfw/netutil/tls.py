"""TLS settings (Tornado's dictionaries to `ssl.SSLContext`) and names in certificates; no connection is made here."""

import os
import socket as _socket
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

__all__ = ["client_context", "distinguished_name", "ssl_options_to_context", "ssl_wrap_socket"]

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

#: The names that distinguished names have for their attributes (RFC 4514 section 3, and mod_ssl's).
_ATTRIBUTES = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
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

    A client verifies the server and its name, against the system's authorities and certifi's, where that is
    installed, or those of ``ca_certs``, unless ``cert_reqs`` is ``ssl.CERT_NONE``.
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
        _trust_the_usual(context, server_side)
    if ssl_options.get("ciphers") is not None:
        context.set_ciphers(ssl_options["ciphers"])
    return context


def _trust_the_usual(context: ssl.SSLContext, server_side: bool) -> None:
    """Load the system's authorities, and certifi's as well where that is installed.

    Many a system has none that OpenSSL finds.  Who names authorities in the environment, by the variables OpenSSL has
    for that, means only those.
    """
    context.load_default_certs(ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH)
    paths = ssl.get_default_verify_paths()
    if server_side or paths.openssl_cafile_env in os.environ or paths.openssl_capath_env in os.environ:
        return
    try:
        import certifi
    except ImportError:
        return
    context.load_verify_locations(certifi.where())


def client_context(
    validate_cert: bool = True,
    ca_certs: str | None = None,
    client_cert: str | None = None,
    client_key: str | None = None,
) -> ssl.SSLContext:
    """Return a context for a client.

    :param validate_cert: whether the certificate of the server and its name are checked.
    :param ca_certs: name of a file of the authorities to trust, in PEM form; the usual ones by default.
    :param client_cert: name of the file of the client's own certificate.
    :param client_key: name of the file of its key, unless that is in `client_cert`.
    :raises OSError: a file cannot be read; `ssl.SSLError` if it does not hold what it should.

    The context without files is shared by all who ask for it: do not change it.  The others are new, since what
    is in a file may be new too.
    """
    if ca_certs is None and client_cert is None:
        return _shared_context(bool(validate_cert))
    options: dict[str, Any] = {} if validate_cert else {"cert_reqs": ssl.CERT_NONE}
    options |= {"ca_certs": ca_certs, "certfile": client_cert, "keyfile": client_key}
    return ssl_options_to_context(options, server_side=False)


@cache  # the usual authorities are many, and take longer to read than the handshake
def _shared_context(validate_cert: bool) -> ssl.SSLContext:
    return ssl_options_to_context({} if validate_cert else {"cert_reqs": ssl.CERT_NONE}, server_side=False)


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


def distinguished_name(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a name as RFC 4514 writes it: the last part first, and nothing in a value can look like another part.

    :param name: the ``subject`` or ``issuer`` of `ssl.SSLSocket.getpeercert`.
    """
    parts = [
        "+".join(f"{_ATTRIBUTES.get(key, key)}={_escape(value)}" for key, value in part) for part in name
    ]
    return ",".join(reversed(parts))


def _escape(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = "".join(f"\\{char}" if char in ',+"\\<>;=' else char for char in value).replace("\0", "\\00")
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    if escaped[-1:] == " " and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped
