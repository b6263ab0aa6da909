"""Processes: one program forked into several workers; what the workers serve is decided elsewhere."""

from webfw.process.fork import cpu_count, fork_processes, task_id

__all__ = ["cpu_count", "fork_processes", "task_id"]
