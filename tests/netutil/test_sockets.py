"""Tests of webfw.netutil.sockets."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webfw.netutil import add_accept_handler, bind_sockets, bind_unix_socket, sockets
from webfw.netutil.sockets import reset_on_close

Info = tuple[Any, Any, int, str, Any]


def answer(*entries: tuple[Any, Any]) -> Callable[..., list[Info]]:
    return lambda *args, **kwargs: [(family, 1, 6, "", address) for family, address in entries]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs an IPv6 loopback address")
needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


def close_all(*bound: socket.socket) -> None:
    for sock in bound:
        sock.close()


def test_a_free_port_on_one_address() -> None:
    (sock,) = bind_sockets(0, "127.0.0.1")
    assert sock.getsockname()[1] > 0
    assert not sock.getblocking()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    sock.close()


@needs_ipv6
def test_every_address_gets_the_same_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        answer((socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))),
    )
    bound = bind_sockets(0)
    assert [sock.family for sock in bound] == [socket.AF_INET, socket.AF_INET6]
    assert bound[0].getsockname()[1] == bound[1].getsockname()[1]
    assert bound[1].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    close_all(*bound)


@needs_ipv6
def test_a_free_port_that_is_taken_for_the_other_family_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        answer((socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))),
    )
    real_bind = sockets._bind
    refusals = 3

    def bind(family: Any, *args: Any) -> socket.socket:
        nonlocal refusals
        if family == socket.AF_INET6 and refusals:
            refusals -= 1
            raise OSError(errno.EADDRINUSE, "taken")
        return real_bind(family, *args)

    monkeypatch.setattr(sockets, "_bind", bind)
    bound = bind_sockets(0)
    assert len(bound) == 2
    assert refusals == 0
    close_all(*bound)


def test_a_port_that_is_never_free_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    def bind(*args: Any) -> socket.socket:
        nonlocal attempts
        attempts += 1
        raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr(sockets, "_bind", bind)
    with pytest.raises(OSError, match="taken"):
        bind_sockets(0, "127.0.0.1")
    assert attempts == sockets._PORT_ATTEMPTS


def test_the_same_address_twice_is_bound_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answer(*[(socket.AF_INET, ("127.0.0.1", 0))] * 2))
    (sock,) = bind_sockets(0, "localhost")
    sock.close()


def test_an_address_the_host_does_not_have_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", answer((socket.AF_INET, ("192.0.2.1", 0)), (socket.AF_INET, ("127.0.0.1", 0)))
    )
    (sock,) = bind_sockets(0, "somewhere")
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()
    monkeypatch.setattr(socket, "getaddrinfo", answer((socket.AF_INET, ("192.0.2.1", 80))))
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1 port 80: ") as info:
        bind_sockets(80, "somewhere")
    assert info.value.errno == errno.EADDRNOTAVAIL
    monkeypatch.setattr(socket, "getaddrinfo", answer())
    with pytest.raises(OSError, match="no address to listen on for 'somewhere'"):
        bind_sockets(0, "somewhere")


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    (first,) = bind_sockets(0, "127.0.0.1")
    port = first.getsockname()[1]
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1 port {port}: ") as info:
        bind_sockets(port, "127.0.0.1")
    assert info.value.errno == errno.EADDRINUSE
    first.close()


def test_without_ipv6_only_ipv4_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def getaddrinfo(host: Any, port: int, family: Any, *args: Any) -> list[Info]:
        asked.append((host, family, args[-1]))
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "has_ipv6", False)
    close_all(*bind_sockets(0, ""))
    close_all(*bind_sockets(0, flags=0))
    assert asked == [(None, socket.AF_INET, socket.AI_PASSIVE), (None, socket.AF_INET, 0)]


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="needs SO_REUSEPORT")
def test_a_port_can_be_shared() -> None:
    (first,) = bind_sockets(0, "127.0.0.1", reuse_port=True)
    (second,) = bind_sockets(first.getsockname()[1], "127.0.0.1", reuse_port=True)
    close_all(first, second)


def test_sharing_where_it_is_not_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ValueError, match="reuse_port"):
        bind_sockets(0, "127.0.0.1", reuse_port=True)


def test_the_backlog_is_remembered() -> None:
    (sock,) = bind_sockets(0, "127.0.0.1", backlog=7)
    assert sockets.backlog_of(sock) == 7
    with socket.socket() as other:
        assert sockets.backlog_of(other) == sockets.DEFAULT_BACKLOG
    sock.close()


# --- Unix sockets ---


@needs_unix
def test_a_unix_socket_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    sock = bind_unix_socket(str(path))
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    again = bind_unix_socket(str(path), mode=0o666, backlog=3)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert sockets.backlog_of(again) == 3
    assert not again.getblocking()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    close_all(sock, again)


@needs_unix
def test_only_sockets_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ValueError, match="exists and is not a socket"):
        bind_unix_socket(str(path))
    assert path.read_text() == "data"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ValueError, match="exists and is not a socket"):
        bind_unix_socket(str(link))


@needs_unix
def test_a_path_that_cannot_be_bound_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot listen on the Unix socket '.*missing/sock'"):
        bind_unix_socket(str(tmp_path / "missing" / "sock"))
    with pytest.raises(OSError, match="too long"):
        bind_unix_socket(str(tmp_path / ("x" * 200)))


@needs_unix
@pytest.mark.skipif(not os.path.exists("/proc/net/unix"), reason="needs Linux")
def test_a_name_in_the_abstract_namespace() -> None:
    name = f"\0webfw-test-{os.getpid()}"
    sock = bind_unix_socket(name)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(name)
    sock.close()


def test_no_unix_sockets_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(OSError, match="does not support Unix sockets"):
        bind_unix_socket("/nowhere")


# --- accepting ---


async def test_connections_are_accepted_until_removed() -> None:
    (sock,) = bind_sockets(0, "127.0.0.1")
    accepted: asyncio.Queue[tuple[socket.socket, Any]] = asyncio.Queue()
    remove = add_accept_handler(sock, lambda *args: accepted.put_nowait(args))
    clients = [socket.create_connection(sock.getsockname()) for _ in range(3)]
    names = set()
    for _ in clients:
        connection, address = await accepted.get()
        assert not connection.getblocking()
        names.add(address)
        connection.close()
    assert names == {client.getsockname() for client in clients}
    remove()
    remove()
    late = socket.create_connection(sock.getsockname())
    for _ in range(3):
        await asyncio.sleep(0)
    assert accepted.empty()
    close_all(sock, late, *clients)


async def test_a_callback_may_end_the_accepting() -> None:
    (sock,) = bind_sockets(0, "127.0.0.1")
    clients = [socket.create_connection(sock.getsockname()) for _ in range(3)]
    done = asyncio.Event()
    count = 0

    def accept(connection: socket.socket, address: Any) -> None:
        nonlocal count
        count += 1
        connection.close()
        remove()
        done.set()

    remove = add_accept_handler(sock, accept)
    await done.wait()
    await asyncio.sleep(0)
    assert count == 1
    close_all(sock, *clients)


class Listening:
    """A listening socket whose accept() fails as told before it works."""

    def __init__(self, real: socket.socket, *failures: OSError) -> None:
        self.real = real
        self.failures = list(failures)

    def fileno(self) -> int:
        return self.real.fileno()

    def accept(self) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return self.real.accept()

    __hash__ = object.__hash__


async def test_running_out_of_descriptors_pauses(monkeypatch: pytest.MonkeyPatch, expect_log: Any) -> None:
    monkeypatch.setattr(sockets, "ACCEPT_PAUSE", 0.02)
    (real,) = bind_sockets(0, "127.0.0.1")
    sock = Listening(real, ConnectionAbortedError(), OSError(errno.EMFILE, "Too many open files"))
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    with expect_log("webfw.application", r"pauses for 0\.02 s: .*Too many open files", count=1):
        remove = add_accept_handler(sock, lambda conn, address: accepted.put_nowait(conn))  # type: ignore[arg-type]
        client = socket.create_connection(real.getsockname())
        (await accepted.get()).close()
        sock.failures.append(OSError(errno.EAGAIN, "not yet"))
        remove()
    close_all(real, client)


async def test_it_can_be_removed_while_it_pauses(monkeypatch: pytest.MonkeyPatch, expect_log: Any) -> None:
    (real,) = bind_sockets(0, "127.0.0.1")
    sock = Listening(real, OSError(errno.ENFILE, "Too many open files"))
    with expect_log("webfw.application", "pauses", count=1) as records:
        remove = add_accept_handler(sock, lambda *args: None)  # type: ignore[arg-type]
        client = socket.create_connection(real.getsockname())
        while not records:
            await asyncio.sleep(0)
    remove()
    close_all(real, client)


async def test_another_error_is_logged(expect_log: Any) -> None:
    (real,) = bind_sockets(0, "127.0.0.1")
    sock = Listening(real, OSError(errno.EINVAL, "not listening"))
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    with expect_log("webfw.application", "Exception in callback", count=1):
        remove = add_accept_handler(sock, lambda conn, address: accepted.put_nowait(conn))  # type: ignore[arg-type]
        client = socket.create_connection(real.getsockname())
        (await accepted.get()).close()
    remove()
    close_all(real, client)


def test_a_close_may_drop_what_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    sent = ours.send(b"x" * 1_000_000)
    reset_on_close(ours)
    ours.close()
    peer.settimeout(5)
    got = []
    with pytest.raises(ConnectionResetError):
        got.extend(len(peer.recv(65536)) for _ in range(sent))
    assert sum(got) < sent
    peer.close()
    reset_on_close(ours)  # closed already
    reset_on_close(None)
    one, other = socket.socketpair()
    reset_on_close(one)
    one.send(b"x")
    one.close()
    assert other.recv(10) == b"x"
    other.close()
