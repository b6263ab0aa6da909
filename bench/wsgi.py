"""WSGI applications: CPU time of a request, threads that wait, a native handler beside them, and slow clients.

    python -m bench.wsgi [--quick] [--only requests,sleep,beside,slow-clients] [--peers webfw-0,granian] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import beside, slow_clients
from bench.http import (
    APPS,
    BROWSER_FIELDS,
    CONNECTIONS,
    Peer,
    Sample,
    load,
    machine,
    measure,
    missing,
    pinned,
    prepare,
    script,
    serving,
    summary,
    versions,
)
from bench.options import able, add_choice, parser, two_cores, write

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


def requests(plan: Plan) -> Samples:
    """CPU time of a request: by title and server."""
    samples: Samples = {title: {} for pages in PAGES.values() for title in pages}
    for number, server in plan.turns():
        print(f"requests, round {number + 1} of {plan.rounds}: {server.name}", file=sys.stderr)
        for target, pages in PAGES.items():
            with serving(server.peer(target), plan.python, plan.server_cpu) as (pid, port):
                load(port, BROWSER_FIELDS, 1, plan.load_cpu)
                for title, fields in pages.items():
                    found = measure(pid, port, fields, plan.seconds, plan.load_cpu)
                    samples[title].setdefault(server.name, []).append(found)
    return samples


def sleeping(plan: Plan) -> Rates:
    """Requests a second of an application that sleeps, by server; and sleeps a second of threads without a server."""
    rates: Rates = {}
    seconds = max(plan.seconds, 3.0)  # as the first answers come after a sleep, and the last sleeps are cut
    for number, server in plan.turns():
        if len(rates.setdefault(ALONE, [])) == number:
            rates[ALONE].append(alone(plan, seconds))
        print(f"sleep, round {number + 1} of {plan.rounds}: {server.name}", file=sys.stderr)
        peer = server.peer("wsgi_apps:sleep", SLEEPERS)
        with serving(peer, plan.python, plan.server_cpu) as (_, port):
            load(port, [], 1, plan.load_cpu)
            rates.setdefault(server.name, []).append(rate(port, seconds, plan.load_cpu))
    return rates


def alone(plan: Plan, seconds: float) -> float:
    """Sleeps a second in threads that do nothing else."""
    command = [str(plan.python), str(APPS / "bare_wsgi_sleep.py"), str(SLEEPERS), str(seconds)]
    return float(subprocess.check_output(pinned(plan.server_cpu, command), timeout=seconds + 20))


def rate(port: int, seconds: float, cpu: int | None) -> float:
    """Requests a second, by the load generator's own clock: what `load` takes includes its start and its end."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", f"http://127.0.0.1:{port}/"]
    done = subprocess.run(
        pinned(cpu, command), capture_output=True, text=True, timeout=seconds + 20, check=True
    )
    return rate_in(done.stdout)


def rate_in(output: str) -> float:
    """What wrk says of requests a second; raises where some went wrong."""
    bad = re.search(r"(Non-2xx.*|Socket errors.*)", output)
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if bad is not None or found is None:
        raise SystemExit(f"the load went wrong: {bad[1] if bad else output}")
    return float(found[1])


# --- what is shown ---

OTHERS = ("granian", "waitress", "tornado")


def table(title: str, samples: dict[str, list[Sample]]) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice the CPU time."""
    head = " | ".join(f"{other} ÷" for other in OTHERS)
    lines = [
        f"| {title} | user µs | system µs | total µs | lowest to highest | requests/s | {head} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    keeps = {server.name: server.keeps for server in SERVERS}
    rows = {name: summary(found) for name, found in samples.items()}
    for name, row in sorted(rows.items(), key=lambda item: item[1]["total_us"]):
        ratios = [
            f"{rows[other]['total_us'] / row['total_us']:.2f}" if other in rows else "" for other in OTHERS
        ]
        lines.append(
            f"| {name}{'' if keeps.get(name, True) else ' (closes)'} | {row['user_us']:.1f} "
            f"| {row['system_us']:.1f} | {row['total_us']:.1f} "
            f"| {row['lowest_us']:.1f} to {row['highest_us']:.1f} | {row['requests_per_second']:,.0f} "
            f"| {' | '.join(ratios)} |"
        )
    return "\n".join(lines)


def rates_table(rates: Rates) -> str:
    title = f"20 ms of sleep, {CONNECTIONS} clients, {SLEEPERS} threads"
    lines = [f"| {title} | requests/s | lowest to highest | of {BOUND:.0f} |", "|---|---:|---:|---:|"]
    for name, found in sorted(rates.items(), key=lambda item: -statistics.median(item[1])):
        median = statistics.median(found)
        lines.append(
            f"| {name} | {median:.0f} | {min(found):.0f} to {max(found):.0f} | {median / BOUND:.1%} |"
        )
    return "\n".join(lines)


def verdicts(samples: Samples, rates: Rates) -> list[str]:
    """What was expected, beside what came; only of servers that took part."""
    found = []

    def expect(what: str, value: float, most: float) -> None:
        found.append(
            f"{'met' if value <= most else 'MISSED'}: {what}: {value:.2f}, at most {most:g} expected"
        )

    for title, servers in samples.items():
        totals = {name: summary(of)["total_us"] for name, of in servers.items()}
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
    return made.parse_args(argv)


def available(names: list[str], python: Path) -> list[Server]:
    """The servers that can run; why the others cannot is printed."""
    return able(SERVERS, names, lambda server: missing(server.peer("wsgi_apps:hello"), python))


def only(plan: Plan, names: tuple[str, ...]) -> Plan:
    return replace(plan, servers=[server for server in plan.servers if server.name in names])


def run(plan: Plan, parts: list[str], quick: bool) -> dict[str, object]:
    """Measure and print the parts that are asked for."""
    figures: dict[str, object] = {}
    samples: Samples = {}
    rates: Rates = {}
    if "requests" in parts and plan.servers:
        samples = requests(plan)
        for title, found in samples.items():
            print(f"\n{table(title, found)}")
        figures["requests"] = {
            title: {name: summary(of) for name, of in found.items()} for title, found in samples.items()
        }
    threaded = only(plan, tuple(server.name for server in plan.servers if server.threaded))
    if "sleep" in parts and threaded.servers:
        rates = sleeping(threaded)
        print(f"\n{rates_table(rates)}")
        figures["sleep"] = rates
    if "beside" in parts:
        rows = beside.run(plan.python, 2.0 if quick else 10.0, plan.server_cpu)
        print(f"\n{beside.table(rows)}")
        figures["beside"] = beside.figures(rows)
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
    if verdict := verdicts(samples, rates):
        print("\n" + "\n".join(verdict))
    return figures


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    if shutil.which("wrk") is None:
        print("bench.wsgi needs wrk (apt-get install wrk)", file=sys.stderr)
        return 2
    python, failed = prepare()
    for pin in failed:
        print(f"could not be installed: {pin}", file=sys.stderr)
    servers = available(options.peers, python)
    server_cpu, load_cpu = two_cores() or (None, None)
    rounds, seconds = (2, 1.0) if options.quick else (5, 3.0)
    plan = Plan(python, servers, rounds, seconds, server_cpu, load_cpu)
    about = machine()
    print(
        f"{about['cpu']}, Python {about['python']}, {CONNECTIONS} connections, {rounds} rounds of {seconds:g} s"
    )
    document = {
        "machine": about,
        "versions": versions(python),
        "rounds": rounds,
        "seconds": seconds,
        **run(plan, options.only, options.quick),
    }
    write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
