"""The command line this process was started with, taken apart and put together again; nothing is executed here."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["WRAPPER", "Command", "restart_command", "split_command"]

#: The module that waits for a change when the program it runs cannot be started.
WRAPPER = "webfw.autoreload"

#: Options of the interpreter that take a value, of which the last two end the options.
_WITH_VALUE = "WXcm"
_LONG_WITH_VALUE = ("--check-hash-based-pycs",)

Kind = Literal["module", "script", "code", "input"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of Python: its options, what it runs, and the arguments for that."""

    #: ``-X``, ``-W`` and the others, without the one that names what to run.
    options: tuple[str, ...]
    #: What is run: the module of ``-m``, a file, the code of ``-c``, or what is typed or piped in.
    kind: Kind
    #: The module's name, the file's path or the code; empty for input.
    target: str
    arguments: tuple[str, ...]


def split_command(argv: Sequence[str]) -> Command:
    """Take a command line apart as the interpreter does (``sys.orig_argv`` has that of this process).

    :param argv: the interpreter's name and what follows it.
    """
    options: list[str] = []
    rest = list(argv[1:])
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            rest.insert(0, word)
            break
        if word.startswith("--"):
            options.append(word)
            if word in _LONG_WITH_VALUE and rest:
                options.append(rest.pop(0))
            continue
        # Letters may stand together, and the first that takes a value takes the rest of the word: -uXdev.
        place = next((place for place, letter in enumerate(word) if letter in _WITH_VALUE), None)
        if place is None:
            options.append(word)
            continue
        value = word[place + 1 :]
        if not value and rest:
            value = rest.pop(0)
        if word[place] in "cm":
            if place > 1:
                options.append(word[:place])
            kind: Kind = "module" if word[place] == "m" else "code"
            return Command(tuple(options), kind, value, tuple(rest))
        options += [word[: place + 1], value]
    if not rest or rest[0] == "-":
        return Command(tuple(options), "input", "", tuple(rest[1:]))
    return Command(tuple(options), "script", rest[0], tuple(rest[1:]))


def restart_command(argv: Sequence[str], wrap: bool = True) -> list[str] | None:
    """Return the command line that starts a program again, or None if it cannot be: it was typed or piped in.

    :param argv: how it was started.
    :param wrap: whether to have it run under the wrapper, which waits for the next change where the program fails at
        its start.  The program itself sees the same ``sys.argv`` and ``sys.flags``.

    A program that is not run by a Python interpreter, but has one in it, is started as it was.
    """
    if getattr(sys, "frozen", False):
        return list(argv)
    command = split_command(argv)
    if not argv or command.kind == "input":
        return None
    python = sys.executable or argv[0]
    if command.kind == "code" or command.target == WRAPPER or not wrap:
        return [python, *argv[1:]]
    target = ["-m", command.target] if command.kind == "module" else [command.target]
    return [python, *command.options, "-m", WRAPPER, "--until-success", *target, *command.arguments]
