"""A seeded mutation loop for the fuzzers beside it: corpus and dictionary in, calls of a check out."""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def load(name: str) -> list[bytes]:
    """The seeds of one fuzzer, in a fixed order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


class Mutator:
    """Makes new inputs out of old ones; the same seed makes the same inputs."""

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self.random = random.Random(seed)
        self.seeds = list(seeds)
        self.tokens = list(tokens)

    def next(self) -> bytes:
        choose = self.random
        data = bytearray(choose.choice(self.seeds))
        for _ in range(choose.choice((1, 1, 2, 3, 8))):
            begin = choose.randrange(len(data) + 1)
            end = min(len(data), begin + choose.choice((0, 1, 1, 2, 8, 40)))
            action = choose.randrange(7)
            if action == 0:
                data[begin:end] = b""
            elif action == 1:
                data[begin:begin] = choose.choice(self.tokens)
            elif action == 2:
                data[begin:end] = choose.choice(self.tokens)
            elif action == 3:
                data[begin:end] = choose.randbytes(choose.randrange(1, 4))
            elif action == 4:
                data[begin:begin] = data[begin:end] * choose.choice((1, 2, 30))
            elif action == 5:
                data[begin:] = choose.choice(self.seeds)[choose.randrange(40) :]
            elif data:
                data[begin - 1] ^= 1 << choose.randrange(8)
        if len(data) < 4000 and choose.random() < 0.01:
            self.seeds.append(bytes(data))  # walk away from the corpus, slowly
            if len(self.seeds) > 2000:
                del self.seeds[20:1000]
        return bytes(data[:20000])

    def cuts(self, size: int) -> list[int]:
        """Where to split an input of `size` bytes."""
        return sorted({self.random.randrange(size + 1) for _ in range(self.random.randrange(6))})


def main(
    check: Callable[[bytes, list[int]], object],
    seeds: Sequence[bytes],
    tokens: Sequence[bytes],
    arguments: Sequence[str] | None = None,
) -> int:
    """Call `check` with inputs and splits until the time is over; a failure is printed with what repeats it."""
    parser = argparse.ArgumentParser(description=sys.modules[check.__module__].__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to run (120)")
    parser.add_argument("--count", type=int, default=None, help="how many inputs at most (no bound)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the run with this seed (a new one)")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    mutator = Mutator(seeds, tokens, seed)
    outcomes: dict[object, int] = {}
    done = 0
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and (options.count is None or done < options.count):
        data = mutator.next()
        cuts = mutator.cuts(len(data))
        try:
            outcome = check(data, cuts)
        except BaseException:
            print(f"seed {seed}, input {done}: check({data!r}, {cuts!r})", file=sys.stderr)
            raise
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        done += 1
    shown = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(outcomes.items(), key=str))
    print(f"seed {seed}: {done} inputs, none broke the rule ({shown})")
    return 0
