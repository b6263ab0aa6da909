"""How many processors there are for this process."""

import math
import os
import sys
from pathlib import Path

import pytest

from webfw.process import cpu_count, cpus


def test_cpu_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    if sys.version_info >= (3, 13):
        monkeypatch.setattr(os, "process_cpu_count", lambda: 4)
    monkeypatch.setattr(cpus, "_cpu_limit", lambda: math.inf)
    if sys.version_info < (3, 13):
        assert cpu_count() == os.cpu_count()
    monkeypatch.setattr(cpus, "_cpu_limit", lambda: 0.5)
    assert cpu_count() == 1


@pytest.mark.parametrize(
    ("membership", "limits", "limit"),
    [
        ("0::/\n", {"": "150000 100000"}, 1.5),
        ("1:cpu:/x\n0::/pod/box\n", {"pod": "200000 100000", "pod/box": "max 100000"}, 2.0),
        ("0::/pod/box\n", {"pod": "max 100000", "pod/box": "50000 100000"}, 0.5),
        ("0::/../elsewhere\n", {"": "nonsense"}, math.inf),
        ("0::/\n", {"": "1 0"}, math.inf),
        ("1:cpu:/x\n", {}, math.inf),
        (None, {}, math.inf),
    ],
)
def test_the_processor_time_of_a_container(
    tmp_path: Path, membership: str | None, limits: dict[str, str], limit: float
) -> None:
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    for group, text in limits.items():
        directory = tmp_path / "groups" / group
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.max").write_text(text + "\n")
    assert cpus._cpu_limit(str(tmp_path / "groups"), str(tmp_path / "membership")) == limit
