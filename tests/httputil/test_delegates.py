"""The abstract seam: what must be implemented says so, what may be left out does nothing."""

import pytest

from webfw.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)


def test_a_connection_has_to_be_implemented() -> None:
    connection = HTTPConnection()
    with pytest.raises(NotImplementedError):
        connection.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
    with pytest.raises(NotImplementedError):
        connection.write(b"x")
    with pytest.raises(NotImplementedError):
        connection.finish()


def test_a_server_delegate_has_to_start_requests() -> None:
    delegate = HTTPServerConnectionDelegate()
    with pytest.raises(NotImplementedError):
        delegate.start_request(object(), HTTPConnection())
    delegate.on_close(object())


def test_a_message_delegate_may_ignore_everything() -> None:
    delegate = HTTPMessageDelegate()
    assert delegate.headers_received(RequestStartLine("GET", "/", "HTTP/1.1"), HTTPHeaders()) is None
    assert delegate.data_received(b"x") is None
    delegate.finish()
    delegate.on_connection_close()
