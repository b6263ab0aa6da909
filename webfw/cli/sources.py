"""Where the values of settings come from: flags, environment, file, default; which settings there are may not enter."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.cli.settings import SETTINGS, TABLES, Setting

__all__ = ["Configuration", "Value", "read_configuration"]

#: Environment variables that begin like settings and are none.
_OTHER_VARIABLES = frozenset(
    {
        "WEBFW_CONFIG",
        "WEBFW_LOOP",
        "WEBFW_SPEEDUPS",
        "WEBFW_PROCESS_TREE",
        "WEBFW_WORKERS_SOCKET",
        "WEBFW_LISTENERS",
    }
)

_TABLE_LINE = re.compile(r"\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value, and who says so.

    :ivar origin: a flag, an environment variable, ``FILE:LINE``, or ``default``.
    """

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The value of every setting.

    :ivar values: by their names.
    :ivar apps: the ``apps`` tables of the file, each with its own keys.
    :ivar file: the file that was read, if there was one.
    :ivar warnings: what looks wrong but is none of our business.
    """

    values: Mapping[str, Value]
    apps: tuple[Mapping[str, Any], ...] = ()
    file: Path | None = None
    warnings: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def origin(self, name: str) -> str:
        """Who has set it."""
        return self.values[name].origin

    def is_set(self, name: str) -> bool:
        """Whether it is not the default."""
        return self.values[name].origin != "default"


def read_configuration(
    flags: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    file: str | None = None,
    directory: str | os.PathLike[str] = ".",
) -> Configuration:
    """Find the value of every setting: a flag counts before the environment, then a file, then the default.

    :param flags: the settings that were given as flags, by their names, parsed.
    :param environ: the environment; that of the process by default.
    :param file: the file to read; by default ``$WEBFW_CONFIG``, else ``webfw.toml``, else ``pyproject.toml`` with a
        table ``[tool.webfw]``, as far as there is one.
    :param directory: where to look for the file.
    :raises CommandError: a value is none, a key is unknown, or a file cannot be read; the message says where.
    """
    environ = os.environ if environ is None else environ
    values = {name: Value(setting.default, "default") for name, setting in SETTINGS.items()}
    if values["bind"].value is None:
        values["bind"] = _default_bind(environ)
    source = _File.find(file or environ.get("WEBFW_CONFIG"), Path(directory))
    apps: tuple[Mapping[str, Any], ...] = ()
    if source is not None:
        values.update(source.values())
        apps = tuple(source.tables("apps"))
    values.update(_environment(environ))
    values.update({name: Value(value, SETTINGS[name].flag) for name, value in flags.items()})
    warnings = tuple(_unknown_variables(environ))
    return Configuration(values, apps, source.path if source is not None else None, warnings)


def _default_bind(environ: Mapping[str, str]) -> Value:
    port = environ.get("PORT")
    if not port:
        return Value(["127.0.0.1:8000"], "default")
    try:
        return Value(SETTINGS["bind"].kind.check([f":{port}"]), "PORT")
    except ValueError as error:
        raise CommandError(f"PORT: {error}", USAGE) from None


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    for name, setting in SETTINGS.items():
        text = environ.get(setting.variable)
        if text is None:
            continue
        try:
            yield name, Value(setting.kind.parse(text), setting.variable)
        except ValueError as error:
            raise CommandError(f"{setting.variable}: {error}", USAGE) from None


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = {setting.variable for setting in SETTINGS.values()} | _OTHER_VARIABLES
    for name in sorted(environ):
        if name.startswith("WEBFW_") and name not in known:
            yield f"{name} is no setting{_nearest(name, known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


class _File:
    """A TOML file with settings."""

    def __init__(self, path: Path, text: str, table: tuple[str, ...], content: dict[str, Any]) -> None:
        self.path = path
        self._text = text
        self._table = table
        self._content = content

    @classmethod
    def find(cls, named: str | None, directory: Path) -> "_File | None":
        """Read the file that counts; None when there is none."""
        if named is not None:
            path = directory / named
            return cls._read(path, ("tool", "webfw") if path.name == "pyproject.toml" else ())
        if (directory / "webfw.toml").is_file():
            return cls._read(directory / "webfw.toml", ())
        if (directory / "pyproject.toml").is_file():
            found = cls._read(directory / "pyproject.toml", ("tool", "webfw"))
            return found if found._content else None
        return None

    @classmethod
    def _read(cls, path: Path, table: tuple[str, ...]) -> "_File":
        try:
            text = path.read_text(encoding="utf-8")
            content: Any = tomllib.loads(text)
        except OSError as error:
            raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}", FAILED) from None
        except RecursionError:
            raise CommandError(f"{path}: its values are nested too deep", USAGE) from None
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: it is not UTF-8 (byte {error.start})", USAGE) from None
        except tomllib.TOMLDecodeError as error:
            message, _, place = str(error).partition(" (at line ")
            line = f":{place.partition(',')[0]}" if place else ""
            raise CommandError(f"{path}{line}: {message[:1].lower()}{message[1:]}", USAGE) from None
        for name in table:
            content = content.get(name, {}) if isinstance(content, dict) else {}
        if not isinstance(content, dict):
            raise CommandError(f"{path}: [{'.'.join(table)}] is no table", USAGE)
        return cls(path, text, table, content)

    def values(self) -> dict[str, Value]:
        """The settings in it."""
        values = {}
        for key, value in self._content.items():
            name = key.replace("-", "_")
            if name in TABLES:
                continue
            where = self._where(key)
            setting = SETTINGS.get(name)
            if setting is None:
                known = [*SETTINGS, *TABLES]
                if isinstance(value, dict) and not self._table and key == "webfw":
                    cure = ": write the settings without it, at the top of the file"
                    raise CommandError(f"{where}: there is no table [{key}]{cure}", USAGE)
                raise CommandError(f"{where}: there is no setting {key!r}{_nearest(name, known)}", USAGE)
            values[name] = Value(_checked(setting, value, where), where)
        return values

    def tables(self, name: str) -> Iterator[dict[str, Any]]:
        """The tables of an array of tables, checked; each with ``origin``, the place where it stands."""
        tables = self._content.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            message = f"{self._where(name)}: {name} is an array of tables: write [[{'.'.join([*self._table, name])}]]"
            raise CommandError(message, USAGE)
        for index, table in enumerate(tables):
            checked: dict[str, Any] = {"origin": self._where(None, name, index)}
            for key, value in table.items():
                where = self._where(key, name, index)
                kind = TABLES[name].get(key)
                if kind is None:
                    raise CommandError(f"{where}: {name} have no {key!r}{_nearest(key, TABLES[name])}", USAGE)
                try:
                    checked[key] = kind.check(value)
                except ValueError as error:
                    raise CommandError(f"{where}: {key}: {error}", USAGE) from None
            yield checked

    def _where(self, key: str | None, table: str = "", index: int = 0) -> str:
        """``FILE:LINE`` of a key, or of a table's heading; only ``FILE`` where the line is not found."""
        wanted = [*self._table, *([table] if table else [])]
        current: list[str] = []
        count = -1
        for number, line in enumerate(self._text.splitlines(), 1):
            heading = _TABLE_LINE.match(line)
            if heading:
                current = [part.strip().strip("\"'") for part in heading["name"].split(".")]
                count += bool(table) and current == wanted
                if key is None and current == wanted and count == index:
                    return f"{self.path}:{number}"
            elif key is not None and current == wanted and (not table or count == index):
                name = line.partition("=")[0].strip().strip("\"'")
                if name == key or name.startswith(f"{key}."):
                    return f"{self.path}:{number}"
            if key is not None and not table and heading and current == [*wanted, key]:
                return f"{self.path}:{number}"
        return str(self.path)


def _checked(setting: Setting, value: Any, where: str) -> Any:
    try:
        return setting.kind.check(value)
    except ValueError as error:
        raise CommandError(f"{where}: {setting.name}: {error}", USAGE) from None
