"""Finds the application of a directory when nobody names it, without running anything; loading stays out."""

import ast
import os
from collections.abc import Iterator, Sequence

from webfw.cli.errors import USAGE, CommandError

__all__ = ["guess_target"]

#: Where an application is looked for: modules, and the names in each, the best first.
MODULES = ("app", "main", "wsgi", "asgi")
NAMES = ("app", "application", "make_app", "create_app")


def guess_target(directory: str) -> str:
    """Return the target of the application in a directory, such as ``main:app`` or ``app:make_app()``.

    A module that cannot be read as Python is taken for the one: loading it will say what is wrong.

    :raises CommandError: none is found.
    """
    for module in MODULES:
        for path in (f"{module}.py", os.path.join(module, "__init__.py")):
            try:
                with open(os.path.join(directory, path), "rb") as file:
                    source = file.read()
            except OSError:
                continue
            try:
                names = dict(_names(ast.parse(source).body))
            except (SyntaxError, ValueError):  # ValueError: it has NUL bytes
                return f"{module}:app"
            for name in NAMES:
                if name in names:
                    return (
                        f"{module}:{name}{'()' if names[name] or name.startswith(('make', 'create')) else ''}"
                    )
    raise CommandError(
        f"nothing to serve: there is no {_either(NAMES)} in {_either([f'{module}.py' for module in MODULES])} of "
        f"{os.path.abspath(directory)}; name one, for example webfw dev shop.main:app",
        USAGE,
    )


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, bool]]:
    """The names that a module makes when it is run, and whether each is a function without parameters."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args
            needed = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            yield node.name, not needed and arguments.vararg is None
        elif isinstance(node, ast.ClassDef):
            yield node.name, False
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        yield part.id, False
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name, False
        else:  # what stands below if, try and with counts too
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from _names(getattr(node, field, []))
