"""What is said on the terminal."""

import pytest

from webfw.cli.listeners import Listeners
from webfw.cli.sources import read_configuration
from webfw.cli.words import announcements, say, say_ended, say_stopping


@pytest.mark.parametrize(("workers", "behind"), [(0, ""), (1, ""), (3, " with 3 workers")])
def test_announcements(workers: int, behind: str) -> None:
    listeners = Listeners(["127.0.0.1:0"], environ={})
    try:
        port = next(iter(listeners)).socket.getsockname()[1]
        configuration = read_configuration({"app": "shop:app"}, {}, None, "/nowhere")
        (line,) = announcements(configuration, listeners, workers)
        assert line.endswith(f" serving shop:app on http://127.0.0.1:{port}{behind}")
    finally:
        listeners.close()


def test_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    say_stopping(2.5)
    say_ended(0, 3)
    say_ended(143, 1)
    say_ended(130, 2)
    assert capsys.readouterr().out.splitlines() == [
        "hello",
        "webfw stopping: running requests have 2.5 seconds, another signal stops at once",
        "webfw stopped",
        "webfw stopped at once, 1 connection cut",
        "webfw stopped at once, 2 connections cut",
    ]
