"""The supervisor as a real process tree: its start, its signals, and workers that crash."""

import os
import re
import resource
import signal
import time
from pathlib import Path

import pytest

from tests.process.treerunner import PATIENCE, Start, gone

# --- start and stop ---


def test_two_workers_serve_and_drain(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    answers = {tuple(site.ask()) for _ in range(20)}
    assert {answer[1] for answer in answers} == {"1"}
    slow = site.begin("wait 0.3")
    time.sleep(0.05)
    site.signal(signal.SIGTERM)
    assert slow.recv(100).split()[1] == b"1"  # what runs is let end
    slow.close()
    site.expect("ends by drain", count=2)
    assert site.end() == 0


def test_a_second_signal_ends_at_once(tree: Start) -> None:
    site = tree("workers=1")
    site.expect("all ready")
    slow = site.begin("wait 30")
    site.ask()
    site.signal(signal.SIGINT)
    site.expect("ending")
    site.signal(signal.SIGTERM)
    assert site.end() == 128 + signal.SIGTERM
    slow.close()


def test_quit_ends_at_once(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    slow = site.begin("wait 30")
    site.ask()
    site.signal(signal.SIGQUIT)
    site.expect("ends by stop", count=2)
    assert site.end() == 128 + signal.SIGQUIT
    slow.close()


@pytest.mark.slow
def test_a_worker_that_does_not_drain_is_killed(tree: Start) -> None:
    site = tree("workers=1", "graceful_timeout=0.1")
    site.expect("all ready")
    slow = site.begin("wait 30")
    site.ask()
    site.signal(signal.SIGTERM)
    site.expect("ERROR worker 0 .* has not ended in time")
    site.expect(r"exited 0 \d+ -9")
    assert site.end() == 0
    slow.close()


@pytest.mark.parametrize(
    "application",
    ["raise ValueError('broken')", "import os; os._exit(9)", "def ("],
    ids=["raises", "exits", "syntax"],
)
@pytest.mark.parametrize("workers", ["1", "3"])
def test_an_application_that_does_not_load_ends_the_start(
    tree: Start, application: str, workers: str
) -> None:
    site = tree(f"workers={workers}", application=application)
    assert site.end() == 3
    site._read()
    text = "\n".join(site.lines)
    assert "all ready" not in text
    if "broken" in application:
        assert "ValueError: broken" in text
        assert re.search(r"cannot start worker \d \(process \d+\) ValueError: broken", text)
    assert len(re.findall(r"exited \d \d+", text)) <= int(workers)  # nobody was started twice


@pytest.mark.slow
def test_loading_may_not_take_for_ever(tree: Start) -> None:
    site = tree("workers=1", "boot_timeout=0.2", application="import time; time.sleep(60)")
    assert site.end() == 3
    site.expect("not ready after 0.2 seconds")


def test_an_interrupt_while_it_loads(tree: Start) -> None:
    site = tree("workers=1", application="import os, time; os.write(1, b'loading\\n'); time.sleep(60)")
    site.expect("loading")
    site.signal(signal.SIGINT)
    assert site.end() == 0


# --- crashes ---


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no limit of another process can be set here")
def test_no_descriptor_for_a_worker(tree: Start) -> None:
    """It lives, says so, and has a worker when there is room; a reload that cannot be is over."""
    it = tree("workers=1")
    it.expect("all ready")
    [first, *_] = it.ask()
    open_now = max(map(int, os.listdir(f"/proc/{it.process.pid}/fd"))) + 1
    resource.prlimit(it.process.pid, resource.RLIMIT_NOFILE, (open_now, 4096))
    it.signal(signal.SIGHUP)
    it.expect(r"worker 0 cannot be started: \[Errno 24\] Too many open files")
    assert it.ask()[0] == first
    resource.prlimit(it.process.pid, resource.RLIMIT_NOFILE, (open_now - 1, 4096))
    os.kill(int(first), signal.SIGKILL)
    it.expect(r"worker 0 cannot be started: \[Errno 24\] Too many open files")
    resource.prlimit(it.process.pid, resource.RLIMIT_NOFILE, (256, 4096))
    it.expect("ready 0")
    assert it.ask()[3] == "2"
    it.signal(signal.SIGTERM)
    assert it.end() == 0


def test_a_killed_worker_is_started_again(tree: Start) -> None:
    site = tree("workers=1")
    first = site.expect(r"ready 0 (\d+)")[1]
    os.kill(int(first), signal.SIGKILL)
    site.expect(rf"ERROR worker 0 \(process {first}\) was killed by SIGKILL: it is started again")
    second = site.expect(r"ready 0 (\d+)")[1]
    assert second != first
    assert site.ask()[0] == second


@pytest.mark.slow
def test_crashes_are_answered_more_and_more_slowly(tree: Start) -> None:
    site = tree("workers=1")
    delays = []
    for _ in range(4):
        site.expect("ready 0")
        with pytest.raises((OSError, IndexError)):
            site.ask("exit 5")[0]
        line = site.expect(r"ended with status 5: it is started again(.*)")[1]
        delays.append(line)
    assert delays == ["", " in 0.5 seconds", " in 1 seconds", " in 2 seconds"]


def test_a_crashed_worker_that_does_not_load_is_tried_again(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.application.write_text("raise ValueError('broken now')")
    with pytest.raises((OSError, IndexError)):
        site.ask("exit 5")[0]
    site.expect("cannot serve: ValueError: broken now: next attempt in")
    assert site.ask()[1] == "1"  # the other one serves
    site.application.write_text("VERSION = 2")
    site.until(lambda answer: answer[1] == "2")


def test_a_worker_that_is_told_to_end_by_somebody_is_replaced(tree: Start) -> None:
    site = tree("workers=1")
    first = site.expect(r"ready 0 (\d+)")[1]
    os.kill(int(first), signal.SIGTERM)
    site.expect("ends by drain")
    assert site.expect(r"ready 0 (\d+)")[1] != first


def test_a_silent_worker_is_replaced(tree: Start) -> None:
    site = tree("workers=1", "timeout=0.5", "blocked_after=0.1")
    first = site.expect(r"ready 0 (\d+)")[1]
    stuck = site.begin("block 30")
    site.expect(r"WARNING the event loop has been blocked for [\d.]+ seconds by:")
    site.expect(r"time\.sleep\(float\(rest\)\)")
    site.expect(r"no sign of life for [\d.]+ seconds: it is replaced")
    site.expect(rf"exited 0 {first} -6")
    assert site.expect(r"ready 0 (\d+)")[1] != first
    stuck.close()


def test_a_loop_that_turns_again_says_so(tree: Start) -> None:
    site = tree("workers=1", "blocked_after=0.1")
    site.expect("all ready")
    site.ask("block 0.4")
    site.expect(r"the event loop turns again; it was blocked for [\d.]+ seconds")


# --- the supervisor dies ---


def test_nobody_is_left_when_the_supervisor_is_killed(tree: Start) -> None:
    site = tree("workers=2")
    pids = [int(site.expect(r"ready \d (\d+)")[1]) for _ in range(2)]
    slow = site.begin("wait 0.5")
    site.ask()
    site.process.kill()
    site.process.wait()
    assert slow.recv(100).split()[1] == b"1"  # what runs is let end
    slow.close()
    assert all(gone(pid) for pid in pids)


@pytest.mark.slow
def test_nobody_is_left_when_it_is_killed_while_they_load(tree: Start) -> None:
    site = tree(
        "workers=1",
        application="import os, time; os.write(1, b'pid %d\\n' % os.getpid()); time.sleep(1)\nVERSION = 1",
    )
    pid = int(site.expect(r"pid (\d+)")[1])
    site.process.kill()
    site.process.wait()
    assert gone(pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    "application", ["VERSION = 1", "import time\nif LATER: time.sleep(600)\nVERSION = 1"]
)
def test_nobody_is_left_who_is_stuck_when_it_is_killed(tree: Start, application: str) -> None:
    """In its loop, with nobody watching for that; or in a module that hangs."""
    it = tree("workers=1", "blocked_after=0", application=application.replace("LATER", "False"))
    it.expect("all ready")
    pid = int(it.ask()[0])
    if "LATER" in application:
        it.application.write_text(application.replace("LATER", "True"))
        os.kill(pid, signal.SIGKILL)
        it.expect("exited 0")
        until_it_has_a_child = time.monotonic() + PATIENCE
        while not (children := children_of(it.process.pid)):
            assert time.monotonic() < until_it_has_a_child
            time.sleep(0.01)
        [pid] = children
        time.sleep(0.3)
    else:
        it.begin("block 600").close()
        time.sleep(0.1)
    it.process.kill()
    deadline = time.monotonic() + 2 * PATIENCE
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- other signals ---


def test_more_and_fewer_workers(tree: Start) -> None:
    site = tree("workers=1")
    site.expect("all ready")
    site.signal(signal.SIGTTIN)
    second = site.expect(r"ready 1 (\d+)")[1]
    site.signal(signal.SIGTTOU)
    site.expect(rf"exited 1 {second} 0")
    site.signal(signal.SIGTTOU)  # one at least stays
    site.expect("workers: 1 from now on")
    assert site.ask()[2] == "0"


def test_logs_are_opened_anew(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.signal(signal.SIGUSR1)
    site.expect("supervisor reopens")
    site.expect("worker . reopens", count=2)


def test_winch_drains_the_workers_and_hup_brings_them_back(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.signal(signal.SIGWINCH)
    site.expect("exited", count=2)
    assert site.process.poll() is None
    site.signal(signal.SIGHUP)
    site.expect(r"ready 1 \d+ 2")
    assert site.ask()[3] == "2"


def test_a_new_supervisor_that_fails_is_noticed(tree: Start) -> None:
    site = tree("workers=1")
    site.expect("all ready")
    for _ in range(2):
        site.signal(signal.SIGUSR2)
        pid = site.expect(r"a new supervisor is started beside this one: process (\d+)")[1]
        site.expect(rf"the new supervisor \(process {pid}\) ended with status 7; this one goes on")
    assert site.ask()


def test_a_signal_for_the_supervisor_that_reaches_workers_does_nothing(tree: Start) -> None:
    site = tree("workers=1")
    pid = int(site.expect(r"ready 0 (\d+)")[1])
    for number in (
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTTIN,
        signal.SIGTTOU,
    ):
        os.kill(pid, number)
    assert site.ask()[0] == str(pid)


def test_preload_shares_what_was_loaded(tree: Start) -> None:
    site = tree("workers=2", "preload=1", application="import os\nVERSION = os.getpid()")
    site.expect("all ready")
    assert {site.ask()[1] for _ in range(10)} == {str(site.process.pid)}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 0), ("SIGINT", 0), ("SIGQUIT", 131)])
def test_a_signal_while_it_preloads(
    tree: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, status: int
) -> None:
    pidfile = tmp_path / "pid"
    monkeypatch.setenv("PIDFILE", str(pidfile))
    application = "import os, time\nos.write(1, b'loading\\n')\ntime.sleep(60)"
    site = tree("preload=1", application=application)
    site.expect("loading")
    assert pidfile.exists()
    site.signal(getattr(signal, number))
    site.expect("ending")
    assert site.end() == status
    assert not pidfile.exists()


def test_a_reload_while_it_preloads(tree: Start) -> None:
    application = (
        "import asyncio, os, signal, time\nVERSION = 1\nos.write(1, b'loading\\n')\ntime.sleep(0.3)\n"
        "for name in ('SIGHUP', 'SIGTERM', 'SIGCHLD'): signal.signal(getattr(signal, name), signal.SIG_DFL)\n"
        "signal.set_wakeup_fd(-1)"
    )
    site = tree("preload=1", application=application)
    site.expect("loading")
    site.signal(signal.SIGHUP)
    site.expect("reload: generation 2")
    site.until(lambda answer: answer[3] == "2")
    site.signal(signal.SIGTERM)
    assert site.end() == 0


def test_standard_output_that_is_no_stream(tree: Start) -> None:
    application = "import sys\nVERSION = 1\nclass Own:\n    def write(self, text): pass\nsys.stdout = Own()"
    site = tree("preload=1", application=application)
    site.expect("all ready")
    (pid, *_) = site.ask()
    os.kill(int(pid), signal.SIGKILL)
    site.expect(r"ready 0 \d+ 1")


@pytest.mark.slow
def test_time_that_the_tree_was_frozen_is_nobodys_fault(tree: Start) -> None:
    site = tree("workers=2", "timeout=1")
    workers = {int(site.expect(r"ready \d (\d+)")[1]) for _ in range(2)}
    processes = [site.process.pid, *workers]
    for pid in reversed(processes):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)  # the supervisor looks before the workers can say anything
    assert {int(site.ask()[0]) for _ in range(10)} <= workers
    site.signal(signal.SIGTERM)
    assert site.end() == 0
    assert not site.has_said("no sign of life")


@pytest.mark.slow
def test_a_worker_that_says_anything(tree: Start) -> None:
    application = """VERSION = 1
import gc, os
def flood():
    from webfw.process.channel import Channel
    channel, = (found for found in gc.get_objects() if isinstance(found, Channel) and not found.ended)
    os.set_blocking(channel.fileno(), True)
    for text in (
        '5', '[', '[' * 100000, '{"beat": 7}', '{"beat": {"cut": "x", "pid": 1}}', '{"answer": []}',
        '{"ready": 1}', '{"failed": " "}', '{"retire": {}}', chr(0), '{"blocked": []}',
    ):
        channel._sock.sendall(text.encode() + bytes([10]))
    os.set_blocking(channel.fileno(), False)
import threading
threading.Timer(0.5, flood).start()
"""
    site = tree("workers=1", application=application)
    site.expect("all ready")
    site.expect(r"worker 0 \(process \d+\) is to be replaced: \{\}")
    site.until(lambda answer: answer[1] == "1")
    site.signal(signal.SIGALRM)
    site.expect("stacks 0")
    site.signal(signal.SIGTERM)
    assert site.end() == 0


def test_stacks_of_all_workers(tree: Start) -> None:
    site = tree("workers=2")
    site.expect("all ready")
    site.signal(signal.SIGALRM)
    for _ in range(2):
        assert "thread MainThread" in site.expect(r"stacks \d (.*)")[1]
