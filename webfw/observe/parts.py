"""What a server's request callback is made of: the applications and containers in it; what is asked of them may not."""

from collections.abc import Iterator
from typing import Any

from webfw.pubsub import Broker
from webfw.routing import RuleRouter
from webfw.web import Application
from webfw.wsgi import WSGIContainer

__all__ = ["broker_of", "parts_of"]


def parts_of(callback: Any) -> Iterator[Application | WSGIContainer]:
    """The native applications and the WSGI containers among what answers requests, each once.

    They are found as targets of routes, as what a `FallbackHandler` falls back to, and behind a server or a
    `HealthFront`; what programs hide in classes of their own is not.
    """
    seen: set[int] = set()
    waiting = [callback]
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, WSGIContainer):
            yield part
        elif isinstance(part, Application):
            yield part
            waiting.append(part.default_router)
        elif isinstance(part, RuleRouter):
            for rule in part.rules:
                waiting += [rule.target, rule.target_kwargs.get("fallback")]
        else:
            waiting += [behind] if (behind := getattr(part, "request_callback", None)) is not None else []


def broker_of(application: Application) -> Broker | None:
    """The broker that an application uses; None as long as it has not.  Asking for ``broker`` would make one."""
    return application._broker
