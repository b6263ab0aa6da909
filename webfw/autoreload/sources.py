"""Which files a program was made from, and whether it has read them as they are now; nothing is watched here."""

import importlib.util
import marshal
import os
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

__all__ = [
    "discard_compiled",
    "failed_files",
    "files_of_exception",
    "is_outdated",
    "module_files",
    "record_imports",
    "syntax_error_in",
]


def module_files() -> Iterator[tuple[str, ModuleType]]:
    """Yield the source file, or the shared library, of each imported module.

    Modules without a file are left out, and those from compiled files without a source (``.pyc``), which nobody edits.
    """
    for module in list(sys.modules.values()):
        try:
            # Not module.__file__: modules that load on first use would do so at this question.
            path = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:
            continue  # not everything in sys.modules is a module
        if isinstance(path, str) and path and not path.endswith((".pyc", ".pyo")):
            yield path, module


def is_outdated(module: ModuleType, path: str, mtime: float) -> bool:
    """Tell whether a file that was modified about when the module was imported is not what the module was made from.

    :param mtime: when it was modified (seconds, as `time.time`).

    Where imports are recorded (`record_imports`) the time tells; else what is in the compiled file that the import has
    left; where there is none the answer is False.  Of ``__main__`` it is True: the interpreter reads that first.
    """
    namespace = vars(module)
    name = namespace.get("__name__")
    if name == "__main__":
        return True
    imported = _attempts.times.get(name) if isinstance(name, str) else None
    if imported is not None and mtime >= imported:
        return True
    cached = getattr(namespace.get("__spec__"), "cached", None)
    if not isinstance(cached, str) or not path.endswith(".py"):
        return False
    try:
        return not _is_compiled_from(cached, path)
    except OSError:
        return False


def _is_compiled_from(cached: str, path: str) -> bool:
    """Whether a compiled file has what the source file would give; True also where that cannot be known."""
    with open(cached, "rb") as file:
        compiled = file.read()
    with open(path, "rb") as file:
        source = file.read()
    if compiled[:4] != importlib.util.MAGIC_NUMBER:
        return True
    if compiled[4] & 1:  # PEP 552: made for a source with this hash
        same = compiled[8:16] == importlib.util.source_hash(source)
    else:
        status = os.stat(path)
        seconds, size = (value & 0xFFFFFFFF for value in (int(status.st_mtime), status.st_size))
        same = compiled[8:16] == seconds.to_bytes(4, "little") + size.to_bytes(4, "little")
    if not same:
        # Imported before the change; or after it, and the compiled file could not be written.
        return sys.dont_write_bytecode or not os.access(os.path.dirname(cached), os.W_OK)
    try:
        # Two writes in one second can leave the same length.
        return bool(marshal.loads(compiled[16:]) == compile(source, path, "exec", dont_inherit=True))
    except (SyntaxError, ValueError, EOFError, TypeError):
        return False


def discard_compiled(paths: Iterable[str]) -> None:
    """Remove the compiled files of sources that have changed.

    Python compares the whole second and the length, so after two changes in one second it may take the former's.
    """
    for path in paths:
        try:
            os.unlink(importlib.util.cache_from_source(path))
        except (OSError, NotImplementedError, ValueError):
            pass  # there is none, or it is not ours; or nothing is cached on this Python


def syntax_error_in(path: str) -> str | None:
    """Say what is wrong with the syntax of a Python file, or that it is not there; None if nothing is."""
    if not path.endswith((".py", ".pyw")):
        return None
    try:
        with open(path, "rb") as file:
            compile(file.read(), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{error.msg} ({path}, line {error.lineno})"
    except (OSError, ValueError) as error:  # ValueError: it has NUL bytes
        return f"{error} ({path})" if isinstance(error, ValueError) else str(error)
    return None


def files_of_exception(error: BaseException) -> set[str]:
    """Return the files that an exception and its causes came through, and where a missing module could be."""
    files: set[str] = set()
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        trace = one.__traceback__
        while trace is not None:
            files.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        if isinstance(one, SyntaxError):
            files.add(one.filename or "")
        elif isinstance(one, ImportError):
            files.add(one.path or "")
            if isinstance(one, ModuleNotFoundError) and one.name:
                files.update(_places_of(one.name))
    return {os.path.abspath(name) for name in files if name and not name.startswith("<")}


def _places_of(name: str) -> Iterator[str]:
    """Where the file of a module would be looked for."""
    package, _, last = name.rpartition(".")
    directories = getattr(sys.modules.get(package), "__path__", ()) if package else sys.path
    for directory in directories:
        if isinstance(directory, str):
            yield os.path.join(directory, last + ".py")
            yield os.path.join(directory, last, "__init__.py")


class _Attempts:
    """A finder for ``sys.meta_path`` that finds nothing, but remembers which modules were looked for, and when."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.paths: dict[str, Any] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Remember a name (`importlib.abc.MetaPathFinder`)."""
        self.times[name] = time.time()
        self.paths[name] = path


_attempts = _Attempts()


def record_imports() -> None:
    """From now on, remember which modules are imported and when, for `is_outdated` and `failed_files`."""
    if _attempts not in sys.meta_path:
        # The first, so that the time is before the file is read.
        sys.meta_path.insert(0, _attempts)


def failed_files() -> set[str]:
    """Return the files of modules that were looked for, are there, and have not been imported.

    A module that fails while it is imported leaves no trace in ``sys.modules``, and the program may have caught the
    exception.
    """
    files = set()
    for name, path in list(_attempts.paths.items()):
        if name in sys.modules:
            continue
        try:
            spec = PathFinder.find_spec(name, path)
        except (ImportError, OSError, ValueError):
            continue
        if spec is not None and spec.has_location and spec.origin:
            files.add(os.path.abspath(spec.origin))
    return files
