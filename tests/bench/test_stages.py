"""The stages of a request are what they are called, and can be measured."""

import asyncio

import pytest

from bench import stages


async def test_every_stage_runs() -> None:
    stages.check()
    for run in stages.stages().values():
        run()
        run()


def test_another_answer_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "BODY", b"Something else")

    async def check() -> None:
        stages.check()

    with pytest.raises(SystemExit, match="200 OK"):
        asyncio.run(check())


def test_both_twins_stand_beside_each_other() -> None:
    assert stages.table({"a": 1.0, "b": 2.5}, {"a": 3.0, "b": 2.5}).splitlines()[2:] == [
        "| a | 1.00 | 3.00 |",
        "| b | 2.50 | 2.50 |",
    ]
