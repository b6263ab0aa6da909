"""``import tornado`` that gives webfw: each case in an interpreter of its own, since it holds for the whole process."""

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from webfw import tornado_compat

ROOT = Path(__file__).resolve().parent.parent


def run(
    *arguments: str, cwd: Path | None = None, status: int = 0, env: dict[str, str] | None = None
) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        timeout=50,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip(), done.stderr.strip()


def installed(code: str) -> str:
    """Run code after ``install()``; it prints what the test looks at."""
    code = textwrap.dedent(code)
    return run("-c", f"from webfw import tornado_compat\ntornado_compat.install()\n{code}")[0]


# --- what an import gives ---


def test_a_submodule_is_the_module_of_webfw() -> None:
    assert (
        installed(
            """
            import importlib, sys
            import tornado.web, tornado.httputil as a
            from tornado import httputil as b, web
            from tornado.web import RequestHandler
            import webfw.web, webfw.httputil
            assert tornado.web is web is webfw.web is sys.modules["tornado.web"]
            assert a is b is webfw.httputil
            assert RequestHandler is webfw.web.RequestHandler
            assert web.__name__ == web.__spec__.name == "webfw.web" and web.__package__ == "webfw.web"
            assert importlib.reload(a) is webfw.httputil
            print("ok")
            """
        )
        == "ok"
    )


def test_every_room_of_tornado_is_there() -> None:
    code = """
        import importlib
        for name in sorted(tornado_compat._ROOMS):
            assert importlib.import_module("tornado." + name) is importlib.import_module("webfw." + name)
        print(len(tornado_compat._ROOMS))
        """
    assert installed(code) == str(len(tornado_compat._ROOMS))


def test_a_submodule_of_a_submodule() -> None:
    code = """
        import tornado.platform.asyncio
        import webfw.platform.asyncio
        print(tornado.platform.asyncio is webfw.platform.asyncio, tornado.platform is webfw.platform)
        """
    assert installed(code) == "True True"


def test_submodules_come_when_they_are_asked_for() -> None:
    code = """
        import sys, tornado
        assert "webfw.escape" not in sys.modules
        print(tornado.escape.__name__, "escape" in dir(tornado), hasattr(tornado, "nothing_of_the_kind"))
        """
    assert installed(code) == "webfw.escape True False"


def test_version() -> None:
    code = """
        import tornado, importlib.metadata, webfw
        print(tornado.version, tornado.version_info, importlib.metadata.version("tornado"), webfw.version)
        print(tornado.version_info >= (6, 5), importlib.metadata.metadata("Tornado")["Name"])
        """
    lines = installed(code).splitlines()
    version = tornado_compat.TORNADO_VERSION
    assert lines[0].startswith(f"{version} (6, 6, 1, 0) {version} ")
    assert not lines[0].endswith(version)
    assert lines[1] == "True tornado"


def test_other_distributions_are_still_found() -> None:
    code = """
        import importlib.metadata
        found = [dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()]
        print(found.count("pytest"), found.count("tornado") >= 1)
        """
    assert installed(code) == "1 True"


@pytest.mark.parametrize(
    "name", ["stack_context", "sansio", "web.nothing", "escape.deeper", "platform.epoll", "cli", "test"]
)
def test_what_is_not_there_says_so(name: str) -> None:
    code = f"""
        try:
            import tornado.{name}
        except ModuleNotFoundError as error:
            print(error.name, "|", error)
        """
    shown = installed(code)
    assert shown.startswith(f"tornado.{name} | No module named 'tornado.{name}'")


def test_what_is_not_there_says_who_plays_tornado() -> None:
    code = """
        try:
            import tornado.stack_context
        except ImportError as error:
            print(error)
        """
    assert "webfw stands for Tornado 6.6.1 in this process" in installed(code)


def test_no_second_copy_is_made() -> None:
    code = """
        import tornado.httpserver.server
        import webfw.httpserver.server
        print(tornado.httpserver.server is webfw.httpserver.server)
        """
    assert installed(code) == "True"


def test_a_second_call_changes_nothing() -> None:
    code = """
        import sys
        tornado_compat.install()
        print(sum(type(finder).__module__ == "webfw.tornado_compat" for finder in sys.meta_path))
        """
    assert installed(code) == "1"


def test_it_refuses_when_tornado_is_there() -> None:
    code = "import tornado.util\nfrom webfw import tornado_compat\ntornado_compat.install()"
    errors = run("-c", code, status=1)[1]
    assert "RuntimeError: Tornado itself has been imported already (tornado, tornado." in errors
    assert "before the first import that needs Tornado" in errors


def test_without_it_tornado_is_tornado() -> None:
    assert (
        run("-c", "import webfw.tornado_compat, tornado.web; print(tornado.web.__name__)")[0] == "tornado.web"
    )


def test_patching_by_name_reaches_webfw() -> None:
    code = """
        from unittest import mock
        import webfw.escape
        with mock.patch("tornado.escape.json_encode", return_value="patched"):
            print(webfw.escape.json_encode(1))
        """
    assert installed(code) == "patched"


# --- import hooks, as instrumentations have them ---

#: The least of one: it lets the others find a module, and is called with what its loader has made.
HOOKS = """
import importlib.abc, importlib.util, sys

class Hooks(importlib.abc.MetaPathFinder):
    def __init__(self):
        self.called, self.inside = [], set()
    def find_spec(self, name, path, target=None):
        if not name.startswith("tornado") or name in self.inside:
            return None
        self.inside.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.inside.discard(name)
        spec.loader = Chained(spec.loader, self)
        return spec

class Chained(importlib.abc.Loader):
    def __init__(self, loader, hooks):
        self.loader, self.hooks = loader, hooks
    def create_module(self, spec):
        return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        self.hooks.called.append(module.__name__)
        if module.__name__ == "tornado.escape":
            see(module)

def see(module):
    pass

hooks = Hooks()
sys.meta_path.insert(0, hooks)
"""
INSTALL = "\nfrom webfw import tornado_compat\ntornado_compat.install()\n"


@pytest.mark.parametrize("when", ["before", "after"])
def test_hooks_see_what_is_imported(when: str) -> None:
    first = HOOKS + INSTALL if when == "before" else INSTALL + HOOKS
    code = "import tornado.escape\nprint(hooks.called, tornado.escape.__name__)"
    out = run("-c", first + code)[0]
    assert out.startswith("['tornado', ")
    assert "'tornado.escape'" in out
    assert out.endswith("webfw.escape")


def test_hooks_see_what_rooms_import_of_each_other() -> None:
    code = """
import tornado.web
needed = ["httpserver", "routing", "httputil", "escape", "ioloop", "iostream", "locale", "log", "template", "util"]
for name in needed:
    assert hooks.called.count("tornado." + name) == 1, name
    assert sys.modules["tornado." + name] is sys.modules["webfw." + name]
assert hooks.called[-1] == "tornado.web"
before = list(hooks.called)
import tornado.log, tornado.queues
print(hooks.called[len(before):], "tornado.testing" in sys.modules)
"""
    assert run("-c", INSTALL + HOOKS + code)[0] == "['tornado.locks', 'tornado.queues'] False"


def test_a_room_that_is_half_imported_is_not_shown_to_hooks() -> None:
    code = """
def see(module):
    print("escape is here", "tornado.web" in sys.modules)

class First(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "webfw.routing":  # while webfw.web is being imported
            import tornado.escape

sys.meta_path.insert(0, First())
import webfw.web
assert "webfw.web" in sys.modules
print("web is here", "tornado.web" in sys.modules)
import tornado.locks
print("locks is here", "tornado.web" in sys.modules)
"""
    out = run("-c", INSTALL + HOOKS + code)[0].splitlines()
    assert out == ["escape is here False", "web is here False", "locks is here True"]


@pytest.mark.parametrize("own", [True, False])
def test_what_a_hook_does_to_a_module_reaches_webfw(own: bool) -> None:
    """Whether the module was made by the loader, or by the hook's."""
    code = """
import types

def see(module):
    import webfw.escape
    assert isinstance(module, types.ModuleType)
    assert module.json_encode is webfw.escape.json_encode
    assert module.__dict__ is vars(module) is vars(webfw.escape) and module.__file__ == webfw.escape.__file__
    assert "json_encode" in dir(module)
    module.json_encode = lambda value: "patched"
    module.__loader__ = module.__spec__.loader = module.__spec__.loader
    module.more = 1
    del module.xhtml_escape
    print(module.__name__, module.__spec__.name, module.__package__)

import tornado.escape, webfw.escape
assert tornado.escape is webfw.escape
print(webfw.escape.json_encode(1), tornado.escape.more, hasattr(webfw.escape, "xhtml_escape"))
print(webfw.escape.__spec__.name, type(webfw.escape.__loader__).__name__)
"""
    hooks = HOOKS if own else HOOKS.replace("return self.loader.create_module(spec)", "return None")
    assert run("-c", INSTALL + hooks + code)[0].splitlines() == [
        "tornado.escape tornado.escape tornado",
        "patched 1 False",
        "webfw.escape SourceFileLoader",
    ]


def test_wrapt() -> None:
    """A package many instrumentations are made with."""
    pytest.importorskip("wrapt")
    code = """
import wrapt

def hook(module):
    wrapt.wrap_function_wrapper(module, "HTTPHeaders.get_list", lambda wrapped, me, args, kwargs: ["wrapped"])

wrapt.register_post_import_hook(hook, "tornado.httputil")
"""
    use = "import tornado.web\nprint(tornado.web.httputil.HTTPHeaders().get_list('x'))"
    assert run("-c", INSTALL + code + use)[0] == "['wrapped']"
    assert run("-c", code + INSTALL + use)[0] == "['wrapped']"


def test_its_finder_stands_before_all_that_could_find_tornado() -> None:
    code = """
import importlib.machinery, sys
kinds = [type(finder).__name__ for finder in sys.meta_path]
from importlib.machinery import BuiltinImporter, PathFinder
places = [sys.meta_path.index(BuiltinImporter), sys.meta_path.index(PathFinder)]
print(kinds.index("_Finder") < min(places), kinds[0])
"""
    hook = "import sys\nclass Mine:\n    find_spec = staticmethod(lambda *a: None)\nsys.meta_path.insert(0, Mine())\n"
    assert run("-c", hook + INSTALL + code)[0] == "True Mine"
    turned = "import sys\nsys.meta_path.reverse()\n"  # nothing says that the builtin ones come first
    assert run("-c", turned + INSTALL + code)[0].startswith("True ")
    emptied = "import sys, webfw.tornado_compat\nmissing = sys.meta_path[:]\nsys.meta_path.clear()\n"
    back = "sys.meta_path.extend(missing)\nimport tornado.web\nprint(tornado.web.__name__)"
    assert run("-c", emptied + INSTALL.strip() + "\n" + back)[0] == "webfw.web"


# --- loggers ---


def test_loggers_have_tornados_names() -> None:
    code = """
        import logging
        from tornado.log import access_log, app_log, gen_log
        records = []
        class Kept(logging.Handler):
            def emit(self, record): records.append(record)
        logging.getLogger("tornado").addHandler(Kept())
        logging.getLogger("tornado.access").setLevel(logging.ERROR)
        for log in (access_log, app_log, gen_log):
            log.warning("hello")
        print([record.name for record in records], gen_log is logging.getLogger("tornado.general"))
        """
    assert installed(code) == "['tornado.application', 'tornado.general'] True"


def test_a_logger_that_is_made_later_is_below_tornados() -> None:
    code = """
        import logging
        print(logging.getLogger("webfw.curl_httpclient").parent.parent)
        """
    assert installed(code).startswith("<Logger tornado ")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_configuration_reaches_them(when: str) -> None:
    configure = """
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True,
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "f"}},
    "formatters": {"f": {"format": "%(name)s %(message)s"}},
    "loggers": {"tornado.access": {"level": "INFO", "handlers": ["out"], "propagate": False}}})
"""
    install = "from webfw import tornado_compat\ntornado_compat.install()\n"
    first, second = (configure, install) if when == "before" else (install, configure)
    code = f"import logging, logging.config\n{first}{second}"
    code += "from tornado.log import access_log\naccess_log.info('hello')\naccess_log.debug('no')"
    assert run("-c", code)[0] == "tornado.access hello"


def test_child_loggers_that_were_there_keep_their_way_up() -> None:
    code = """
import logging
child = logging.getLogger("tornado.mine")
logging.getLogger("tornado").setLevel(logging.ERROR)
from webfw import tornado_compat
tornado_compat.install()
print(child.parent is logging.getLogger("tornado"), child.getEffectiveLevel() == logging.ERROR)
"""
    assert run("-c", code)[0] == "True True"


# --- as a command ---

PROGRAM = """\
import sys
import tornado.web
print(__name__, tornado.web.__name__, sys.argv, sys.path[0] != "", sys.modules["__main__"].__file__ == __file__)
import neighbour
"""


def test_a_script(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "program.py").write_text(PROGRAM)
    (tmp_path / "app" / "neighbour.py").write_text("print('neighbour')")
    out = run("-m", "webfw.tornado_compat", "app/program.py", "-m", "--flag", cwd=tmp_path)[0]
    argv = ["app/program.py", "-m", "--flag"]
    assert out.splitlines() == [f"__main__ webfw.web {argv} True True", "neighbour"]


def test_a_module(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import sys, tornado.ioloop\nprint(__name__, __package__, tornado.ioloop.__name__, sys.argv[1:])"
    )
    out = run("-m", "webfw.tornado_compat", "-m", "package", "a", "b", cwd=tmp_path)[0]
    assert out == "__main__ package webfw.ioloop ['a', 'b']"


def test_code(tmp_path: Path) -> None:
    code = "import sys, tornado.util, pickle\nclass A: pass\nprint(sys.argv, type(pickle.loads(pickle.dumps(A()))))"
    out = run("-m", "webfw.tornado_compat", "-c", code, "x", cwd=tmp_path)[0]
    assert out == "['-c', 'x'] <class '__main__.A'>"


def test_a_directory_with_a_main(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("import tornado.web, beside\nprint(tornado.web.__name__)")
    (tmp_path / "app" / "beside.py").write_text("")
    assert run("-m", "webfw.tornado_compat", "app", cwd=tmp_path)[0] == "webfw.web"


def test_a_script_knows_its_whole_path(tmp_path: Path) -> None:
    """As under ``python script.py``; and its name is the one that was given."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "where.py").write_text("import os, sys\nos.chdir('/')\nprint(__file__, sys.argv[0])")
    out = run("-m", "webfw.tornado_compat", "app/where.py", cwd=tmp_path)[0]
    assert out == f"{tmp_path}/app/where.py app/where.py"


def test_a_zip_file_with_a_main(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", "import tornado.web, beside\nprint(tornado.web.__name__)")
        archive.writestr("beside.py", "")
    assert run("-m", "webfw.tornado_compat", "app.pyz", cwd=tmp_path)[0] == "webfw.web"


def test_exit_status_and_traceback_are_the_programs_own(tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(7)")
    (tmp_path / "fails.py").write_text("import tornado.web\nraise ValueError('of the program')")
    run("-m", "webfw.tornado_compat", "exits.py", cwd=tmp_path, status=7)
    errors = run("-m", "webfw.tornado_compat", "fails.py", cwd=tmp_path, status=1)[1]
    assert errors.endswith("ValueError: of the program")


def test_the_program_may_install_too() -> None:
    code = (
        "from webfw import tornado_compat; tornado_compat.install(); import tornado; print(tornado.version)"
    )
    assert run("-m", "webfw.tornado_compat", "-c", code)[0] == tornado_compat.TORNADO_VERSION


def test_usage() -> None:
    out = run("-m", "webfw.tornado_compat", "--help")[0]
    assert out.startswith("usage: python -m webfw.tornado_compat script.py")
    for arguments in ([], ["-m"], ["-c"]):
        assert run("-m", "webfw.tornado_compat", *arguments, status=2)[1] == out
    errors = run("-m", "webfw.tornado_compat", "nosuch.py", status=2)[1]
    assert errors == "webfw.tornado_compat: there is no file 'nosuch.py'"


# --- a program ---

SERVER = """\
import asyncio, tornado

class MainHandler(tornado.web.RequestHandler):
    def get(self):
        self.write("Hello, world")

async def main():
    application = tornado.web.Application([(r"/", MainHandler)])
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(application)
    server.add_sockets(sockets)
    stream = await tornado.tcpclient.TCPClient().connect("127.0.0.1", sockets[0].getsockname()[1])
    await stream.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print((await stream.read_until_close()).decode().splitlines()[-1])
    server.stop()

asyncio.run(main())
"""


def test_a_server_that_only_imports_tornado(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(SERVER)
    assert run("-m", "webfw.tornado_compat", "hello.py", cwd=tmp_path)[0] == "Hello, world"
