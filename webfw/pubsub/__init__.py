"""Publish/subscribe with history, recovery and presence, in one process or across many."""

from webfw.pubsub.assets import STATIC_PATH
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
