"""What a broker asks of JetStream: streams with the limits of today, and parts of them; no channel may enter."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from webfw.pubsub.broker import BrokerUnavailable
from webfw.pubsub.urls import without_password

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.api import StreamConfig, StreamInfo

__all__ = ["JetStream", "complete_from"]

_T = TypeVar("_T")

#: Seconds without a message after which a server that was asked for some is asked whether there are any.
IDLE = 0.2

#: A stream's description says from which number on it has all that its limits of today promise.
_DESCRIPTION = "webfw: complete from {}"


class JetStream:
    """A NATS server with JetStream, as long as there is a connection to it.

    :param shown: its URL as it may be shown.
    :param timeout: seconds to wait for an answer.
    :param api: the module ``nats.js.api``.
    :param failures: what nats-py raises when something cannot be done now.
    :param no_stream: what it raises when there is no such stream.
    :param spawn: runs what need not be waited for.

    :ivar client: nats-py's client; None while there is none.
    """

    def __init__(
        self,
        shown: str,
        timeout: float,
        api: Any,
        *,
        failures: tuple[type[BaseException], ...],
        no_stream: tuple[type[BaseException], ...],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.client: Client | None = None
        self.failures = failures
        self.no_stream = no_stream
        self._shown = shown
        self._timeout = timeout
        self._api = api
        self._spawn = spawn
        self._context: JetStreamContext | None = None

    def use(self, client: "Client | None") -> None:
        """Ask by way of this client from now on, or no more."""
        self.client = client
        self._context = None if client is None else client.jetstream(timeout=self._timeout)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self.client is not None and self.client.is_connected

    def unavailable(self, error: BaseException) -> BrokerUnavailable:
        """What says so to who has asked."""
        reason = str(error) or type(error).__name__
        return BrokerUnavailable(f"{self._shown}: {without_password(reason)}")

    def context(self) -> "JetStreamContext":
        """What to ask the server with.

        :raises BrokerUnavailable: at once while there is no connection; what nats-py would keep for later would be
            published later, too.
        """
        if self._context is None or not self.connected:
            raise BrokerUnavailable(f"{self._shown}: there is no connection now")
        return self._context

    async def ask(self, answer: Awaitable[_T]) -> _T:
        """Wait for an answer.

        :raises BrokerUnavailable: there is none, or it is a refusal.
        """
        try:
            return await answer
        except self.failures as error:
            raise self.unavailable(error) from error

    async def ensure(self, **limits: Any) -> "StreamInfo":
        """Have a stream there, with these limits; but its storage is what it was made with."""
        js = self.context()
        try:
            info = await self.ask(js.stream_info(limits["name"]))
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, self.no_stream):
                raise
            config = self._api.StreamConfig(description=_DESCRIPTION.format(0), **limits)
            try:
                return await self.ask(js.add_stream(config))
            except BrokerUnavailable:
                # Another process may have been the first to make it, with other limits.
                info = await self.ask(js.stream_info(limits["name"]))
        limits.pop("storage")  # what it was made with
        if all(getattr(info.config, name) == value for name, value in limits.items()):
            return info
        floor = complete_from(info.config)
        if limits["max_msgs_per_subject"] > (info.config.max_msgs_per_subject or 0):
            floor = info.state.last_seq  # what was removed until now had not to wait for so many to follow
        config = self._api.StreamConfig(
            description=_DESCRIPTION.format(floor), storage=info.config.storage, **limits
        )
        return await self.ask(js.update_stream(config))

    async def read(self, stream: str, subject: str, start: int | None = None) -> list[tuple[str, int, bytes]]:
        """What a stream has for a subject from a number on, or the newest of each subject: subject, number, data."""
        js, api, client = self.context(), self._api, self.client
        assert client is not None
        policy = api.DeliverPolicy.LAST_PER_SUBJECT if start is None else api.DeliverPolicy.BY_START_SEQUENCE
        consumer = await self.ask(
            js.add_consumer(
                stream,
                config=api.ConsumerConfig(
                    deliver_policy=policy,
                    opt_start_seq=start,
                    filter_subject=subject,
                    ack_policy=api.AckPolicy.NONE,
                    mem_storage=True,
                    inactive_threshold=max(5.0, 2 * self._timeout),  # if it is not deleted below
                ),
            )
        )
        try:
            count = consumer.num_pending or 0
            return await self.ask(self._pull(stream, consumer.name, count)) if count else []
        finally:
            if client.is_connected:
                self._spawn(self._delete_consumer(stream, consumer.name))

    async def _pull(self, stream: str, consumer: str, count: int) -> list[tuple[str, int, bytes]]:
        """Have a consumer's messages delivered, in one batch."""
        js, client = self.context(), self.client
        assert client is not None
        got: list[tuple[str, int, bytes]] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def take(message: "Msg") -> None:
            ended = message.headers is not None and "Status" in message.headers  # fewer are there by now
            if not ended:
                got.append((message.subject, message.metadata.sequence.stream, message.data))
            if (ended or len(got) == count) and not done.done():
                done.set_result(None)

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=take)
        try:
            ask = json.dumps({"batch": count, "no_wait": True}).encode()
            await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", ask, reply=inbox)
            async with asyncio.timeout(self._timeout):
                while not (await asyncio.wait([done], timeout=IDLE))[0]:
                    # A server whose messages went away after it had counted them says nothing at all.
                    state = await js.consumer_info(stream, consumer)
                    sent = state.delivered.consumer_seq if state.delivered is not None else 0
                    if not state.num_pending and len(got) >= sent:
                        break
        finally:
            await subscription.unsubscribe()
        return got

    async def _delete_consumer(self, stream: str, name: str) -> None:
        try:
            await self.ask(self.context().delete_consumer(stream, name))
        except BrokerUnavailable:
            pass  # the server forgets it by itself


def complete_from(config: "StreamConfig") -> int:
    """From which number on a stream has all that its limits of today promise."""
    found = re.search(r"complete from (\d+)", config.description or "")
    return int(found[1]) if found is not None else 0
