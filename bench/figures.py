"""Everything that README.md shows, measured in one go, kept in bench/results, drawn and written.

    python -m bench figures [--quick] [--only http,websocket,wsgi,stages]

For a machine with nothing else to do: it takes about sixteen minutes.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from bench import charts, http, readme, stages, websocket, wsgi
from bench.charts import RESULTS
from bench.options import add_choice

#: What is run, with what; by themselves the second and the third take longer.
RUNS = {
    "http": (http.main, []),
    "websocket": (websocket.main, []),
    "wsgi": (wsgi.main, ["--only", "requests", "--pages", "hello"]),
    "stages": (stages.main, []),
}
FULL = {"websocket": ["--rounds", "3", "--seconds", "1"], "wsgi": ["--rounds", "3", "--seconds", "1"]}
QUICK = {**{name: ["--quick", "--rounds", "1"] for name in RUNS}, "stages": ["--quick"]}


def commands(names: Sequence[str], quick: bool) -> dict[str, list[str]]:
    """What each measurement is called with."""
    return {
        name: [
            *RUNS[name][1],
            *(QUICK if quick else FULL).get(name, []),
            *("--json", str(RESULTS / f"{name}.json")),
        ]
        for name in names
    }


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(
        prog="python -m bench figures", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--quick", action="store_true", help="one short round of each, for a first look")
    add_choice(made, "--only", RUNS)
    options = made.parse_args(argv)
    begin = time.monotonic()
    failed = []
    for name, arguments in commands(options.only, options.quick).items():
        print(f"\n## {name}\n", flush=True)
        if RUNS[name][0](arguments):
            failed.append(name)
        print(f"{name}: after {(time.monotonic() - begin) / 60:.1f} minutes", file=sys.stderr)
    charts.main([])
    readme.main([])
    if failed:
        print(f"not measured, so these figures are as old as before: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
