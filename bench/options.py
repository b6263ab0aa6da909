"""What the commands of the measurements share: their options, who can take part, on which cores, where figures go."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["ROOT", "able", "add_choice", "parser", "several", "two_cores", "write"]

ROOT = Path(__file__).resolve().parent.parent


class Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def parser(name: str, doc: str | None, quick: str) -> argparse.ArgumentParser:
    """The options that every measurement has.

    :param name: of the module in `bench`.
    :param doc: its docstring, whose first line is the description.
    :param quick: what ``--quick`` does.
    """
    made = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=(doc or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help=quick)
    default = ROOT / "build" / f"bench-{name}.json"
    made.add_argument("--json", type=Path, default=default, help="where to write figures")
    return made


def several(names: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an option that takes some of the names, separated by commas."""
    known = list(names)

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = sorted(set(chosen) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return chosen

    return parse


def add_choice(to: argparse.ArgumentParser, flag: str, names: Iterable[str]) -> None:
    """Add an option that chooses some of the names; all of them when it is not given."""
    known = list(names)
    to.add_argument(
        flag, type=several(known), default=",".join(known), help="comma-separated, of: %(default)s"
    )


def able(candidates: Iterable[N], chosen: Iterable[str], reason: Callable[[N], str | None]) -> list[N]:
    """Those of the chosen who can take part; why the others cannot is printed.

    :param reason: tells why one cannot, or None.
    """
    wanted = set(chosen)
    found = []
    for candidate in candidates:
        if candidate.name in wanted:
            why = reason(candidate)
            if why is None:
                found.append(candidate)
            else:
                print(f"left out: {candidate.name} ({why})", file=sys.stderr)
    return found


def two_cores() -> tuple[int, int] | None:
    """A core for what is measured and one for its opposite; None, said aloud, where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1 and shutil.which("taskset"):
        return cores[0], cores[1]
    print("one core only: both sides share it, so compare nothing but CPU times", file=sys.stderr)
    return None


def write(path: Path, figures: object) -> None:
    """Write figures down, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\n{path}", file=sys.stderr)
