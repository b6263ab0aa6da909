"""Tests of webfw.netutil.tls."""

import socket
import ssl
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.netutil import client_context, ssl_options_to_context, ssl_wrap_socket, tls
from webfw.netutil.tls import distinguished_name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    cert.private_key_pem.write_to_path(folder / "key.pem")
    for index, blob in enumerate(cert.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=index > 0)
    ca.cert_pem.write_to_path(folder / "ca.pem")
    return {name: str(folder / f"{name}.pem") for name in ("key", "cert", "ca")}


def test_a_context_is_returned_as_it_is() -> None:
    context = ssl.create_default_context()
    assert ssl_options_to_context(context) is context


def test_a_server_context(files: dict[str, str]) -> None:
    options = {"certfile": files["cert"], "keyfile": files["key"]}
    for context in (ssl_options_to_context(options, server_side=True), ssl_options_to_context(options)):
        assert context.protocol == ssl.PROTOCOL_TLS_SERVER
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.verify_mode == ssl.CERT_NONE


def test_a_client_context_verifies(files: dict[str, str]) -> None:
    context = ssl_options_to_context({"ca_certs": files["ca"]}, server_side=False)
    assert context.protocol == ssl.PROTOCOL_TLS_CLIENT
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert ssl_options_to_context({}).verify_mode == ssl.CERT_REQUIRED


def test_a_client_may_trust_blindly() -> None:
    context = ssl_options_to_context({"cert_reqs": ssl.CERT_NONE}, server_side=False)
    assert not context.check_hostname
    assert context.verify_mode == ssl.CERT_NONE


def test_a_server_may_ask_for_certificates(files: dict[str, str]) -> None:
    options = {
        "certfile": files["cert"],
        "keyfile": files["key"],
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": files["ca"],
    }
    assert ssl_options_to_context(options).verify_mode == ssl.CERT_REQUIRED


def test_ciphers() -> None:
    context = ssl_options_to_context({"ciphers": "ECDHE-RSA-AES256-GCM-SHA384"}, server_side=False)
    assert "ECDHE-RSA-AES256-GCM-SHA384" in [cipher["name"] for cipher in context.get_ciphers()]
    with pytest.raises(ssl.SSLError):
        ssl_options_to_context({"ciphers": "NONE-SUCH"})


def test_versions() -> None:
    context = ssl_options_to_context({"ssl_version": ssl.PROTOCOL_TLSv1_2}, server_side=False)
    assert context.maximum_version == ssl.TLSVersion.TLSv1_2
    context = ssl_options_to_context({"ssl_version": ssl.PROTOCOL_TLS}, server_side=False)
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    with pytest.raises(ValueError, match="TLSv1_1 is not supported"):
        ssl_options_to_context({"ssl_version": ssl.PROTOCOL_TLSv1_1})


def test_unknown_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown ssl_options: cert_file, keys \(known: ca_certs"):
        ssl_options_to_context({"cert_file": "x", "keys": "y"})


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        ssl_options_to_context({"certfile": "/nowhere/cert.pem"})


def test_wrapping_both_ends_of_a_connection(files: dict[str, str]) -> None:
    a, b = socket.socketpair()
    server_options: dict[str, Any] = {"certfile": files["cert"], "keyfile": files["key"]}

    def serve() -> None:
        with ssl_wrap_socket(b, server_options, server_side=True) as server:
            server.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with ssl_wrap_socket(a, {"ca_certs": files["ca"]}, server_hostname="localhost") as client:
        assert client.recv(5) == b"hello"
        assert client.version() in ("TLSv1.2", "TLSv1.3")
    thread.join()


def test_the_handshake_can_wait() -> None:
    a, b = socket.socketpair()
    with (
        b,
        ssl_wrap_socket(
            a, {"cert_reqs": ssl.CERT_NONE}, server_hostname="localhost", do_handshake_on_connect=False
        ) as wrapped,
    ):
        assert wrapped.version() is None
        assert not wrapped.server_side


@pytest.fixture
def nothing_shared() -> Iterator[None]:
    tls._shared_context.cache_clear()
    try:
        yield
    finally:
        tls._shared_context.cache_clear()


def _subjects(context: ssl.SSLContext) -> int:
    return len(context.get_ca_certs())


@pytest.mark.usefixtures("nothing_shared")
def test_the_context_of_a_client_is_shared_where_it_can_be(files: dict[str, str]) -> None:
    usual = client_context()
    assert client_context() is usual
    assert usual.verify_mode == ssl.CERT_REQUIRED
    assert usual.check_hostname
    blind = client_context(validate_cert=False)
    assert client_context(False) is blind
    assert blind.verify_mode == ssl.CERT_NONE
    # What is in a file may have changed.
    mine = client_context(ca_certs=files["ca"])
    assert client_context(ca_certs=files["ca"]) is not mine
    assert _subjects(mine) == 1
    assert mine.check_hostname
    own = client_context(False, client_cert=files["cert"], client_key=files["key"])
    assert (own.verify_mode, own.check_hostname) == (ssl.CERT_NONE, False)
    with pytest.raises(FileNotFoundError):
        client_context(ca_certs="/nowhere")


@pytest.mark.usefixtures("nothing_shared")
def test_certifi_is_used_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], tmp_path: Path
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "certifi", None)
    without = _subjects(ssl_options_to_context({}, server_side=False))
    certifi = types.ModuleType("certifi")
    certifi.where = lambda: files["ca"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "certifi", certifi)
    assert _subjects(client_context()) == without + 1
    assert _subjects(ssl_options_to_context({}, server_side=False)) == without + 1
    assert _subjects(ssl_options_to_context({"ca_certs": files["ca"]}, server_side=False)) == 1
    # Not for whom a client of ours is to trust, nor where the environment says whom to trust.
    server = {"cert_reqs": ssl.CERT_REQUIRED}
    monkeypatch.setitem(sys.modules, "certifi", None)
    plain = _subjects(ssl_options_to_context(server, server_side=True))
    monkeypatch.setitem(sys.modules, "certifi", certifi)
    assert _subjects(ssl_options_to_context(server, server_side=True)) == plain
    empty = tmp_path / "none"
    empty.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(empty))
    monkeypatch.setenv("SSL_CERT_FILE", str(empty / "none.pem"))
    assert _subjects(ssl_options_to_context({}, server_side=False)) == 0


def test_distinguished_names() -> None:
    subject = (
        (("countryName", "CH"),),
        (("organizationName", "#A; B "), ("organizationalUnitName", "x+y")),
        (("commonName", 'Größe, O=evil\\"\0'),),
        (("1.2.3", " "),),
    )
    assert distinguished_name(subject) == (
        '1.2.3=\\ ,CN=Größe\\, O\\=evil\\\\\\"\\00,O=\\#A\\; B\\ +OU=x\\+y,C=CH'
    )
    assert distinguished_name(()) == ""
