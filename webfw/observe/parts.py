"""What a server's request callback is made of: the applications and containers in it; what is asked of them may not."""

from collections.abc import Iterator
from typing import Any

from webfw.pubsub import Broker
from webfw.routing import RuleRouter
from webfw.web import Application
from webfw.wsgi import WSGIContainer

__all__ = ["all_of", "broker_of", "parts_of"]


def parts_of(callback: Any) -> Iterator[Application | WSGIContainer]:
    """The native applications and the WSGI containers among what answers requests, each once; see `all_of`."""
    return (part for part in all_of(callback) if isinstance(part, (Application, WSGIContainer)))


def all_of(callback: Any) -> Iterator[Any]:
    """All that answers requests, each once, who hands requests on before those who get them.

    They are found as targets of routes, as what a `FallbackHandler` falls back to, and behind a server or a
    `HealthFront`; what programs hide in classes of their own is not.
    """
    seen: set[int] = set()
    waiting = [callback]
    while waiting:
        part = waiting.pop(0)
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, Application):
            waiting.append(part.default_router)
        elif isinstance(part, RuleRouter):
            for rule in part.rules:
                waiting += [rule.target, rule.target_kwargs.get("fallback")]
        else:
            waiting.append(getattr(part, "request_callback", None))


def broker_of(application: Application) -> Broker | None:
    """The broker that an application uses; None as long as it has not.  Asking for ``broker`` would make one."""
    return application._broker
