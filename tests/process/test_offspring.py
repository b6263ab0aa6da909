"""What an application forks from a worker, in processes of their own: forking with threads about is no good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: A worker as far as signals are concerned: its loop has taken SIGTERM, and SIGHUP is for its supervisor.
WORKER = """
import os, signal, socket, sys
from webfw.process.offspring import not_here, taken

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once: two processes say something

def mine(number, frame):
    say("mine")

def look(who):
    names = {signal.SIG_DFL: "default", signal.default_int_handler: "interrupt", not_here: "not here", mine: "mine"}
    found = [names[signal.getsignal(getattr(signal, name))] for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR2")]
    wakes = signal.set_wakeup_fd(-1) >= 0
    held_back = len(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    say(who, *found, "wakes" if wakes else "silent", held_back)

ours, theirs = socket.socketpair()
ours.setblocking(False)
signal.set_wakeup_fd(ours.fileno())
for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, not_here)
signal.signal(signal.SIGTERM, mine)
signal.signal(signal.SIGUSR2, mine)
"""

FORK = """
if (pid := os.fork()) == 0:
    look("child")
    os._exit(0)
os.waitpid(pid, 0)
look("parent")
"""


def run(script: str) -> list[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=environ, timeout=30, check=True
    )
    assert not done.stderr, done.stderr
    return done.stdout.decode().splitlines()


def test_signals_mean_there_what_they_always_mean() -> None:
    taken = "taken[signal.SIGTERM] = signal.getsignal(signal.SIGTERM)"
    assert run(WORKER + taken + FORK) == [
        # What the application has set itself (SIGUSR2) stays.
        "child default default interrupt mine silent 0",
        "parent mine not here not here mine wakes 0",
    ]


def test_a_handler_that_the_application_has_put_in_the_place_of_ours_stays() -> None:
    taken = "taken[signal.SIGTERM] = not_here"
    assert run(WORKER + taken + FORK)[0] == "child mine default interrupt mine silent 0"


def test_nothing_is_touched_where_no_loop_has_taken_a_signal() -> None:
    """The supervisor forks its workers itself, and what is no worker is none of our business."""
    [child, parent] = run(WORKER + FORK)
    assert parent == "parent mine not here not here mine wakes 0"
    # From 3.12 on, Python itself lets nothing in a child write into the parent's pipe.
    wakes = "wakes" if sys.version_info < (3, 12) else "silent"
    assert child == f"child mine not here not here mine {wakes} 0"


@pytest.mark.parametrize("where", ["child", "parent"])
def test_what_was_held_back_is_held_back_again(where: str) -> None:
    held = """
taken[signal.SIGTERM] = signal.getsignal(signal.SIGTERM)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM])
"""
    [line] = [line for line in run(WORKER + held + FORK) if line.startswith(where)]
    assert line.endswith(" 2")


def test_a_signal_that_comes_while_it_forks_is_for_the_parent() -> None:
    """It reaches the child by its default, or not at all; never the parent's handler in the child."""
    script = """
taken[signal.SIGTERM] = signal.getsignal(signal.SIGTERM)
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
"""
    # The hook that was registered last runs first, so this one sends before ours holds back.
    assert run(WORKER + script + FORK)[0] == "mine"
    # Registered before ours, it runs when all are held back: delivered to the parent, once.
    early = """
import os, signal
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
"""
    taken = "\ntaken[signal.SIGTERM] = signal.getsignal(signal.SIGTERM)\n"
    lines = run(early + WORKER + taken + FORK)
    assert sorted(lines) == [
        "child default default interrupt mine silent 0",
        "mine",
        "parent mine not here not here mine wakes 0",
    ]
