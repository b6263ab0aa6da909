"""`bind_unused_port` and the time a test may take."""

import socket

import pytest

from webfw.testing import bind_unused_port, get_async_test_timeout


def test_a_port_is_bound_and_listens() -> None:
    sock, port = bind_unused_port()
    with sock:
        assert sock.getsockname() == ("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_two_have_different_ports() -> None:
    first, one = bind_unused_port()
    second, other = bind_unused_port()
    with first, second:
        assert one != other


def test_another_address() -> None:
    sock, port = bind_unused_port(address="127.0.0.2")
    with sock:
        assert sock.getsockname() == ("127.0.0.2", port)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6() -> None:
    try:
        sock, port = bind_unused_port(address="::1")
    except OSError:
        pytest.skip("this machine has no ::1")
    with sock:
        assert sock.getsockname()[:2] == ("::1", port)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")
def test_reuse_port_lets_others_bind_it() -> None:
    sock, port = bind_unused_port(reuse_port=True)
    with sock, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))


def test_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNC_TEST_TIMEOUT", raising=False)
    assert get_async_test_timeout() == 5
    monkeypatch.setenv("ASYNC_TEST_TIMEOUT", "0.5")
    assert get_async_test_timeout() == 0.5
    monkeypatch.setenv("ASYNC_TEST_TIMEOUT", "soon")
    assert get_async_test_timeout() == 5
