"""What the WSGI measurements make of their samples, and their small client and slow clients against real sockets."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import beside, peers, slow_clients
from bench.client import Client, percentile
from bench.http import Sample, summary
from bench.load import checked, read_wrk
from bench.peers import Cast
from bench.slow_clients import UPLOAD, Footprint, Report, SlowClients, footprint
from bench.wsgi import SERVERS, Plan, Server, available, rates_table, table, verdicts


def sample(user: float, system: float) -> Sample:
    return Sample(user, system, rate=1000.0, requests=10)


# --- servers and figures ---


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_server_is_told_its_port_and_its_application(server: Server) -> None:
    command = server.peer("wsgi_apps:sleep", 17).command(4711)
    assert any("4711" in part for part in command)
    assert "wsgi_apps:sleep" in command
    assert ("17" in command) is server.threaded


def test_every_server_gets_its_turn_in_each_round() -> None:
    plan = Plan(Path("python"), SERVERS[:3], 2, 1.0, None, None)
    a, b, c = SERVERS[:3]
    assert plan.turns() == [(0, a), (0, b), (0, c), (1, b), (1, c), (1, a)]


def test_what_cannot_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ncase $2 in *bjoern*) echo No module named bjoern >&2; exit 1; esac\n")
    python.chmod(0o755)
    monkeypatch.setattr(peers, "prepare", lambda: (python, {}))
    cast = Cast()
    assert [server.name for server in available(["bjoern", "granian"], cast)] == ["granian"]
    assert cast.left_out == {"bjoern": "No module named bjoern"}
    assert capsys.readouterr().err == "left out: bjoern (No module named bjoern)\n"


def test_a_table_begins_with_the_cheapest_and_says_who_closes() -> None:
    found = {"waitress": [sample(30, 10)], "webfw-0": [sample(4, 4)], "uwsgi": [sample(8, 8)]}
    text = table("x", {name: summary(samples) for name, samples in found.items()})
    head, _, *rows = text.splitlines()
    assert head.endswith("| granian ÷ | waitress ÷ | tornado ÷ |")
    assert [row.split("|")[1].strip() for row in rows] == ["webfw-0", "uwsgi (closes)", "waitress"]
    assert rows[0].endswith("|  | 5.00 |  |")


def test_rates_are_shown_beside_the_bound() -> None:
    rows = rates_table({"slow": [400, 390, 410], "quick": [800, 796, 780]}).splitlines()[2:]
    assert rows == ["| quick | 796 | 780 to 800 | 99.5% |", "| slow | 400 | 390 to 410 | 50.0% |"]


def test_expectations_are_judged() -> None:
    samples = {
        "hello": {
            "granian": [sample(10, 10)],
            "webfw-0": [sample(15, 15)],
            "waitress": [sample(50, 50)],
            "webfw-8": [sample(50, 1)],
        }
    }
    rows = {title: {name: summary(of) for name, of in found.items()} for title, found in samples.items()}
    inline, threaded, sleep = verdicts(rows, {"webfw-8": [761]})
    assert inline.startswith("met: hello: webfw-0 to granian: 1.50")
    assert threaded.startswith("MISSED: hello: webfw-8 to waitress: 0.51")
    assert sleep.startswith("met: sleep")
    assert verdicts({"hello": {"granian": summary([sample(1, 1)])}}, {}) == []


def test_the_rate_that_wrk_says() -> None:
    done = checked(read_wrk("  804 requests in 1.01s, 118KB read\nRequests/sec:    796.02\n"))
    assert (done.requests, done.rate) == (804, 796.02)
    for bad in (
        "9 requests in 1s\nNon-2xx or 3xx responses: 8\nRequests/sec: 1\n",
        "9 requests in 1s\nSocket errors: connect 0, read 1, write 0, timeout 0\nRequests/sec: 1\n",
        "",
    ):
        with pytest.raises(SystemExit, match="went wrong"):
            checked(read_wrk(bad))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0], 0.99, 1.0), ([1.0, 2.0], 0.5, 1.0), ([1.0, 2.0], 1.0, 2.0)],
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0


def test_a_native_handler_is_shown_beside_the_bare_protocol() -> None:
    rows = [
        beside.Row("webfw", "uvloop", 5.0, 1, 6.0, 12.0, 99),
        beside.Row("bare", "uvloop", 5.0, 1, 5.0, 11.0, 99),
    ]
    assert beside.table(rows).splitlines()[2:] == ["| uvloop | 5 | 1 | 6.00 | 12.00 | 5.00 | 11.00 |"]
    assert beside.figures(rows)[1]["p99"] == 11.0


def test_a_report_shows_the_most_and_the_last() -> None:
    taken = [Footprint(size << 20, size << 20, size, 5) for size in (10, 30, 20)]
    report = Report([1.0, 2.0, 3.0], 1, 100, 100, 100, list(enumerate(taken)))
    row = slow_clients.table({"webfw": report}).splitlines()[-1]
    assert row == "| webfw | 3 | 1 | 2.0 | 3.0 | 3.0 | 3.0 | 100 | 10 | 30 | 20 | 30 | 30 |"
    assert report.figures()["footprints"][2]["memory"] == 20 << 20


def test_the_footprint_counts_files_without_a_name(tmp_path: Path) -> None:
    before = footprint(os.getpid())
    with tempfile.TemporaryFile(dir=tmp_path) as file, (tmp_path / "named").open("wb") as named:
        for each in (file, named):
            each.write(b"x" * (1 << 20))
            each.flush()
        during = footprint(os.getpid())
    assert (during.files - before.files, during.descriptors - before.descriptors) == (1 << 20, 2)
    assert during.memory > 1 << 20
    assert during.threads >= 1


# --- the clients ---


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server of one connection that gives each request the next of these answers, and then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    data = b""
                    while not data.endswith(b"\r\n\r\n"):
                        data += connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_the_client_reads_one_answer_after_the_other() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    with answering(answer, answer) as port:
        client = Client(port)
        assert client.get() == b"ok"
        assert client.timed("/x") > 0
        client.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
    ],
)
def test_the_client_wants_whole_pages(answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(OSError, match="answered|closed"):
        Client(port).get()


def test_slow_clients_take_their_time_and_see_the_end() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        SlowClients(listener.getsockname()[1], sending=1, reading=1, pieces=3) as slow,
    ):
        sender, _ = listener.accept()
        reader, _ = listener.accept()
        with sender, reader:
            head = sender.recv(4096).partition(b"\r\n\r\n")[0]
            assert b"POST /upload " in head
            assert b"Content-Length: %d" % UPLOAD in head
            assert b"GET /download?3 " in reader.recv(4096)
            reader.sendall(b"x" * 4000)
            while slow.served() < 1:
                sender.recv(4096)
            assert slow.in_progress() == (1, 1)
        while slow.in_progress() != (0, 0):
            os.sched_yield()
    assert 0 < slow.readers[0].received <= 4000
    assert 0 < slow.senders[0].sent < UPLOAD
