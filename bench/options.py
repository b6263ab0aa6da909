"""The options that the commands of the measurements share."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.cpu import two_cores
from bench.peers import ROOT, able
from bench.report import write

__all__ = ["ROOT", "able", "add_choice", "extent", "parser", "several", "two_cores", "write"]

#: Rounds, and the seconds of each load.
Extent = tuple[int, float]


def parser(name: str, doc: str | None, quick: str) -> argparse.ArgumentParser:
    """The options that every measurement has.

    :param name: of the command.
    :param doc: the docstring of its module, whose first line is the description.
    :param quick: what ``--quick`` does.
    """
    made = Parser(prog=f"python -m bench {name}", description=(doc or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--rounds", type=positive(int), help="how many times everything is measured")
    made.add_argument("--seconds", type=positive(float), help="of each load")
    default = ROOT / "build" / f"bench-{name}.json"
    made.add_argument("--json", type=Path, default=default, help="where to write figures, not %(default)s")
    return made


class Parser(argparse.ArgumentParser):
    """Notes the command itself among the options, as what a figure says it came from."""

    def parse_args(self, argv: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        given = list(sys.argv[1:] if argv is None else argv)
        options = super().parse_args(given)
        shown = [word for i, word in enumerate(given) if "--json" not in (word, given[i - 1] if i else "")]
        options.command = " ".join([self.prog, *shown])
        return options


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """The type of an option that is a number above 0."""

    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
        return value

    return parse


def extent(options: argparse.Namespace, full: Extent, quick: Extent) -> Extent:
    """Rounds and seconds: those that were given, or what is usual."""
    rounds, seconds = quick if options.quick else full
    return options.rounds or rounds, options.seconds or seconds


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
    known = list(dict.fromkeys(names))
    to.add_argument(
        flag, type=several(known), default=",".join(known), help="comma-separated, of: %(default)s"
    )
