"""Makes new inputs out of old ones, without knowing what they are; the same seed makes the same inputs."""

import random
import zlib
from collections.abc import Sequence

#: Bytes of an input, at most.
MAX_SIZE = 4096


def cuts_of(data: bytes) -> list[int]:
    """Where to split an input: it follows from the input, so that this alone repeats what it has found."""
    choose = random.Random(zlib.crc32(data))
    return sorted({choose.randrange(len(data) + 1) for _ in range(choose.randrange(6))})


class Mutator:
    """An endless supply of inputs.

    :param seeds: inputs to begin with.
    :param tokens: pieces that mean something to what is tested.
    """

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self.random = random.Random(seed)
        self.seeds = list(seeds) or [b""]
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
        if choose.random() < 0.01:
            self.seeds.append(bytes(data[:MAX_SIZE]))  # walk away from the corpus, slowly
            if len(self.seeds) > 2000:
                del self.seeds[20:1000]
        return bytes(data[:MAX_SIZE])
