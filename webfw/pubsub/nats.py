"""A broker on NATS: a JetStream stream for the history, republished for delivery; nothing but NATS may enter.

All channels of a prefix share one stream.  The server stores a message and *republishes* it, with its sequence number
and that of its channel's message before, to the core subscriptions of the processes that follow the channel.  Why not
consumers: an ordered consumer for each channel and process is state in the server, and is made anew after each outage;
a core subscription costs next to nothing, comes back with the connection, and with the chain of numbers loses nothing:

* a message whose predecessor has not come (dropped on the way) makes the channel read what is missing from the stream;
* after an outage every channel reads from its position, whether or not something comes;
* what the stream has no more is told by a `Gap`.

How it is known that nothing is missing, though messages leave the stream without a trace: by age they leave it oldest
first, whatever their channel, so that those after the stream's first number are all there but for the limit of their
channel; by that limit they leave oldest first in their channel, which keeps one more than it shows.  In doubt there is
a `Gap`: so for who comes back, with an id older than ``history_age``, to a channel that is not followed here.

Ids are ``STREAM-NUMBER``: when the stream was made, and the number in it.  Needs NATS 2.9 or newer with JetStream.
Presence is a second stream, in the server's memory, whose messages live for ``presence_ttl``.

    PREFIX.m.CHANNEL      messages          PREFIX.r.CHANNEL     the same, republished
    PREFIX.w.CHANNEL.ID   who listens in the process ID
"""

import asyncio
import json
import re
import secrets
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import unquote, urlsplit

from webfw.log import gen_log
from webfw.pubsub.broker import BrokerUnavailable
from webfw.pubsub.hub import HubBroker
from webfw.pubsub.jetstream import JetStream, complete_from
from webfw.pubsub.messages import History, Message, decode, encode
from webfw.pubsub.urls import without_password

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js.api import StreamInfo

__all__ = ["NatsBroker"]

_T = TypeVar("_T")

_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ID = re.compile(r"([0-9a-f]{8,20})-([0-9]{1,18})", re.ASCII)
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")

#: Seconds between attempts: to connect again, and to ask a server that is there but not ready.
RECONNECT = 0.5
RETRY = 0.2

#: Seconds between questions whether a server that says nothing is still there; after two without answer it is not.
PING = 10

#: The longest time, in seconds, between two looks at how far the stream is.
TICK = 15.0


class _Follow:
    """A channel that is followed.

    :ivar held: while what is missing is read, what comes meanwhile; None at other times.
    """

    __slots__ = ("held", "subscription")

    def __init__(self) -> None:
        self.held: list[tuple[int, int, bytes]] | None = None
        self.subscription: Subscription | None = None


class NatsBroker(HubBroker):
    """Publish/subscribe through a NATS server with JetStream.

    :param url: ``nats://[user:password@]host[:port]``, or ``tls://`` for TLS with the system's certificates; a user
        without a password is a token.
    :param prefix: the first word of all subjects, and the stream's name: letters, digits, ``_`` and ``-``.
    :param storage: where a stream that is not there yet keeps messages: ``"file"``, or ``"memory"``, which a restart
        of the server empties.
    :param timeout: seconds to wait for an answer, more than 0; also for the first connection.
    :param connect_options: more of what nats-py's ``connect`` takes, such as ``user_credentials`` or ``tls``.

    Other parameters as `HubBroker` and `Broker` have them.  ``history_size``, ``history_age`` and ``presence_ttl`` are
    limits of the streams, so they should be the same in all processes: the last to start has its way.

    :raises ImportError: nats-py is missing.
    """

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **HubBroker.url_options,
        "prefix": str,
        "storage": str,
        "timeout": float,
    }

    def __init__(
        self,
        url: str = "nats://127.0.0.1:4222",
        *,
        prefix: str = "webfw",
        storage: str = "file",
        timeout: float = 3.0,
        connect_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        try:
            import nats.errors
            import nats.js.errors
            from nats.js import api
        except ImportError as error:
            raise ImportError("a broker on NATS needs nats-py: pip install 'webfw[nats]'") from error
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"prefix must be letters, digits, '_' and '-': {prefix!r}")
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0, not {timeout!r}")
        self.prefix = prefix
        self.timeout = timeout
        #: The URL as it may be shown.
        self.shown = without_password(url)
        self._connect_options = {**_from_url(url), **(connect_options or {})}
        if storage not in ("file", "memory"):
            raise ValueError(f"storage must be 'file' or 'memory', not {storage!r}")
        self._storage = api.StorageType(storage)
        self._api = api
        self._too_large = nats.errors.MaxPayloadError
        self._server = JetStream(
            self.shown,
            timeout,
            api,
            failures=(nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError),
            no_stream=(nats.js.errors.NoStreamResponseError, nats.js.errors.NotFoundError),
            spawn=self.spawn,
        )
        self._epoch = ""
        self._me = secrets.token_hex(8)
        self._follows: dict[str, _Follow] = {}
        #: A number up to which all messages of followed channels have certainly come, and the next such number.
        self._settled = 0
        self._settling: int | None = None
        self._resyncing = False
        self._again = False
        self._doubt = asyncio.Event()
        #: How often the connection was lost, and how often it had been when the stream was looked at last.
        self._outages = 0
        self._looked = 0

    # The connection.

    @property
    def connected(self) -> bool:
        return self._server.connected

    async def engine_start(self) -> None:
        from nats.aio.client import Client

        client = Client()
        refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def failed(error: Exception) -> None:
            if not refused.done():
                refused.set_result(error)

        options: dict[str, Any] = {
            "name": self.prefix,
            "ping_interval": PING,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT,
            **self._connect_options,
            "error_cb": failed,  # of later errors, those that matter are also seen elsewhere
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
        }
        connecting = asyncio.ensure_future(client.connect(**options))
        try:
            either: set[asyncio.Future[Any]] = {connecting, refused}
            await asyncio.wait(either, timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise self._server.unavailable(
                    refused.result() if refused.done() else TimeoutError("no answer")
                )
            await self._server.ask(connecting)
            self._server.use(client)
            await self._ensure()
        except BaseException:
            self._server.use(None)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await client.close()
            raise
        refused.cancel()
        self.spawn(self._keep_looking())

    async def engine_close(self) -> None:
        client = self._server.client
        self._server.use(None)
        self._follows.clear()
        if client is not None:
            await client.close()

    async def _disconnected(self) -> None:
        self._outages += 1
        self._settling = None
        if self._server.client is not None and not self._closed:
            gen_log.warning("%s: the connection is lost, trying to get it back", self.shown)

    async def _reconnected(self) -> None:
        if not self._closed:
            self.stats.reconnects += 1
            gen_log.info("%s: the connection is back", self.shown)
            self._resync()

    # The streams.

    def _subject(self, kind: str, channel: str) -> str:
        """A channel's subject; in its name all but plain characters are written as ``=`` and two hex digits."""
        token = "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in channel.encode())
        return f"{self.prefix}.{kind}.{token}"

    async def _ensure(self) -> "StreamInfo":
        """Have both streams there, with the limits of today."""
        age = 0.0 if self.history_age > 1e9 else max(self.history_age, 0.1)
        outages = self._outages
        info = await self._server.ensure(
            name=self.prefix,
            subjects=[f"{self.prefix}.m.>"],
            max_msgs_per_subject=(self.history_size if self.history_age else 0) + 1,
            max_age=age,
            storage=self._storage,
            republish=self._api.RePublish(src=f"{self.prefix}.m.>", dest=f"{self.prefix}.r.>"),
        )
        await self._server.ensure(
            name=f"{self.prefix}-presence",
            subjects=[f"{self.prefix}.w.>"],
            max_msgs_per_subject=1,
            max_age=max(self.presence_ttl, 0.1),
            storage=self._api.StorageType.MEMORY,
        )
        self._see(info, outages)
        return info

    async def _info(self, subject: str | None = None) -> "StreamInfo":
        js = self._server.context()
        outages = self._outages
        try:
            info = await self._server.ask(js.stream_info(self.prefix, subjects_filter=subject))
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, self._server.no_stream):
                raise
            return await self._ensure()
        self._see(info, outages)
        return info

    def _see(self, info: "StreamInfo", outages: int) -> None:
        """Notice a stream that is not the one of before: somebody has removed it, or the server has lost it."""
        assert info.created is not None
        self._looked = outages
        epoch = f"{int(info.created.timestamp() * 1_000_000):x}"
        if epoch != self._epoch:
            before, self._epoch = self._epoch, epoch
            self._settled, self._settling = 0, None
            if before:
                self._resync()

    def _parse(self, id: str) -> int | None:
        """The number in an id of this stream; None for any other."""
        found = _ID.fullmatch(id)
        return int(found[2]) if found is not None and found[1] == self._epoch else None

    # What the hub asks for.

    async def engine_publish(self, channel: str, message: Any) -> str:
        data = encode(message)
        subject = self._subject("m", channel)
        try:
            if self._looked != self._outages:
                await self._info()  # else the id could be of a stream that the server has lost
            try:
                ack = await self._server.context().publish(subject, data, timeout=self.timeout)
            except self._server.no_stream:
                await self._ensure()
                ack = await self._server.context().publish(subject, data, timeout=self.timeout)
        except self._too_large as error:
            raise ValueError(f"{self.shown} takes no message of {len(data)} bytes") from error
        except self._server.failures as error:
            raise self._server.unavailable(error) from error
        return f"{self._epoch}-{ack.seq}"

    async def engine_follow(self, channel: str) -> str:
        client = self._server.client
        self._server.context()
        assert client is not None
        follow = self._follows[channel] = _Follow()

        async def take(message: "Msg") -> None:
            headers = message.headers or {}
            number, before = headers.get("Nats-Sequence", ""), headers.get("Nats-Last-Sequence", "")
            if number.isdigit() and before.isdigit():  # else somebody has sent it here himself
                self._take(channel, follow, int(number), int(before), message.data)

        try:
            follow.subscription = await self._server.ask(
                client.subscribe(self._subject("r", channel), cb=take)
            )
            # Asked after the subscription, on one connection: what comes to the stream later, also comes here.
            info = await self._info()
        except BaseException:
            await self.engine_unfollow(channel)
            raise
        return f"{self._epoch}-{info.state.last_seq}"

    async def engine_unfollow(self, channel: str) -> None:
        follow = self._follows.pop(channel, None)
        if follow is not None and follow.subscription is not None:
            try:
                await follow.subscription.unsubscribe()
            except self._server.failures:
                pass  # the connection is closed

    async def engine_history(
        self, channel: str, since: str | None, until: str | None, limit: int | None
    ) -> History:
        subject = self._subject("m", channel)
        for _ in range(3):
            info = await self._info()
            epoch = self._epoch
            after = None if since is None else self._parse(since)
            known = after is not None and after <= info.state.last_seq
            found: list[tuple[str, int, bytes]] = []
            if info.state.messages:
                found = await self._server.read(
                    self.prefix, subject, after + 1 if known and after is not None else 1
                )
            complete = since is None
            if known and after is not None:
                complete = since == until or await self._complete(channel, subject, after)
            if self._epoch == epoch:
                break
        else:
            raise BrokerUnavailable(f"{self.shown}: its stream is being replaced")
        last = found[-1][1] if found else max(after or 0, info.state.last_seq if not known else 0)
        shown = max(info.config.max_msgs_per_subject - 1, 0)
        kept = found[len(found) - min(shown, len(found)) :]
        if until is not None:
            end = self._parse(until)
            kept = [entry for entry in kept if end is not None and entry[1] <= end]
            complete = complete and (end is not None or since is None)
        messages = [made for _, n, data in kept if (made := self._message(channel, n, data)) is not None]
        if limit is not None:
            messages = messages[len(messages) - min(limit, len(messages)) :]
        return History(messages, complete, f"{epoch}-{last}")

    async def _complete(self, channel: str, subject: str, after: int) -> bool:
        """Whether the stream still has all that came to a channel after a number, as far as it can be known."""
        info = await self._info(subject)  # asked after reading: what was there then was not removed before
        state = info.state
        if not complete_from(info.config) <= after <= state.last_seq:
            return False
        entry = self.channels.get(channel)
        here = None if entry is None or entry.position is None else self._parse(entry.position)
        by_age = after if here is None or after < here else max(after, self._settled)
        if by_age + 1 < state.first_seq:
            return False  # some of the numbers between them may have been of this channel
        if (state.subjects or {}).get(subject, 0) < info.config.max_msgs_per_subject:
            return True
        try:
            js = self._server.context()
            first = await self._server.ask(js.get_msg(self.prefix, seq=1, next=True, subject=subject))
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, self._server.no_stream):
                return False  # too old in this moment
            raise
        return first.seq is not None and first.seq <= after

    def _message(self, channel: str, number: int, data: bytes) -> Message | None:
        try:
            return Message(channel, f"{self._epoch}-{number}", decode(data))
        except ValueError as error:
            gen_log.info("%s: what came for %r is ignored: %s", self.shown, channel, error)
            return None

    async def engine_presence(self, channel: str) -> dict[str, int]:
        here: Counter[str] = Counter()
        for _, _, data in await self._server.read(
            f"{self.prefix}-presence", self._subject("w", channel) + ".*"
        ):
            try:
                here.update({str(member): int(count) for member, count in json.loads(data).items()})
            except (ValueError, TypeError, AttributeError):
                gen_log.info("%s: who is said to be in %r is ignored: %r", self.shown, channel, data[:40])
        return dict(here)

    async def engine_announce(self, channel: str, members: dict[str, int]) -> None:
        js = self._server.context()
        subject = f"{self._subject('w', channel)}.{self._me}"
        await self._server.ask(js.publish(subject, json.dumps(members).encode(), timeout=self.timeout))

    def newer(self, id: str, than: str) -> bool:
        epoch, _, number = id.partition("-")
        epoch_than, _, number_than = than.partition("-")
        return epoch != epoch_than or int(number) > int(number_than)

    # What comes, and what does not.

    def _take(self, channel: str, follow: _Follow, number: int, before: int, data: bytes) -> None:
        """A message has been republished; ``before`` is the number of its channel's last, 0 if that is gone."""
        if follow.held is not None:
            follow.held.append((number, before, data))
            return
        entry = self.channels.get(channel)
        position = None if entry is None or entry.position is None else self._parse(entry.position)
        if entry is not None and entry.position is not None and (position is None or before > position):
            # Of another stream than what came before, or its predecessor has not come.
            follow.held = [(number, before, data)]
            self.spawn(self._recover(channel, follow))
            return
        if position is not None and number <= position:
            # It came by reading, too; or the numbers have begun anew.
            self._doubt.set()
            return
        message = self._message(channel, number, data)
        if message is not None:
            self.arrived(message)
        elif entry is not None and position is not None:
            entry.position = f"{self._epoch}-{number}"

    async def _recover(self, name: str, follow: _Follow) -> None:
        """Read what has not come since a channel's position; what comes meanwhile is held."""
        past, entry = None, None
        try:
            while past is None and self._follows.get(name) is follow:
                entry = self.channels.get(name)
                if entry is None or entry.position is None:
                    break
                try:
                    past = await self.engine_history(name, entry.position, None, None)
                except BrokerUnavailable:
                    if not self._server.connected:
                        break  # and once more when it is back
                    await asyncio.sleep(RETRY)
        finally:
            held, follow.held = follow.held or [], None
        if past is None or entry is None or entry.position is None:
            return
        if not past.complete:
            position = self._parse(entry.position) or 0
            next_ones = [self._parse(message.id) or 0 for message in past.messages[:1]]
            next_ones += [number for number, _, _ in held if number > position]
            self.lost(name, f"{self._epoch}-{min(next_ones) - 1}" if next_ones else past.position)
        for message in past.messages:
            self.arrived(message)
        for event in held:
            self._take(name, follow, *event)

    def _resync(self) -> None:
        """Bring everything up to date: after an outage, or when the stream is another one."""
        self._again = True
        if not self._resyncing:
            self._resyncing = True
            self.spawn(self._resync_all())

    async def _resync_all(self) -> None:
        try:
            while self._again:
                self._again = False
                try:
                    await self._ensure()
                except BrokerUnavailable:
                    if not self._server.connected:
                        return  # until it is back
                    self._again = True  # it is there, but JetStream is not ready yet
                    await asyncio.sleep(RETRY)
                    continue
                for name, follow in list(self._follows.items()):
                    if follow.held is None:  # else it is being done
                        follow.held = []
                        await self._recover(name, follow)
                await self.announce_again()
        finally:
            self._resyncing = False

    async def _keep_looking(self) -> None:
        """Look now and then, and in doubt, which stream it is and how far it is.

        What it had at one look in time has come here by the next.
        """
        while True:
            outages = self._outages
            try:
                async with asyncio.timeout(min(TICK, max(self.history_age / 4, 0.05))):
                    await self._doubt.wait()
            except TimeoutError:
                pass
            doubt = self._doubt.is_set()
            self._doubt.clear()
            try:
                last = (await self._info()).state.last_seq
            except BrokerUnavailable:
                continue  # the connection is lost, and looks when it is back
            if doubt:
                continue
            if outages != self._outages or any(follow.held is not None for follow in self._follows.values()):
                self._settling = None
                continue
            if self._settling is not None:
                self._settled = self._settling
            self._settling = last


def _from_url(url: str) -> dict[str, Any]:
    """What nats-py's ``connect`` is to be called with."""
    parts = urlsplit(url)
    if (
        parts.scheme not in ("nats", "tls")
        or not parts.hostname
        or parts.path not in ("", "/")
        or parts.query
    ):
        raise ValueError(f"{without_password(url)}: expected nats://[user:password@]host[:port]")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    options: dict[str, Any] = {"servers": [f"{parts.scheme}://{host}:{parts.port or 4222}"]}
    if parts.scheme == "tls":
        options["tls"] = ssl.create_default_context()
    if parts.password is not None:
        options |= {"user": unquote(parts.username or ""), "password": unquote(parts.password)}
    elif parts.username:
        options["token"] = unquote(parts.username)
    return options
