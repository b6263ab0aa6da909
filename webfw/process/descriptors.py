"""How many files and sockets this process may have open, and as many as it is allowed; none is opened here."""

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

__all__ = ["MOST", "descriptor_limit", "raise_descriptor_limit"]

#: More are not asked for: where "unlimited" is a number, tables of that size are made by programs that close all.
MOST = 1 << 20

#: What systems take that say "unlimited" and refuse it (macOS: OPEN_MAX).
_MODEST = 10240


def descriptor_limit() -> int | None:
    """How many descriptors this process may have (the soft limit); None where there is no limit or none is told."""
    if resource is None:
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> tuple[int, int] | None:
    """Raise the soft limit on descriptors to the hard one, for this process and those it makes.

    The soft limit is low (1024) for the sake of programs that use ``select``, which cannot watch higher numbers; a
    server's loop can.

    :returns: the limit before and after; None where nothing was changed.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited:
        return None
    for wanted in (MOST if hard == unlimited else min(hard, MOST), _MODEST):
        if soft < wanted and (hard == unlimited or wanted <= hard):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (OSError, ValueError):
                continue
            return soft, wanted
    return None
