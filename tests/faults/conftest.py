"""Faults of a real process tree: a server under load, what is done to it, and the figures that come out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.drive import APP, Server

FIGURES: list[str] = []


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``figure("3 requests failed")`` is shown at the end of the run, whether tests fail or not."""

    def note(text: str) -> None:
        FIGURES.append(f"{request.node.name.removeprefix('test_').replace('_', ' ')}: {text}")

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("faults")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """``start("--workers", "2")`` serves the application of `drive`; nothing of it is left at the end."""
    servers: list[Server] = []

    def starting(*options: str, text: str = APP, **how: object) -> Server:
        (tmp_path / "app.py").write_text(text)
        servers.append(Server(tmp_path, options, **how))  # type: ignore[arg-type]
        return servers[-1]

    try:
        yield starting
    finally:
        for server in servers:
            server.kill()
