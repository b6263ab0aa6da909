"""The rules of the house, checked on the source itself: door plates, size, test mates, imports."""

import ast
import os
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "webfw"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAX_LINES = 700

#: Modules whose tests stand elsewhere, each with the reason.
TESTED_ELSEWHERE = {
    "__init__.py": "the list of rooms, checked at the end of this file",
    "__main__.py": "a call of cli.main, started as a process in tests/cli/test_main.py",
    "_version.py": "one constant",
    "sansio/errors.py": "two classes, raised in the tests of every parser",
}

#: Packages that are not installed with webfw, and the one file that may import each (None: any one file).
OPTIONAL = {
    "uvloop": "ioloop/backend.py",
    "certifi": None,
    "pycurl": "httpclient/curl.py",
    "brotli": None,
    "zstandard": None,
    "h2": None,
    "redis": "pubsub/redis.py",
    "nats": "pubsub/nats.py",
    "prometheus_client": "observe/metrics.py",
    "opentelemetry": "observe/tracing.py",
    "watchfiles": "autoreload.py",
}

POSIX_ONLY = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def dotted(path: Path) -> str:
    parts = ("webfw", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


each_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.partition(".")[0]]
    return []


@each_module
def test_has_a_door_plate(path: Path) -> None:
    docstring = ast.get_docstring(tree(path)) or ""
    plate = docstring.partition("\n")[0]
    assert len(plate) >= 15, "the first line of the module docstring says what the room is for"
    assert plate.rstrip()[-1:] in ".;:", f"a door plate is a sentence: {plate!r}"


@each_module
def test_is_not_too_long(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: look for the second subject in it"


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.name == "__init__.py" and m.parent != PACKAGE], ids=name_of
)
def test_package_page_only_lists(path: Path) -> None:
    """A package's ``__init__`` holds imports, ``__all__`` and old names; no function, class or statement."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    for node in tree(path).body[1:]:
        assert isinstance(node, allowed), ast.unparse(node)[:80]
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            calls = [n for n in ast.walk(node) if isinstance(n, (ast.Call, ast.Lambda))]
            assert not calls, f"code in a package page: {ast.unparse(node)[:80]}"


@each_module
def test_has_a_test_module(path: Path) -> None:
    name = name_of(path)
    if name in TESTED_ELSEWHERE or path.name == "__init__.py":
        return
    if len(tree(path).body) <= 1 or is_alias_page(path):
        return
    mate = f"test_{path.stem.lstrip('_')}.py"
    expected = ROOT / "tests" / path.relative_to(PACKAGE).parent / mate
    assert expected.exists(), f"{name} has no {expected.relative_to(ROOT)}"


def is_alias_page(path: Path) -> bool:
    """True for a module of nothing but imports and names: an old address that points to the new one."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    return all(isinstance(node, allowed) for node in tree(path).body)


def test_every_exception_still_exists() -> None:
    assert [name for name in TESTED_ELSEWHERE if not (PACKAGE / name).exists()] == []


@each_module
def test_imports_nothing_posix_only_at_the_top(path: Path) -> None:
    """A guarded import (inside try, if or a function) is fine: the package must import on Windows."""
    for node in tree(path).body:
        assert not POSIX_ONLY.intersection(imported(node)), ast.unparse(node)


@each_module
def test_protocol_storeys_do_no_io(path: Path) -> None:
    if name_of(path).split("/")[0] not in ("sansio", "httputil", "httputil.py"):
        return
    banned = {"asyncio", "socket", "ssl", "selectors", "threading", "concurrent"}
    for node in ast.walk(tree(path)):
        assert not banned.intersection(imported(node)), ast.unparse(node)


def test_each_optional_package_has_one_door() -> None:
    doors: dict[str, set[str]] = {}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            for package in imported(node):
                if package in OPTIONAL:
                    doors.setdefault(package, set()).add(name_of(path))
    for package, names in doors.items():
        assert len(names) == 1, f"{package} is imported in {sorted(names)}"
        if OPTIONAL[package] is not None:
            assert names == {OPTIONAL[package]}


@each_module
def test_third_party_imports_are_listed(path: Path) -> None:
    known = set(sys.stdlib_module_names) | set(OPTIONAL) | {"webfw"}
    for node in ast.walk(tree(path)):
        assert known.issuperset(imported(node)), ast.unparse(node)


@each_module
def test_broad_except_says_what_it_protects(path: Path) -> None:
    with path.open("rb") as file:
        commented = {
            token.start[0] for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT
        }
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = "" if node.type is None else ast.unparse(node.type)
        if caught not in ("", "Exception", "BaseException"):
            continue
        if node.body and isinstance(node.body[-1], ast.Raise):
            continue
        near = range(node.lineno - 1, node.body[0].lineno + 1)
        assert commented.intersection(near), f"line {node.lineno}: a broad except without a comment"


# --- in a fresh interpreter ---


def run_python(code: str, *flags: str) -> str:
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"}
    if "SYSTEMROOT" in os.environ:
        env["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            *flags,
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}",
        ],
        capture_output=True,
        text=True,
        env=env,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_webfw_loads_no_room_and_no_loop() -> None:
    code = (
        "import webfw\n"
        "print(sorted(m for m in sys.modules if m.startswith('webfw.') or m.partition('.')[0] == 'asyncio'))"
    )
    assert run_python(code, "-S") == "['webfw._version']"


def test_whole_package_imports_with_no_third_party_package_and_no_loop() -> None:
    """``-S`` leaves site-packages out, so anything beyond the standard library would fail here."""
    names = [dotted(path) for path in MODULES if path.name != "__main__.py"]
    code = (
        "import asyncio, importlib\n"
        "def refuse(*args): raise AssertionError('an event loop was made by an import')\n"
        "asyncio.BaseEventLoop.__init__ = refuse\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(len([m for m in sys.modules if m.partition('.')[0] == 'webfw']))"
    )
    assert int(run_python(code, "-S")) >= len(names)


@pytest.mark.parametrize("name", ["web", "httpserver", "ioloop"])
def test_rooms_load_on_first_use(name: str) -> None:
    assert run_python(f"import webfw; print(webfw.{name}.__name__)", "-S") == f"webfw.{name}"


def test_unknown_room_is_an_attribute_error() -> None:
    import webfw

    with pytest.raises(AttributeError, match="nosuchroom"):
        webfw.nosuchroom  # noqa: B018
    assert "web" in dir(webfw)
    assert webfw.version_info >= (0, 1, 0, 0)
