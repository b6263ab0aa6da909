"""The environ of a WSGI request (PEP 3333): what a request says, as CGI names it; running anything may not enter."""

import ssl
import sys
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from webfw._version import __version__
from webfw.httputil import HTTPServerRequest, split_host_and_port
from webfw.wsgi.filewrapper import FileWrapper

__all__ = ["EnvironMaker", "to_wsgi_str"]

#: Fields that have another name in an environ, or none: a proxy's ``Proxy`` would look like a setting of CGI's
#: (https://httpoxy.org), and nothing is left of the framing once the body has been read.
_SPECIAL = {
    "Content-Type": "CONTENT_TYPE",
    "Content-Length": "",
    "Transfer-Encoding": "",
    "Proxy": "",
}

#: How many names of fields are remembered with their keys: clients may invent any number.
_MAX_KEYS = 1024


class EnvironMaker:
    """Makes environs for one application.

    :param mount: the path the application is mounted at, without a slash at its end; empty for the root.
    :param multithread: whether requests run at once in several threads.
    :param underscores: keep fields whose names have an underscore, which cannot be told from those with a dash.
    """

    def __init__(self, mount: str, *, multithread: bool, underscores: bool = False) -> None:
        self.mount = mount
        self.multiprocess = False
        self._underscores = underscores
        self._keys: dict[str, str] = dict(_SPECIAL)
        self._always: dict[str, Any] = {
            "SCRIPT_NAME": _latin1(mount),
            "SERVER_SOFTWARE": f"webfw/{__version__}",
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
        :returns: None when the path is not under the mount.
        """
        path = request.path
        mount = self.mount
        if mount:
            if not path.startswith(mount):
                return None
            path = path[len(mount) :]
            if path and path[0] != "/":
                return None
        environ = self._always.copy()
        if "%" in path:
            path = unquote_to_bytes(path).decode("latin-1")
        protocol = request.protocol
        host, port = split_host_and_port(request.host)
        environ["REQUEST_METHOD"] = request.method
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = request.query
        environ["RAW_URI"] = environ["REQUEST_URI"] = request.uri
        environ["SERVER_PROTOCOL"] = request.version
        environ["SERVER_NAME"] = host
        environ["SERVER_PORT"] = str(port or (443 if protocol == "https" else 80))
        environ["REMOTE_ADDR"] = request.remote_ip
        environ["wsgi.url_scheme"] = protocol
        environ["wsgi.input"] = body
        environ["wsgi.errors"] = sys.stderr
        context = request.context
        address = getattr(context, "address", None)
        if isinstance(address, tuple) and address and address[0] == request.remote_ip:
            environ["REMOTE_PORT"] = str(address[1])
        if size is not None:
            environ["CONTENT_LENGTH"] = str(size)
        self._add_fields(environ, request)
        if protocol == "https":
            environ["HTTPS"] = "on"
            self._add_tls(environ, request)
        return environ

    def _add_fields(self, environ: dict[str, Any], request: HTTPServerRequest) -> None:
        keys = self._keys
        for name, value in request.headers.get_all():
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
        """The key of a field that has not been met before."""
        key = "" if "_" in name and not self._underscores else f"HTTP_{name.upper().replace('-', '_')}"
        if len(self._keys) < _MAX_KEYS:
            self._keys[name] = key
        return key

    def _add_tls(self, environ: dict[str, Any], request: HTTPServerRequest) -> None:
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
                environ[key] = _distinguished_name(known.get(field, ()))
            environ["SSL_CLIENT_M_SERIAL"] = known.get("serialNumber", "")


def _distinguished_name(name: Any) -> str:
    return _latin1(",".join(f"{key}={value}" for part in name for key, value in part))


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
