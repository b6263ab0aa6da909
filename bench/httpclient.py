"""What a request costs the one who asks: CPU time of HTTP clients, and how long they take, webfw's beside others.

    python -m bench client [--quick] [--peers webfw-simple,aiohttp] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import report
from bench.cpu import pinned, two_cores
from bench.options import add_choice, extent, parser
from bench.peers import APPS, ROOT, Cast, Peer, interpreter, missing, script, serving, wait_until_listening
from bench.report import expectation, write

#: Titles by load of `apps/http_clients.py`.
LOADS = {
    "tls": "TLS, 100 requests by a new client",
    "sequential": "one after the other",
    "many": "64 at a time",
}
OTHERS = ("tornado-simple", "tornado-curl", "aiohttp")


@dataclass(frozen=True)
class Client:
    """One client on one loop, by its name in `apps/http_clients.py`."""

    name: str
    module: str
    client: str
    loop: str = "asyncio"

    @property
    def peer(self) -> Peer:
        return Peer(self.name, self.module, lambda port: [])


CLIENTS = [
    Client("webfw-simple", "webfw.simple_httpclient", "webfw-simple"),
    Client("webfw-simple-uvloop", "webfw.simple_httpclient", "webfw-simple", "uvloop"),
    Client("webfw-curl", "webfw.curl_httpclient", "webfw-curl"),
    Client("tornado-simple", "tornado.simple_httpclient", "tornado-simple"),
    Client("tornado-curl", "tornado.curl_httpclient", "tornado-curl"),
    Client("aiohttp", "aiohttp", "aiohttp"),
    Client("aiohttp-uvloop", "aiohttp", "aiohttp", "uvloop"),
    Client("httpx", "httpx", "httpx"),
]


# --- what is measured ---


@dataclass(frozen=True)
class Sample:
    """One load of one client: microseconds a request, of CPU and by the clock."""

    user: float
    system: float
    elapsed: float


def measure(
    client: Client, python: Path, load: str, seconds: float, url: str, authority: Path, cpu: int | None
) -> Sample:
    arguments = [client.client, client.loop, load, str(seconds), url, str(authority)]
    command = pinned(cpu, [str(python), str(APPS / "http_clients.py"), *arguments])
    path = str(ROOT) if client.module.startswith("webfw") else ""
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    if done.returncode:
        raise SystemExit(f"{client.name}, {load}: {done.stderr[-500:]}")
    return sample(json.loads(done.stdout))


def sample(figures: dict[str, float]) -> Sample:
    each = 1e6 / figures["requests"]
    return Sample(figures["user"] * each, figures["system"] * each, figures["seconds"] * each)


Samples = dict[str, dict[str, list[Sample]]]


@contextmanager
def servers(python: Path, cpu: int | None) -> Iterator[tuple[dict[str, str], Path]]:
    """The address for each load, and the file of the authority of the one under TLS."""
    import trustme  # of the test group

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        files = [str(Path(folder) / name) for name in ("cert.pem", "key.pem")]
        certificate.cert_chain_pems[0].write_to_path(files[0])
        certificate.private_key_pem.write_to_path(files[1])
        authority.cert_pem.write_to_path(str(Path(folder) / "ca.pem"))
        ports = []
        for more in ([], files):
            peer = Peer("fixed", "uvloop", script("fixed_server.py", *more))
            _, port = stack.enter_context(serving(peer, python, cpu, wait_until_listening))
            ports.append(port)
        plain, secure = f"http://127.0.0.1:{ports[0]}/", f"https://localhost:{ports[1]}/"
        yield {"tls": secure, "sequential": plain, "many": plain}, Path(folder) / "ca.pem"


def run(
    clients: list[Client], rounds: int, seconds: float, cpus: tuple[int, int] | None, cast: Cast
) -> Samples:
    """All rounds; the order of the clients turns by one from round to round, and loads are interleaved."""
    samples: Samples = {title: {} for title in LOADS.values()}
    client_cpu, server_cpu = cpus or (None, None)

    def once(client: Client, load: str, url: str, authority: Path) -> None:
        python = interpreter(client.peer, cast.python)
        found = measure(client, python, load, seconds, url, authority, client_cpu)
        samples[LOADS[load]].setdefault(client.name, []).append(found)

    with servers(cast.python, server_cpu) as (urls, authority):
        for number in range(rounds):
            turn = number % len(clients)
            for load, title in LOADS.items():
                print(f"round {number + 1} of {rounds}: {title}", file=sys.stderr)
                for client in clients[turn:] + clients[:turn]:
                    if not cast.attempt(client.name, partial(once, client, load, urls[load], authority)):
                        for rows in samples.values():
                            rows.pop(client.name, None)
    return samples


# --- what is shown ---


def summary(samples: list[Sample]) -> dict[str, float]:
    return {**report.costs(samples), "elapsed_us": statistics.median(sample.elapsed for sample in samples)}


def table(title: str, rows: Mapping[str, report.Row]) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice as much CPU, or time."""
    ratios = [report.ratio(other, rows, 2) for other in OTHERS]
    slow = report.ratio("tornado-simple", rows, 2, "elapsed_us")
    return report.table(title, rows, [*report.COSTS, report.ELAPSED, *ratios, slow])


def verdicts(loads: Mapping[str, Mapping[str, report.Row]]) -> list[str]:
    """What was expected, beside what came; only of clients that took part."""
    found = []
    for title, rows in loads.items():
        mine = rows.get("webfw-simple")
        if mine is None:
            continue
        if title == LOADS["tls"] and "tornado-simple" in rows:
            ratio = rows["tornado-simple"]["elapsed_us"] / mine["elapsed_us"]
            found.append(
                expectation(f"{title}: times as fast as tornado-simple", ratio, ratio >= 3, "at least 3")
            )
        if "aiohttp" in rows:
            ratio = mine["total_us"] / rows["aiohttp"]["total_us"]
            found.append(
                expectation(f"{title}: CPU of webfw-simple to aiohttp", ratio, ratio <= 1, "at most 1")
            )
    return found


# --- the command ---


def arguments(argv: list[str] | None) -> argparse.Namespace:
    made = parser("client", __doc__, "two rounds of one second instead of five of three")
    add_choice(made, "--peers", [client.name for client in CLIENTS])
    return made.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    cast = Cast()
    clients = cast.able(
        CLIENTS, options.peers, lambda client: missing(client.peer, interpreter(client.peer, cast.python))
    )
    if not clients:
        print(cast.absent())
        return 2
    rounds, seconds = extent(options, (5, 3.0), (2, 1.0))
    document = report.document(options.command, rounds, seconds, cast)
    samples = run(clients, rounds, seconds, two_cores(), cast)
    document["loads"] = loads = {
        title: {name: summary(several) for name, several in found.items()} for title, found in samples.items()
    }

    print(report.headline(document))
    for title, rows in loads.items():
        print(f"\n{table(title, rows)}")
    for text in (cast.absent(), "\n".join(verdicts(loads))):
        if text:
            print(f"\n{text}")
    write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
