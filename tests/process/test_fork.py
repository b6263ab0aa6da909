"""Tests of webfw.process.fork: each runs a small program, since what forks must not be the test run itself."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webfw.process import cpu_count, fork, fork_processes, task_id

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing can be forked here")

ROOT = Path(__file__).resolve().parent.parent.parent

HEAD = """
import asyncio, logging, os, random, signal, sys, time
from webfw.process import cpu_count, fork_processes, task_id
logging.basicConfig(level="INFO", format="%(levelname)s %(message)s", stream=sys.stderr)
def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())
"""


class Program:
    def __init__(self, code: str, path: Path, **options: object) -> None:
        path.write_text(HEAD + code)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        env.pop("WEBFW_PROCESS_TREE", None)
        self.popen = subprocess.Popen(
            [sys.executable, "-W", "error", str(path)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that what is left over can be found, and ended
            **options,  # type: ignore[call-overload]
        )
        assert self.popen.stdout is not None
        self.output = self.popen.stdout

    def lines(self, count: int) -> list[str]:
        return [self.output.readline().strip() for _ in range(count)]

    def end(self) -> tuple[int, list[str], str]:
        """The status, the rest of the output, and standard error; when nobody holds the pipes any more."""
        output, errors = self.popen.communicate(timeout=30)
        return self.popen.returncode, output.splitlines(), errors

    def kill(self) -> None:
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.communicate()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def start(code: str, **options: object) -> Program:
        started.append(Program(code, tmp_path / f"program{len(started)}.py", **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_worker_gets_its_number_and_the_parent_ends_with_them(program: Callable[..., Program]) -> None:
    status, lines, _ = program("""
print("once")   # buffered, and must not be written by every worker again
assert task_id() is None
number = fork_processes(3)
assert task_id() == number
say("worker", number)
""").end()
    assert status == 0
    assert sorted(lines) == ["once", "worker 0", "worker 1", "worker 2"]


@pytest.mark.parametrize("number", [None, 0, -1])
def test_one_worker_for_each_processor(program: Callable[..., Program], number: int | None) -> None:
    status, lines, _ = program(f"say(fork_processes({number}))").end()
    assert status == 0
    assert sorted(map(int, lines)) == list(range(cpu_count()))


def test_random_numbers_differ(program: Callable[..., Program]) -> None:
    _, lines, _ = program("""
random.seed(1)
fork_processes(3)
say(random.random())
""").end()
    assert len(set(lines)) == 3


def test_workers_make_loops_of_their_own(program: Callable[..., Program]) -> None:
    """A loop made before the fork is neither used nor closed by the workers."""
    status, lines, errors = program("""
import gc
from webfw.ioloop import IOLoop
before = IOLoop.current()
number = fork_processes(2)
gc.collect()
after = IOLoop.current()
assert after is not before and after.asyncio_loop is not before.asyncio_loop
assert not before.asyncio_loop.is_closed()
say(after.run_sync(lambda: asyncio.sleep(0.01, number)))
after.close()
""").end()
    assert (status, sorted(lines)) == (0, ["0", "1"]), errors


def test_a_plain_asyncio_loop_is_kept_open_too(program: Callable[..., Program]) -> None:
    status, lines, errors = program("""
import gc
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
del loop
fork_processes(2)
gc.collect()
from webfw.process.fork import _parents_loops
say(asyncio.run(asyncio.sleep(0, _parents_loops[0].is_closed())))
_parents_loops[0].close()
""").end()
    assert (status, lines) == (0, ["False", "False"]), errors


def test_crashed_workers_are_started_again_those_that_end_are_not(program: Callable[..., Program]) -> None:
    status, lines, errors = program("""
r, w = os.pipe()
for byte in b"abc":
    os.write(w, bytes([byte]))
number = fork_processes(2)
say("worker", number)
if number == 1:
    what = os.read(r, 1)
    if what == b"a": sys.exit(7)
    if what == b"b": os.kill(os.getpid(), signal.SIGKILL)
""").end()
    assert status == 0
    assert sorted(lines) == ["worker 0", "worker 1", "worker 1", "worker 1"]
    assert re.search(r"WARNING worker 1 \(process \d+\) ended with status 7: it is started again", errors)
    assert re.search(r"WARNING worker 1 \(process \d+\) was killed by SIGKILL: it is started again", errors)


def test_too_many_crashes_end_the_others(program: Callable[..., Program]) -> None:
    status, lines, errors = program("""
number = fork_processes(2, max_restarts=3)
if number == 1:
    say("crash")
    sys.exit(1)
say("pid", os.getpid())
time.sleep(60)
""").end()
    assert status == 1
    assert lines.count("crash") == 4
    (pid,) = [int(line[4:]) for line in lines if line.startswith("pid")]
    assert not alive(pid)
    assert "RuntimeError: worker processes have crashed too often" in errors
    assert "no restart is left" in errors


def test_a_worker_that_ends_before_the_parent_waits(program: Callable[..., Program]) -> None:
    """The word it leaves is read with all that came before the wait."""
    status, _, errors = program("""
import webfw.process.fork as fork
watch = fork._Parent._watch
def late(self):
    time.sleep(0.3)  # until it has ended
    return watch(self)
fork._Parent._watch = late
fork_processes(1, max_restarts=0)
os._exit(3)
""").end()
    assert status == 1, errors
    assert "no restart is left" in errors


def test_no_restart_at_all(program: Callable[..., Program]) -> None:
    status, lines, _ = program("""
fork_processes(1, max_restarts=0)
say("here")
os.kill(os.getpid(), 40)
""").end()
    assert (status, lines) == (1, ["here"])


def test_a_process_that_cannot_be_started_ends_the_others(program: Callable[..., Program]) -> None:
    status, lines, errors = program("""
real, made = os.fork, []
def fork():
    if len(made) == 2: raise OSError(11, "no more")
    pid = real()
    made.append(pid)
    return pid
os.fork = fork
try:
    fork_processes(5)
except RuntimeError as error:
    say(error)
else:
    time.sleep(60)
""").end()
    assert (status, lines) == (0, ["worker 2 cannot be started: [Errno 11] no more"]), errors


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_parent_takes_its_workers_along(program: Callable[..., Program], signum: int) -> None:
    running = program("""
fork_processes(3)
say(os.getpid())
time.sleep(60)
""")
    pids = [int(line) for line in running.lines(3)]
    running.popen.send_signal(signum)  # to the parent alone
    status, _, errors = running.end()
    assert status == -signum
    assert not any(alive(pid) for pid in pids)
    assert "started again" not in errors


def test_workers_may_end_in_their_own_way(program: Callable[..., Program]) -> None:
    """At Ctrl-C the terminal tells all of them: the parent does not interfere with who is quick."""
    running = program("""
from webfw.process import fork
fork.INTERRUPT_GRACE = 20
try:
    fork_processes(2)
    say(os.getpid())
    time.sleep(60)
except KeyboardInterrupt:
    say("interrupted", task_id())
""")
    for pid in running.lines(2):
        state = Path(f"/proc/{pid}/stat")
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.001)  # not yet asleep: an interrupt could come to it anywhere
    os.killpg(running.popen.pid, signal.SIGINT)
    status, lines, errors = running.end()
    assert status == 0
    assert sorted(lines) == ["interrupted 0", "interrupted 1", "interrupted None"]
    assert "SIGTERM" not in errors


def test_a_second_signal_kills(program: Callable[..., Program]) -> None:
    running = program("""
ready = fork_processes(2)
signal.signal(signal.SIGTERM, lambda *args: say("no"))
say("ready")
while True:
    time.sleep(60)
""")
    running.lines(2)
    running.popen.send_signal(signal.SIGTERM)
    assert running.lines(2) == ["no", "no"]
    running.popen.send_signal(signal.SIGTERM)
    status, lines, _ = running.end()
    assert (status, lines) == (-signal.SIGTERM, [])


def test_who_does_not_end_is_killed_after_some_time(program: Callable[..., Program]) -> None:
    running = program("""
from webfw.process import fork
fork.GRACE = 0.2
fork_processes(2)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("ready")
time.sleep(60)
""")
    running.lines(2)
    running.popen.send_signal(signal.SIGTERM)
    status, _, errors = running.end()
    assert status == -signal.SIGTERM
    assert errors.count("gets SIGKILL") == 2


def test_the_programs_own_handlers_are_the_workers_and_come_last_in_the_parent(
    program: Callable[..., Program],
) -> None:
    running = program("""
signal.signal(signal.SIGTERM, lambda *args: (say("told", task_id()), sys.exit(5)))
signal.signal(signal.SIGHUP, lambda *args: say("reload", task_id()))
signal.signal(signal.SIGINT, signal.SIG_IGN)
fork_processes(1)
say("ready")
time.sleep(60)
""")
    running.lines(1)
    running.popen.send_signal(signal.SIGHUP)
    assert running.lines(1) == ["reload None"]
    running.popen.send_signal(signal.SIGINT)
    running.popen.send_signal(signal.SIGTERM)
    assert running.end()[:2] == (5, ["told 0", "told None"])


def test_children_of_others_are_left_alone(program: Callable[..., Program]) -> None:
    status, lines, errors = program("""
import subprocess
other = subprocess.Popen([sys.executable, "-c", "raise SystemExit(9)"])
while not os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT): pass
try:
    number = fork_processes(1)
    other.returncode = 0
except SystemExit:
    say(other.wait())
""").end()
    assert (status, lines) == (0, ["9"]), errors


def test_the_name_of_the_tree_is_shared(program: Callable[..., Program]) -> None:
    status, lines, _ = program("""
from webfw.process.fork import process_tree
import subprocess
number = fork_processes(2)
say(process_tree())
code = "import os; from webfw.process.fork import process_tree; os.write(1, process_tree().encode() + bytes([10]))"
subprocess.run([sys.executable, "-c", code], check=True)
""").end()
    assert status == 0
    assert len(lines) == 4
    assert len(set(lines)) == 1


def test_sockets_bound_before_are_shared(program: Callable[..., Program]) -> None:
    status, lines, errors = program("""
import socket
from webfw.netutil import bind_sockets
from webfw.tcpserver import TCPServer
from webfw.ioloop import IOLoop
class Server(TCPServer):
    async def handle_stream(self, stream, address):
        self.stop()  # leave the next connection to the other
        await stream.write(b"%d\\n" % task_id())
        stream.close()
        asyncio.get_running_loop().stop()
sockets = bind_sockets(0, "127.0.0.1")
number = fork_processes(3)
server = Server()
server.add_sockets(sockets)
if number == 2:
    answers = set()
    for _ in range(2):
        with socket.create_connection(sockets[0].getsockname()) as client:
            answers.add(client.makefile().readline().strip())
    say(sorted(answers))
    server.stop()
else:
    IOLoop.current().start()
""").end()
    assert (status, lines) == (0, ["['0', '1']"]), errors


# --- refusals ---


async def test_not_while_the_loop_runs() -> None:
    with pytest.raises(RuntimeError, match="before the event loop runs"):
        fork_processes(2)


def test_not_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "_task_id", 3)
    assert task_id() == 3
    with pytest.raises(RuntimeError, match="called in worker 3"):
        fork_processes(2)


def test_not_where_there_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(RuntimeError, match="os.fork"):
        fork_processes(2)


def test_not_in_a_thread() -> None:
    found: list[BaseException] = []

    def call() -> None:
        try:
            fork_processes(2)
        except RuntimeError as exc:
            found.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread" in str(found[0])


def test_the_loop_of_this_process_is_untouched() -> None:
    """Nothing above has made this process a worker or a parent."""
    assert task_id() is None
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    assert asyncio._get_running_loop() is None
