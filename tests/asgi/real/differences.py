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
        "a connection is kept when an application has made a mistake, and the response was complete",
        "it is closed, also where no header has said so",
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
    Difference(
        "the Close that answers the Close of a WebSocket's client has its code alone",
        "it has the reason, too",
        'RFC 6455 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it '
        'received."',
    ),
    Difference(
        "a WebSocket that webfw closes for the client's mistake is told as 1006",
        "as the code that the server has sent",
        "RFC 6455 7.1.5: the code is that of the first Close that was received, and 1006 where there was none",
    ),
    Difference(
        "a WebSocket is not accepted with a subprotocol that its client has not offered",
        "it is, and the client fails the connection",
        "RFC 6455 4.2.2: \"The value chosen MUST be derived from the client's handshake, specifically by selecting one "
        'of the values from the |Sec-WebSocket-Protocol| field"',
    ),
    Difference(
        "a message to a WebSocket that has neither text nor bytes is a mistake",
        "it is dropped",
        "ASGI, WebSocket, Send: at least one of `bytes` and `text` must not be None",
    ),
    Difference(
        "`spec_version` is 2.5",
        "2.3 for HTTP, 2.4 for WebSocket",
        "ASGI, HTTP and WebSocket, version history: 2.4 has `OSError` from `send()` when the client has gone, 2.5 the "
        "reason of `websocket.disconnect`; both are so here",
    ),
    Difference(
        "the extensions for early hints, pathsend and trailers are offered",
        "HTTP has no extensions",
        "ASGI, Extensions: a server names in the scope which it has, and applications ask before they use one",
    ),
    Difference(
        "a response that is whole when it begins gets a Content-Length",
        "it is chunked, unless the application has given it one",
        "RFC 9112 6.2: without a Transfer-Encoding, Content-Length can provide the size; with it, a client knows how "
        "much will come, and the body needs no frames",
    ),
    Difference(
        "the response to HEAD has the framing that GET's would have",
        "it may lack it",
        'RFC 9110 9.3.2: "The server SHOULD send the same header fields in response to a HEAD request as it would have '
        'sent if the request method had been GET."',
    ),
    Difference(
        "a mistake in the messages before the first of the body is complete is answered 500",
        "the head has been sent, and the response is cut",
        "ASGI, HTTP, Response Start: servers need not flush it before the first `http.response.body`, so that they can "
        'replace the response when something goes wrong. RFC 9110 8.6: "a sender MUST NOT forward a message with a '
        'Content-Length header field value that is known to be incorrect"',
    ),
    Difference(
        "a response whose header is none is answered 500",
        "the connection is closed without an answer",
        'RFC 9110 15.6.1: "the server encountered an unexpected condition that prevented it from fulfilling the '
        'request"',
    ),
    Difference(
        "a body of a status that has none is left out",
        "`send()` raises when the head is out",
        'RFC 9110 15.3.5: "A 204 response is terminated by the end of the header section; it cannot contain content or '
        'trailers."',
    ),
    Difference(
        "`send()` raises once the client has gone, or has been refused",
        "it does nothing",
        "ASGI, HTTP, Disconnected Client: `send()` should raise an `OSError` of the server's own, since version 2.4",
    ),
    Difference(
        "a request without exactly one Host is refused",
        "the application is called",
        'RFC 9112 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message '
        'that lacks a Host header field and to any request message that contains more than one Host header field line"',
    ),
    Difference(
        "a body whose end cannot be known is refused before the application is called",
        "the application is called, and then the request is refused",
        'RFC 9112 6.3: where "the chunked transfer coding is not the final encoding, the message body length cannot be '
        'determined reliably; the server MUST respond with the 400 (Bad Request) status code"',
    ),
    Difference(
        "a target may be a URI without a path",
        "it is refused with 400",
        'RFC 9112 3.2.2: "a server MUST accept the absolute-form in requests"; RFC 9110 4.2.3: an empty path is '
        "equivalent to `/`",
    ),
    Difference(
        "where the target is a URI, `host` in the scope is that of the URI",
        "it is that of Host",
        'RFC 9112 3.3: "If the request-target is in absolute-form, the target URI is the request-target."',
    ),
    Difference(
        "trailers are not put among the headers",
        "they are, in the scope's list, after the application has been called",
        'RFC 9112 7.1.2: "A recipient MUST NOT merge a received trailer field into the header section unless its '
        'corresponding header field definition explicitly permits [...]"',
    ),
    Difference(
        "values of headers have no whitespace at their ends",
        "tabs and spaces stay at the end",
        'RFC 9110 5.5: "a field parsing implementation MUST exclude such whitespace prior to evaluating the field '
        'value"',
    ),
    Difference(
        "X-Forwarded-For and X-Forwarded-Proto are believed only where `xheaders` says so",
        "they are believed of 127.0.0.1, unless `--no-proxy-headers` says not",
        "RFC 7239 8.1, of the standard in their place: it cannot be relied upon, since every node on the way can "
        "change it. Whether there is a proxy, only the deployment knows",
    ),
    Difference(
        "a connection of HTTP/1.0 is kept where the client asks for it",
        "it is closed",
        'RFC 9112 9.3: where "the recipient wishes to honor the HTTP/1.0 "keep-alive" mechanism, the connection will '
        'persist after the current response"',
    ),
    Difference(
        "an unknown major version of HTTP is answered 505",
        "400",
        'RFC 9110 15.6.6: "the server does not support, or refuses to support, the major version of HTTP that was used '
        'in the request message"',
    ),
)

BY_TITLE = {difference.title: difference for difference in DIFFERENCES}

MISTAKES = (
    "nothing",
    "startonly",
    "short",
    "long",
    "bodyfirst",
    "twice",
    "unknown",
    "unknownlate",
    "after",
    "b204",
)

#: Which differences `test_compared` meets: for a title the patterns of cases, and in what they differ.
COMPARED: dict[str, list[tuple[str, set[str]]]] = {
    "`spec_version` is 2.5": [("*", {"scope.asgi"})],
    "the extensions for early hints, pathsend and trailers are offered": [("*", {"scope.extensions"})],
    "a response that is whole when it begins gets a Content-Length": [
        ("sent *", {"content-length", "transfer-encoding"})
    ],
    "a response to HTTP/1.0 is not chunked": [
        ("sent * 1.0", {"transfer-encoding"}),
        ("sent unfinished 1.0", {"body", "cut"}),
    ],
    "the response to HEAD has the framing that GET's would have": [
        ("sent * head", {"content-length", "transfer-encoding"})
    ],
    "a mistake in the messages before the first of the body is complete is answered 500": [
        (f"sent {name}*", {"status"}) for name in ("startonly", "short", "long", "twice", "unknownlate")
    ],
    "a response whose header is none is answered 500": [
        (f"sent {name}*", {"status", "end"}) for name in ("injected", "badname")
    ],
    "a body of a status that has none is left out": [("sent b204*", {"ended"})],
    "a connection is kept when an application has made a mistake, and the response was complete": [
        (f"sent {name}*", {"end"}) for name in (*MISTAKES, "raises")
    ],
    "a request without exactly one Host is refused": [
        (f"bad {name}", {"status", "called", "end"}) for name in ("no host", "two hosts")
    ],
    "a body whose end cannot be known is refused before the application is called": [
        ("bad coding", {"called"})
    ],
    "a target may be a URI without a path": [("target absolute root", {"status", "called", "end"})],
    "a connection of HTTP/1.0 is kept where the client asks for it": [("version 1.0 keep-alive", {"end"})],
    "where the target is a URI, `host` in the scope is that of the URI": [
        ("target absolute", {"scope.headers"})
    ],
    "trailers are not put among the headers": [("body chunked trailer", {"scope.headers"})],
    "values of headers have no whitespace at their ends": [("fields spaces", {"scope.headers"})],
    "X-Forwarded-For and X-Forwarded-Proto are believed only where `xheaders` says so": [
        ("fields forwarded", {"scope.client", "scope.scheme"})
    ],
    "an unknown major version of HTTP is answered 505": [("bad version", {"status"})],
}

#: The same for `test_compared_websockets`.
COMPARED_SOCKETS: dict[str, list[tuple[str, set[str]]]] = {
    "`spec_version` is 2.5": [("*", {"scope.asgi"})],
    "the Close that answers the Close of a WebSocket's client has its code alone": [
        ("said *", {"reason"}),
        ("frames text", {"reason"}),
        ("frames fragments", {"reason"}),
        ("frames own code", {"reason"}),
    ],
    "a WebSocket that webfw closes for the client's mistake is told as 1006": [("bad *", {"told"})],
    "a WebSocket whose application raises is closed with 1011": [
        (f"said {name}", {"code"})
        for name in ("twice", "unknownlate", "denylate", "reserved", "outofrange", "longreason")
    ],
    "a WebSocket is not accepted with a subprotocol that its client has not offered": [
        ("said subprotocolother", {"status", "ended", "heard", "told"})
    ],
    "a message to a WebSocket that has neither text nor bytes is a mistake": [
        ("said nothing", {"code", "ended", "heard", "messages", "told"})
    ],
}
