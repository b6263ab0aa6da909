"""What the measurement of process trees reads and shows."""

import os

import pytest

from bench import load, scale
from bench.cpu import proportional
from bench.load import read_wrk
from bench.report import spread
from bench.scale import Row

OUTPUT = """Running 1s test @ http://127.0.0.1:1/
  1000 requests in 1.00s, 0.2MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:    998.50
"""


def test_what_wrk_says() -> None:
    found = read_wrk(OUTPUT)
    assert (found.requests, found.rate, found.failed) == (1000, 998.5, 10)
    assert read_wrk("7 requests in 1s\nRequests/sec: 7.0").failed == 0
    with pytest.raises(SystemExit, match="went wrong"):
        read_wrk("unable to connect")


def test_rows() -> None:
    row = Row(("webfw", "app"))
    row.add(rate=1000.4, cpu=20.25)
    row.add(rate=3000.0, cpu=20.25)
    assert row.line() == "| webfw | app | 2,000 (1,000 to 3,000) | 20.2 |"
    assert spread([0, 0]) == "0"
    assert spread([0.5, 0.25, 1.0]) == "0.50 (0.25 to 1.00)"


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is not told here")
def test_memory_of_a_process() -> None:
    assert proportional(os.getpid()) > 1 << 20


def test_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda name: None)
    assert scale.main(["--quick"]) == 2
    assert "needs wrk and curl" in capsys.readouterr().err
