"""Finds the application named as ``module:attribute``; serving it is another room's work."""

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, Literal, TypeVar

from webfw.asgi import is_asgi_application
from webfw.cli.errors import LOAD_FAILED, USAGE, CommandError

__all__ = ["Interface", "check_target", "interface_of", "load_failure", "load_target", "missing_module"]

Interface = Literal["native", "asgi", "wsgi", "request"]

_T = TypeVar("_T")

_TARGET = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)(?P<call>\(\))?")

#: What the names of webfw's own files begin with.
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

_IF_FACTORY = "if it makes the application, say so by () behind its name, or by --factory"

_EXAMPLE = "for example shop.main:app or shop.main:make_app()"


def check_target(target: str) -> re.Match[str]:
    """Take a target apart, without importing anything.

    :raises CommandError: with status 2, when it is malformed.
    """
    match = _TARGET.fullmatch(target)
    if match is None or match["module"].endswith(".py"):
        raise CommandError(_what_is_wrong(target), USAGE)
    return match


def load_target(target: str, app_dir: str = ".", factory: bool = False) -> Any:
    """Import a module and return what the target names in it.

    :param target: ``module:attribute``, where both may be dotted and the attribute may end in ``()`` for a
        factory that is called without arguments.
    :param app_dir: the directory to look for the module in first; it is put at the front of ``sys.path``.
    :param factory: whether it is one without ``()``.
    :raises CommandError: with status 2 when the target is malformed or names nothing, with status 3 when the
        module or the factory raised an exception, which is then its ``__cause__``.
    """
    match = check_target(target)
    module = _import(match["module"], app_dir)
    found: Any = module
    walked = match["module"]
    for name in match["attribute"].split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise CommandError(
                f"{walked!r} has no attribute {name!r} (in {_file_of(module)})", USAGE
            ) from None
        walked = f"{walked}.{name}" if ":" in walked else f"{walked}:{name}"
    if match["call"] or factory:
        if not callable(found):
            raise CommandError(f"{walked!r} cannot be called: it is {_kind(found)}", USAGE)
        found = _guarded(found, f"calling {target} failed")
    return found


def interface_of(app: Any, target: str, delegate: type, handler: type) -> Interface:
    """How an application is called; refuse what a server could not use, before it listens.

    :param app: what `load_target` returned.
    :param target: its name on the command line, for the message.
    :param delegate: the type of native applications.
    :param handler: the type of request handlers, whose classes are no applications.
    :returns: ``"native"`` for an instance of ``delegate``; ``"asgi"`` for what `is_asgi_application` recognises;
        ``"wsgi"`` for a callable of two arguments (PEP 3333), also a class; ``"request"`` for a callable of one
        argument, the request.
    :raises CommandError: with status 2.
    """
    if isinstance(app, delegate):
        return "native"
    wanted = (
        f"an instance of webfw.web.Application or {delegate.__name__}, an ASGI or WSGI application, "
        "or a function of one request"
    )
    own = inspect.isclass(app) and issubclass(app, (delegate, handler))
    if own or not callable(app):
        raise CommandError(f"{target} is {_kind(app)}; it must be {wanted}", USAGE)
    if is_asgi_application(app):
        return "asgi"
    if _takes(app, 2) is True and _takes(app, 1) is not True:
        if inspect.iscoroutinefunction(app):
            message = f"{target} is a coroutine function of two arguments, which neither WSGI nor ASGI has"
            raise CommandError(f"{message}; it must be {wanted}", USAGE)
        return "wsgi"
    if inspect.isclass(app):
        raise CommandError(f"{target} is {_kind(app)}; it must be {wanted}", USAGE)
    if _takes(app, 1) is False:
        if _takes(app, 0):
            raise CommandError(f"{target} is a function without arguments; {_IF_FACTORY}", USAGE)
        message = (
            f"{target} takes neither one argument nor two, and is no ASGI application; it must be {wanted}"
        )
        raise CommandError(message, USAGE)
    return "request"  # also a callable written in C, without a signature: the first request will tell


def _takes(app: Any, count: int) -> bool | None:
    """Whether a callable takes so many positional arguments; None when it does not say."""
    try:
        inspect.signature(app).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return None
    return True


def _what_is_wrong(target: str) -> str:
    module, colon, attribute = target.partition(":")
    if not colon:
        return f"{target!r} names no application: write module:attribute, {_EXAMPLE}"
    if module.endswith(".py") or "/" in module or os.sep in module:
        return f"{module!r} is a file name: write the module's dotted name, {_EXAMPLE}"
    if attribute.endswith(")") and not attribute.endswith("()"):
        return f"{target!r} calls with arguments: a factory is called without any, {_EXAMPLE}"
    return f"{target!r} is not of the form module:attribute, {_EXAMPLE}"


def _import(name: str, app_dir: str) -> ModuleType:
    if not os.path.isdir(app_dir):
        raise CommandError(f"the application directory {app_dir!r} does not exist", USAGE)
    path = os.path.abspath(app_dir)
    if path not in sys.path:
        sys.path.insert(0, path)
    try:
        return _guarded(lambda: importlib.import_module(name), f"importing {name!r} failed")
    except CommandError as error:
        cause = error.__cause__
        # Only the target itself (or a package on the way to it) missing is a wrong target; a module that the
        # application imports and that is missing is the application's failure.
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{name}.".startswith(f"{cause.name}."):
            raise CommandError(_no_module(cause.name, path), USAGE) from None
        raise


def missing_module(target: str, app_dir: str = ".") -> str | None:
    """A sentence when there is no such module, as far as that is known without importing anything; else None.

    :param target: well-formed; see `check_target`.
    :param app_dir: the directory that is at the front of ``sys.path`` already.
    """
    name = check_target(target)["module"].partition(".")[0]
    try:
        found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return None  # something else is wrong with it
    return None if found else _no_module(name, os.path.abspath(app_dir))


def _no_module(name: str, path: str) -> str:
    return f"there is no module {name!r} in {path} or on the Python path"


def _guarded(call: Callable[[], _T], failure: str) -> _T:
    """Call into the application; what it raises becomes one sentence: the exception and the place."""
    try:
        return call()
    except (Exception, SystemExit) as error:  # the border to the application's own code
        raise load_failure(failure, error) from error


def load_failure(what: str, error: BaseException) -> CommandError:
    """What is said when the application's own code fails before it serves: the exception and the place."""
    last = " ".join(traceback.format_exception_only(error)[-1].split())  # a message may have lines
    return CommandError(f"{what}: {last} ({_place(error)})", LOAD_FAILED)


def _place(error: BaseException) -> str:
    """The file and line the exception comes from: the innermost frame outside the import machinery.

    A line of the application counts before those of webfw that it has called: there the mistake is.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    place = ours = ""
    step: TracebackType | None = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if not filename.startswith("<frozen importlib") and filename not in (__file__, importlib.__file__):
            if filename.startswith(_PACKAGE):
                ours = f"{filename}:{step.tb_lineno}"
            else:
                place = f"{filename}:{step.tb_lineno}"
        step = step.tb_next
    return place or ours or "unknown place"


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "a namespace package"


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"of type {type(value).__name__}" if value is not None else "None"
