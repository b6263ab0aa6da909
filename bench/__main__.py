"""``python -m bench NAME [...]``: runs one of the measurements, or makes something of their figures."""

import importlib
import sys
from collections.abc import Callable, Sequence

#: What can be measured: the module of each, and what it is about.
MEASUREMENTS = {
    "http": ("http", "CPU time of a request, of many shapes; memory of a connection"),
    "stages": ("stages", "what each stage of a request costs, without loop and kernel"),
    "websocket": ("websocket", "CPU time of a WebSocket message, memory of a connection"),
    "fanout": ("fanout", "deliveries through brokers, and their delay"),
    "wsgi": ("wsgi", "WSGI requests, threads that wait, slow clients"),
    "client": ("httpclient", "CPU time and duration of an HTTP client's request"),
    "scale": ("scale", "workers, memory of a process tree, reloads"),
    "abuse": ("abuse", "what becomes of others while clients misbehave"),
}
#: What is made of figures.
USES = {
    "figures": ("figures", "measures what README.md shows, keeps it in bench/results, draws and writes it"),
    "charts": ("charts", "draws the charts from bench/results"),
    "readme": ("readme", "writes the tables of README.md from bench/results"),
}
COMMANDS = {**MEASUREMENTS, **USES}


def command(name: str) -> Callable[[Sequence[str]], int]:
    """What a command runs; imported when it is wanted, as each needs other things."""
    run: Callable[[Sequence[str]], int] = importlib.import_module(f"bench.{COMMANDS[name][0]}").main
    return run


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"    {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m bench [NAME] [--quick] [--help]",
            "",
            *lines,
            "",
            "Without NAME: all measurements.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    if given in (["--help"], ["-h"]):
        print(usage())
        return 0
    if not given or given == ["--quick"]:
        return max(command(name)(given) for name in MEASUREMENTS)
    if given[0] not in COMMANDS:
        print(f"nothing here is called {given[0]}\n{usage()}", file=sys.stderr)
        return 2
    return command(given[0])(given[1:])


if __name__ == "__main__":
    sys.exit(main())
