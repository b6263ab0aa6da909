"""HTTP/1.0 and HTTP/1.1 messages as pure functions over bytes; no I/O, no clock, no await may enter."""

from webfw.sansio.http1.body import BodyDecoder, Chunked, Length, UntilClose
from webfw.sansio.http1.encode import (
    encode_chunk,
    encode_head,
    encode_last_chunk,
    encode_request_head,
    status_line,
)
from webfw.sansio.http1.fields import raw_fields
from webfw.sansio.http1.head import HeadLimits, RequestHead, parse_head
from webfw.sansio.http1.response import ResponseHead, parse_response_head
from webfw.sansio.http1.target import origin_form

__all__ = [
    "BodyDecoder",
    "Chunked",
    "HeadLimits",
    "Length",
    "RequestHead",
    "ResponseHead",
    "UntilClose",
    "encode_chunk",
    "encode_head",
    "encode_last_chunk",
    "encode_request_head",
    "origin_form",
    "parse_head",
    "parse_response_head",
    "raw_fields",
    "status_line",
]
