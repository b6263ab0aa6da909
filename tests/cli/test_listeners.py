"""Tests of webfw.cli.listeners: sockets and certificates by name, one sentence for whatever is wrong."""

import json
import os
import socket
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.cli.listeners import INHERITED, Listener, Listeners, tls_context


def bind_all(addresses: list[str]) -> list[Listener]:
    return list(Listeners(addresses, environ={}))


def close_all(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.close()


def test_binds_every_address(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    listeners = bind_all(["127.0.0.1:0", f"unix:{path}"])
    try:
        tcp, unix = listeners
        assert tcp.url(tls=False) == f"http://127.0.0.1:{tcp.socket.getsockname()[1]}"
        assert tcp.url(tls=True).startswith("https://127.0.0.1:")
        assert unix.url(tls=False) == f"unix:{path}"
        assert unix.url(tls=True) == f"unix:{path} with TLS"
        with socket.create_connection(tcp.socket.getsockname()), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    finally:
        close_all(listeners)
    assert not os.path.exists(path)


def test_ipv6_address_stands_in_brackets() -> None:
    try:
        listeners = bind_all(["[::1]:0"])
    except CommandError:
        pytest.skip("no IPv6 on this machine")
    assert listeners[0].url(tls=False).startswith("http://[::1]:")
    close_all(listeners)


def test_inherited_descriptor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        (listener,) = bind_all([f"fd://{os.dup(opened.fileno())}"])
        assert listener.url(tls=False) == f"http://127.0.0.1:{opened.getsockname()[1]}"
        assert not listener.socket.getblocking()
        listener.close()
    with socket.socket() as deaf:
        address = f"fd://{deaf.fileno()}"
        with pytest.raises(CommandError, match=f"{address}: the descriptor is not a listening stream socket"):
            bind_all([address])
        deaf.bind(("127.0.0.1", 0))  # it was left open
    with (tmp_path / "file").open("w") as file:
        address = f"fd://{file.fileno()}"
        with pytest.raises(CommandError, match=f"{address}: socket operation on non-socket"):
            bind_all([address])


def test_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("important")
    with pytest.raises(CommandError, match="exists and is not a socket") as caught:
        bind_all([f"unix:{path}"])
    assert caught.value.status == FAILED
    assert path.read_text() == "important"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract names are Linux's")
def test_abstract_name(tmp_path: Path) -> None:
    (listener,) = bind_all([f"unix:@{tmp_path}"])
    assert listener.url(tls=False) == f"unix:@{tmp_path}"
    listener.close()


def test_closing_leaves_the_socket_file_of_another_server(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    first = bind_all([f"unix:{path}"])
    path.unlink()
    second = bind_all([f"unix:{path}"])
    close_all(first)
    assert path.exists()
    close_all(second)
    assert not path.exists()
    close_all(second)


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:http", "127.0.0.1:65536", "unix:", "[::1:80"])
def test_malformed_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(CommandError) as caught:
        bind_all([address])
    assert str(caught.value).startswith(f"--bind: bind address {address!r}")
    assert caught.value.status == USAGE


def test_address_in_use_closes_what_was_bound(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    (taken,) = bind_all(["127.0.0.1:0"])
    address = taken.url(tls=False).removeprefix("http://")
    with pytest.raises(CommandError) as caught:
        bind_all([f"unix:{path}", address])
    cure = "stop what listens there, or name another address"
    assert str(caught.value) == f"cannot listen on {address}: the address is already in use; {cure}"
    assert caught.value.status == FAILED
    assert not path.exists()
    taken.close()


def test_unknown_host_and_directory(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"on no-such-host\.invalid:80: the host name cannot be resolved"):
        bind_all(["no-such-host.invalid:80"])
    with pytest.raises(CommandError, match="no such file or directory"):
        bind_all([f"unix:{tmp_path}/none/web.sock"])


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    cert = trustme.CA().issue_cert("localhost")
    cert.private_key_pem.write_to_path(str(directory / "key.pem"))
    cert.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    cert.private_key_and_cert_chain_pem.write_to_path(str(directory / "both.pem"))
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(directory / "other.pem"))
    return directory


def test_no_certificate_is_no_context() -> None:
    assert tls_context(None, None) is None


def test_certificate_and_key(pems: Path) -> None:
    for certfile, keyfile in ((pems / "cert.pem", str(pems / "key.pem")), (pems / "both.pem", None)):
        context = tls_context(str(certfile), keyfile)
        assert context is not None
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certfile", "keyfile", "sentence", "status"),
    [
        (None, "key.pem", "--keyfile needs --certfile", USAGE),
        ("none.pem", None, "--certfile DIR/none.pem: no such file or directory", FAILED),
        ("cert.pem", "none.pem", "--keyfile DIR/none.pem: no such file or directory", FAILED),
        ("cert.pem", None, "DIR/cert.pem: not a certificate with its private key", FAILED),
        (
            "cert.pem",
            "other.pem",
            "DIR/cert.pem and DIR/other.pem: not a certificate with its private key",
            FAILED,
        ),
    ],
)
def test_unusable_files(
    pems: Path, certfile: str | None, keyfile: str | None, sentence: str, status: int
) -> None:
    names = [None if name is None else str(pems / name) for name in (certfile, keyfile)]
    with pytest.raises(CommandError) as caught:
        tls_context(*names)
    assert str(caught.value).replace(str(pems), "DIR").startswith(sentence)
    assert caught.value.status == status


def test_encrypted_key_asks_nobody(pems: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((pems / "key.pem").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = pems / "encrypted.pem"
    path.write_bytes(encrypted)
    with pytest.raises(CommandError, match="encrypted.pem: the private key is encrypted"):
        tls_context(str(pems / "cert.pem"), str(path))


# --- for a process tree ---


def test_a_worker_of_each_slot_has_sockets_of_its_own() -> None:
    listeners = Listeners(["127.0.0.1:0"], reuse_port=True, environ={})
    try:
        listeners.prepare(0)
        listeners.prepare(1)
        listeners.prepare(1)
        (first,), (second,) = listeners.sockets(0), listeners.sockets(1)
        assert first is not second
        assert first.getsockname() == second.getsockname()
    finally:
        listeners.close()
    assert second.fileno() == -1


def test_without_that_they_share() -> None:
    listeners = Listeners(["127.0.0.1:0"], environ={})
    listeners.prepare(0)
    assert listeners.sockets(0) == listeners.sockets(1) == [next(iter(listeners)).socket]
    listeners.close()


def test_handing_over(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    addresses = ["127.0.0.1:0", f"unix:{path}"]
    old = Listeners(addresses, environ={})
    environ, fds = old.hand_over()
    assert len(fds) == 2
    # What a child process would find; here the descriptors are doubled, since both live in this process.
    doubled = {
        address: [os.dup(fd) for fd in given] for address, given in json.loads(environ[INHERITED]).items()
    }
    unwanted = socket.create_server(("127.0.0.1", 0))
    doubled["127.0.0.1:1"] = [unwanted.detach()]
    variables = {INHERITED: json.dumps(doubled)}
    new = Listeners(addresses, environ=variables)
    assert variables == {}
    assert [listener.address for listener in new] == [listener.address for listener in old]
    assert all(os.get_inheritable(listener.socket.fileno()) is False for listener in new)
    old.close()
    assert path.exists()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    new.close()
    assert not path.exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(doubled["127.0.0.1:1"][0])


def test_taking_back(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    listeners = Listeners([f"unix:{path}"], environ={})
    listeners.hand_over()
    listeners.take_back()
    listeners.close()
    assert not path.exists()


def test_mode_and_owner_of_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    listeners = Listeners([f"unix:{path}"], unix_mode=0o640, unix_owner=f"{os.getuid()}", environ={})
    assert path.stat().st_mode & 0o777 == 0o640
    listeners.close()
    with pytest.raises(CommandError, match=r"--unix-owner: .*nobody-at-all"):
        Listeners([f"unix:{path}"], unix_owner="nobody-at-all", environ={})


def test_a_slot_without_a_worker_has_no_socket(tmp_path: Path) -> None:
    listeners = Listeners(
        ["127.0.0.1:0", f"unix:{tmp_path / 'web.sock'}"], reuse_port=True, admin="127.0.0.1:0", environ={}
    )
    try:
        for number in range(3):
            listeners.prepare(number)
        first, second, third = map(listeners.sockets, range(3))
        listeners.release(2)
        listeners.release(2)
        assert third[0].fileno() == -1
        listeners.prepare(2)
        assert listeners.sockets(2)[0].getsockname() == first[0].getsockname()
        for number in (1, 0):  # the first one's are those that a new supervisor inherits
            listeners.release(number)
        assert second[0].fileno() == -1
        assert all(sock.fileno() >= 0 for sock in first)
        listeners.prepare(1)
        third = listeners.sockets(2)
        listeners.keep(2)
        assert all(sock.fileno() >= 0 for sock in third)
        assert first[0].fileno() == listeners.sockets(1)[0].fileno() == -1
        assert listeners.admin[0].socket.fileno() >= 0
    finally:
        listeners.close()


@pytest.mark.parametrize("reuse_port", [True, False])
def test_the_admin_address_is_another(reuse_port: bool) -> None:
    listeners = Listeners(["127.0.0.1:0"], admin="127.0.0.1:0", environ={})
    try:
        assert len(list(listeners)) == len(listeners.admin) == 1
    finally:
        listeners.close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(CommandError, match=f"cannot listen on {address}: the address is already in use"):
        Listeners([address], admin=address, reuse_port=reuse_port, environ={})
