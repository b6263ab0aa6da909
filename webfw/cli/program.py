"""What the process tree of ``webfw serve`` runs: in the supervisor words and hooks, in each worker a `Service`."""

import faulthandler
import gc
import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from webfw.cli.applications import Place, places
from webfw.cli.errors import FAILED, CommandError, in_one_sentence
from webfw.cli.listeners import Listeners, tls_context
from webfw.cli.lives import LEAST
from webfw.cli.logs import Logs
from webfw.cli.service import Service, check_observation, load_all
from webfw.cli.settings import SETTINGS
from webfw.cli.sources import Configuration
from webfw.cli.words import SAY_AFTER, announcements, say, say_ended, say_stopping
from webfw.log import gen_log
from webfw.observe.metrics import SharedMetrics
from webfw.process import cpu_count
from webfw.process.control import ControlError, ControlServer
from webfw.process.daemon import Pidfile, PidfileError, daemonize
from webfw.process.identity import Identity
from webfw.process.program import Guest, Program, TreeSettings
from webfw.process.roster import Member, State
from webfw.process.supervisor import Supervisor
from webfw.process.systemd import Notifier
from webfw.process.worker import Worker

__all__ = ["ServeProgram", "tree_settings"]


def tree_settings(configuration: Configuration) -> TreeSettings:
    """What the supervisor is told."""
    workers = configuration["workers"]
    names = ("graceful_timeout", "timeout", "boot_timeout", "blocked_after", "max_memory", "preload")
    settings = {name: configuration[name] for name in names}
    graceful_timeout = settings["graceful_timeout"]
    # Behind requests that have used it up, applications end.
    settings["graceful_timeout"] += configuration["drain_delay"] + min(LEAST, graceful_timeout)
    return TreeSettings(workers=cpu_count() if workers == "auto" else workers, **settings)


class ServeProgram(Program):
    """The application of ``webfw serve`` in a process tree.

    :param configuration: the settings.
    :param reread: reads them again, for a reload.
    :param listeners: where to listen.
    :param logs: the handlers.
    :param identity: who workers are to be.
    :param directory: where the command was started, for a new supervisor.
    """

    def __init__(
        self,
        configuration: Configuration,
        reread: Callable[[], Configuration],
        listeners: Listeners,
        logs: Logs,
        identity: Identity | None = None,
        directory: str = ".",
    ) -> None:
        self.configuration = configuration
        self.listeners = listeners
        self.logs = logs
        self.identity = identity
        #: Whether this process is one of the workers.
        self.in_worker = False
        self.supervisor: Supervisor
        self._reread = reread
        self._directory = directory
        self._hooks = _hooks(configuration["hooks"])
        self._loaded: tuple[list[Place], list[Any]] | None = None
        self._ending_since: float | None = None
        self._told = False
        self._cut = 0
        self._metrics: SharedMetrics | None = None
        self._new_supervisor: subprocess.Popen[bytes] | None = None

    # In the supervisor.

    def start(self, is_upgrade: bool = False) -> int:
        """Run the tree; the exit status.  A worker ends here.

        :param is_upgrade: whether another supervisor has started this one, to follow it.
        :raises SystemExit: in a worker.
        :raises CommandError: what belongs to a supervisor cannot be had.
        """
        configuration = self.configuration
        if self.identity is not None:
            with in_one_sentence(OSError):
                self.logs.give_to(self.identity)
        daemon = daemonize() if configuration["daemon"] and not is_upgrade else None
        supervisor = self.supervisor = Supervisor(self, tree_settings(configuration))
        guests: list[Guest] = supervisor.guests
        try:
            if daemon is not None:
                daemon.watch(supervisor)
                guests.append(daemon)
            with in_one_sentence(PidfileError, ControlError):
                if configuration["pidfile"] is not None:
                    guests.append(Pidfile(configuration["pidfile"], is_upgrade))
                if configuration["control"] != "off":
                    guests.append(ControlServer(supervisor, configuration["control"], take_over=is_upgrade))
            guests.append(Notifier(supervisor))
            if configuration["metrics"]:
                self._metrics = _shared_metrics(self.identity)
            self.hook("on_starting", supervisor)
        except BaseException:
            for guest in guests:
                guest.ended(None)
            raise
        status = supervisor.run()
        if self.supervisor.in_worker:
            sys.exit(status)  # whoever has called this goes on in the supervisor alone
        if self._metrics is not None:
            self._metrics.remove()
        self.hook("on_exit", self.supervisor)
        if status == 0 or status > 128:
            say_ended(status, self._cut)
        return status

    def hook(self, name: str, *arguments: Any) -> None:
        """Call a function of the module of hooks, if it has it; a hook that fails does not keep the server."""
        function = getattr(self._hooks, name, None)
        if function is not None:
            try:
                function(*arguments)
            except Exception:
                # Border: a hook is not ours, and the others depend on us.
                gen_log.error("hook %s failed", name, exc_info=True)

    def preload(self) -> None:
        self._loaded = load_all(self.configuration, self.logs)

    def forking(self, number: int) -> None:
        self.listeners.prepare(number)
        if self._metrics is not None:
            self._metrics.forking()
        self.hook("pre_fork", self.supervisor, number)

    def given_up(self, number: int) -> None:
        self.listeners.release(number)

    def worker_ready(self, member: Member) -> None:
        if self._metrics is not None:
            self._metrics.worker_ready(member.pid)
        self.hook("worker_ready", self.supervisor, member)

    def worker_exited(self, member: Member, status: int) -> None:
        cut = member.report.get("cut")
        self._cut += cut if isinstance(cut, int) else 0
        if self._metrics is not None:
            self._metrics.worker_gone(member.pid, asked=member.state is State.LEAVING)
        self.hook("worker_exit", self.supervisor, member, status)

    def describe(self) -> dict[str, Any]:
        lines = announcements(self.configuration, self.listeners, 1)
        return {"serving": "; ".join(line.partition(" serving ")[2] for line in lines)}

    def all_ready(self) -> None:
        for line in announcements(self.configuration, self.listeners, self.supervisor.target):
            say(line)

    def cannot_start(self, member: Member, why: str) -> None:
        print(why, file=sys.stderr, flush=True)

    def reloading(self) -> TreeSettings | None:
        try:
            configuration = self._reread()
            places(configuration)
            check_observation(configuration)
            tls_context(configuration["certfile"], configuration["keyfile"])
            if configuration["workers"] == 0:
                raise CommandError(
                    f"{configuration.origin('workers')}: a supervisor has 1 worker at least, not 0"
                )
        except CommandError as error:
            raise ValueError(str(error)) from None
        for name, value in configuration.values.items():
            if value.value != self.configuration[name] and not SETTINGS[name].reloads:
                gen_log.warning("%s: %s is taken only at a start", value.origin, name)
        self.configuration = configuration
        self.hook("on_reload", self.supervisor)
        return tree_settings(configuration)

    def reopen_logs(self) -> None:
        self.logs.reopen()
        if self.identity is not None:
            try:
                self.logs.give_to(self.identity)  # the workers are told next, and open them as that user
            except OSError as error:
                gen_log.error("log files cannot be given to %s: %s", self.identity, error)

    def upgrade(self) -> int | None:
        environ, fds = self.listeners.hand_over()
        try:
            process = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                cwd=self._directory,
                env={**os.environ, **environ},
                pass_fds=fds,
            )
        except OSError as error:
            gen_log.error("no new supervisor: %s", error)
            self.listeners.take_back()
            return None
        self._new_supervisor = process  # the supervisor waits for it
        return process.pid

    def turned(self) -> None:
        if self._new_supervisor is not None and self.supervisor.successor is None:
            self._new_supervisor.returncode = 0  # it was waited for
            self._new_supervisor = None
            self.listeners.take_back()
        since = self._ending_since
        if since is not None and not self._told and time.monotonic() > since + SAY_AFTER:
            self._told = True
            say_stopping(self.configuration["graceful_timeout"])

    def ending(self) -> None:
        self.listeners.close()
        if self.supervisor.ready:
            self._ending_since = time.monotonic()

    # In a worker.

    def work(self, worker: Worker) -> int:
        self.in_worker = True
        self.listeners.keep(worker.number)
        faulthandler.enable()  # SIGABRT shows where a worker stands that gives no sign of life
        configuration = self.configuration
        try:
            if self.identity is not None:
                self.identity.assume()
            self.hook("post_fork", self.supervisor, worker)
            wanted, loaded = self._loaded or load_all(configuration, self.logs)
            gc.freeze()
            worker.reopen_logs = self.logs.reopen
            number, shared = worker.number, self._metrics
            Service(
                worker,
                configuration,
                self.listeners,
                number,
                wanted,
                loaded,
                shared,
                default_broker="workers:",
            ).run()
        except CommandError as error:
            worker.failed(_told(error, configuration["log_level"]))
            return error.status
        except Exception as error:
            # Border: whatever it was, it is no mistake of the command line, and where it was has to be known.
            gen_log.error("worker %d fails", worker.number, exc_info=True)
            worker.failed(f"webfw: {type(error).__name__}: {error}")
            return FAILED
        return 0


def _shared_metrics(identity: Identity | None) -> SharedMetrics:
    try:
        return SharedMetrics(identity)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise CommandError(f"no directory for what is counted, {error.filename}: {why}", FAILED) from None


def _told(error: CommandError, level: str) -> str:
    """What the supervisor says of a failure: one sentence, behind the traceback where that is wanted."""
    text = f"webfw: {error}"
    if level == "debug" and error.__cause__ is not None:
        text = "".join(traceback.format_exception(error.__cause__)) + text
    return text


def _hooks(name: str | None) -> ModuleType | None:
    if name is None:
        return None
    try:
        return importlib.import_module(name)
    except Exception as error:
        # Border: the module is the user's.
        last = traceback.format_exception_only(error)[-1].strip()
        raise CommandError(f"hooks: importing {name!r} failed: {last}", FAILED) from error
