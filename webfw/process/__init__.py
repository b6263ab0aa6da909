"""Processes: one program forked into workers, and other programs as children; what they serve is decided elsewhere."""

from webfw.process.cpus import cpu_count
from webfw.process.fork import fork_processes, task_id
from webfw.process.subprocess import CalledProcessError, Subprocess

__all__ = ["CalledProcessError", "Subprocess", "cpu_count", "fork_processes", "task_id"]
