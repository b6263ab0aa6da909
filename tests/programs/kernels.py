"""A Jupyter kernel as a browser sees it: messages over the WebSocket of its channels, in either of its two forms."""

import itertools
import json
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

Message = dict[str, Any]

#: The subprotocol with binary frames; without a subprotocol every message is JSON.
BINARY = Subprotocol("v1.kernel.websocket.jupyter.org")
PARTS = ("header", "parent_header", "metadata", "content")


def pack(message: Message) -> bytes:
    """The channel and the four parts, with a table of their offsets in front (64 bits each, little-endian)."""
    parts = [message["channel"].encode(), *(json.dumps(message[name]).encode() for name in PARTS)]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def unpack(frame: bytes) -> Message:
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    parts = [frame[start:end] for start, end in itertools.pairwise(offsets)]
    message: Message = dict(zip(PARTS, map(json.loads, parts[1:5]), strict=True))
    return message | {"channel": parts[0].decode(), "buffers": parts[5:]}


class Channels:
    """The WebSocket of one kernel."""

    def __init__(self, socket: ClientConnection, *, binary: bool) -> None:
        self._socket = socket
        self._binary = binary
        self._session = uuid.uuid4().hex

    def send(self, kind: str, content: Message, channel: str = "shell") -> str:
        """Send a message and return its id, which the answers name as their parent."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": kind,
            "session": self._session,
            "username": "test",
            "date": datetime.now(UTC).isoformat(),
            "version": "5.3",
        }
        message = {
            "channel": channel,
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
        }
        self._socket.send(pack(message) if self._binary else json.dumps(message | {"buffers": []}))
        return message_id

    def receive(self, seconds: float = 30.0) -> Message:
        frame = self._socket.recv(timeout=seconds)
        if isinstance(frame, bytes):
            assert self._binary
            return unpack(frame)
        message: Message = json.loads(frame)
        return message

    def run(self, code: str, seen: Callable[[Message], None] = lambda message: None) -> "Outcome":
        """Run a cell up to its end: its reply has come, and the kernel is idle again.

        :param seen: called with every message of the cell as it comes.
        """
        cell = self.send(
            "execute_request", {"code": code, "silent": False, "store_history": True, "stop_on_error": True}
        )
        outcome = Outcome()
        while not outcome.complete:
            message = self.receive()
            if message["parent_header"].get("msg_id") == cell:
                outcome.take(message)
                seen(message)
        return outcome


@contextmanager
def open_channels(url: str, headers: dict[str, str], *, binary: bool) -> Iterator[Channels]:
    """Connect to ``ws://HOST/api/kernels/ID/channels`` as a page of the same server would."""
    origin = Origin(url.replace("ws:", "http:").split("/api/")[0])
    protocols = [BINARY] if binary else None
    with connect(
        url, additional_headers=headers, origin=origin, subprotocols=protocols, open_timeout=20, max_size=None
    ) as socket:
        assert socket.subprotocol == (BINARY if binary else None)
        yield Channels(socket, binary=binary)


class Outcome:
    """What has come of one cell."""

    def __init__(self) -> None:
        self.output = ""
        self.errors = ""
        self.result: str | None = None
        self.reply: Message = {}
        self.kinds: list[str] = []
        self.idle = False

    @property
    def complete(self) -> bool:
        return self.idle and bool(self.reply)

    def take(self, message: Message) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        self.kinds.append(kind)
        if kind == "stream":
            if content["name"] == "stdout":
                self.output += content["text"]
            else:
                self.errors += content["text"]
        elif kind == "execute_result":
            self.result = content["data"]["text/plain"]
        elif kind == "execute_reply":
            self.reply = content
        elif kind == "status":
            self.idle = content["execution_state"] == "idle"
