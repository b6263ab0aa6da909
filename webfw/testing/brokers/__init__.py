"""The conformance suite of publish/subscribe, for brokers of ours and of others."""

from webfw.testing.brokers.suite import check_broker

__all__ = ["check_broker"]
