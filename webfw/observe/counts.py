"""Counts of one process as rows that can be added up, and files of them; who counts what may not enter.

The file of a process is replaced as a whole, so that who reads it while it is written finds the former one.
"""

import json
import os
import stat
from collections.abc import Iterable, Mapping

__all__ = ["Key", "Rows", "add", "read", "write"]

#: What is counted, and the values of its labels.
Key = tuple[str, tuple[str, ...]]

#: A count or a level is one number; a histogram has the number in each class, the last class without a bound, and the
#: sum.
Rows = dict[Key, list[float]]


def add(total: Rows, rows: Mapping[Key, list[float]]) -> None:
    """Add rows to others; a histogram of other classes, as of a former configuration, gives way."""
    for key, values in rows.items():
        former = total.get(key)
        if former is None or len(former) != len(values):
            total[key] = list(values)
        else:
            total[key] = [one + other for one, other in zip(former, values, strict=True)]


def write(path: str, rows: Mapping[Key, list[float]]) -> None:
    """Replace the file at a path.

    :raises OSError: it cannot be written.
    """
    draft = path + ".new"
    text = json.dumps([[name, labels, values] for (name, labels), values in rows.items()])
    try:
        # It must not be there: the directory may belong to somebody who may do less than we.
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:  # of a predecessor that was killed just then
        os.unlink(draft)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(fd, "w", encoding="utf-8") as file:
        os.fchmod(fd, 0o644)  # whatever the umask: the directory says who may read
        file.write(text)
    os.replace(draft, path)


def read(path: str, but: Iterable[str] = ()) -> Rows:
    """The rows of a file; none where there is no such file, or no rows in it.

    :param but: names to leave out.
    """
    try:
        # Neither a link nor a pipe that never ends: the directory may belong to somebody who may do less than we.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, encoding="utf-8") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return {}
            return {
                (name, tuple(labels)): values for name, labels, values in json.load(file) if name not in but
            }
    except (OSError, ValueError, TypeError):
        return {}
