"""The supervisor as a real process tree: workers that are followed by others."""

import os
import re
import signal
import time

import pytest

from tests.process.treerunner import Start


def test_reload_replaces_one_after_the_other(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.application.write_text("VERSION = 2")
    site.signal(signal.SIGHUP)
    site.expect(r"ready 0 \d+ 2")
    site.expect(r"ready 1 \d+ 2")
    assert site.until(lambda answer: answer[1] == "2")
    assert {site.ask()[1] for _ in range(10)} == {"2"}


def test_reload_under_load_loses_nothing(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    for version in (2, 3):
        site.application.write_text(f"VERSION = {version}")
        site.signal(signal.SIGHUP)
        ready = 0
        while ready < 2:
            assert site.ask()  # an empty answer is a lost one
            site._read()
            ready = sum(bool(re.search(rf"ready \d \d+ {version}", line)) for line in site.lines)


def test_a_new_version_that_does_not_load_leaves_the_old_one(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.application.write_text("VERSION = oops")
    site.signal(signal.SIGHUP)
    site.expect(r"cannot serve: NameError: name 'oops' is not defined: no reload, the former workers go on")
    assert {site.ask()[1] for _ in range(10)} == {"1"}
    site.application.write_text("VERSION = 3")
    site.signal(signal.SIGHUP)
    site.expect(r"ready 1 \d+ 3")
    site.until(lambda answer: answer[1] == "3")


def test_a_second_reload_during_the_first(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.application.write_text("VERSION = 2\nDELAY = 0.2")
    site.signal(signal.SIGHUP)
    site.expect("reload: generation 2")
    site.application.write_text("VERSION = 3")
    site.signal(signal.SIGHUP)
    site.expect("reload: generation 3")
    for number in (0, 1):
        site.expect(rf"ready {number} \d+ 3")
    site.until(lambda answer: answer[3] == "3")


@pytest.mark.slow
def test_a_reload_that_fails_does_not_end_the_one_after_it(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.application.write_text("import time; time.sleep(0.5); VERSION = oops")
    site.signal(signal.SIGHUP)
    site.expect("reload: generation 2")
    time.sleep(0.2)  # it has read the file
    site.application.write_text("VERSION = 3")
    site.signal(signal.SIGHUP)
    site.expect("name 'oops' is not defined: the reload that came after it goes on")
    for number in (0, 1):
        site.expect(rf"ready {number} \d+ 3")


@pytest.mark.slow
def test_a_reload_does_not_wait_for_what_has_crashed(tree: Start) -> None:
    site = tree("workers=1")
    site.expect("all ready")
    site.application.write_text("VERSION = oops")
    site.ask("die 9")
    for delay in ("0.5", "1", "2", "4"):
        site.expect(f"next attempt in {delay} seconds")
    site.application.write_text("VERSION = 3")
    before = time.monotonic()
    site.signal(signal.SIGHUP)
    site.expect(r"ready 0 \d+ 2")
    assert time.monotonic() < before + 3


def test_reload_takes_new_settings(tree: Start) -> None:
    site = tree("workers=1")
    site.expect("all ready")
    site.application.with_name("settings").write_text("workers=2")
    site.signal(signal.SIGHUP)
    site.expect("ready 1")
    site.application.with_name("settings").write_text("nonsense")
    site.signal(signal.SIGHUP)
    site.expect("ERROR no reload: the settings are wrong: nonsense")
    assert site.ask()


def test_a_retiring_worker_serves_until_its_successor_does(tree: Start) -> None:
    site = tree("workers=1")
    first = site.expect(r"ready 0 (\d+)")[1]
    site.ask("retire it has had enough")
    site.expect(rf"worker 0 \(process {first}\) is to be replaced: it has had enough")
    second = site.expect(r"ready 0 (\d+)")[1]
    site.expect(rf"exited 0 {first} 0")
    assert site.ask()[0] == second


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is not told here")
@pytest.mark.slow
def test_a_worker_that_grows_is_replaced(tree: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tree("workers=1", f"max_memory={100 * 1024 * 1024}")
    first = site.expect(r"ready 0 (\d+)")[1]
    site.ask(f"grow {150 * 1024 * 1024}")
    site.expect(r"is to be replaced: \d+ MiB of memory")
    site.expect(rf"exited 0 {first} 0")
