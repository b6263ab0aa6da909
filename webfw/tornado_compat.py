"""``import tornado`` means webfw in this process, so that a program for Tornado runs unchanged; no room's work enters.

From Python, first of all::

    from webfw import tornado_compat

    tornado_compat.install()

    import tornado.web  # is webfw.web

or from outside: ``python -m webfw.tornado_compat script.py args``, or with ``-m module args`` or ``-c code args``.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import logging
import os
import runpy
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import webfw
from webfw.log import access_log, app_log, gen_log

__all__ = ["TORNADO_VERSION", "install", "main"]

#: The version of Tornado that programs are told; its documented names and parameters are those of webfw.
TORNADO_VERSION = "6.6.1"

#: What may be imported of Tornado.
_ROOMS = frozenset(
    [
        "auth",
        "autoreload",
        "concurrent",
        "curl_httpclient",
        "escape",
        "gen",
        "http1connection",
        "httpclient",
        "httpserver",
        "httputil",
        "ioloop",
        "iostream",
        "locale",
        "locks",
        "log",
        "netutil",
        "options",
        "platform",
        "process",
        "queues",
        "routing",
        "simple_httpclient",
        "tcpclient",
        "tcpserver",
        "template",
        "testing",
        "util",
        "web",
        "websocket",
        "wsgi",
    ]
)

_USAGE = """\
usage: python -m webfw.tornado_compat script.py [argument ...]
       python -m webfw.tornado_compat -m module [argument ...]
       python -m webfw.tornado_compat -c code [argument ...]

Runs a program in which `import tornado` means webfw."""


def install() -> None:
    """Let every later ``import tornado`` of this process, and of its submodules, give webfw.

    ``tornado.web`` is then the module `webfw.web` itself, so that what is patched in one is patched in the other;
    ``tornado.version`` is `TORNADO_VERSION`, and so is what `importlib.metadata` tells.  webfw's loggers are called
    ``tornado.access``, ``tornado.application`` and ``tornado.general`` from then on.  Calling it again changes nothing.

    :raises RuntimeError: Tornado itself has been imported already: two frameworks would share one program.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "tornado")
    if loaded:
        where = getattr(sys.modules[loaded[0]], "__file__", None) or "an unknown place"
        raise RuntimeError(
            f"Tornado itself has been imported already ({', '.join(loaded[:5])}, from {where}): call "
            "webfw.tornado_compat.install() before the first import that needs Tornado"
        )
    sys.meta_path.insert(_place_for_finder(), _Finder())
    importlib.invalidate_caches()
    _rename_loggers()


def _place_for_finder() -> int:
    """Where in ``sys.meta_path``: before all that could find a Tornado, after hooks that want to see it found."""
    standard = (
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
        importlib.machinery.PathFinder,
    )
    for place, finder in enumerate(sys.meta_path):
        if finder in standard:
            return place
    return 0


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for ``tornado`` and all below it, so that an installed Tornado is never found."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if top != "tornado":
            return None
        if not rest:
            return importlib.machinery.ModuleSpec(fullname, _Front(), is_package=True)
        ours = "webfw." + rest
        try:
            known = rest.partition(".")[0] in _ROOMS and importlib.util.find_spec(ours) is not None
        except ModuleNotFoundError:  # what it would be in is no package
            known = False
        if not known:
            message = (
                f"No module named {fullname!r} (webfw stands for Tornado {TORNADO_VERSION} in this process)"
            )
            raise ModuleNotFoundError(message, name=fullname)
        return importlib.machinery.ModuleSpec(fullname, _Alias(ours))

    @staticmethod
    def find_distributions(
        context: importlib.metadata.DistributionFinder.Context | None = None,
    ) -> Iterator[importlib.metadata.Distribution]:
        """The metadata of an installed Tornado, for programs that ask whether it is new enough."""
        if context is None or context.name is None or context.name.lower() == "tornado":
            yield _TornadoMetadata()


class _Front(importlib.abc.Loader):
    """Makes the module ``tornado``: versions, and submodules that are imported when they are asked for."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        numbers = tuple(map(int, TORNADO_VERSION.split(".")))

        def __getattr__(name: str) -> Any:
            if name in _ROOMS:
                return importlib.import_module("tornado." + name)
            raise AttributeError(f"module 'tornado' has no attribute {name!r}")

        vars(module).update(
            __doc__=f"Tornado {TORNADO_VERSION}, played by webfw {webfw.version}.",
            __file__=webfw.__file__,
            __getattr__=__getattr__,
            __dir__=lambda: sorted({*vars(module), *_ROOMS}),
            version=TORNADO_VERSION,
            __version__=TORNADO_VERSION,
            version_info=(*numbers, 0),
        )


class _Alias(importlib.abc.Loader):
    """Has the import of a submodule end with the module of webfw."""

    def __init__(self, ours: str) -> None:
        self._ours = ours

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        real = importlib.import_module(self._ours)
        if module is not real:
            vars(module)["_webfw_module"] = real
            module.__class__ = _StandIn
        # What stands here when a loader has ended is what an import gives.
        sys.modules[module.__name__] = real
        _alias_what_is_loaded()


class _StandIn(ModuleType):
    """What becomes of the module that an import of an alias began with: import hooks are given it when it has ended.

    It keeps its own name and what else the import system has set, by which hooks know what they are called for.  All
    that they read or replace is webfw's.
    """

    _webfw_module: ModuleType
    _OWN = frozenset(["__name__", "__spec__", "__loader__", "__package__", "__class__", "_webfw_module"])

    def __getattribute__(self, name: str) -> Any:
        if name in _StandIn._OWN:
            return object.__getattribute__(self, name)
        return getattr(self._webfw_module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _StandIn._OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self._webfw_module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._webfw_module, name)

    def __dir__(self) -> Iterable[str]:
        return dir(self._webfw_module)


def _alias_what_is_loaded() -> None:
    """Import under Tornado's names what rooms have imported of each other under webfw's.

    Tornado's modules import each other by those names: hooks wait for them, and programs look into ``sys.modules``.
    """
    for room in sorted(_ROOMS):
        real = sys.modules.get("webfw." + room)
        if real is None or "tornado." + room in sys.modules:
            continue
        if not getattr(real.__spec__, "_initializing", False):  # what hooks may not see yet
            importlib.import_module("tornado." + room)


class _TornadoMetadata(importlib.metadata.Distribution):
    """The few fields of Tornado's metadata that programs ask for."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        fields = Message()
        fields["Metadata-Version"] = "2.1"
        fields["Name"] = "tornado"
        fields["Version"] = TORNADO_VERSION
        fields["Summary"] = f"Played by webfw {webfw.version}"
        return fields.as_string()

    def locate_file(self, path: "str | os.PathLike[str]") -> Any:
        return Path(webfw.__file__).parent.parent / path


def _rename_loggers() -> None:
    """Give webfw's loggers Tornado's names, in their records and for those who configure them.

    The loggers stay the objects they are, since rooms that are imported have them.  Their old names are free
    afterwards: a configuration switches off what it does not name, and so a logger with two names.
    """
    manager = logging.Logger.manager
    for logger in (logging.getLogger("webfw"), access_log, app_log, gen_log):
        name = logger.name
        new = "tornado" + name.removeprefix("webfw")
        configured = manager.loggerDict.get(new)
        if isinstance(configured, logging.Logger):
            logger.setLevel(configured.level)
            logger.propagate, logger.disabled = configured.propagate, configured.disabled
            logger.handlers += [handler for handler in configured.handlers if handler not in logger.handlers]
            logger.filters += configured.filters
        logger.name = new
        manager.loggerDict[new] = logger
        del manager.loggerDict[name]
    # Tornado's child loggers that exist already, such as one of an application, and webfw's that are still to come.
    root = logging.getLogger("tornado")
    for child in _loggers_below("tornado"):
        child.parent = root
    logging.getLogger("webfw").parent = root


def _loggers_below(name: str) -> Iterable[logging.Logger]:
    for key, logger in list(logging.Logger.manager.loggerDict.items()):
        if (
            isinstance(logger, logging.Logger)
            and key.startswith(name + ".")
            and "." not in key[len(name) + 1 :]
        ):
            yield logger


def main() -> None:
    """Run the program that the command line names, with Tornado's names meaning webfw."""
    arguments = sys.argv[1:]
    if (
        not arguments
        or arguments[0] in ("-h", "--help")
        or (arguments[0] in ("-m", "-c") and len(arguments) < 2)
    ):
        asked = arguments[:1] in (["-h"], ["--help"])
        print(_USAGE, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    install()
    # As the interpreter does it: sys.path[0] is the current directory so far, because of -m.
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path[0] = ""
        exec(compile(arguments[1], "<string>", "exec"), vars(_new_main()))
    else:
        sys.argv = arguments
        _run_script(arguments[0])


def _run_script(path: str) -> None:
    if not os.path.exists(path):
        print(f"webfw.tornado_compat: there is no file {path!r}", file=sys.stderr)
        sys.exit(2)
    file = os.path.abspath(path)
    if os.path.isdir(file) or zipfile.is_zipfile(file):
        runpy.run_path(file, run_name="__main__")
        return
    sys.path[0] = os.path.dirname(os.path.realpath(file))
    with io.open_code(file) as source:
        code = compile(source.read(), file, "exec")
    module = _new_main()
    module.__file__ = file
    exec(code, vars(module))


def _new_main() -> ModuleType:
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    return module


if __name__ == "__main__":
    # Not this module, which is __main__: programs that call install() themselves meet the one that is imported.
    from webfw.tornado_compat import main as run

    run()
