"""What the fan-out measurement makes of its samples, and that it stops the brokers that it starts."""

import os
from pathlib import Path

import pytest

from bench.fanout import BROKERS, Sample, summary, table


def sample(p99: float, lost: float = 0) -> Sample:
    return Sample(1000.0, 1.0, p99, lost, 5.0, 0.1, generator_busy=p99 / 100)


def test_medians_and_the_worst() -> None:
    row = summary([sample(9), sample(3, lost=2), sample(4, lost=1)])
    assert (row["p99_ms"], row["worst_p99_ms"], row["lost"], row["generator_busy"]) == (4, 9, 3, 0.09)
    assert "| redis | 1,000 | 1.0 | 4.0 | 9.0 | 3 | 5.0 | 0.10 |" in table(
        "x", {"redis": [sample(9), sample(3, 2), sample(4, 1)]}
    )


@pytest.mark.slow
@pytest.mark.needs("redis-server", "nats-server")
@pytest.mark.parametrize("name", ["workers", "redis", "nats"])
def test_a_broker_runs_until_the_block_is_left(name: str, tmp_path: Path) -> None:
    with BROKERS[name].start(str(tmp_path)) as running:
        os.kill(running.pid, 0)
        assert running.url.startswith(f"{name}:")
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
