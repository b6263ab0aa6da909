"""Many subscribers come and go on several brokers while servers die and connections break: nothing is missing."""

import logging
import random
from pathlib import Path

import pytest

from tests.pubsub.soaking import soak
from webfw.pubsub import nats

pytestmark = [
    pytest.mark.slow,
    # nats-py leaves a connection that failed while it was being set up to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:loop is closed:ResourceWarning"),
]

REDIS = pytest.mark.needs("redis-server")
NATS = pytest.mark.needs("nats-server")


@pytest.fixture(autouse=True)
def outages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages are what this is about: whatever is said of them, at any level, is no reason to fail."""
    monkeypatch.setattr(logging.getLogger("webfw.general"), "disabled", True)
    monkeypatch.setattr(nats, "RECONNECT", 0.05)


@pytest.mark.parametrize(
    ("engine", "history"),
    [
        ("memory", 20),
        ("workers", 100_000),
        ("workers", 20),
        pytest.param("redis-always", 100_000, marks=REDIS),
        pytest.param("redis-everysec", 20, marks=REDIS),
        pytest.param("nats", 100_000, marks=NATS),
        pytest.param("nats", 20, marks=NATS),
    ],
)
async def test_soak(engine: str, history: int, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    random.seed(seed)
    found = await soak(engine, tmp_path, seconds=6, subscribers=100, history=history)
    assert found["messages"] > 100
    assert found["returns"] > 100
    if history > 20 and engine != "workers":  # whose memory ends with the hub
        assert not found["gaps"]
