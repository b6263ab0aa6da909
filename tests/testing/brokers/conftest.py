"""Checks run here against brokers that are known to fail, and need not be patient with them."""

import asyncio
from typing import Any

import pytest

from webfw.testing.brokers import bench, recovery, suite


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PATIENCE", 0.4)


async def find(check: Any, broker: Any, text: str) -> None:
    """The check must fail for this broker, with a text like this."""
    if check is recovery.history_has_an_age:
        bench.PATIENCE = 0.8  # more than that age
    before = asyncio.all_tasks()
    error = await suite.attempt(check, bench.Bench(broker, shared=False))
    for task in asyncio.all_tasks() - before:
        task.cancel()  # what the broken one has left
    assert error is not None, "the fault was not found"
    with pytest.raises(type(error), match=text):
        raise error
