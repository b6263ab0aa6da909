"""The environ of a WSGI request (PEP 3333): what a request says, as CGI names it; running anything may not enter."""

import ssl
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from webfw.httpserver import RequestContext
from webfw.httputil import HTTPServerRequest, split_host_and_port
from webfw.httputil.serverfields import SERVER
from webfw.netutil.tls import distinguished_name
from webfw.wsgi.filewrapper import FileWrapper

__all__ = ["EnvironMaker", "to_wsgi_str"]

#: Fields that have another name in an environ, or none: a proxy's ``Proxy`` would look like a setting of CGI's
#: (https://httpoxy.org), and nothing is left of the framing once the body has been read.
_SPECIAL = {
    "CONTENT_TYPE": "CONTENT_TYPE",
    "CONTENT_LENGTH": "",
    "TRANSFER_ENCODING": "",
    "PROXY": "",
}

#: How many names of fields are remembered with their keys: clients may invent any number.
_MAX_KEYS = 1024


class EnvironMaker:
    """Makes environs for one application.

    :param mount: the path the application is mounted at, decoded, without a slash at its end; empty for the root.
    :param multithread: whether requests run at once in several threads.
    :param underscores: keep fields whose names have an underscore, which cannot be told from those with a dash.
    """

    def __init__(self, mount: str, *, multithread: bool, underscores: bool = False) -> None:
        self.mount = mount
        self._segments = mount.encode().split(b"/")
        self._underscores = underscores
        self._keys: dict[str, str] = {}
        self._always: dict[str, Any] = {
            "SCRIPT_NAME": _latin1(mount),
            "SERVER_SOFTWARE": SERVER,
            "GATEWAY_INTERFACE": "CGI/1.1",
            "wsgi.version": (1, 0),
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def set_multiprocess(self, multiprocess: bool) -> None:
        """Say whether other processes run the same application."""
        self._always["wsgi.multiprocess"] = multiprocess

    def make(self, request: HTTPServerRequest, body: IO[bytes], size: int | None) -> dict[str, Any] | None:
        """The environ of a request whose body has been read.

        :param size: bytes of the body; None where the request announced none.
        :returns: None when the path is not under the mount, or the request has none, as CONNECT.
        """
        path: str | None = request.path
        if self.mount or request.path[:1] != "/":
            path = self._path_info(request)
            if path is None:
                return None
        elif "%" in request.path:
            path = unquote_to_bytes(request.path).decode("latin-1")
        environ = self._always.copy()
        environ.update(self._of_connection(request))
        environ["REQUEST_METHOD"] = request.method
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = request.query
        environ["RAW_URI"] = environ["REQUEST_URI"] = request.uri
        environ["SERVER_PROTOCOL"] = request.version
        environ["wsgi.input"] = body
        environ["wsgi.errors"] = sys.stderr
        if size is not None:
            environ["CONTENT_LENGTH"] = str(size)
        return environ

    def _of_connection(self, request: HTTPServerRequest) -> dict[str, Any]:
        """The part that stays the same while a client sends the same fields on its connection, as most programs do."""
        head = request._head
        context = request.context
        known = head is not None and isinstance(context, RequestContext) and request.uri[:1] == "/"
        if known and context.memo is not None:
            maker, fields, part = context.memo
            if maker is self and fields == head.fields:  # type: ignore[union-attr]  # known
                return part  # type: ignore[no-any-return]
        part = self._work_out(request)
        if known:
            context.memo = (self, head.fields, part)  # type: ignore[union-attr]  # known
        return part

    def _work_out(self, request: HTTPServerRequest) -> dict[str, Any]:
        part: dict[str, Any] = {}
        protocol = request.protocol
        host = request.host
        part["SERVER_NAME"], part["SERVER_PORT"] = _server(host, protocol) if host else _socket(request)
        part["REMOTE_ADDR"] = request.remote_ip
        part["wsgi.url_scheme"] = protocol
        address = getattr(request.context, "address", None)
        if isinstance(address, tuple) and address and address[0] == request.remote_ip:
            part["REMOTE_PORT"] = str(address[1])
        self._add_fields(part, request)
        if request.uri[:1] != "/" and host:
            part["HTTP_HOST"] = host  # RFC 9112 section 3.2.2: an absolute target wins over the field
        if protocol == "https":
            part["HTTPS"] = "on"
            _add_tls(part, request)
        return part

    def _path_info(self, request: HTTPServerRequest) -> str | None:
        """The path below the mount, decoded; the mount ends where a slash is, not where ``%2F`` is."""
        path = request.path
        if path[:1] != "/":
            # ``OPTIONS *`` is about no resource: an empty path, as the PEP wants nothing but that or a slash first.
            return "" if path == "*" and not self.mount else None
        mounted = self._segments
        segments = path.split("/", len(mounted))
        if len(segments) < len(mounted):
            return None
        if [unquote_to_bytes(segment) for segment in segments[: len(mounted)]] != mounted:
            return None
        rest = segments[len(mounted) :]
        return unquote_to_bytes("/" + rest[0]).decode("latin-1") if rest else ""

    def _add_fields(self, environ: dict[str, Any], request: HTTPServerRequest) -> None:
        keys = self._keys
        for name, value in _fields(request):
            key = keys.get(name)
            if key is None:
                key = self._key(name)
            if not key:
                continue
            if key in environ:
                # RFC 9110 section 5.3; cookies are a list of their own kind (RFC 6265 section 5.4).
                value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
            environ[key] = value

    def _key(self, name: str) -> str:
        """The key of a field that has not been met before, in this spelling."""
        upper = name.upper().replace("-", "_")
        if "_" in name and (not self._underscores or upper in _SPECIAL):
            key = ""
        else:
            key = _SPECIAL.get(upper, f"HTTP_{upper}")
        if len(self._keys) < _MAX_KEYS:
            self._keys[name] = key
        return key


def _fields(request: HTTPServerRequest) -> Iterable[tuple[str, str]]:
    """The fields of a request; without making its map of them, where nobody has needed that yet."""
    head = request._head
    if head is None:
        return request.headers.get_all()
    return [
        (name, value.strip(" \t\r"))
        for name, colon, value in [line.partition(":") for line in head.fields.split("\n")]
        if colon
    ]


@lru_cache(maxsize=256)
def _server(host: str, protocol: str) -> tuple[str, str]:
    """Name and port of the server, by what the client calls it."""
    name, port = split_host_and_port(host)
    return name, str(port or (443 if protocol == "https" else 80))


def _socket(request: HTTPServerRequest) -> tuple[str, str]:
    """Name and port of the server by its socket, for a client that does not say whom it asks."""
    connection = request.connection
    address = connection.get_extra_info("sockname") if connection is not None else None
    if isinstance(address, tuple) and address:
        return (f"[{address[0]}]" if ":" in address[0] else address[0]), str(address[1])
    return _server("localhost", request.protocol)


def _add_tls(environ: dict[str, Any], request: HTTPServerRequest) -> None:
    """What is known of the connection's TLS, by the names that Apache's mod_ssl gave it."""
    connection = request.connection
    tls = connection.get_extra_info("ssl_object") if connection is not None else None
    if tls is None:  # a proxy has ended it
        return
    environ["SSL_PROTOCOL"] = tls.version()
    cipher = tls.cipher()
    if cipher is not None:
        environ["SSL_CIPHER"] = cipher[0]
    certificate = tls.getpeercert(binary_form=True)
    environ["SSL_CLIENT_VERIFY"] = "SUCCESS" if certificate else "NONE"
    if certificate:
        environ["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(certificate)
        known = tls.getpeercert() or {}
        for key, field in (("SSL_CLIENT_S_DN", "subject"), ("SSL_CLIENT_I_DN", "issuer")):
            environ[key] = _latin1(distinguished_name(known.get(field, ())))
        environ["SSL_CLIENT_M_SERIAL"] = known.get("serialNumber", "")


def _latin1(text: str) -> str:
    """Text as an environ has it: each byte of its UTF-8 as one character."""
    return text.encode().decode("latin-1")


def to_wsgi_str(s: bytes) -> str:
    """Bytes as an environ has them: each as the character of its number (PEP 3333, "Unicode Issues").

    :raises TypeError: no bytes.
    """
    if not isinstance(s, bytes):
        raise TypeError(f"bytes are needed, not {type(s).__name__}")
    return s.decode("latin-1")
