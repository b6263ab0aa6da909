"""One fuzz target in a process of its own: guided by coverage where atheris is installed, else by chance.

``python -m tests.fuzz.drive NAME --seconds N --into DIR`` ends with status 77 when an input broke the rule, and leaves
the input in DIR.  The last line of its output is ``executions: N``.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import random
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import MAX_SIZE, Mutator, cuts_of
from tests.fuzz.targets import HERE, corpus, fails, minimize, target

BROKEN = 77
#: Seconds for one input; what takes longer is a finding as well.
PATIENCE = 20


def by_chance(name: str, seconds: float, count: int | None, seed: int, into: Path) -> int:
    """Call the check with mutated inputs until the time is over."""
    module = target(name)
    mutator = Mutator(list(corpus(name).values()), module.TOKENS, seed)
    outcomes: dict[str, int] = {}
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (count is None or done < count):
        data = mutator.next()
        try:
            outcome = module.check(data, cuts_of(data))
        except Exception:
            traceback.print_exc(-6)
            (into / "crash-by-chance").write_bytes(data)
            return BROKEN
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        done += 1
    print(f"seed {seed}: " + ", ".join(f"{outcome}: {n}" for outcome, n in sorted(outcomes.items())))
    print(f"executions: {done}")
    return 0


def guided(name: str, seconds: float, count: int | None, seed: int, into: Path, grown: Path) -> None:
    """Have libFuzzer look for inputs that reach new code of webfw; ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["webfw"]), contextlib.redirect_stderr(io.StringIO()):
        module = target(name)
    words = into / "words"
    words.write_text(
        "".join(f'"{"".join(f"{chr(92)}x{b:02x}" for b in token)}"\n' for token in module.TOKENS)
    )

    def one(data: bytes) -> None:
        module.check(data, cuts_of(data))

    options = {
        "max_total_time": max(1, round(seconds)),
        "runs": -1 if count is None else count,
        "seed": seed % (1 << 31) or 1,
        "dict": words,
        "max_len": MAX_SIZE,
        "timeout": PATIENCE,
        "rss_limit_mb": 2048,
        "artifact_prefix": f"{into}/",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    atheris.Setup(
        [
            f"fuzz_{name}",
            *(f"-{option}={value}" for option, value in options.items()),
            str(grown),
            str(HERE / "corpus" / name),
        ],
        one,
    )
    atheris.Fuzz()


def executions(output: str) -> int:
    """How many inputs a run says it has tried."""
    found = re.findall(r"^(?:executions|stat::number_of_executed_units): +([0-9]+)", output, re.MULTILINE)
    return int(found[-1]) if found else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--count", type=int, help="how many inputs at most")
    parser.add_argument("--seed", type=int, help="repeat a run")
    parser.add_argument("--engine", choices=["atheris", "chance"])
    parser.add_argument("--into", type=Path, required=True, help="directory for what breaks the rule")
    parser.add_argument("--grown", type=Path, help="directory for the inputs that reached something new")
    parser.add_argument(
        "--minimize", type=Path, help="print the exception of this input and write a small one"
    )
    options = parser.parse_args(arguments)
    if options.minimize is not None:
        module = target(options.name)
        small = minimize(module, options.minimize.read_bytes())
        (options.into / "small").write_bytes(small)
        error = fails(module, small)
        traceback.print_exception(error, limit=-6)
        return BROKEN if error is not None else 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "chance")
    if engine == "chance":
        return by_chance(options.name, options.seconds, options.count, seed, options.into)
    grown = options.grown or options.into / "grown"
    grown.mkdir(parents=True, exist_ok=True)
    guided(options.name, options.seconds, options.count, seed, options.into, grown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
