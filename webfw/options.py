"""Options of an application, defined where they are used. Not for the framework's own settings.

They are read from the command line and from files::

    from webfw.options import define, options, parse_command_line

    define("port", default=8888, help="port to listen on")
    parse_command_line()
    serve(options.port)
"""

import datetime
import numbers
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from webfw.escape import utf8
from webfw.log import define_logging_options, set_default_options

__all__ = [
    "Error",
    "OptionParser",
    "add_parse_callback",
    "define",
    "options",
    "parse_command_line",
    "parse_config_file",
    "print_help",
]


class Error(Exception):
    """An option is unknown, defined twice, or has a value that does not fit its type."""


class _ValueNotReadable(Error, ValueError):
    """A text cannot be read as a value of the option's type."""


_TRUE = frozenset(("", "true", "t", "1", "yes", "y", "on"))
_FALSE = frozenset(("false", "f", "0", "no", "n", "off"))
_RANGE_LIMIT = 1_000_000

_DATETIME_FORMATS = ("%a %b %d %H:%M:%S %Y", "%Y%m%d %H:%M", "%Y%m%d %H:%M:%S", "%H:%M:%S", "%H:%M")

# The part of a duration that names a unit, as a keyword of timedelta.
_UNITS = {
    unit: keyword
    for keyword, names in {
        "weeks": "w week weeks",
        "days": "d day days",
        "hours": "h hr hrs hour hours",
        "minutes": "m min mins minute minutes",
        "seconds": "s sec secs second seconds",
        "milliseconds": "ms millisecond milliseconds",
        "microseconds": "us microsecond microseconds",
    }.items()
    for unit in names.split()
}
_DURATION_PART = re.compile(
    r"\s*(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>[A-Za-z]*)\s*", re.ASCII
)


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("use true or false")


def _parse_timedelta(text: str) -> datetime.timedelta:
    total = datetime.timedelta()
    position = 0
    while match := _DURATION_PART.match(text, position):
        keyword = _UNITS.get(match["unit"] or "seconds")
        if keyword is None:
            raise ValueError(f"unknown unit {match['unit']!r}")
        try:
            total += datetime.timedelta(**{keyword: float(match["number"])})
        except OverflowError:
            raise ValueError("out of range") from None
        position = match.end()
    if position == 0 or position < len(text):
        raise ValueError("use forms like 45, 1.5h or 1h30m")
    return total


def _parse_datetime(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _DATETIME_FORMATS:
        try:
            return datetime.datetime.strptime(text, form)
        except ValueError:
            continue
    raise ValueError("Unrecognized date/time format")


_PARSERS: dict[Any, Callable[[str], Any]] = {
    bool: _parse_bool,
    bytes: utf8,
    datetime.datetime: _parse_datetime,
    datetime.timedelta: _parse_timedelta,
}


class _Option:
    """One option: its definition, its value, and the rules by which text becomes a value."""

    __slots__ = (
        "callback",
        "default",
        "file_name",
        "group_name",
        "help",
        "metavar",
        "multiple",
        "name",
        "type",
        "value",
    )

    def __init__(
        self,
        name: str,
        default: Any,
        type: Any,
        help: str | None,
        metavar: str | None,
        multiple: bool,
        file_name: str,
        group_name: str,
        callback: Callable[[Any], object] | None,
    ) -> None:
        self.name = name
        self.type = type
        self.help = help
        self.metavar = metavar
        self.multiple = multiple
        self.file_name = file_name
        self.group_name = group_name
        self.callback = callback
        self.default: Any = [] if multiple and default is None else default
        self.value: Any = list(default) if multiple and default else self.default

    @property
    def type_name(self) -> str:
        return getattr(self.type, "__name__", None) or repr(self.type)

    def _parse_item(self, text: str) -> Any:
        parse = _PARSERS.get(self.type, self.type)
        try:
            return parse(text)
        except (ValueError, ArithmeticError) as error:
            raise _ValueNotReadable(
                f"Option {self.name!r}: cannot read {text!r} as {self.type_name} ({error})"
            ) from None

    def _parse_range(self, text: str) -> list[Any]:
        low_text, _, high_text = text.partition(":")
        low = self._parse_item(low_text)
        high = self._parse_item(high_text) if high_text else low
        if not low <= high < low + _RANGE_LIMIT:
            raise _ValueNotReadable(f"Option {self.name!r}: bad range {text!r}, from lower to higher")
        return list(range(low, high + 1))

    def parse(self, text: str) -> None:
        """Set the value from the text of a command line."""
        if not self.multiple:
            self._accept(self._parse_item(text))
            return
        has_ranges = isinstance(self.type, type) and issubclass(self.type, numbers.Integral)
        values: list[Any] = []
        for part in text.split(","):
            if has_ranges and ":" in part:
                values += self._parse_range(part)
            else:
                values.append(self._parse_item(part))
        self._accept(values)

    def _fitted(self, value: Any) -> Any:
        if value is None or not isinstance(self.type, type) or isinstance(value, self.type):
            return value
        if self.type is float and isinstance(value, int):
            return float(value)
        raise TypeError

    def set(self, value: Any) -> None:
        """Set the value to an object, which must be of the option's type, or None."""
        if self.multiple:
            try:
                if not isinstance(value, list):
                    raise TypeError
                value = [self._fitted(item) for item in value]
            except TypeError:
                raise Error(f"Option {self.name!r} is required to be a list of {self.type_name}") from None
        else:
            try:
                value = self._fitted(value)
            except TypeError:
                raise Error(
                    f"Option {self.name!r} is required to be a {self.type_name} ({type(value)} given)"
                ) from None
        self._accept(value)

    def set_from_config(self, value: Any) -> None:
        """Set the value from a configuration file, where text stands for any type."""
        if isinstance(value, str) and (self.multiple or self.type is not str):
            self.parse(value)
        elif self.multiple and not isinstance(value, list):
            kind = f"a list of {self.type_name} or a comma-separated string"
            raise Error(f"Option {self.name!r} is required to be {kind}")
        else:
            self.set(value)

    def _accept(self, value: Any) -> None:
        self.value = value
        if self.callback is not None:
            self.callback(value)


def _normalize(name: str) -> str:
    return name.replace("_", "-")


def _caller_file() -> str:
    """Return the file of the nearest frame outside this module: where an option is defined."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame.f_code.co_filename


class OptionParser:
    """A set of options, read and written as attributes or items; ``-`` and ``_`` in names are the same.

    Programs mostly use the one global parser, `options`; a parser of its own is useful in libraries and
    tests.
    """

    _options: dict[str, _Option]
    _parse_callbacks: list[Callable[[], object]]

    def __init__(self) -> None:
        # Attributes of a parser are options, so its own state goes around __setattr__.
        self.__dict__["_options"] = {}
        self.__dict__["_parse_callbacks"] = []
        self.define("help", type=bool, help="show this help information", callback=self._help_callback)
        self._options["help"].group_name = ""

    def _find(self, name: str) -> _Option:
        option = self._options.get(_normalize(name))
        if option is None:
            raise AttributeError(f"Unrecognized option {name!r}")
        return option

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle look for these before there is any state
            raise AttributeError(name)
        return self._find(name).value

    def __setattr__(self, name: str, value: Any) -> None:
        self._find(name).set(value)

    def __getitem__(self, name: str) -> Any:
        return self._find(name).value

    def __setitem__(self, name: str, value: Any) -> None:
        self._find(name).set(value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _normalize(name) in self._options

    def __iter__(self) -> Iterator[str]:
        return iter([option.name for option in self._options.values()])

    def items(self) -> list[tuple[str, Any]]:
        """Return ``(name, value)`` pairs in the order of definition."""
        return [(option.name, option.value) for option in self._options.values()]

    def groups(self) -> set[str]:
        """Return the names of the groups: those given to `define`, and files for options without one."""
        return {option.group_name for option in self._options.values()}

    def group_dict(self, group: str) -> dict[str, Any]:
        """Return names and values of the options of one group; ``""`` stands for all of them.

        ::

            define("template_path", group="application")
            parse_command_line()
            application = Application(handlers, **options.group_dict("application"))
        """
        return {
            option.name: option.value
            for option in self._options.values()
            if not group or option.group_name == group
        }

    def as_dict(self) -> dict[str, Any]:
        """Return names and values of all options."""
        return dict(self.items())

    def define(
        self,
        name: str,
        default: Any = None,
        type: Any = None,
        help: str | None = None,
        metavar: str | None = None,
        multiple: bool = False,
        group: str | None = None,
        callback: Callable[[Any], object] | None = None,
    ) -> None:
        """Define an option.

        :param name: unique in the parser.
        :param default: the value when none is given; with ``multiple`` a list, empty when left out.
        :param type: `str`, `int`, `float`, `bool`, `bytes`, `datetime.datetime`, `datetime.timedelta`, or
            anything that makes a value of a text. Left out, it is the type of the default, else `str`.
        :param help: a line for `print_help`.
        :param metavar: what `print_help` shows for the value: ``--name=METAVAR``.
        :param multiple: the value is a list, ``a,b,c`` on the command line. Integers may also be given as
            ranges, both ends included: ``1:3,7``.
        :param group: name of a group of options; left out, options are grouped by the file that defines them.
        :param callback: called with the value whenever it is set.
        :raises Error: when the name is taken.
        """
        normalized = _normalize(name)
        file_name = _caller_file()
        taken = self._options.get(normalized)
        if taken is not None:
            raise Error(
                f"Option {normalized!r} already defined in {taken.file_name} (and now in {file_name})"
            )
        if type is None:
            sample = default[0] if multiple and default else None if multiple else default
            type = str if sample is None else sample.__class__
        self._options[normalized] = _Option(
            name,
            default,
            type,
            help,
            metavar,
            multiple,
            file_name,
            group or file_name,
            callback,
        )

    def parse_command_line(self, args: Sequence[str] | None = None, final: bool = True) -> list[str]:
        """Set options from ``--name=value`` arguments and return the arguments that follow them.

        The first argument without a dash, or ``--``, ends the options. Flags (type `bool`) need no value;
        ``--no-flag`` sets one to False. ``--help`` prints a list of the options and ends the program.

        :param args: the command line; its first item, the program, is skipped. Left out, `sys.argv`.
        :param final: False when another source follows: parse callbacks are not run yet.
        :raises Error: for unknown options (after printing the help) and for missing or bad values.
        """
        if args is None:
            args = sys.argv
        remaining: list[str] = []
        for position, argument in enumerate(args):
            if position == 0:
                continue
            if not argument.startswith("-"):
                remaining = list(args[position:])
                break
            if argument == "--":
                remaining = list(args[position + 1 :])
                break
            self._parse_argument(argument.lstrip("-"))
        if final:
            self.run_parse_callbacks()
        return remaining

    def _parse_argument(self, argument: str) -> None:
        name, equals, value = argument.partition("=")
        name = _normalize(name)
        option = self._options.get(name)
        if option is None and not equals and name.startswith("no-"):
            negated = self._options.get(name[3:])
            if negated is not None and negated.type is bool and not negated.multiple:
                option, equals, value = negated, "=", "false"
        if option is None:
            self.print_help()
            raise Error(f"Unrecognized command line option: {name!r}")
        if not equals and option.type is not bool:
            raise Error(f"Option {name!r} requires a value")
        option.parse(value)

    def parse_config_file(self, path: str, final: bool = True) -> None:
        """Set options from a file of Python code: each name it binds that is an option is set.

        Values are of the option's type, or text as on the command line; a ``multiple`` option takes a list.
        ``__file__`` is the absolute path of the file. The file is a program: it must come from a trusted
        place.

        :param final: False when another source follows: parse callbacks are not run yet.
        :raises OSError: when the file cannot be read.
        :raises Error: when a value does not fit its option.
        """
        namespace: dict[str, Any] = {"__file__": os.path.abspath(path)}
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec", dont_inherit=True), namespace)
        for name, value in namespace.items():
            option = self._options.get(_normalize(name))
            if option is None:
                continue
            try:
                option.set_from_config(value)
            except Error as error:
                raise type(error)(f"{error} in {path}") from None
        if final:
            self.run_parse_callbacks()

    def print_help(self, file: TextIO | None = None) -> None:
        """Print all options, by group, to standard error or another file."""
        if file is None:
            file = sys.stderr
        print(f"Usage: {sys.argv[0]} [OPTIONS]", file=file)
        print("\nOptions:\n", file=file)
        groups: dict[str, list[_Option]] = {}
        for option in self._options.values():
            groups.setdefault(option.group_name, []).append(option)
        for group_name, members in sorted(groups.items()):
            if group_name:
                print(f"\n{os.path.normpath(group_name)} options:\n", file=file)
            for option in sorted(members, key=lambda member: member.name):
                print(_help_text(option), file=file)
        print(file=file)

    def _help_callback(self, value: bool) -> None:
        if value:
            self.print_help()
            sys.exit(0)

    def add_parse_callback(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called after the options have been parsed (with ``final=True``)."""
        self._parse_callbacks.append(callback)

    def run_parse_callbacks(self) -> None:
        """Call the callbacks of `add_parse_callback`."""
        for callback in self._parse_callbacks:
            callback()

    def mockable(self) -> "_Mockable":
        """Return a view of the options whose attributes `unittest.mock.patch` can replace and put back.

        ::

            with mock.patch.object(options.mockable(), "name", value):
                assert options.name == value
        """
        return _Mockable(self)


def _help_text(option: _Option) -> str:
    prefix = f"  --{_normalize(option.name)}" + (f"={option.metavar}" if option.metavar else "")
    text = option.help or ""
    if option.default is not None and option.default != "":
        text += f" (default {option.default})"
    lines = textwrap.wrap(text, 79 - 35, break_on_hyphens=False) or [""]
    if len(prefix) > 34:
        lines.insert(0, "")  # no room beside it: the text starts on the next line
    head = f"{prefix:<35}{lines[0]}".rstrip()
    return "\n".join([head, *(f"{'':35}{line}" for line in lines[1:])])


class _Mockable:
    """Attribute access for `unittest.mock.patch`, which restores an attribute by deleting it."""

    _parser: OptionParser
    _originals: dict[str, list[Any]]

    def __init__(self, parser: OptionParser) -> None:
        self.__dict__["_parser"] = parser
        self.__dict__["_originals"] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def __setattr__(self, name: str, value: Any) -> None:
        original = getattr(self._parser, name)
        setattr(self._parser, name, value)
        self._originals.setdefault(name, []).append(original)

    def __delattr__(self, name: str) -> None:
        if not self._originals.get(name):
            raise AttributeError(name)
        setattr(self._parser, name, self._originals[name].pop())


#: The global parser. It has the logging options of `webfw.log`.
options = OptionParser()


def define(
    name: str,
    default: Any = None,
    type: Any = None,
    help: str | None = None,
    metavar: str | None = None,
    multiple: bool = False,
    group: str | None = None,
    callback: Callable[[Any], object] | None = None,
) -> None:
    """Define an option of the global parser; see `OptionParser.define`."""
    options.define(name, default, type, help, metavar, multiple, group, callback)


def parse_command_line(args: Sequence[str] | None = None, final: bool = True) -> list[str]:
    """Set global options from the command line; see `OptionParser.parse_command_line`."""
    return options.parse_command_line(args, final=final)


def parse_config_file(path: str, final: bool = True) -> None:
    """Set global options from a file; see `OptionParser.parse_config_file`."""
    options.parse_config_file(path, final=final)


def print_help(file: TextIO | None = None) -> None:
    """Print all global options; see `OptionParser.print_help`."""
    options.print_help(file)


def add_parse_callback(callback: Callable[[], object]) -> None:
    """Have ``callback`` called after the global options have been parsed."""
    options.add_parse_callback(callback)


set_default_options(options)
define_logging_options(options)
