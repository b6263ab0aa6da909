"""What webfw's WebSockets do otherwise than Tornado's, on purpose; the rows stand in docs/topics/differences.md too."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

#: What both sides and the client of a case see.
Seen = dict[str, Any]


def aspects(theirs: Seen, ours: Seen) -> set[str]:
    """In what two outcomes differ; where a status differs, nothing else is looked at."""
    if theirs.get("status") != ours.get("status"):
        return {"status"}
    found = {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)}
    if {"gives", "raises"} & found:
        both = "raises" in theirs and "raises" in ours
        return set() if both and theirs["raises"][0] in ours["raises"] else {"result"}
    return found


@dataclass(frozen=True)
class Difference:
    """A class of differences: patterns for the names of cases, and the aspects that may differ in them."""

    title: str
    reason: str
    cases: tuple[str, ...]
    may: frozenset[str] | set[str]

    def explained(self, name: str) -> set[str]:
        named = any(fnmatchcase(name, pattern) for pattern in self.cases)
        return set(self.may) if named else set()


DIFFERENCES = [
    # The handshake.
    Difference(
        "a refused handshake is told why, in plain text",
        "RFC 9110 15.5: the server SHOULD send a representation that explains the error; no page can come of it",
        ("handshake *", "origin *"),
        {"body", "fields"},
    ),
    Difference(
        "a refused handshake ends its connection",
        "RFC 6455 4.1: a client has to wait for the answer before it sends more; its frames are no requests",
        ("subprotocol *", "prepare *", "get breaks", "compression options fail"),
        {"fields"},
    ),
    Difference(
        "426 names the protocol to upgrade to",
        "RFC 9110 15.5.22: the server MUST send an Upgrade header field in a 426 response",
        ("handshake version *", "handshake no version"),
        {"body", "fields"},
    ),
    Difference(
        "405 has an Allow field",
        "RFC 9110 15.5.6: the origin server MUST generate an Allow header field in a 405 response",
        ("handshake POST *", "handshake HEAD *", "handshake PUT *", "handshake OPTIONS *"),
        {"fields"},
    ),
    Difference(
        "Upgrade is a list",
        "RFC 6455 4.2.1: an Upgrade header field containing the value websocket; RFC 9110 7.8: Upgrade = #protocol",
        ("handshake upgrade list",),
        {"status"},
    ),
    Difference(
        "the key is checked",
        "RFC 6455 4.2.1: a base64-encoded value that, when decoded, is 16 bytes in length",
        ("handshake short key", "handshake key no base64", "handshake two keys"),
        {"status"},
    ),
    Difference(
        "an empty Host is one",
        "RFC 9112 3.2: a client MUST send a Host field with an empty value where the target has no authority",
        ("handshake empty host",),
        {"status"},
    ),
    Difference(
        "a malformed Sec-WebSocket-Extensions is refused",
        "RFC 6455 9.1: if a value does not conform to the ABNF, the recipient MUST fail the connection",
        ("handshake malformed extension",),
        {"status"},
    ),
    Difference(
        "no WebSocket is opened over HTTP/1.0",
        "RFC 6455 4.2.1: an HTTP/1.1 or higher GET request",
        ("handshake GET / HTTP/1.0",),
        {"status"},
    ),
    Difference(
        "a subprotocol that was not offered is a ValueError",
        "assertions disappear with python -O",
        ("subprotocol not offered", "subprotocol without offer"),
        {"events"},
    ),
    # Compression.
    Difference(
        "the response says which parameters are used",
        "RFC 7692 7.1.1: a server accepts a no_context_takeover by including it in its response",
        ("offer *_no_context_takeover*",),
        {"fields"},
    ),
    Difference(
        "an offer with a wrong or an unknown parameter is declined",
        "RFC 7692 7.1: a server MUST decline an offer with an unknown or invalid parameter",
        (
            "offer *unknown",
            "offer *_max_window_bits",
            "offer *_max_window_bits=7",
            "offer *_max_window_bits=16",
        ),
        {"fields", "status"},
    ),
    Difference(
        "a window of 8 bits can be had",
        "RFC 7692 7.1.2.1: a decimal integer between 8 and 15",
        ("offer *server_max_window_bits=8",),
        {"status"},
    ),
    Difference(
        "short messages are not compressed",
        "they would not be shorter; the threshold option of get_compression_options says which",
        ("compression *", "compressed empty"),
        {"frames"},
    ),
    Difference(
        "a compression option that does not exist is an error",
        "a misspelt one would have no effect",
        ("compression {?wrong*",),
        {"status"},
    ),
    # Frames.
    Difference(
        "who breaks the protocol is told how by a Close before the end",
        "RFC 6455 7.1.7: an endpoint SHOULD send a Close frame with an appropriate status code",
        (
            *("frame *", "limit *", "compressed *"),
            *("*breaks", "*breaks later", "on_message not overridden"),
        ),
        {"frames"},
    ),
    Difference(
        "malformed compressed data is no exception of the handler's",
        "what a client does wrong is nothing an operator can act on",
        ("compressed corrupt",),
        {"events"},
    ),
    Difference(
        "a frame of a client that is not masked is refused",
        "RFC 6455 5.1: the server MUST close the connection upon receiving a frame that is not masked",
        ("frame unmasked",),
        {"events", "end"},
    ),
    Difference(
        "a control frame has no reserved bits",
        "RFC 7692 6.1: RSV1 is set only on the first frame of a data message; RFC 6455 5.2: MUST be 0",
        ("compressed rsv1 on ping",),
        {"events", "end"},
    ),
    Difference(
        "a length in more bytes than needed is refused",
        "RFC 6455 5.2: the minimal number of bytes MUST be used to encode the length",
        ("frame not minimal *",),
        {"events", "end"},
    ),
    Difference(
        "a Close with a code that may not be sent, or a reason that is not UTF-8, is none",
        "RFC 6455 7.4: which codes there are; 8.1: UTF-8 is checked in a Close too",
        ("frame close [0-9]*", "frame close bad reason"),
        {"events"},
    ),
    # Callbacks.
    Difference(
        "a callback that fails closes with 1011; the client has time to answer",
        "RFC 6455 7.4.1: 1011, the server encountered an unexpected condition",
        ("*breaks", "*breaks later", "on_message not overridden"),
        {"end"},
    ),
    Difference(
        "on_close is called for every WebSocket that was opened, whatever has failed",
        "it is there to undo what open did",
        ("open breaks*", "on_ws_connection_close breaks"),
        {"events"},
    ),
    Difference(
        "messages wait for an async on_ping too, and none comes after it has failed",
        "what on_message and on_pong do",
        ("slow on_ping", "on_ping breaks later"),
        {"events"},
    ),
    Difference(
        "what an async on_close raises is logged",
        "as what every other callback raises",
        ("on_close breaks later",),
        {"events"},
    ),
    Difference(
        "an on_finish that raises does not keep the WebSocket from being opened",
        "the client has its answer already",
        ("on_finish breaks",),
        {"events", "end"},
    ),
    Difference(
        "a ping behind our Close is answered",
        "RFC 6455 5.5.2: MUST send a Pong frame in response, unless it already received a Close frame",
        (
            *(
                "server closes, client pings",
                "close in *",
                "* after close",
                "call close*",
                "call connection close",
            ),
            *("on_message breaks*", "on_ping breaks*", "on_pong breaks*", "open breaks*"),
        ),
        {"frames", "end"},
    ),
    Difference(
        "a client that does not answer a ping is closed with 1011, and not waited for",
        "RFC 6455 7.4.1: 1000 indicates a normal closure; nobody is there who would answer",
        ("ping not answered",),
        {"frames", "end"},
    ),
    # Calls.
    Difference(
        "what may not be sent is a LocalProtocolError, before anything is sent",
        "RFC 6455 7.4: codes that MUST NOT be set in a Close; 5.6: a text message is UTF-8; the type says whose fault",
        (
            *("call close [0-9]*", "call close str", "call close long reason", "call ping 126"),
            *("call write bytes not utf-8", "call write surrogate", "call write none"),
        ),
        {"events", "frames", "end"},
    ),
    Difference(
        "set_nodelay after the end does nothing",
        "assertions disappear with python -O",
        ("nodelay after the end",),
        {"events"},
    ),
    Difference(
        "get_websocket_protocol gives None",
        "there is one version of the protocol",
        ("call protocol class",),
        {"events"},
    ),
    # The client.
    Difference(
        "read_message after the end gives None again and again",
        "there is nothing to wait for",
        ("client read after the end", "client messages before the end", "client hooks"),
        {"result"},
    ),
    Difference(
        "selected_subprotocol is known after the end too",
        "assertions disappear with python -O",
        ("client subprotocol", "client no subprotocol"),
        {"result"},
    ),
    Difference(
        "read_message beside a callback is a RuntimeError",
        "it would wait forever",
        ("client callback and read message",),
        {"result"},
    ),
    Difference(
        "a close that may not be sent, a wrong URL and a wrong argument are a ValueError or a LocalProtocolError",
        "it says what is wrong",
        ("client close that may not be sent", "client url *", "client request and timeout"),
        {"result"},
    ),
    Difference(
        "an answer that opens no WebSocket is a WebSocketError",
        "it says what is wrong; there the connection just ends",
        ("client http response where frames were expected",),
        {"result"},
    ),
]
