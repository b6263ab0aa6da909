"""Publish/subscribe with history, recovery and presence, in one process or across many."""

from pathlib import Path

from webfw.pubsub.broker import (
    Attachment,
    Broker,
    BrokerClosed,
    BrokerError,
    BrokerStats,
    BrokerUnavailable,
    Listener,
    SlowSubscriber,
    Subscription,
)
from webfw.pubsub.memory import MemoryBroker
from webfw.pubsub.messages import Gap, History, Message
from webfw.pubsub.urls import connect

__all__ = [
    "STATIC_PATH",
    "Attachment",
    "Broker",
    "BrokerClosed",
    "BrokerError",
    "BrokerStats",
    "BrokerUnavailable",
    "Gap",
    "History",
    "Listener",
    "MemoryBroker",
    "Message",
    "SlowSubscriber",
    "Subscription",
    "connect",
]

#: The folder of the client for browsers, ``webfw-live.js``, for a route to `StaticFileHandler`.
STATIC_PATH = str(Path(__file__).parent / "static")
