"""The methods that a handler overrides to answer: one for each HTTP verb, and what runs around them."""

from collections.abc import Awaitable, Callable
from inspect import unwrap
from typing import Any, NoReturn

from webfw.web.errors import HTTPError
from webfw.web.state import HandlerState

__all__ = ["Verbs"]

Verb = Callable[..., Awaitable[None] | None]


class Verbs(HandlerState):
    """What a handler does for a request."""

    #: The verbs a handler may have a method for; a subclass may name more.
    SUPPORTED_METHODS: tuple[str, ...] = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")

    #: Seconds an ``async`` handler may take until it is cancelled and 504 is answered; None: the application's
    #: ``request_timeout`` setting, 0: no deadline.
    request_timeout: float | None = None

    #: Whether an ``async`` handler is cancelled when its client leaves; None: the application's setting of that name,
    #: which is off by default.
    cancel_on_disconnect: bool | None = None

    #: Bytes the request's body may have, where other than the server's ``max_body_size``; more is answered 413.
    max_body_size: int | None = None

    _stream_request_body: bool = False
    _cancelled_by: str | None = None

    def _initialize(self) -> None:
        """Override it to take the keyword arguments that the route gives (the third item of its tuple)."""

    initialize: Callable[..., None] = _initialize

    def prepare(self) -> Awaitable[None] | None:
        """Called before the verb's method, whatever the verb; may be ``async``, and may `finish` the request."""
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take a piece of the request's body, in a handler decorated with `stream_request_body`.

        While what it returns is awaited, the client is held back.
        """
        raise NotImplementedError

    def on_connection_close(self) -> None:
        """Called when the client goes away while the handler still works; override it to stop the work."""

    def _unimplemented_method(self, *args: str, **kwargs: str) -> NoReturn:
        raise HTTPError(405)

    head: Verb = _unimplemented_method
    get: Verb = _unimplemented_method
    post: Verb = _unimplemented_method
    delete: Verb = _unimplemented_method
    patch: Verb = _unimplemented_method
    put: Verb = _unimplemented_method
    options: Verb = _unimplemented_method

    async def _execute(self, transforms: list[Any], *args: bytes | None, **kwargs: bytes | None) -> None:
        """Run the whole handler, as one coroutine.

        Programs that watch requests wrap this method.  Where nobody has replaced it, the server does not call it, but
        what it calls.
        """
        from webfw.web import execution

        self._transforms = transforms or None
        await execution.run_all(self, args, kwargs)  # type: ignore[arg-type]  # a chapter of a RequestHandler

    def allowed_methods(self) -> list[str]:
        """The verbs this handler has a method for, for an ``Allow`` field (RFC 9110 section 10.2.1)."""
        missing = Verbs._unimplemented_method
        return [
            verb
            for verb in self.SUPPORTED_METHODS
            if unwrap(getattr(type(self), verb.lower(), missing)) is not missing
        ]
