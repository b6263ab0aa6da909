"""The ``webfw systemd-unit`` command: unit files for an application and its settings; nothing is served or started."""

import argparse
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webfw.cli.applications import places
from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.cli.flags import add_settings, given
from webfw.cli.kinds import Flag, Many
from webfw.cli.settings import SETTINGS
from webfw.cli.sources import Configuration, read_configuration
from webfw.netutil import is_valid_ip, parse_bind

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command"]

#: Settings that a unit has its own lines for, or that make no sense in one.
_NOT_AS_FLAGS = frozenset({"app", "user", "group", "umask", "chdir", "daemon", "pidfile", "control"})

#: Seconds that systemd waits longer than the server itself would.
MARGIN = 10

_HARDENING = """\
# What the server does not need, it cannot lose. Take out a line that your application stumbles over.
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
# Everything is read-only but /var/lib/{name}, /run/{name}, a /tmp of its own, and what ReadWritePaths names.
ProtectSystem=strict
ProtectHome=read-only
StateDirectory={name}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
"""


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``systemd-unit`` to the commands of a parser."""
    parser = commands.add_parser(
        "systemd-unit",
        help="print a systemd unit that serves an application",
        description="Print a systemd unit that serves an application, as `webfw serve` would here with these settings.",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="the application; by default what the file of settings names",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="the unit's name (default: that of the application's module)"
    )
    parser.add_argument(
        "--socket",
        action="store_true",
        help="print a socket unit, too: systemd opens the sockets and keeps them",
    )
    parser.add_argument(
        "--into",
        metavar="DIRECTORY",
        help="write files into this directory instead, such as /etc/systemd/system",
    )
    add_settings(parser)
    parser.set_defaults(command=systemd_unit)


def systemd_unit(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the settings are wrong, or a file cannot be written.
    """
    flags = given(arguments)
    if arguments.target is not None:
        flags["app"] = arguments.target
    configuration = read_configuration(flags, file=arguments.config)
    targets = [place.target for place in places(configuration)]
    name = arguments.name or targets[0].partition(":")[0].partition(".")[0]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
        raise CommandError(f"--name: letters, digits, - and _ are wanted, not {name!r}", USAGE)
    unit = _Unit(name, targets, configuration, arguments)
    files = {f"{name}.service": unit.service()}
    if arguments.socket:
        files[f"{name}.socket"] = unit.socket()
    if arguments.into is None:
        print("\n".join(files.values()), end="")
    else:
        _write(Path(arguments.into), files)
    return 0


def _write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        try:
            if path.exists() and path.read_text(encoding="utf-8") != text:
                raise CommandError(
                    f"{path} is there already and says something else: remove it first, or choose --name"
                )
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"cannot write {path}: {(error.strerror or str(error)).lower()}", FAILED
            ) from None
        print(f"written: {path}")
    start = next(reversed(files))
    print(f"now: systemctl daemon-reload && systemctl enable --now {start}")


class _Unit:
    """The texts of one application's units."""

    def __init__(
        self, name: str, targets: Sequence[str], configuration: Configuration, arguments: argparse.Namespace
    ) -> None:
        self.name = name
        self.what = _specifiers(", ".join(targets))
        self._configuration = configuration
        self._target: str | None = arguments.target
        self._file: str | None = arguments.config
        self._activated: bool = arguments.socket

    def service(self) -> str:
        """The service unit."""
        lines = [*self._head(), *self._commands(), *self._times(), *self._process(), *self._install()]
        return "\n".join(lines) + "\n"

    def _head(self) -> Iterator[str]:
        yield f"# {self.name}.service: made by webfw systemd-unit"
        yield "[Unit]"
        yield f"Description={self.what}, served by webfw"
        yield "Wants=network-online.target"
        yield f"After=network-online.target{f' {self.name}.socket' if self._activated else ''}"
        if self._activated:
            yield f"Requires={self.name}.socket"
        yield ""

    def _commands(self) -> Iterator[str]:
        control = f"/run/{self.name}/control.sock"
        yield "[Service]"
        yield "# The server says when it is ready, when it reloads, and that it is well."
        yield "Type=notify"
        yield "# All of its processes may: after an upgrade another one is in charge."
        yield "NotifyAccess=all"
        yield f"ExecStart={_line([*_program(), 'serve', *self._arguments(control)])}"
        yield "# Waits until every worker is replaced; a version that does not load leaves the old one serving."
        yield f"ExecReload={_line([*_program(), 'ctl', '--control', control, 'reload'])}"
        yield "# SIGTERM goes to the supervisor only, which lets its workers drain."
        yield "KillMode=mixed"

    def _times(self) -> Iterator[str]:
        values = self._configuration
        boot = math.ceil(values["boot_timeout"])
        yield f"TimeoutStartSec={boot + MARGIN if boot else 'infinity'}"
        yield f"TimeoutStopSec={math.ceil(values['graceful_timeout'] + values['drain_delay']) + MARGIN}"
        yield "# No worker has served for so long: the whole server is started anew."
        yield f"WatchdogSec={max(60, 2 * math.ceil(values['timeout']))}"
        yield "Restart=on-failure"
        yield "RestartSec=1"
        yield "# A wrong configuration is not better the second time."
        yield "RestartPreventExitStatus=2"
        yield ""

    def _process(self) -> Iterator[str]:
        values = self._configuration
        user = values["user"] or _current_user()
        yield f"WorkingDirectory={_specifiers(os.path.abspath(values['chdir'] or '.'))}"
        if user is not None:
            yield f"User={_specifiers(user)}"
        else:
            yield "# A user that there is only while this runs; it must be able to read the application."
            yield "DynamicUser=yes"
        if values["group"] is not None:
            yield f"Group={_specifiers(values['group'])}"
        yield f"UMask={values['umask'] or '0027'}"
        yield f"RuntimeDirectory={self.name}"
        runtime = f"/run/{self.name}"
        inside = any(bind.startswith(f"unix:{runtime}/") for bind in values["bind"])
        if inside:
            yield "# Others pass through it to the server's socket; the control socket in it is for this user alone."
        yield f"RuntimeDirectoryMode={'0711' if inside else '0700'}"
        yield "LimitNOFILE=65536"
        yield ""
        low = not self._activated and any(map(_is_low, values["bind"]))
        yield from _HARDENING.format(
            name=self.name, capabilities="CAP_NET_BIND_SERVICE" if low else ""
        ).splitlines()
        if low:
            yield "# Its address has a port below 1024."
            yield "AmbientCapabilities=CAP_NET_BIND_SERVICE"
        written = sorted(
            {os.path.dirname(os.path.abspath(path)) for path in self._written_files()} - {runtime}
        )
        if written:
            yield f"ReadWritePaths={_line(written)}"
        yield ""

    def _written_files(self) -> Iterator[str]:
        values = self._configuration
        for name in ("access_log", "error_log"):
            if values[name] not in ("-", "off"):
                yield values[name]
        if values["pidfile"] is not None:
            yield values["pidfile"]
        if not self._activated:
            yield from (address[5:] for address in values["bind"] if re.match("unix:[^@]", address))

    def _install(self) -> Iterator[str]:
        yield "[Install]"
        yield "WantedBy=multi-user.target"
        if self._activated:
            yield f"Also={self.name}.socket"

    def _arguments(self, control: str) -> Iterator[str]:
        """The arguments of ``webfw serve``: what was given here, and what the environment of this shell says."""
        values = self._configuration
        if self._file is not None:
            yield "--config"
            yield os.path.abspath(self._file)
        for name, setting in SETTINGS.items():
            if name in _NOT_AS_FLAGS or (name == "bind" and self._activated):
                continue
            if values.origin(name) in (setting.flag, setting.variable) or values.origin(name) == "PORT":
                yield from _flag(setting.flag, setting.kind, values[name])
        if values["daemon"]:
            yield "--no-daemon"
        yield f"--control={control}"
        if self._target is not None:
            yield self._target
        elif values["app"] is not None and values.origin("app") == SETTINGS["app"].variable:
            yield values["app"]

    def socket(self) -> str:
        """The socket unit.

        :raises CommandError: systemd cannot listen where the settings want it.
        """
        values = self._configuration
        lines = [
            f"# {self.name}.socket: made by webfw systemd-unit",
            "[Unit]",
            f"Description=Sockets of {self.what}",
            "",
        ]
        lines += ["[Socket]", *(f"ListenStream={_listen_stream(address)}" for address in values["bind"])]
        lines.append(f"Backlog={values['backlog']}")
        if any(address.startswith("unix:") for address in values["bind"]):
            lines.append(f"SocketMode=0{values['unix_mode']}")
            user, _, group = (values["unix_owner"] or "").partition(":")
            lines += [f"SocketUser={user}"] if user else []
            lines += [f"SocketGroup={group}"] if group else []
        return "\n".join([*lines, "", "[Install]", "WantedBy=sockets.target"]) + "\n"


def _flag(flag: str, kind: object, value: Any) -> Iterator[str]:
    if isinstance(kind, Flag):
        yield flag if value else f"--no-{flag[2:]}"
    elif isinstance(kind, Many):
        for item in value:
            yield f"{flag}={kind.kind.show(item)}"
    else:
        yield f"{flag}={kind.show(value)}"  # type: ignore[attr-defined]


def _listen_stream(address: str) -> str:
    place = parse_bind(address)
    if place.path is not None:
        return _specifiers(place.path.replace("\0", "@", 1))
    if place.port and (place.host is None or is_valid_ip(place.host)):
        host = place.host
        return (
            f"{place.port}"
            if host is None
            else f"[{host}]:{place.port}"
            if ":" in host
            else f"{host}:{place.port}"
        )
    raise CommandError(
        f"--socket: systemd listens on numeric addresses with a port and on paths, not on {address}", USAGE
    )


def _is_low(address: str) -> bool:
    port = parse_bind(address).port
    return port is not None and 0 < port < 1024


def _current_user() -> str | None:
    """Who makes the unit, unless that is root."""
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        return None
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _program() -> list[str]:
    """How this command is started."""
    script = os.path.join(os.path.dirname(sys.executable), "webfw")
    return [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "webfw"]


def _specifiers(text: str) -> str:
    """A text in which systemd is to replace nothing."""
    return text.replace("%", "%%")


def _line(words: Iterable[str]) -> str:
    """A command line as systemd takes it apart (systemd.service(5), "Command lines")."""
    return " ".join(map(_word, words))


def _word(text: str) -> str:
    text = _specifiers(text).replace("\\", "\\\\").replace("$", "$$")
    if re.fullmatch(r"[^\s\"';]+", text):
        return text
    escaped = text.replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
