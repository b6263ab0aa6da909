from webfw.http1connection import HTTP1ConnectionParameters


def test_defaults() -> None:
    params = HTTP1ConnectionParameters()
    assert (params.chunk_size, params.max_header_size) == (65536, 65536)
    assert not params.no_keep_alive
    assert not params.decompress
    assert params.header_timeout is params.body_timeout is params.max_body_size is None


def test_zero_size_is_the_default_but_a_body_of_zero_bytes_is_not() -> None:
    params = HTTP1ConnectionParameters(True, 0, 0, 1.5, 0, 2.5, True)
    assert (params.chunk_size, params.max_header_size, params.max_body_size) == (65536, 65536, 0)
    assert (params.header_timeout, params.body_timeout) == (1.5, 2.5)
    assert params.no_keep_alive
    assert params.decompress
