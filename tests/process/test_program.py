"""Tests of webfw.process.program: what a program does that says nothing, and guests as the supervisor treats them."""

import os
import signal

import pytest

from webfw.process.channel import channel_pair
from webfw.process.program import Guest, Program, TreeSettings
from webfw.process.roster import Member
from webfw.process.supervisor import Supervisor
from webfw.process.worker import Worker


class Visitor:
    patience = 0.01

    def __init__(self, supervisor: Supervisor, turns: int) -> None:
        self.supervisor = supervisor
        self.turns = turns
        self.moments: list[object] = []

    def turned(self) -> None:
        self.turns -= 1
        if self.turns == 0:
            self.supervisor.stop(5)

    def forked(self) -> None:
        # In the child, where nothing else may be run.
        os._exit(7)

    def ended(self, status: int | None) -> None:
        self.moments.append(status)


class Silent(Program):
    pass


def test_a_program_that_says_nothing(expect_log: object) -> None:
    program = Program()
    ours, theirs = channel_pair()
    member = Member(0, 1, os.getpid(), ours)
    program.preload()
    program.forking(0)
    program.given_up(0)
    program.worker_ready(member)
    program.worker_exited(member, 0)
    program.all_ready()
    program.reopen_logs()
    program.turned()
    program.ending()
    assert program.reloading() is None
    assert program.upgrade() is None
    assert program.describe() == {}
    with pytest.raises(NotImplementedError):
        program.work(Worker(0, 1, theirs))
    with expect_log("webfw.general", r"worker 0 \(process \d+\) is broken"):  # type: ignore[operator]
        program.cannot_start(member, "is broken")
    ours.close()
    theirs.close()


def test_guests_are_called_at_each_turn_in_workers_and_at_the_end(expect_log: object) -> None:
    class Loading(Program):
        ended = 0

        def cannot_start(self, member: Member, why: str) -> None:
            self.ended += 1
            assert why == "ended with status 7 before it was ready"

    program = Loading()
    supervisor = Supervisor(program, TreeSettings())
    visitor = Visitor(supervisor, 1000)
    guest: Guest = visitor
    supervisor.guests.append(guest)
    before = signal.getsignal(signal.SIGTERM)
    assert supervisor.run() == 3
    assert program.ended == 1
    assert visitor.turns < 1000
    assert visitor.moments == [3]
    assert signal.getsignal(signal.SIGTERM) is before


def test_guests_are_told_of_an_exception_without_a_status() -> None:
    class Broken(Program):
        def preload(self) -> None:
            raise RuntimeError("broken")

    supervisor = Supervisor(Broken(), TreeSettings(preload=True))
    visitor = Visitor(supervisor, 0)
    supervisor.guests.append(visitor)
    with pytest.raises(RuntimeError, match="broken"):
        supervisor.run()
    assert visitor.moments == [None]


def test_the_supervisor_turns_as_often_as_a_guest_wants() -> None:
    supervisor = Supervisor(Program(), TreeSettings(workers=0, timeout=0.0))
    assert supervisor._tick() == 1.0
    supervisor.guests.append(Visitor(supervisor, 0))
    assert supervisor._tick() == 0.01
