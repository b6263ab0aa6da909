"""What an HTTP/1 connection on a stream may cost; no behaviour may enter."""

__all__ = ["HTTP1ConnectionParameters"]


class HTTP1ConnectionParameters:
    """Parameters of `HTTP1Connection` and `HTTP1ServerConnection`.

    :param no_keep_alive: close after one request.
    :param chunk_size: bytes that are read, and given to a delegate, at once at most; 64 KiB by default.
    :param max_header_size: bytes of a message's head; 64 KiB by default.
    :param header_timeout: seconds a whole head may take; no limit by default.
    :param max_body_size: bytes of a body, after decompression; by default the stream's ``max_buffer_size``.
    :param body_timeout: seconds a whole body may take; no limit by default.
    :param decompress: undo gzip and deflate of bodies that come.
    """

    __slots__ = (
        "body_timeout",
        "chunk_size",
        "decompress",
        "header_timeout",
        "max_body_size",
        "max_header_size",
        "no_keep_alive",
    )

    def __init__(
        self,
        no_keep_alive: bool = False,
        chunk_size: int | None = None,
        max_header_size: int | None = None,
        header_timeout: float | None = None,
        max_body_size: int | None = None,
        body_timeout: float | None = None,
        decompress: bool = False,
    ) -> None:
        self.no_keep_alive = no_keep_alive
        self.chunk_size = chunk_size or 65536
        self.max_header_size = max_header_size or 65536
        self.header_timeout = header_timeout
        self.max_body_size = max_body_size
        self.body_timeout = body_timeout
        self.decompress = decompress
