"""The broker of all worker processes of one machine: its client, its hub, and how the one finds the other."""

from webfw.pubsub.workers.broker import WorkersBroker
from webfw.pubsub.workers.hub import WorkersHub

__all__ = ["WorkersBroker", "WorkersHub"]
