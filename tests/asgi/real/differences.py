"""What webfw does otherwise than uvicorn, and what decides it; the rows stand in docs/topics/asgi-differences.md too.

A test says ``with site.differs(title):`` around what only webfw does.  On uvicorn that must fail: a row that has
become untrue fails its test.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One row.

    :ivar title: what webfw does.
    :ivar theirs: what uvicorn does.
    :ivar decides: the specification, its section, and its sentence.
    """

    title: str
    theirs: str
    decides: str


DIFFERENCES = (
    Difference(
        "a response to HTTP/1.0 is not chunked",
        "a response without Content-Length is chunked, whatever the client speaks",
        'RFC 9112 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding '
        'request indicates HTTP/1.1 (or later minor revisions)."',
    ),
    Difference(
        "a response can be made of the request's body while it comes",
        "Starlette's and FastAPI's `StreamingResponse` swallow parts of the body",
        "ASGI, HTTP and WebSocket, version 2.4: `send()` raises an `OSError` once the client has gone. uvicorn says "
        "that it speaks 2.3, so that Starlette asks `receive()` beside the response to learn of it; webfw says 2.5",
    ),
    Difference(
        "a connection is kept when an application raises after its response was complete",
        "it is closed, and no header has said so",
        'RFC 9112 9.6: "A sender SHOULD send a Connection header field containing the "close" connection option '
        'when it intends to close a connection."',
    ),
    Difference(
        "WebSockets are compressed only where `websocket_compression` says so",
        "they are, unless `ws_per_message_deflate` says not",
        "RFC 7692 5: a server may decline every offer. Compression costs memory for each connection, and lets a "
        "small message become a big one, so that it has to be wanted",
    ),
    Difference(
        "a WebSocket whose client vanishes without a Close is told as 1006",
        "as 1005",
        'RFC 6455 7.1.5: where "no Close control frame was received by the endpoint [...], _The WebSocket '
        'Connection Close Code_ is considered to be 1006"; 1005 is for a Close without a code',
    ),
    Difference(
        "a WebSocket whose application raises is closed with 1011",
        "its connection is cut",
        'RFC 6455 7.4.1: "1011 indicates that a server is terminating the connection because it encountered an '
        'unexpected condition that prevented it from fulfilling the request."',
    ),
    Difference(
        "a WebSocket whose application returns is closed with 1000",
        "its connection is cut",
        'RFC 6455 7.3: "Servers MAY close the WebSocket connection whenever desired. [...] In either case, an '
        'endpoint initiates a closure by following the procedures to _Start the WebSocket Closing Handshake_"',
    ),
)

BY_TITLE = {difference.title: difference for difference in DIFFERENCES}
