"""Small tools for every room: configurable classes, gzip, argument surgery. Knows neither HTTP nor the loop.

>>> import_object('webfw.util') is import_object('webfw.util')
True
"""

import builtins
import importlib
import inspect
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    import datetime
    import unittest

__all__ = [
    "ArgReplacer",
    "Configurable",
    "GzipDecompressor",
    "ObjectDict",
    "TimeoutError",
    "basestring_type",
    "bytes_type",
    "doctests",
    "errno_from_exception",
    "exec_in",
    "import_object",
    "raise_exc_info",
    "re_unescape",
    "timedelta_to_seconds",
    "unicode_type",
]

bytes_type = bytes
unicode_type = str
basestring_type = str

#: Raised by every wait of this package that has a deadline; the built-in one, so that ``except
#: TimeoutError`` and ``except asyncio.TimeoutError`` both catch it.
TimeoutError = builtins.TimeoutError


class ObjectDict(dict[str, Any]):
    """A dictionary whose string keys can also be read and written as attributes.

    Raises `AttributeError` when an attribute that is not a key is read.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class GzipDecompressor:
    """A push decoder for the gzip format (RFC 1952), one or several members in a row.

    Bytes after a member that do not start another member raise `zlib.error`, as does damage; truncation is
    reported by `flush`. Work is linear in the input and the output.
    """

    # zlib copies whatever follows a finished member, so members are fed small slices first: a buffer full
    # of tiny members would otherwise be copied once for each of them. A member that goes on gets ever
    # larger slices.
    _FIRST_SLICE = 512
    _LARGEST_SLICE = 1 << 20

    __slots__ = ("_data", "_inflate", "_offset")

    def __init__(self) -> None:
        self._inflate: Any = None
        self._data = b""
        self._offset = 0

    def decompress(self, value: bytes, max_length: int | None = None) -> bytes:
        """Decode the next chunk and return what it yields, possibly nothing.

        :param value: compressed bytes; after a call that left an `unconsumed_tail`, that tail (followed by
            new bytes, if any) and nothing else.
        :param max_length: the most bytes to return, 0 for no limit. Input that was not needed to produce
            them is kept in `unconsumed_tail`. Leaving it out means no limit and is deprecated: a small
            body can decode to a very large one.
        :raises ValueError: when ``max_length`` is negative.
        :raises zlib.error: when the input is not gzip.
        """
        if max_length is None:
            warnings.warn(
                "GzipDecompressor.decompress without max_length is deprecated",
                DeprecationWarning,
                stacklevel=2,
            )
            max_length = 0
        elif max_length < 0:
            raise ValueError("max_length must be non-negative")
        size = len(value)
        self._data, self._offset = value, size
        view = memoryview(value)
        output: list[bytes] = []
        room = max_length
        position = 0
        step = self._FIRST_SLICE
        while position < size:
            inflate = self._inflate
            if inflate is None:
                self._inflate = inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
                step = self._FIRST_SLICE
            piece = view[position : position + step]
            try:
                data = inflate.decompress(piece, room)
            except zlib.error as error:
                raise zlib.error(f"not a gzip stream: {error}") from None
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            position += len(piece) - len(rest)
            if data:
                output.append(data)
            if inflate.eof:
                self._inflate = None
            step = min(step * 2, self._LARGEST_SLICE)
            if max_length:
                room -= len(data)
                if room == 0:  # zlib reads 0 as "no limit", so stop here
                    break
        self._offset = position
        if position == size:
            self._data, self._offset = b"", 0
        return b"".join(output)

    @property
    def unconsumed_tail(self) -> bytes:
        """The input the last `decompress` did not use because ``max_length`` was reached."""
        return self._data[self._offset :]

    def flush(self) -> bytes:
        """Declare the end of the input; always returns ``b""``.

        :raises ValueError: when an `unconsumed_tail` has not been decoded yet.
        :raises zlib.error: when the last member is incomplete.
        """
        if self._offset < len(self._data):
            raise ValueError("unconsumed_tail must be passed to decompress before flush")
        if self._inflate is not None:
            raise zlib.error("incomplete or truncated gzip stream")
        return b""


def import_object(name: str) -> Any:
    """Import a module, or an attribute of a module, by its dotted name.

    >>> import_object('webfw.escape.utf8').__name__
    'utf8'
    >>> import_object('os').__name__
    'os'
    >>> import_object('webfw.missing_module')
    Traceback (most recent call last):
        ...
    ImportError: No module named 'webfw.missing_module'

    :raises ImportError: when there is neither such a module nor such an attribute.
    """
    parent, _, last = name.rpartition(".")
    if not parent:
        return importlib.import_module(name)
    module = importlib.import_module(parent)
    try:
        return getattr(module, last)
    except AttributeError:
        pass
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name != name:
            raise  # the module is there; something it needs is not
        raise ImportError(f"No module named {name!r}", name=name) from None


def exec_in(code: str | CodeType, glob: dict[str, Any], loc: Mapping[str, Any] | None = None) -> None:
    """Run ``code`` in the given namespaces, without the ``__future__`` flags of this module."""
    if isinstance(code, str):
        code = compile(code, "<string>", "exec", dont_inherit=True)
    exec(code, glob, loc)


def raise_exc_info(
    exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None],
) -> NoReturn:
    """Raise again what `sys.exc_info` returned, with its traceback.

    :raises TypeError: when there is no exception in it.
    """
    try:
        if exc_info[1] is None:
            raise TypeError("raise_exc_info called with no exception")
        raise exc_info[1].with_traceback(exc_info[2])
    finally:
        # The traceback holds this frame, which holds the traceback: cut the circle.
        del exc_info


def errno_from_exception(e: BaseException) -> int | None:
    """Return the errno of an exception: its ``errno`` attribute, else its first argument, else None."""
    if hasattr(e, "errno"):
        return e.errno  # type: ignore[no-any-return]
    if e.args:
        return e.args[0]  # type: ignore[no-any-return]
    return None


_BACKSLASHED = re.compile(r"\\(.)", re.DOTALL)
_ASCII_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def _literal(match: re.Match[str]) -> str:
    character = match[1]
    if character in _ASCII_ALPHANUMERIC:
        raise ValueError(f"cannot unescape {match[0]!r}")
    return character


def re_unescape(s: str) -> str:
    r"""Undo `re.escape`.

    :raises ValueError: for expressions `re.escape` cannot have produced, such as ``\d``.
    """
    return _BACKSLASHED.sub(_literal, s)


class Configurable:
    """A base class whose constructor makes an instance of a subclass chosen at run time.

    A base names itself in `configurable_base` and its normal implementation in `configurable_default`;
    `configure` chooses another one for the whole process. Implementations are set up by `initialize`, not by
    ``__init__``. Each base of a hierarchy is configured on its own; when the implementation of one base is
    itself a base, its own choice is followed in turn.
    """

    # What configure() chose, on the base itself: (implementation or None, keyword arguments).
    _configured: tuple[type[Any] | None, dict[str, Any]] | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        settings: dict[str, Any] = kwargs
        implementation: type[Any] = cls
        while implementation.configurable_base() is implementation:
            chosen = implementation.configured_class()
            saved = implementation.__dict__.get("_configured")
            if saved is not None and saved[1]:
                settings = saved[1] | settings
            if chosen is implementation:
                break
            implementation = chosen
        instance: Self = super().__new__(implementation)
        instance.initialize(*args, **settings)
        return instance

    @classmethod
    def configurable_base(cls) -> type[Any]:
        """Return the base class of the hierarchy, usually the class this method is written in."""
        raise NotImplementedError

    @classmethod
    def configurable_default(cls) -> type[Any]:
        """Return the implementation used when nothing is configured."""
        raise NotImplementedError

    def _initialize(self) -> None:
        """Set up the instance; takes the arguments the class was called with."""

    # Declared as a variable of an open signature: implementations take whatever arguments they need.
    initialize: Callable[..., None] = _initialize

    @classmethod
    def configure(cls, impl: "str | type[Configurable] | None", **kwargs: Any) -> None:
        """Choose the class that is made when the base is called.

        :param impl: the class, its dotted name, or None for the default.
        :param kwargs: saved, and given to `initialize` of every instance made through the base; arguments
            of the call win over them.
        :raises ValueError: when ``impl`` is not a subclass of this class.
        :raises ImportError: when a dotted name cannot be imported.
        """
        base = cls.configurable_base()
        implementation: Any = import_object(impl) if isinstance(impl, str) else impl
        if implementation is not None and not (
            isinstance(implementation, type) and issubclass(implementation, cls)
        ):
            raise ValueError(f"Invalid subclass of {cls}: {implementation!r}")
        base._configured = (implementation, dict(kwargs))

    @classmethod
    def configured_class(cls) -> type[Any]:
        """Return the class that is made when the base is called: the configured one or the default."""
        base = cls.configurable_base()
        saved = base.__dict__.get("_configured")
        if saved is not None and saved[0] is not None:
            return saved[0]  # type: ignore[no-any-return]
        return base.configurable_default()  # type: ignore[no-any-return]

    @classmethod
    def _save_configuration(cls) -> tuple[type[Any] | None, dict[str, Any]] | None:
        """Return what `_restore_configuration` needs; for tests that configure a class and put it back."""
        return cls.configurable_base().__dict__.get("_configured")

    @classmethod
    def _restore_configuration(cls, saved: tuple[type[Any] | None, dict[str, Any]] | None) -> None:
        cls.configurable_base()._configured = saved


class ArgReplacer:
    """Reads and replaces one argument of a call, however the caller passed it; for decorators.

    :param func: the function whose calls are handled.
    :param name: the name of the argument.
    :raises TypeError: when the parameters of ``func`` cannot be found out.
    """

    __slots__ = ("arg_pos", "name")

    def __init__(self, func: Callable[..., Any], name: str) -> None:
        self.name = name
        #: Position of the argument in a call, None when it can only be passed by keyword.
        self.arg_pos: int | None = None
        try:
            parameters = inspect.signature(func, follow_wrapped=False).parameters.values()
        except ValueError:
            raise TypeError(f"unsupported callable: {func!r}") from None
        for position, parameter in enumerate(parameters):
            if parameter.kind > parameter.POSITIONAL_OR_KEYWORD:
                break
            if parameter.name == name:
                self.arg_pos = position
                break

    def get_old_value(self, args: Sequence[Any], kwargs: dict[str, Any], default: Any = None) -> Any:
        """Return the value the call passes for the argument, ``default`` if it passes none."""
        if self.arg_pos is not None and len(args) > self.arg_pos:
            return args[self.arg_pos]
        return kwargs.get(self.name, default)

    def replace(
        self, new_value: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Any, Sequence[Any], dict[str, Any]]:
        """Return ``(old value or None, args, kwargs)`` with the argument replaced, or added as a keyword.

        ``args`` is copied when it changes; ``kwargs`` is changed in place.
        """
        if self.arg_pos is not None and len(args) > self.arg_pos:
            old_value = args[self.arg_pos]
            args = list(args)
            args[self.arg_pos] = new_value
        else:
            old_value = kwargs.get(self.name)
            kwargs[self.name] = new_value
        return old_value, args, kwargs


def timedelta_to_seconds(td: "datetime.timedelta") -> float:
    """Return the length of ``td`` in seconds; the same as ``td.total_seconds()``."""
    return td.total_seconds()


def doctests() -> "unittest.TestSuite":
    """Return the examples in this module's docstrings as a test suite."""
    import doctest

    return doctest.DocTestSuite(__name__)
