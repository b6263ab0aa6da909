"""Signals that are read like messages."""

import os
import select
import signal

from webfw.process.signals import SignalInbox, signal_name


def readable(inbox: SignalInbox) -> bool:
    return bool(select.select([inbox], [], [], 0)[0])


def test_signals_wake_and_are_taken_in_order() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    inbox = SignalInbox([signal.SIGUSR1, signal.SIGUSR2])
    try:
        assert inbox.numbers == {signal.SIGUSR1, signal.SIGUSR2}
        assert not readable(inbox)
        assert inbox.take() == []
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            signal.getsignal(number)  # lets the interpreter run the handler
        assert readable(inbox)
        assert inbox.take() == [signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2]
        assert not readable(inbox)
    finally:
        inbox.close()
    assert signal.getsignal(signal.SIGUSR1) == before


def test_closing_gives_the_wake_up_back() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former = signal.set_wakeup_fd(writer)
    try:
        SignalInbox([signal.SIGUSR1]).close()
        assert signal.set_wakeup_fd(writer) == writer
        SignalInbox([signal.SIGUSR1]).close(in_child=True)
        assert signal.set_wakeup_fd(writer) == -1
    finally:
        signal.set_wakeup_fd(former)
        os.close(reader)
        os.close(writer)


def test_taking_over_from_somebody_else() -> None:
    inbox = SignalInbox([signal.SIGUSR1])
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        inbox.take_over()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert readable(inbox)
        assert inbox.take() == [signal.SIGUSR1]
    finally:
        inbox.close()


def test_names() -> None:
    assert signal_name(15) == "SIGTERM"
    assert signal_name(250) == "signal 250"
