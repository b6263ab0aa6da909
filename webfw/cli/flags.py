"""The command line's side of the settings: a flag for each, under its heading; what a flag means may not enter."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from webfw.cli.kinds import Flag, Kind, Many
from webfw.cli.settings import SETTINGS

__all__ = ["add_settings", "given"]

_PREFIX = "setting "

#: What those who come from other servers type first.
_SHORT = {"bind": "-b", "workers": "-w"}


def add_settings(parser: argparse.ArgumentParser, names: Iterable[str] | None = None) -> None:
    """Give a parser the flags of settings.

    :param names: of which ones; of all by default.
    """
    wanted = SETTINGS if names is None else {name: SETTINGS[name] for name in names}
    groups: dict[str, Any] = {}
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="read settings from this file (default: webfw.toml or pyproject.toml)",
    )
    for name, setting in wanted.items():
        group = groups.get(setting.section)
        if group is None:
            group = groups[setting.section] = parser.add_argument_group(setting.section)
        kind = setting.kind
        options: dict[str, Any] = {"dest": _PREFIX + name, "default": argparse.SUPPRESS}
        text = setting.help.replace("%", "%%")
        if isinstance(kind, Flag):
            group.add_argument(setting.flag, action=argparse.BooleanOptionalAction, help=text, **options)
            continue
        if isinstance(kind, Many):
            options["action"] = "append"
            kind = kind.kind
        if setting.default is not None:
            text += f" (default: {setting.show(setting.default)})".replace("%", "%%")
        flags = [_SHORT[name], setting.flag] if name in _SHORT else [setting.flag]
        group.add_argument(*flags, type=_reader(kind), metavar=kind.metavar, help=text, **options)


def _reader(kind: Kind) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags, by their names."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in vars(arguments).items()
        if name.startswith(_PREFIX)
    }
