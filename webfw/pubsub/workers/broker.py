"""`WorkersBroker`: publish/subscribe among all processes of one machine, with nothing to install; no socket may enter.

It finds or starts the hub, comes back to it when the connection is lost, and then looks up what was missed.
"""

import asyncio
import json
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from webfw.iostream.wire import Wire
from webfw.log import gen_log
from webfw.pubsub.broker import BrokerClosed, BrokerError, BrokerUnavailable
from webfw.pubsub.hub import Channel, HubBroker
from webfw.pubsub.messages import History, Message, encode
from webfw.pubsub.urls import flag
from webfw.pubsub.workers import frames
from webfw.pubsub.workers.frames import FrameReader, name_and_rest, pack_name
from webfw.pubsub.workers.link import Follow, Link
from webfw.pubsub.workers.places import Place, default_path, peer_process, start_hub

__all__ = ["WorkersBroker"]

#: Seconds a hub has to be there once it was started.
START_TIMEOUT = 10.0

#: Seconds between two looks whether it is there.
START_INTERVAL = 0.02

#: Seconds for which the loop may wait for the process that has started it.
START_GRACE = 0.5

#: Seconds before the second attempt to come back, and the most between two; the first is made at once.
FIRST_DELAY = 0.05
LAST_DELAY = 2.0

#: No hub is there, or it is about to come or go, or many connect to it just now.
_NOT_YET = (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BlockingIOError)


class WorkersBroker(HubBroker):
    """Publish/subscribe among the processes of one machine, over a Unix socket.

    :param url: ``workers:/path/of/socket``, or ``workers:`` for the path in ``$WEBFW_WORKERS_SOCKET``, or else for one
        that all processes of this program share: those that `webfw.process.fork_processes` makes, whether the broker
        is made before it or in each of them, and those that are started once a broker was made.
    :param timeout: seconds after which a hub that owes an answer and is silent is given up; it may take twice as long.
    :param autostart: whether to start a hub when none is there.
    :param linger: seconds after which a hub that was started here ends when the last process has gone.
    :raises ValueError: the URL is no such one, or the path too long for a socket.

    Other parameters as `HubBroker` has them; ``presence_ttl`` is of no use here, since the members of a process that
    has died are gone at once.  ``history_size`` and ``history_age`` hold for a channel as the process that has
    published there last has them.  A message may have 16 MiB.

    The messages go through a *hub*, a small process of the same user that the first broker starts and that ends when
    the last has gone.  When it dies, another is started, and what it remembered is lost: who listens gets a `Gap`.
    """

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **HubBroker.url_options,
        "autostart": flag,
        "linger": float,
        "timeout": float,
    }

    def __init__(
        self,
        url: str = "workers:",
        *,
        timeout: float = 5.0,
        autostart: bool = True,
        linger: float = 5.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        parts = urlsplit(url)
        if parts.scheme != "workers" or parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"{url}: not workers: or workers:/path/of/socket")
        if not timeout > 0 or not linger >= 0:
            raise ValueError("timeout must be more than 0, and linger not negative")
        self.place = Place(unquote(parts.path) or default_path())
        self.url = f"workers:{self.place.path}"
        self.timeout = timeout
        self.autostart = autostart
        self.linger = linger
        self._link: Link | None = None
        #: When we came back last, and how long to wait before the next attempt.
        self._since = self._delay = 0.0

    # The connection.

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def engine_start(self) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise BrokerUnavailable(
                f"{self.url}: this platform has no Unix sockets; take another broker here"
            )
        self._link = await self._open()

    async def _open(self) -> Link:
        """Connect to the hub, which is started if need be.

        :raises BrokerUnavailable: that cannot be done.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT
        process: subprocess.Popen[bytes] | None = None
        try:
            while True:
                try:
                    self.place.check()
                    return await self._connect()
                except _NOT_YET as error:
                    if not self.autostart:
                        raise BrokerUnavailable(f"{self.url}: no hub is there ({error})") from error
                except OSError as error:
                    raise BrokerUnavailable(f"{self.url}: {error}") from error
                if loop.time() > deadline:
                    raise BrokerUnavailable(f"{self.url}: no hub has come up in {START_TIMEOUT:g} s")
                if process is None:
                    process = start_hub(self.place, self.linger)
                elif (status := process.poll()) is not None:
                    if status:
                        raise BrokerUnavailable(f"{self.url}: the hub cannot start, its status is {status}")
                    process = None
                await asyncio.sleep(START_INTERVAL)
        finally:
            if process is not None:
                try:
                    process.wait(START_GRACE)  # not for long: it ends as soon as the hub listens
                except subprocess.TimeoutExpired:  # one that hangs must not hold up the loop
                    threading.Thread(target=process.wait, daemon=True, name="webfw-hub").start()

    async def _connect(self) -> Link:
        loop = asyncio.get_running_loop()

        links: list[Link] = []

        def connected(wire: Wire) -> None:
            wire.consumer = link = Link(wire, self.url, self.timeout, self.arrived, self._link_lost)
            links.append(link)

        _, wire = await loop.create_unix_connection(lambda: Wire(loop, connected), self.place.path)
        (link,) = links
        try:
            process = peer_process(wire.get_extra_info("socket"))
            if process is not None and process[1] != self.place.uid:
                raise BrokerUnavailable(
                    f"{self.url}: the hub belongs to user {process[1]}, not to us ({self.place.uid})"
                )
            link.hello(self.history_size, self.history_age)
            async with asyncio.timeout(self.timeout):
                await link.greeted
            if link.closed:  # in the same turn
                raise ConnectionResetError("the hub has hung up")
        except TimeoutError:
            link.abort("no hello")
            raise BrokerUnavailable(f"{self.url}: the hub has not answered in {self.timeout:g} s") from None
        except BaseException:
            link.greeted.cancel()
            link.abort("no hello")
            raise
        return link

    def _live(self) -> Link:
        link = self._link
        if link is None:
            if self._closed:
                raise BrokerClosed("this broker has been closed")
            raise BrokerUnavailable(f"{self.url}: there is no connection to the hub now")
        return link

    def _link_lost(self, link: Link) -> None:
        if self._link is link:
            self._link = None
            if not self._closed:
                gen_log.warning("%s: the connection to the hub was lost", self.url)
                self.spawn(self._come_back())

    async def _come_back(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._since > LAST_DELAY:
            self._delay = 0.0  # else the hub may be one that hangs up on us each time
        link: Link | None = None
        told = ""
        while link is None:
            await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))
            self._delay = min(2 * self._delay or FIRST_DELAY, LAST_DELAY)
            try:
                link = await self._open()
            except BrokerUnavailable as error:
                if str(error) != told:  # once is enough
                    told = str(error)
                    gen_log.warning("%s; it is tried again", told)
        self._link = link
        self._since = loop.time()
        self.stats.reconnects += 1
        gen_log.info("%s: connected to the hub again", self.url)
        channels = list(self.channels.values())
        for result in await asyncio.gather(
            *(self._resume(link, c) for c in channels), return_exceptions=True
        ):
            # When this connection is lost too, `_link_lost` has begun anew.
            if isinstance(result, BaseException) and not isinstance(result, BrokerError):
                raise result

    async def _resume(self, link: Link, channel: Channel) -> None:
        """Go on with a channel on a new link, where it was left."""
        async with channel.lock:
            if channel.position is not None:
                # What comes while we look back stands behind what we find.
                follow = Follow(channel.name, held=[])
                position = await link.follow(follow)
                past = await self._pages(link, channel.name, channel.position, position, None)
                if not past.complete:
                    first = past.messages[0].id if past.messages else None
                    self.lost(channel.name, position if first is None else _before(first))
                self.stats.recovered += len(past.messages) * len(channel.listeners)
                held, follow.held = follow.held or [], None
                for message in past.messages + held:
                    self.arrived(message)
        if channel.members:
            await self._announce(channel, again=True)

    async def engine_close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
            await asyncio.sleep(0)  # for its last words

    # What it is asked.

    async def engine_publish(self, channel: str, message: Any) -> str:
        data = encode(message)
        if len(data) > frames.MAX_MESSAGE:
            raise ValueError(f"a message may have {frames.MAX_MESSAGE} bytes, not {len(data)}")
        return await self._live().publish(channel, data)

    async def engine_follow(self, channel: str) -> str:
        link = self._live()
        try:
            return await link.follow(Follow(channel))
        except asyncio.CancelledError:
            link.unfollow(channel)
            raise

    async def engine_unfollow(self, channel: str) -> None:
        if self._link is not None:
            self._link.unfollow(channel)

    async def engine_history(
        self, channel: str, since: str | None, until: str | None, limit: int | None
    ) -> History:
        return await self._pages(self._live(), channel, since, until, limit)

    async def _pages(
        self, link: Link, channel: str, since: str | None, until: str | None, limit: int | None
    ) -> History:
        name = pack_name(channel)
        begin, end = _number(link, since), _number(link, until)
        newest = frames.NONE if limit is None else min(limit, 2**62)
        result: History | None = None
        while True:
            body = frames.HISTORY_BODY.pack(begin, end, newest) + name
            page = await link.request(frames.HISTORY, body, frames.PAGE)
            flags, position = frames.PAGE_BODY.unpack_from(page)
            messages, last = self._messages(link, channel, page)
            if result is None:
                result = History(messages, bool(flags & frames.COMPLETE), f"{link.epoch}-{position}")
                end = position if end == frames.NONE else end
            elif flags & frames.COMPLETE:
                result.messages += messages
            else:  # forgotten while it was read: what is left begins here
                result.messages = messages
                result.complete = since is None
            if not flags & frames.MORE:
                return result
            begin, newest = last, frames.NONE

    def _messages(self, link: Link, channel: str, page: bytes) -> tuple[list[Message], int]:
        """The messages of a page, and the number of the last."""
        found: list[Message] = []
        last = 0
        for _, body in FrameReader().feed(page[frames.PAGE_BODY.size :]):
            last = int.from_bytes(body[:8])
            message = link.message(channel, body, name_and_rest(body, 8)[1])
            if message is not None:
                found.append(message)
        return found, last

    async def engine_presence(self, channel: str) -> dict[str, int]:
        answer = await self._live().request(frames.PRESENCE, pack_name(channel), frames.MEMBERS)
        members: dict[str, int] = json.loads(answer)
        return members

    async def engine_announce(self, channel: str, members: dict[str, int]) -> None:
        link = self._live()
        told = link.told.get(channel, {})
        changes = {member: count for member, count in members.items() if told.get(member) != count}
        changes |= dict.fromkeys(told.keys() - members.keys(), 0)
        if not changes:
            return
        body = pack_name(channel) + json.dumps(changes, separators=(",", ":")).encode()
        if len(body) >= frames.MAX_FRAME:
            raise BrokerError(f"{self.url}: too many members in {channel}")
        answer = link.request(frames.ANNOUNCE, body, frames.DONE)
        if members:
            link.told[channel] = dict(members)
        else:
            del link.told[channel]
        await answer

    def newer(self, id: str, than: str) -> bool:
        if len(id) == len(than) and id[:9] == than[:9]:
            return id > than
        # Of another hub: that one is gone, and what comes now is newer.
        return id[:9] != than[:9] or len(id) > len(than)


def _number(link: Link, id: str | None) -> int:
    """The number in an id of this hub."""
    if id is None:
        return frames.NONE
    epoch, _, number = id.partition("-")
    if epoch != link.epoch or not (number.isascii() and number.isdigit()) or len(number) > 18:
        return frames.UNKNOWN
    return int(number)


def _before(id: str) -> str:
    """The id before this one."""
    epoch, _, number = id.partition("-")
    return f"{epoch}-{int(number) - 1}"
