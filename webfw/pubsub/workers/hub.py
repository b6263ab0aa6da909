"""The hub: one process that takes the messages of all workers and gives each to those who follow; no files may enter.

Where its socket is and who may start it is the matter of `places`.
"""

import asyncio
import secrets
import socket
import sys
from collections.abc import Callable
from typing import Any

from webfw.iostream.wire import Wire
from webfw.log import gen_log
from webfw.pubsub.workers import frames
from webfw.pubsub.workers.frames import FrameReader, frame, name_and_rest
from webfw.pubsub.workers.places import Place, peer_process
from webfw.pubsub.workers.store import Channel, Store
from webfw.sansio.errors import RemoteProtocolError

__all__ = ["WorkersHub"]

#: Bytes that may wait for a worker which does not read; beyond that it is cut off, and comes back for the rest.
MAX_UNSENT = 32 * 1024 * 1024

#: Seconds a new connection has to say hello.
HELLO_TIMEOUT = 10.0

#: Seconds that a hub waits for its first worker, if it does not linger longer.
FIRST_WAIT = 2.0

#: Seconds between two looks at what has grown old.
SWEEP_INTERVAL = 1.0

#: Connections that the kernel keeps until they are accepted.
BACKLOG = 1024


class WorkersHub:
    """The hub of `WorkersBroker`, as ``python -m webfw.pubsub.workers`` runs it, or a program in its own loop.

    :param path: of the socket.
    :param linger: seconds after the last worker has gone until the hub ends by itself, and at least 2 after it has
        started; None for never.
    :param max_unsent: bytes that may wait for a worker which does not read before it is cut off.
    :param lock_fd: descriptor of the lock, when whoever starts the hub holds it already.

    Only processes of the same user may connect.
    """

    def __init__(
        self,
        path: str,
        *,
        linger: float | None = None,
        max_unsent: int = MAX_UNSENT,
        lock_fd: int | None = None,
    ) -> None:
        self.place = Place(path)
        self.linger = linger
        self.max_unsent = max_unsent
        #: A number that is new for each hub, so that ids of another one are known.
        self.epoch = secrets.randbits(32)
        self.store: Store[_Peer] = Store()
        self.peers: set[_Peer] = set()
        self.now = 0.0
        self._lock_fd = lock_fd
        self._sock: socket.socket | None = None
        self._dirty: list[_Peer] = []
        self._server: asyncio.AbstractServer | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ended: asyncio.Event | None = None

    def claim(self) -> None:
        """Take the path and bind the socket, so that workers can already connect; `start` does it otherwise.

        :raises BrokerUnavailable: another hub has the path, or it cannot be used.
        """
        if self._sock is None:
            self._sock = self.place.claim(self._lock_fd, BACKLOG)

    async def start(self) -> None:
        """Serve.

        :raises BrokerUnavailable: as `claim`.
        """
        if self._ended is not None:
            raise RuntimeError("this hub was started already")
        self.claim()
        sock = self._sock
        assert sock is not None
        self._ended = asyncio.Event()
        self._loop = loop = asyncio.get_running_loop()
        self.now = loop.time()
        try:
            # From 3.13 on asyncio would remove the path, which is ours to remove while the lock is held.
            options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
            self._server = await loop.create_unix_server(
                self._make_wire, sock=sock, backlog=BACKLOG, **options
            )
        except BaseException:
            sock.close()
            self.place.release()
            raise
        self.place.sign()
        self._later("sweep", SWEEP_INTERVAL, self._sweep)
        self._alone(FIRST_WAIT)

    async def stop(self) -> None:
        """Stop listening, remove the socket, and let all workers go; twice does no harm."""
        self._end()
        await asyncio.sleep(0)

    async def wait(self) -> None:
        """Until it has ended."""
        if self._ended is not None:
            await self._ended.wait()

    def _end(self) -> None:
        if self._server is None:
            return
        self.place.forget_socket()
        self._server.close()
        self._server = None
        for timer in self._timers.values():
            timer.cancel()
        self._flush()
        for peer in list(self.peers):
            peer.wire.close()
        self.place.release()
        assert self._ended is not None
        self._ended.set()

    # Time.

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(delay, call)

    def _sweep(self) -> None:
        self._later("sweep", SWEEP_INTERVAL, self._sweep)
        self.now = now = self._loop.time()
        self.store.expire(now)
        for peer in list(self.peers):
            if not peer.greeted and now - peer.since > HELLO_TIMEOUT:
                self.drop(peer, "it said nothing")
        if not self.place.is_ours():
            gen_log.warning("the hub of %s ends: its socket was removed or replaced", self.place.path)
            self._end()

    def _alone(self, least: float = 0.0) -> None:
        """Begin to wait for the first, or the next, worker."""
        if self.linger is not None and not self.peers and self._server is not None:
            self._later("linger", max(self.linger, least), self._end)

    # Workers.

    def _make_wire(self) -> Wire:
        return Wire(self._loop, self._connected)

    def _connected(self, wire: Wire) -> None:
        peer = _Peer(self, wire)
        wire.consumer = peer
        self.peers.add(peer)
        if "linger" in self._timers:
            self._timers.pop("linger").cancel()
        process = peer_process(wire.get_extra_info("socket"))
        if process is not None:
            peer.pid, uid = process
            if uid != self.place.uid:
                self.drop(peer, f"it belongs to user {uid}")

    def drop(self, peer: "_Peer", why: str) -> None:
        """Cut a worker off."""
        gen_log.warning("the hub of %s drops process %s: %s", self.place.path, peer.pid or "?", why)
        peer.wire.abort()

    def gone(self, peer: "_Peer") -> None:
        """Forget a worker: it follows nothing and has no members any more."""
        self.peers.discard(peer)
        peer.out.clear()
        for entry in peer.follows:
            entry.followers.discard(peer)
            self.store.forget(entry)
        for entry in peer.announced:
            entry.members.pop(peer, None)
            self.store.forget(entry)
        self._alone()

    # What is to be sent: all that comes up in one turn of the loop leaves in one write to each worker.

    def send(self, peer: "_Peer", made: bytes) -> None:
        """Send a frame to one worker with all others of this turn."""
        if not peer.out:
            self.mark(peer)
        peer.out.append(made)

    def mark(self, peer: "_Peer") -> None:
        """Have a worker's frames sent at the end of this turn."""
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(peer)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for peer in dirty:
            out, peer.out, peer.paged = peer.out, [], 0
            wire = peer.wire
            if not out or wire.closing:
                continue
            wire.write(out[0] if len(out) == 1 else b"".join(out))
            if wire.write_paused and wire.write_buffer_size > self.max_unsent:
                self.drop(peer, f"it does not read, and {wire.write_buffer_size} bytes wait for it")


class _Peer:
    """One worker's connection, the consumer of its wire."""

    __slots__ = (
        "age",
        "announced",
        "follows",
        "greeted",
        "hub",
        "out",
        "paged",
        "pid",
        "reader",
        "since",
        "size",
        "wire",
    )

    def __init__(self, hub: WorkersHub, wire: Wire) -> None:
        self.hub = hub
        self.wire = wire
        self.reader = FrameReader()
        self.greeted = False
        self.pid = 0
        self.since = hub._loop.time()
        #: The limits of its histories.
        self.size = 0
        self.age = 0.0
        #: Frames to be sent at the end of this turn, and how many bytes of them are histories.
        self.out: list[bytes] = []
        self.paged = 0
        self.follows: set[Channel[_Peer]] = set()
        self.announced: set[Channel[_Peer]] = set()

    # What the wire calls.

    def data_received(self, data: bytes) -> None:
        hub = self.hub
        store = hub.store
        hub.now = now = hub._loop.time()
        published = 0
        try:
            for kind, body in self.reader.feed(data):
                if kind == frames.PUBLISH and self.greeted:
                    entry, made = store.publish(body, now, self.size, self.age)
                    published += 1
                    for peer in entry.followers:
                        if not peer.out:
                            hub.mark(peer)
                        peer.out.append(made)
                    continue
                if published:
                    self._acknowledge(published)
                    published = 0
                self._take(kind, body)
        except RemoteProtocolError as error:
            hub.drop(self, f"it sent {error}")
            return
        if published:
            self._acknowledge(published)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.hub.gone(self)

    def resume_writing(self) -> None:
        pass

    # Frames.

    def _acknowledge(self, count: int) -> None:
        """Nobody else can have published in between: the numbers of these are without a gap."""
        body = frames.ACKS_BODY.pack(count, self.hub.store.count)
        self.hub.send(self, frame(frames.ACKS, body))

    def _take(self, kind: int, body: bytes) -> None:
        if not self.greeted:
            if not self.wire.closing:
                self._hello(kind, body)
            return
        take = self._KINDS.get(kind)
        if take is None:
            raise RemoteProtocolError(f"a frame of the unknown kind {kind}")
        take(self, body)

    def _hello(self, kind: int, body: bytes) -> None:
        if kind != frames.HELLO or body[:8] != frames.MAGIC or len(body) < frames.HELLO_START.size:
            raise RemoteProtocolError("no hello")
        version = frames.HELLO_START.unpack_from(body)[1]
        answer = frames.HELLO_BACK.pack(frames.MAGIC, frames.VERSION, self.hub.epoch)
        self.hub.send(self, frame(frames.HELLO, answer))
        if version != frames.VERSION:
            # It knows what ours is as soon as it has the answer, and goes by itself.
            gen_log.warning("a worker of version %d cannot use the hub of %s", version, self.hub.place.path)
            self.hub._flush()
            self.wire.close()
            return
        if len(body) != frames.HELLO_TO_HUB.size:
            raise RemoteProtocolError("a hello of the wrong length")
        _, _, self.size, self.age = frames.HELLO_TO_HUB.unpack(body)
        if not self.age >= 0:
            raise RemoteProtocolError(f"a history of {self.age} s")
        self.greeted = True

    def _whole_name(self, body: bytes, start: int = 0) -> bytes:
        name, end = name_and_rest(body, start)
        if end != len(body):
            raise RemoteProtocolError("a frame that is too long")
        return name

    def _follow(self, body: bytes) -> None:
        store = self.hub.store
        entry = store.channel(self._whole_name(body))
        self.hub.send(self, frame(frames.FOLLOWED, frames.NUMBER.pack(store.count)))
        entry.followers.add(self)
        self.follows.add(entry)

    def _unfollow(self, body: bytes) -> None:
        entry = self.hub.store.channels.get(self._whole_name(body))
        if entry is not None:
            entry.followers.discard(self)
            self.follows.discard(entry)
            self.hub.store.forget(entry)

    def _history(self, body: bytes) -> None:
        start = frames.HISTORY_BODY.size
        if len(body) < start:
            raise RemoteProtocolError("half a question for history")
        since, until, limit = frames.HISTORY_BODY.unpack_from(body)
        page = self.hub.store.history(self._whole_name(body, start), self.hub.now, since, until, limit)
        # The frames of messages are shared by all that send them; pages are copies.
        self.paged += len(page)
        if self.paged > self.hub.max_unsent:
            raise RemoteProtocolError("more questions for history than can be answered at once")
        self.hub.send(self, frame(frames.PAGE, page))

    def _presence(self, body: bytes) -> None:
        members = self.hub.store.presence(self._whole_name(body))
        if len(members) < frames.MAX_FRAME:
            self.hub.send(self, frame(frames.MEMBERS, members))
        else:
            self.hub.send(self, frame(frames.FAILED, b"the channel has too many members to name them all"))

    def _announce(self, body: bytes) -> None:
        name, end = name_and_rest(body)
        entry = self.hub.store.announce(self, name, body[end:])
        if self in entry.members:
            self.announced.add(entry)
        else:
            self.announced.discard(entry)
        self.hub.send(self, frame(frames.DONE))

    _KINDS = {
        frames.FOLLOW: _follow,
        frames.UNFOLLOW: _unfollow,
        frames.HISTORY: _history,
        frames.PRESENCE: _presence,
        frames.ANNOUNCE: _announce,
    }
