"""The rules of the house, checked on the source itself: door plates, size, test mates, imports."""

import ast
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator
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
    "certifi": "netutil/tls.py",
    "pycurl": "httpclient/curl.py",
    "brotli": None,
    "zstandard": None,
    "h2": None,
    "redis": "pubsub/redis.py",
    "nats": "pubsub/nats.py",
    "prometheus_client": "observe/metrics.py",
    "opentelemetry": "observe/tracing.py",
    "pycares": "platform/caresresolver.py",
    "twisted": "platform/twisted.py",
    "watchfiles": "autoreload/notify.py",
    "pytest": "testing/pytest_plugin.py",
}

POSIX_ONLY = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def dotted(path: Path) -> str:
    parts = ("webfw", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def last_line(handler: ast.ExceptHandler) -> int:
    """Where the first statement of an ``except`` block ends."""
    return handler.body[0].end_lineno or handler.lineno


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.partition(".")[0]]
    return []


def test_every_room_has_a_door_plate() -> None:
    """The first line of a module's docstring says what the room is for, as a sentence."""
    plates = {name_of(path): (ast.get_docstring(tree(path)) or "").partition("\n")[0] for path in MODULES}
    assert [name for name, plate in plates.items() if len(plate) < 15 or plate[-1] not in ".;:"] == []


def test_no_file_is_too_long() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}, (
        "find the second subject"
    )


def test_package_pages_only_list() -> None:
    """A package's ``__init__`` holds imports, ``__all__`` and old names; no function, class or statement."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    complaints = []
    for path in MODULES:
        # Two pages import what they list on first use.
        if path.name != "__init__.py" or path.parent in (PACKAGE, PACKAGE / "testing"):
            continue
        for node in tree(path).body[1:]:
            code = any(isinstance(part, (ast.Call, ast.Lambda)) for part in ast.walk(node))
            if code or not isinstance(node, allowed):
                complaints.append(f"{name_of(path)}:{node.lineno}")
    assert not complaints, "\n".join(complaints)


def test_every_module_has_a_test_module() -> None:
    missing = []
    for path in MODULES:
        if name_of(path) in TESTED_ELSEWHERE or path.name == "__init__.py" or is_alias_page(path):
            continue
        mate = ROOT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.stem.lstrip('_')}.py"
        if not mate.exists():
            missing.append(mate.relative_to(ROOT).as_posix())
    assert not missing, "\n".join(missing)


def is_alias_page(path: Path) -> bool:
    """True for a module of nothing but imports and names: an old address that points to the new one."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    return all(isinstance(node, allowed) for node in tree(path).body)


def test_every_listed_exception_still_exists() -> None:
    assert [name for name in TESTED_ELSEWHERE if not (PACKAGE / name).exists()] == []


def test_nothing_posix_only_is_imported_at_the_top() -> None:
    """A guarded import (inside try, if or a function) is fine: the package must import on Windows."""
    found = [
        (name_of(path), node.lineno)
        for path in MODULES
        for node in tree(path).body
        if POSIX_ONLY.intersection(imported(node))
    ]
    assert found == []


def test_protocol_storeys_do_no_io() -> None:
    banned = {"asyncio", "socket", "ssl", "selectors", "threading", "concurrent"}
    found = [
        (name_of(path), node.lineno)
        for path in MODULES
        if name_of(path).split("/")[0] in ("sansio", "httputil")
        for node in ast.walk(tree(path))
        if banned.intersection(imported(node))
    ]
    assert found == []


def executed(path: Path) -> Iterator[ast.AST]:
    """What of a module runs: all but what stands under ``if TYPE_CHECKING``, which only names types."""
    nodes: list[ast.AST] = [tree(path)]
    while nodes:
        node = nodes.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            nodes += node.orelse
        else:
            nodes += ast.iter_child_nodes(node)


def test_each_optional_package_has_one_door() -> None:
    doors: dict[str, set[str]] = {}
    for path in MODULES:
        for node in executed(path):
            for package in imported(node):
                if package in OPTIONAL:
                    doors.setdefault(package, set()).add(name_of(path))
    for package, names in doors.items():
        assert len(names) == 1, f"{package} is imported in {sorted(names)}"
        if OPTIONAL[package] is not None:
            assert names == {OPTIONAL[package]}


def test_third_party_imports_are_listed() -> None:
    known = set(sys.stdlib_module_names) | set(OPTIONAL) | {"webfw"}
    found = {
        (name_of(path), package)
        for path in MODULES
        for node in ast.walk(tree(path))
        for package in imported(node)
        if package not in known
    }
    assert found == set()


def test_broad_except_says_what_it_protects() -> None:
    """``except Exception`` and wider stand at a border, with a comment beside it, unless they raise again."""
    complaints = []
    for path in MODULES:
        with path.open("rb") as file:
            tokens = tokenize.tokenize(file.readline)
            commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
        for block in ast.walk(tree(path)):
            if not isinstance(block, (ast.Try, ast.TryStar)):
                continue
            for node in block.handlers:
                broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                places = {
                    *range(block.lineno - 2, block.lineno + 1),
                    *range(node.lineno - 2, last_line(node) + 1),
                }
                if broad and not isinstance(node.body[-1], ast.Raise) and not commented & places:
                    complaints.append(f"{name_of(path)}:{node.lineno}")
    assert not complaints, "\n".join(complaints)


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


#: ``import tornado.curl_httpclient`` fails without pycurl, and programs have that in a try.
FAILS_WITHOUT_ITS_EXTRA = {"webfw.curl_httpclient", "webfw.httpclient.curl"}


def test_whole_package_imports_with_no_third_party_package_and_no_loop() -> None:
    """``-S`` leaves site-packages out, so anything beyond the standard library would fail here."""
    names = [dotted(path) for path in MODULES if path.name not in ("__main__.py", "pytest_plugin.py")]
    names = [name for name in names if name not in FAILS_WITHOUT_ITS_EXTRA]
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
