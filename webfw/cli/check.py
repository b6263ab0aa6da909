"""The ``webfw check`` command: would it be served, and what would a reviewer say; what is looked for is elsewhere."""

import argparse
import json
import sys
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from webfw.cli.alone import is_alone
from webfw.cli.config import settings_of
from webfw.cli.errors import FAILED, CommandError
from webfw.cli.findings import Finding, of_application, of_configuration, of_places
from webfw.cli.flags import add_settings
from webfw.cli.listeners import tls_context
from webfw.cli.routemap import Loaded, framework_of, load_applications
from webfw.cli.service import access_log_of
from webfw.cli.settings import SETTINGS
from webfw.cli.sources import Configuration
from webfw.cli.tables import plural, printable

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command"]

_LIMITS = (
    "header_timeout",
    "body_timeout",
    "idle_timeout",
    "write_timeout",
    "max_header_size",
    "max_body_size",
)


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``check`` to the commands of a parser."""
    parser = commands.add_parser(
        "check",
        help="see whether an application can be served, and what looks wrong",
        description="Read the settings, import the application and say what looks wrong, without listening anywhere. "
        "The status is 0 when nothing does, 1 when something should be mended, 2 when the settings or the target are "
        "wrong, 3 when the application cannot be loaded.",
    )
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="the application, as webfw serve is given it"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    add_settings(parser)
    parser.set_defaults(command=check)


def check(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status."""
    findings: list[Finding] = []
    configuration: Configuration | None = None
    found: list[Loaded] = []
    status = 0
    try:
        configuration = settings_of(arguments, enter=True)
        findings += of_configuration(configuration)
        access_log_of(configuration)
        tls_context(configuration["certfile"], configuration["keyfile"])
        is_alone(configuration)
        found = load_applications(configuration)
        findings += of_places(loaded.place for loaded in found)
        for loaded in found:
            findings += of_application(loaded, configuration)
    except CommandError as error:
        status = error.status
        findings.append(Finding("error", "", str(error)))
        if (
            configuration is not None
            and configuration["log_level"] == "debug"
            and error.__cause__ is not None
        ):
            traceback.print_exception(error.__cause__)
    if status == 0 and any(finding.level == "warning" for finding in findings):
        status = FAILED
    if arguments.json:
        print(json.dumps(_as_json(status, configuration, found, findings), indent=2))
    else:
        _say(configuration, found, findings)
    return status


def _say(configuration: Configuration | None, found: list[Loaded], findings: list[Finding]) -> None:
    for loaded in found:
        print(_summary(loaded))
    if configuration is not None and found:
        others = [name for name in SETTINGS if name != "app"]  # which has been said
        changed = sum(map(configuration.is_set, others))
        file = f", file {configuration.file}" if configuration.file is not None else ""
        print(f"settings: {changed} of {len(others)} are not the default{file}")
        print(
            "limits: " + ", ".join(f"{name} {SETTINGS[name].show(configuration[name])}" for name in _LIMITS)
        )
    for finding in findings:
        where = f"{finding.where}: " if finding.where else ""
        line = printable(f"{finding.level}: {where}{finding.message}")
        print(line, file=sys.stderr if finding.level == "error" else sys.stdout)
    count = Counter(finding.level for finding in findings)
    if not count["error"]:
        print(plural(count["warning"], "warning") if count["warning"] else "nothing looks wrong")


def _summary(loaded: Loaded) -> str:
    place = loaded.place
    where = f" at {place.host or ''}{place.path}" if place.host or place.path else ""
    routes = plural(len(loaded.routes), "route")
    if loaded.kind in ("wsgi", "asgi"):
        framework = framework_of(loaded.foreign)
        kind = f"{loaded.kind.upper()} application{f' ({framework})' if framework else ''}"
        if loaded.kind == "asgi":
            return f"{place.target}{where}: an {kind}, {routes}"
        return f"{place.target}{where}: a {kind}, {routes}, {plural(loaded.callback.threads, 'thread')}"
    if loaded.kind == "function":
        return f"{place.target}{where}: a function of one request"
    handlers = len({id(route.target) for route in loaded.routes})
    return f"{place.target}{where}: a native application, {routes}, {plural(handlers, 'handler')}"


def _as_json(
    status: int, configuration: Configuration | None, found: list[Loaded], findings: list[Finding]
) -> dict[str, Any]:
    return {
        "status": status,
        "file": None if configuration is None or configuration.file is None else str(configuration.file),
        "applications": [
            {
                "target": loaded.place.target,
                "host": loaded.place.host,
                "path": loaded.place.path,
                "kind": loaded.kind,
                "routes": len(loaded.routes),
            }
            for loaded in found
        ],
        "limits": {} if configuration is None else {name: configuration[name] for name in _LIMITS},
        "findings": [
            {"level": finding.level, "where": finding.where, "message": finding.message}
            for finding in findings
        ],
    }
