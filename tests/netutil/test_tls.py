"""Tests of webfw.netutil.tls."""

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.netutil import ssl_options_to_context, ssl_wrap_socket


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
