"""Tools for testing what is built with webfw: fakes of the network and the clock; no test case of ours may enter."""

from webfw.testing.brokers import check_broker
from webfw.testing.fakes import FakeClock, FakeWire

__all__ = ["FakeClock", "FakeWire", "check_broker"]
