"""The limit on open files: asked, and raised as far as one may; in processes of their own, since it stays."""

import subprocess
import sys

import pytest

from webfw.process import descriptors
from webfw.process.descriptors import MOST, descriptor_limit, raise_descriptor_limit

resource = pytest.importorskip("resource")


class Limits:
    """Stands for the module ``resource``, as systems differ."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int, most: int = 1 << 40) -> None:
        self.limits = soft, hard
        self.most = most

    def getrlimit(self, what: int) -> tuple[int, int]:
        assert what == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, what: int, limits: tuple[int, int]) -> None:
        assert what == self.RLIMIT_NOFILE
        if limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("limits", "told", "after"),
    [
        (Limits(1024, 20000), (1024, 20000), 20000),
        (Limits(20000, 20000), None, 20000),
        (Limits(1024, 1 << 30), (1024, MOST), MOST),
        (Limits(2 * MOST, 1 << 30), None, 2 * MOST),
        (Limits(256, -1), (256, MOST), MOST),
        (Limits(256, -1, most=100_000), (256, 10240), 10240),  # macOS
        (Limits(256, -1, most=1000), None, 256),
        (Limits(256, 4096, most=1000), None, 256),
        (Limits(-1, -1), None, None),
    ],
)
def test_raising(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, told: tuple[int, int] | None, after: int | None
) -> None:
    monkeypatch.setattr(descriptors, "resource", limits)
    assert raise_descriptor_limit() == told
    assert descriptor_limit() == after


def test_without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "resource", None)
    assert raise_descriptor_limit() is None
    assert descriptor_limit() is None


def test_for_real() -> None:
    code = """
import resource
from webfw.process.descriptors import descriptor_limit, raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
print(descriptor_limit(), raise_descriptor_limit(), descriptor_limit(), raise_descriptor_limit())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "100 (100, 200) 200 None\n"
