"""Tests of webfw.autoreload.sources: which files a program has read, and whether as they are now."""

import importlib
import importlib.util
import os
import py_compile
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from webfw.autoreload import sources
from webfw.autoreload.sources import (
    discard_compiled,
    failed_files,
    files_of_exception,
    is_outdated,
    module_files,
    record_imports,
    syntax_error_in,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to import from, with compiled files; what was imported from it is forgotten at the end."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(name: str) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(name)


def paths() -> set[str]:
    return {path for path, _ in module_files()}


def test_modules_in_files_are_found(place: Path) -> None:
    (place / "plain_one.py").write_text("")
    load("plain_one")
    assert str(place / "plain_one.py") in paths()
    assert sources.__file__ in paths()


def test_compiled_modules_without_a_source_are_left_out(place: Path) -> None:
    (place / "bare.py").write_text("x = 1")
    py_compile.compile(str(place / "bare.py"), cfile=str(place / "bare.pyc"))
    (place / "bare.py").unlink()
    assert load("bare").x == 1
    assert not [path for path in paths() if str(place / "bare") in path]


def test_strange_modules_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    class Slotted:
        __slots__ = ()

    nameless = ModuleType("nameless")
    nameless.__file__ = None
    monkeypatch.setitem(sys.modules, "lazy_one", Lazy("lazy_one"))
    monkeypatch.setitem(sys.modules, "slotted", Slotted())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "nothing", None)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "nameless", nameless)
    assert sources.__file__ in paths()


# --- outdated ---


@pytest.fixture
def compiled(place: Path, request: pytest.FixtureRequest) -> tuple[ModuleType, Path]:
    path = place / "counted.py"
    path.write_text("x = 1\n")
    return load("counted"), path


def outdated(module: ModuleType, path: Path) -> bool:
    return is_outdated(module, str(path), os.stat(path).st_mtime)


def test_a_module_as_it_is(compiled: tuple[ModuleType, Path]) -> None:
    assert outdated(*compiled) is False


def test_another_length(compiled: tuple[ModuleType, Path]) -> None:
    compiled[1].write_text("x = 1000\n")
    assert outdated(*compiled) is True


def test_the_same_length_and_second(compiled: tuple[ModuleType, Path]) -> None:
    module, path = compiled
    status = path.stat()
    path.write_text("x = 2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert outdated(module, path) is True


def test_a_syntax_error_since_then(compiled: tuple[ModuleType, Path]) -> None:
    module, path = compiled
    status = path.stat()
    path.write_text("x = (\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert outdated(module, path) is True


def test_a_compiled_file_made_for_a_hash(compiled: tuple[ModuleType, Path]) -> None:
    module, path = compiled
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    assert outdated(module, path) is False
    path.write_text("x = 2\n")
    assert outdated(module, path) is True


def test_where_it_cannot_be_known(compiled: tuple[ModuleType, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    module, path = compiled
    path.write_text("x = 1000\n")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        assert outdated(module, path) is False
    assert module.__spec__ is not None
    cached = module.__spec__.cached
    assert cached is not None
    Path(cached).write_bytes(b"of another Python")
    assert outdated(module, path) is False
    os.unlink(cached)
    assert outdated(module, path) is False
    module.__spec__ = None
    assert outdated(module, path) is False


def test_the_program_itself_is_read_first() -> None:
    assert is_outdated(ModuleType("__main__"), "/any", 0.0) is True


def test_recorded_imports_tell_by_the_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    record_imports()
    record_imports()
    assert sys.meta_path.count(sources._attempts) == 1
    path = place / "recorded.py"
    path.write_text("x = 1\n")
    os.utime(path, (1, 1))
    module = load("recorded")
    assert outdated(module, path) is False
    path.write_text("x = 2\n")
    assert outdated(module, path) is True


def test_a_compiled_file_is_discarded(
    compiled: tuple[ModuleType, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = compiled
    cached = importlib.util.cache_from_source(str(path))
    assert os.path.exists(cached)
    discard_compiled([str(path), "/no/such.py", "relative"])
    assert not os.path.exists(cached)
    assert path.exists()
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    discard_compiled([str(path)])


# --- what is wrong ---


def test_syntax_errors_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\ndef f(:\n")
    message = syntax_error_in(str(path))
    assert message is not None
    assert message.endswith(f"({path}, line 2)")
    path.write_bytes(b"x = '\xff'")
    assert syntax_error_in(str(path)) is not None
    path.write_bytes(b"x = 1\0")
    assert "null" in str(syntax_error_in(str(path)))
    path.write_text("x = 1")
    assert syntax_error_in(str(path)) is None
    assert "No such file" in str(syntax_error_in(str(tmp_path / "b.py")))
    assert syntax_error_in(str(tmp_path / "template.html")) is None


def caught(action: Any) -> BaseException:
    try:
        action()
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


def test_files_of_exceptions(place: Path) -> None:
    (place / "broken.py").write_text("x = (")
    (place / "raising.py").write_text("import middle_one")
    (place / "middle_one.py").write_text("1/0")
    (place / "pack").mkdir()
    (place / "pack" / "__init__.py").write_text("from pack import absent")
    (place / "asks.py").write_text("import pack_b.absent")
    (place / "pack_b").mkdir()
    (place / "pack_b" / "__init__.py").write_text("")

    assert str(place / "broken.py") in files_of_exception(caught(lambda: load("broken")))
    assert {str(place / "raising.py"), str(place / "middle_one.py")} <= files_of_exception(
        caught(lambda: load("raising"))
    )
    # Where a missing module would be found.
    missing = files_of_exception(caught(lambda: load("not_yet_there")))
    assert {str(place / "not_yet_there.py"), str(place / "not_yet_there" / "__init__.py")} <= missing
    assert str(place / "pack_b" / "absent.py") in files_of_exception(caught(lambda: load("asks")))
    # A name that is missing in a module.
    assert str(place / "pack" / "__init__.py") in files_of_exception(caught(lambda: load("pack")))


def test_files_of_causes_contexts_and_groups(place: Path) -> None:
    for name in ("cause_one", "context_one", "member_one"):
        (place / f"{name}.py").write_text("1/0")

    def fail() -> None:
        try:
            load("context_one")
        except ZeroDivisionError:
            raise ExceptionGroup("both", [caught(lambda: load("member_one"))]) from caught(  # type: ignore[list-item]
                lambda: load("cause_one")
            )

    error = caught(fail)
    error.__context__.__context__ = error  # type: ignore[union-attr]  # a circle does no harm
    found = files_of_exception(error)
    assert {str(place / f"{name}.py") for name in ("cause_one", "context_one", "member_one")} <= found
    assert not [name for name in found if "<" in name]


def test_modules_that_failed_though_nobody_heard(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (place / "silent.py").write_text("x = (")
    (place / "sound.py").write_text("")
    with zipfile.ZipFile(place / "archive.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    record_imports()
    for name in ("silent", "sound", "nowhere_to_be_found", "nowhere.at.all"):
        try:
            load(name)
        except (SyntaxError, ImportError):
            pass
    found = failed_files()
    assert str(place / "silent.py") in found
    assert str(place / "sound.py") not in found
    monkeypatch.setitem(sources._attempts.paths, "odd", 5)
    monkeypatch.setattr(sources.PathFinder, "find_spec", lambda *args: (_ for _ in ()).throw(ImportError))
    assert failed_files() == set()
