"""WSGI applications: CPU time of a request, threads that wait, a native handler beside them, and slow clients.

    python -m bench wsgi [--quick] [--only requests,sleep,beside,slow-clients] [--peers webfw-0,granian] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import beside, report, slow_clients
from bench.cpu import pinned, two_cores
from bench.http import Sample, load, measure, summary
from bench.load import CONNECTIONS, lacking, wrk
from bench.options import add_choice, extent, parser
from bench.peers import APPS, Cast, Peer, missing, script, serving
from bench.report import expectation, write
from bench.shapes import BROWSER_FIELDS

#: Threads for the pages that never wait, and for the one that does.
THREADS = 8
SLEEPERS = 16
#: What `wsgi_apps.sleep` waits, and what that many threads can do at best.
BOUND = SLEEPERS / 0.020
#: The row of what they do without a server.
ALONE = "threads alone"

Command = Callable[[int], list[str]]


# --- the servers ---


@dataclass(frozen=True)
class Server:
    """How one server is told what to run and with how many threads.

    :ivar threaded: takes part where applications wait.
    :ivar keeps: whether it keeps connections open after a response.
    """

    name: str
    module: str
    command: Callable[[str, int], Command]
    threaded: bool = True
    keeps: bool = True

    def peer(self, target: str, threads: int = THREADS) -> Peer:
        """The server with an application, as ``module:name``."""
        return Peer(self.name, self.module, self.command(target, threads))


def with_threads(name: str, *more: str) -> Callable[[str, int], Command]:
    return lambda target, threads: script(name, target, str(threads), *more)


def inline(name: str, *more: str) -> Callable[[str, int], Command]:
    return lambda target, threads: script(name, target, *more)


def gunicorn(kind: str) -> Callable[[str, int], Command]:
    def command(target: str, threads: int) -> Command:
        options = ["--workers", "1", "--worker-class", kind, "--log-level", "error", "--no-control-socket"]
        if kind == "gthread":
            options += ["--threads", str(threads)]
        return lambda port: ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, target]

    return command


def granian(target: str, threads: int) -> Command:
    options = ["--host", "127.0.0.1", "--workers", "1", "--no-access-log", "--no-log"]
    if threads != THREADS:  # as it ships: it has found its own number
        options += ["--blocking-threads", str(threads)]
    return lambda port: ["-m", "granian", "--interface", "wsgi", "--port", str(port), *options, target]


SERVERS = [
    Server("webfw-0", "webfw.wsgi", inline("webfw_wsgi.py", "0", "uvloop"), threaded=False),
    Server("webfw-8", "webfw.wsgi", lambda t, n: script("webfw_wsgi.py", t, str(n), "uvloop")),
    Server("gunicorn-sync", "gunicorn", gunicorn("sync"), threaded=False, keeps=False),
    Server("gunicorn-gthread", "gunicorn", gunicorn("gthread")),
    Server("waitress", "waitress", with_threads("waitress_wsgi.py")),
    Server("cheroot", "cheroot", with_threads("cheroot_wsgi.py")),
    Server("uwsgi", "pyuwsgi", with_threads("uwsgi_wsgi.py", "http"), keeps=False),
    Server("uwsgi-http11", "pyuwsgi", with_threads("uwsgi_wsgi.py", "http11")),
    Server("granian", "granian", granian),
    Server("bjoern", "bjoern", inline("bjoern_wsgi.py"), threaded=False),
    Server("tornado", "tornado", inline("tornado_wsgi.py", "0"), threaded=False),
    Server("tornado-executor", "tornado", with_threads("tornado_wsgi.py")),
]

#: What each page is asked with: titles and fields, by application.
PAGES: dict[str, dict[str, list[str]]] = {
    "wsgi_apps:hello": {"hello, 1 field": [], "hello, 8 fields": BROWSER_FIELDS},
    "wsgi_flask:app": {"Flask, 8 fields": BROWSER_FIELDS},
}


def page_of(target: str) -> str:
    """What a page is called on the command line."""
    return "flask" if target.startswith("wsgi_flask") else "hello"


# --- what is measured ---


Samples = dict[str, dict[str, list[Sample]]]
Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Plan:
    """How long everything takes, and where: the interpreter of the servers, and the two cores, if there are two."""

    python: Path
    servers: list[Server]
    rounds: int
    seconds: float
    server_cpu: int | None
    load_cpu: int | None

    def turns(self) -> list[tuple[int, Server]]:
        """All rounds: every server once in each, and the order turns by one from round to round."""
        count = len(self.servers)
        return [
            (number, self.servers[(number + place) % count])
            for number in range(self.rounds)
            for place in range(count)
        ]


def requests(plan: Plan, which: list[str], cast: Cast) -> Samples:
    """CPU time of a request: by title and server."""
    chosen = {name: pages for name, pages in PAGES.items() if page_of(name) in which}
    samples: Samples = {title: {} for pages in chosen.values() for title in pages}

    def once(server: Server) -> None:
        for target, pages in chosen.items():
            with serving(server.peer(target), plan.python, plan.server_cpu) as (pid, port):
                load(port, BROWSER_FIELDS, 1, plan.load_cpu)
                for title, fields in pages.items():
                    found = measure(pid, port, fields, plan.seconds, plan.load_cpu)
                    samples[title].setdefault(server.name, []).append(found)

    for number, server in plan.turns():
        print(f"requests, round {number + 1} of {plan.rounds}: {server.name}", file=sys.stderr)
        if not cast.attempt(server.name, partial(once, server)):
            for rows in samples.values():
                rows.pop(server.name, None)
    return samples


def sleeping(plan: Plan, cast: Cast) -> Rates:
    """Requests a second of an application that sleeps, by server; and sleeps a second of threads without a server."""
    rates: Rates = {}
    seconds = max(plan.seconds, 3.0)  # as the first answers come after a sleep, and the last sleeps are cut

    def once(server: Server) -> None:
        peer = server.peer("wsgi_apps:sleep", SLEEPERS)
        with serving(peer, plan.python, plan.server_cpu) as (_, port):
            load(port, [], 1, plan.load_cpu)
            rates.setdefault(server.name, []).append(wrk(port, seconds, cpu=plan.load_cpu).rate)

    for number, server in plan.turns():
        if len(rates.setdefault(ALONE, [])) == number:
            rates[ALONE].append(alone(plan, seconds))
        print(f"sleep, round {number + 1} of {plan.rounds}: {server.name}", file=sys.stderr)
        if not cast.attempt(server.name, partial(once, server)):
            rates.pop(server.name, None)
    return rates


def alone(plan: Plan, seconds: float) -> float:
    """Sleeps a second in threads that do nothing else."""
    command = [str(plan.python), str(APPS / "bare_wsgi_sleep.py"), str(SLEEPERS), str(seconds)]
    return float(subprocess.check_output(pinned(plan.server_cpu, command), timeout=seconds + 20))


# --- what is shown ---

OTHERS = ("granian", "waitress", "tornado")


def table(title: str, rows: Mapping[str, report.Row]) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice the CPU time."""
    keeps = {server.name: server.keeps for server in SERVERS}
    ratios = [report.ratio(other, rows, 2) for other in OTHERS]
    return report.table(
        title,
        rows,
        [*report.COSTS, report.RATE, *ratios],
        label=lambda name: name if keeps.get(name, True) else f"{name} (closes)",
    )


def rates_table(rates: Rates) -> str:
    title = f"20 ms of sleep, {CONNECTIONS} clients, {SLEEPERS} threads"
    lines = [f"| {title} | requests/s | lowest to highest | of {BOUND:.0f} |", "|---|---:|---:|---:|"]
    for name, found in sorted(rates.items(), key=lambda item: -statistics.median(item[1])):
        median = statistics.median(found)
        lines.append(
            f"| {name} | {median:.0f} | {min(found):.0f} to {max(found):.0f} | {median / BOUND:.1%} |"
        )
    return "\n".join(lines)


def verdicts(requests: Mapping[str, Mapping[str, report.Row]], rates: Rates) -> list[str]:
    """What was expected, beside what came; only of servers that took part."""
    found = []

    def expect(what: str, value: float, most: float) -> None:
        found.append(expectation(what, value, value <= most, f"at most {most:g}"))

    for title, rows in requests.items():
        totals = {name: row["total_us"] for name, row in rows.items()}
        if {"webfw-0", "granian"} <= totals.keys():
            expect(f"{title}: webfw-0 to granian", totals["webfw-0"] / totals["granian"], 1.5)
        if {"webfw-8", "waitress"} <= totals.keys():
            expect(f"{title}: webfw-8 to waitress", totals["webfw-8"] / totals["waitress"], 0.5)
    if "webfw-8" in rates:
        expect("sleep: missing of the bound", 1 - statistics.median(rates["webfw-8"]) / BOUND, 0.05)
    return found


# --- the command ---

PARTS = ("requests", "sleep", "beside", "slow-clients")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    made = parser("wsgi", __doc__, "two rounds of one second, not five of three")
    add_choice(made, "--only", PARTS)
    add_choice(made, "--peers", [server.name for server in SERVERS])
    add_choice(made, "--pages", ["hello", "flask"])
    return made.parse_args(argv)


def available(names: list[str], cast: Cast) -> list[Server]:
    """The servers that can run; why the others cannot is printed, and noted."""
    return cast.able(SERVERS, names, lambda server: missing(server.peer("wsgi_apps:hello"), cast.python))


def only(plan: Plan, names: tuple[str, ...]) -> Plan:
    return replace(plan, servers=[server for server in plan.servers if server.name in names])


def run(plan: Plan, cast: Cast, parts: list[str], titles: list[str], quick: bool) -> dict[str, object]:
    """Measure and print the parts that are asked for."""
    figures: dict[str, object] = {}
    rows: dict[str, dict[str, dict[str, float]]] = {}
    rates: Rates = {}
    if "requests" in parts and plan.servers:
        samples = requests(plan, titles, cast)
        figures["requests"] = rows = {
            title: {name: summary(of) for name, of in found.items()} for title, found in samples.items()
        }
        for title, found in rows.items():
            print(f"\n{table(title, found)}")
    threaded = only(plan, tuple(server.name for server in plan.servers if server.threaded))
    if "sleep" in parts and threaded.servers:
        rates = sleeping(threaded, cast)
        print(f"\n{rates_table(rates)}")
        figures["sleep"] = rates
    if "beside" in parts:
        besides = beside.run(plan.python, 2.0 if quick else 10.0, plan.server_cpu)
        print(f"\n{beside.table(besides)}")
        figures["beside"] = beside.figures(besides)
    if "slow-clients" in parts:
        names = ("webfw-8", "waitress", "gunicorn-gthread")
        reports = {
            server.name: slow_clients.measure(
                server.peer("wsgi_apps:mixed", slow_clients.THREADS), plan.python, 8 if quick else 30
            )
            for server in only(plan, names).servers
        }
        print(f"\n{slow_clients.table(reports)}")
        figures["slow-clients"] = {name: report.figures() for name, report in reports.items()}
    if verdict := verdicts(rows, rates):
        print("\n" + "\n".join(verdict))
    return figures


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    if lack := lacking("wrk"):
        print(f"bench wsgi: {lack}", file=sys.stderr)
        return 2
    cast = Cast()
    servers = available(options.peers, cast)
    server_cpu, load_cpu = two_cores() or (None, None)
    rounds, seconds = extent(options, (5, 3.0), (2, 1.0))
    plan = Plan(cast.python, servers, rounds, seconds, server_cpu, load_cpu)
    document = report.document(options.command, rounds, seconds, cast)
    print(report.headline(document, f"{CONNECTIONS} connections"))
    document.update(run(plan, cast, options.only, options.pages, options.quick))
    if absent := cast.absent():
        print(f"\n{absent}")
    write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
