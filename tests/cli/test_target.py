"""Tests of webfw.cli.target: finding what a command line names, and saying plainly what is wrong."""

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webfw.cli.errors import LOAD_FAILED, USAGE, CommandError
from webfw.cli.target import interface_of, load_failure, load_target, missing_module


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Writes modules into a directory of their own; what they import is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write_module(name: str, source: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return str(tmp_path)

    yield write_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("tgt_ok:app", "plain"),
        ("tgt_ok:make()", "made"),
        ("tgt_ok:Config.apps.main", "nested"),
        ("tgt_ok:Config.build()", "built"),
        ("tgt_pkg.inner:app", "inner"),
    ],
)
def test_loads(write: Callable[[str, str], str], target: str, result: str) -> None:
    write("tgt_pkg/__init__.py", "")
    write("tgt_pkg/inner.py", "app = 'inner'")
    app_dir = write(
        "tgt_ok.py",
        "app = 'plain'\n"
        "def make(): return 'made'\n"
        "class Config:\n"
        "    class apps: main = 'nested'\n"
        "    @staticmethod\n"
        "    def build(): return 'built'\n",
    )
    assert load_target(target, app_dir) == result
    assert sys.path[0] == app_dir


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("tgt_bad", "'tgt_bad' names no application: write module:attribute"),
        ("tgt_bad.py:app", "'tgt_bad.py' is a file name"),
        ("dir/tgt_bad:app", "is a file name"),
        ("tgt_bad:make(1)", "without any"),
        ("tgt_bad:", "is not of the form module:attribute"),
        (":app", "is not of the form"),
        ("tgt_bad:a b", "is not of the form"),
        ("tgt_bad:app;x", "is not of the form"),
        ("tgt_nowhere:app", "there is no module 'tgt_nowhere' in "),
        ("tgt_nowhere.sub:app", "there is no module 'tgt_nowhere' in "),
        ("tgt_bad.sub:app", "there is no module 'tgt_bad.sub' in "),
        ("tgt_bad:nothing", "'tgt_bad' has no attribute 'nothing' (in "),
        ("tgt_bad:number.nothing", "'tgt_bad:number' has no attribute 'nothing'"),
        ("tgt_bad:number.real.nothing", "'tgt_bad:number.real' has no attribute 'nothing'"),
        ("tgt_bad:number()", "'tgt_bad:number' cannot be called: it is of type int"),
    ],
)
def test_wrong_target_is_a_usage_error(write: Callable[[str, str], str], target: str, sentence: str) -> None:
    app_dir = write("tgt_bad.py", "number = 1")
    with pytest.raises(CommandError) as caught:
        load_target(target, app_dir)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.status == USAGE


def test_missing_app_dir(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="'.*/none' does not exist") as caught:
        load_target("a:b", str(tmp_path / "none"))
    assert caught.value.status == USAGE


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("x = 1\nraise RuntimeError('no database')", "RuntimeError: no database (DIR/tgt_fails.py:2)"),
        ("import tgt_absent_dependency", "No module named 'tgt_absent_dependency' (DIR/tgt_fails.py:1)"),
        ("import tgt_fails.deeper", "tgt_fails"),
        ("def broken(:\n", "SyntaxError: "),
        (
            "from webfw.web import Application\n\nApplication(drain_spread=-1)",
            "ValueError: drain_spread must not be -1 (DIR/tgt_fails.py:3)",
        ),
        ("import sys\nsys.exit('go away')", "SystemExit: go away (DIR/tgt_fails.py:2)"),
    ],
)
def test_failing_import_names_exception_and_place(
    write: Callable[[str, str], str], source: str, sentence: str
) -> None:
    app_dir = write("tgt_fails.py", source)
    with pytest.raises(CommandError) as caught:
        load_target("tgt_fails:app", app_dir)
    message = str(caught.value).replace(app_dir, "DIR")
    assert message.startswith("importing 'tgt_fails' failed: ")
    assert sentence in message
    assert "\n" not in message
    assert caught.value.status == LOAD_FAILED
    assert caught.value.__cause__ is not None


def test_syntax_error_names_its_line(write: Callable[[str, str], str]) -> None:
    app_dir = write("tgt_syntax.py", "x = 1\ny = (\n")
    with pytest.raises(CommandError, match=r"tgt_syntax.py:2\)"):
        load_target("tgt_syntax:app", app_dir)


def test_failing_factory(write: Callable[[str, str], str]) -> None:
    app_dir = write("tgt_factory.py", "def make():\n    return {}['key']\n")
    with pytest.raises(CommandError, match=r"calling tgt_factory:make\(\) failed: KeyError: 'key' .*:2\)"):
        load_target("tgt_factory:make()", app_dir)


class Delegate:
    pass


class Handler:
    def __init__(self, application: object, request: object) -> None:
        pass


class AsWSGI:
    """A class can be a WSGI application: its instances are iterated."""

    def __init__(self, environ: object, start_response: object) -> None:
        pass


class Flaskish:
    def __call__(self, environ: object, start_response: object) -> list[bytes]:
        return []


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (Delegate(), "native"),
        (lambda request: None, "request"),
        (print, "request"),
        (dict.fromkeys, "request"),
        (type("C", (), {"__call__": print, "__signature__": None})(), "request"),
        (lambda *anything: None, "request"),
        (lambda environ, start_response: None, "wsgi"),
        (lambda environ, start_response, more=None: None, "wsgi"),
        (Flaskish(), "wsgi"),
        (AsWSGI, "wsgi"),
    ],
)
def test_how_an_application_is_called(app: object, interface: str) -> None:
    assert interface_of(app, "m:a", Delegate, Handler) == interface


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        (Delegate, "m:a is the class Delegate; it must be an instance of"),
        (Handler, "m:a is the class Handler; it must be an instance of"),
        (type("Odd", (), {}), "m:a is the class Odd; it must be"),
        (None, "m:a is None; it must be"),
        ("text", "m:a is of type str; it must be"),
        (lambda: None, "m:a is a function without arguments; if it makes the application, say so by ()"),
        (lambda a, b, c, d: None, "m:a takes neither one argument nor two, and is no ASGI application"),
    ],
)
def test_anything_else_is_refused(app: object, sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        interface_of(app, "m:a", Delegate, Handler)
    assert str(caught.value).startswith(sentence)
    assert caught.value.status == USAGE


async def endpoint(name: object, request: object) -> None: ...


def test_a_coroutine_function_of_two_arguments() -> None:
    with pytest.raises(CommandError, match="m:a is a coroutine function of two arguments, which neither"):
        interface_of(endpoint, "m:a", Delegate, Handler)


async def asgi(scope: object, receive: object, send: object) -> None: ...


class ASGIObject:
    async def __call__(self, scope: object, receive: object, send: object) -> None: ...


@pytest.mark.parametrize("app", [asgi, ASGIObject(), lambda scope, receive, send: asgi(scope, receive, send)])
def test_asgi_applications(app: object) -> None:
    assert interface_of(app, "m:a", Delegate, Handler) == "asgi"


def test_a_factory_that_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "target_factory.py").write_text("def make():\n    return 'made'\nnumber = 7\n")
    assert load_target("target_factory:make", str(tmp_path), factory=True) == "made"
    assert load_target("target_factory:make()", str(tmp_path), factory=True) == "made"  # said twice
    with pytest.raises(CommandError, match="'target_factory:number' cannot be called"):
        load_target("target_factory:number", str(tmp_path), factory=True)


def test_modules_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "target_there.py").write_text("1 / 0")
    assert missing_module("target_there:app", str(tmp_path)) is None
    assert missing_module("json.nothing:app") is None  # only importing would tell
    sentence = f"there is no module 'target_gone' in {tmp_path} or on the Python path"
    assert missing_module("target_gone.main:app", str(tmp_path)) == sentence
    monkeypatch.setitem(sys.modules, "target_odd", types.ModuleType("target_odd"))
    sys.modules["target_odd"].__spec__ = None
    assert missing_module("target_odd:app") is None


def test_a_message_of_several_lines_is_one_sentence() -> None:
    said = str(
        load_failure(
            "importing 'm' failed", RuntimeError('it needs "x". \nInstall it with: \n\npip install x\n')
        )
    )
    assert said.startswith(
        "importing 'm' failed: RuntimeError: it needs \"x\". Install it with: pip install x ("
    )
