"""The ``webfw ctl`` command: what a running process tree is asked and told, and how its answers look on a terminal."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.cli.sources import read_configuration
from webfw.cli.tables import table
from webfw.process.control import ControlError, directories
from webfw.process.controlclient import ControlClient, find_servers

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command"]

#: Seconds between two looks at a supervisor that is starting.
POLL = 0.1

Action = Callable[[ControlClient, argparse.Namespace], None]


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``ctl`` to the commands of a parser."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print the server's answer as it is"
    )
    which = common.add_mutually_exclusive_group()
    which.add_argument(
        "--control", metavar="PATH", default=argparse.SUPPRESS, help="the server's control socket"
    )
    which.add_argument(
        "--pid", type=int, metavar="N", default=argparse.SUPPRESS, help="the process number of its supervisor"
    )
    parser = commands.add_parser(
        "ctl",
        help="ask and order a running server",
        description="Ask and order a running server, through its control socket.  Without a command: its status.",
        parents=[common],
    )
    parser.set_defaults(command=ctl, action=_status, watch=None)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, action: Action, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text, parents=[common]
        )
        made.set_defaults(action=action)
        return made

    status = add("status", _status, "show the server and its workers")
    status.add_argument(
        "--watch",
        nargs="?",
        type=_interval,
        const=1.0,
        metavar="SECONDS",
        help="show it again and again (every second), until interrupted",
    )
    add("reload", _reload, "replace the workers, one by one, by workers that load the application anew")
    workers = add("workers", _workers, "have more or fewer workers")
    workers.add_argument("change", metavar="N|+N|-N", help="how many, or how many more or fewer")
    add("drain", _drain, "stop: take no new connections, and end when running requests have ended")
    add("stacks", _stacks, "show where every thread of every worker stands")
    add("upgrade", _upgrade, "start a new server, of the program as it is on disk, in the place of this one")
    add("reopen-logs", _reopen_logs, "open log files anew, after they have been moved away")


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0.1 to 3600 is wanted, not {text!r}")
    return seconds


def ctl(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: no server, or more than one, can be asked, or it does not do what it is told.
    """
    # Not defaults of the parsers: those of the inner one would overrule what the outer one was given.
    arguments.json = getattr(arguments, "json", False)
    arguments.control = getattr(arguments, "control", None)
    arguments.pid = getattr(arguments, "pid", None)
    try:
        with ControlClient(_path(arguments)) as client:
            arguments.action(client, arguments)
    except ControlError as error:
        raise CommandError(f"{error}", FAILED) from None
    except BrokenPipeError:  # whoever reads has enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _path(arguments: argparse.Namespace) -> str:
    """The socket of the server that is meant."""
    if arguments.control is not None:
        return str(arguments.control)
    if arguments.pid is None:
        configured = _configured()
        if configured is not None:
            return configured
    found = find_servers()
    if arguments.pid is not None:
        for path in found:
            if os.path.basename(path) == f"{arguments.pid}.sock":
                return path
        looked = ", ".join(map(str, directories()))
        raise CommandError(
            f"process {arguments.pid} is no server of yours that can be controlled (looked in {looked}); "
            "if its control socket is elsewhere, say where with --control",
            FAILED,
        )
    if not found:
        raise CommandError(
            "no server of yours is running; if its control socket is elsewhere, say where with --control"
        )
    if len(found) > 1:
        lines = "\n".join(f"  webfw ctl --pid {os.path.basename(path)[:-5]}{_named(path)}" for path in found)
        raise CommandError(f"{len(found)} servers are running; say which one:\n{lines}", USAGE)
    return found[0]


def _configured() -> str | None:
    """What the settings of this directory say; None when they say nothing, or are wrong, which is no reason here."""
    try:
        control = read_configuration({})["control"]
    except CommandError as error:
        print(f"webfw: the settings are not looked at: {error}", file=sys.stderr)
        return None
    return str(control) if control not in (None, "off") else None


def _named(path: str) -> str:
    """What is known of a server, beside its number."""
    try:
        with ControlClient(path) as client:
            serving = client.ask("status").get("serving")
    except ControlError:
        return ""
    return f"  ({serving})" if serving else ""


# --- commands ---


def _answer(arguments: argparse.Namespace, answer: Mapping[str, Any], text: str) -> None:
    print(json.dumps(answer) if arguments.json else text, flush=True)


def _waiting(text: str) -> Callable[[], None]:
    return lambda: print(text, file=sys.stderr, flush=True)


def _status(client: ControlClient, arguments: argparse.Namespace) -> None:
    if arguments.watch is None:
        answer = client.ask("status")
        _answer(arguments, answer, status_text(answer))
        return
    redraws = sys.stdout.isatty() and not arguments.json
    clear = "\x1b[2J"
    try:
        while True:
            answer = client.ask("status")
            text = status_text(answer)
            if redraws:
                # From the top, each line cleared behind its end, then everything below: nothing flickers.
                text = text.replace("\n", "\x1b[K\n")
                print(f"\x1b[H{clear}{text}\x1b[K\n\x1b[J", end="", flush=True)
                clear = ""
            else:
                _answer(arguments, answer, f"{time.strftime('%H:%M:%S')} {text}\n")
            time.sleep(arguments.watch)
    except KeyboardInterrupt:
        if redraws:
            print()


def _reload(client: ControlClient, arguments: argparse.Namespace) -> None:
    answer = client.ask("reload", _waiting("waiting until every worker is replaced ..."))
    count, seconds = answer["workers"], answer["seconds"]
    workers = "1 worker serves" if count == 1 else f"{count} workers serve"
    _answer(arguments, answer, f"reloaded in {seconds:.1f} s: {workers} generation {answer['generation']}")


def _workers(client: ControlClient, arguments: argparse.Namespace) -> None:
    answer = client.ask("workers", change=arguments.change)
    _answer(arguments, answer, f"workers: {answer['workers']} from now on, {answer['former']} before")


def _drain(client: ControlClient, arguments: argparse.Namespace) -> None:
    answer = client.ask("drain", _waiting("waiting until running requests have ended ..."))
    _answer(arguments, answer, "the server has ended")


def _stacks(client: ControlClient, arguments: argparse.Namespace) -> None:
    answer = client.ask("stacks", _waiting("waiting for workers that do not answer ..."))
    _answer(arguments, answer, "\n\n".join(map(stacks_text, answer["workers"])))


def _reopen_logs(client: ControlClient, arguments: argparse.Namespace) -> None:
    _answer(arguments, client.ask("reopen-logs"), "log files are opened anew")


def _upgrade(client: ControlClient, arguments: argparse.Namespace) -> None:
    """Start the new one, wait until it serves, then let the former drain."""
    pid = client.ask("upgrade")["successor"]
    if not arguments.json:
        print(f"process {pid} is started in the place of {client.ask('status')['pid']}", flush=True)
    while not _serves(client.path, pid):
        if client.ask("status").get("successor") != pid:
            raise CommandError(
                f"process {pid} has ended before it served: the former server goes on, see its log"
            )
        time.sleep(POLL)
    answer = client.ask(
        "drain", _waiting("it serves; waiting until running requests of the former have ended ...")
    )
    _answer(arguments, {**answer, "pid": pid}, f"upgraded: process {pid} serves, the former has ended")


def _serves(path: str, pid: int) -> bool:
    """Whether an upgrade is ready: at a socket named after it, or at the one that it takes over."""
    for place in (os.path.join(os.path.dirname(path), f"{pid}.sock"), path):
        try:
            with ControlClient(place) as client:
                status = client.ask("status")
        except ControlError:
            continue
        if status.get("pid") == pid and status.get("state") == "ready":
            return True
    return False


# --- how it looks ---

_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("worker", lambda w: str(w["worker"])),
    ("pid", lambda w: str(w["pid"])),
    ("state", lambda w: f"blocked {duration(w['silent'])}" if w.get("blocked") else str(w["state"])),
    ("age", lambda w: duration(w["age"])),
    ("generation", lambda w: str(w["generation"])),
    ("requests", lambda w: _number(w, "requests")),
    ("connections", lambda w: _number(w, "connections")),
    ("in flight", lambda w: _number(w, "in_flight")),
    ("lag", lambda w: f"{w['lag'] * 1000:.1f} ms" if "lag" in w else "-"),
    ("memory", lambda w: f"{w['memory'] / 1048576:.1f} MiB" if w.get("memory") else "-"),
)


def status_text(answer: Mapping[str, Any]) -> str:
    """A status as people read it: one line on the server, one each worker."""
    workers = sorted(answer["workers"], key=lambda w: (w["worker"], -w["age"]))
    serving = sum(w["state"] == "ready" for w in workers)
    who = f"webfw {answer['version']}, process {answer['pid']}: {answer['state']}, up {duration(answer['uptime'])}"
    # The one that serves: what could not be loaded has a number too.
    generation = max(
        (w["generation"] for w in workers if w["state"] == "ready"), default=answer["generation"]
    )
    lines = [f"{who}, generation {generation}, {serving} of {answer['target']} workers ready"]
    if answer.get("serving"):
        lines.append(f"serving {answer['serving']}")
    if answer.get("successor"):
        lines.append(f"an upgrade is under way: process {answer['successor']}")
    if answer.get("reload_error"):
        lines.append(f"the last reload failed: {answer['reload_error']}")
    if workers:
        heading = [name for name, _ in _COLUMNS]
        rows = [[show(worker) for _, show in _COLUMNS] for worker in workers]
        lines += ["", table(heading, rows, right=True)]
    return "\n".join(lines)


def stacks_text(worker: Mapping[str, Any]) -> str:
    """Where a worker stands."""
    name = f"worker {worker['worker']} (process {worker['pid']})"
    if worker["stacks"] is not None:
        return f"{name}:\n{worker['stacks'].rstrip()}"
    if "silent" not in worker:
        return f"{name} is loading the application"
    silent = f"{name} does not answer; its last sign of life was {duration(worker['silent'])} ago"
    return (
        f"{silent}.\nWhat blocks its event loop:\n{worker['blocked'].rstrip()}"
        if worker["blocked"]
        else silent
    )


def duration(seconds: float) -> str:
    """A time in two units at most, such as ``3m 12s``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    for unit, size, lower, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part:02}{lower}"
    raise AssertionError


def _number(worker: Mapping[str, Any], name: str) -> str:
    return str(worker[name]) if name in worker else "-"
