"""`ASGIAdapter`: a webfw application on another server, as an ASGI application; how one request is answered is beside.

ASGI 3.0, https://asgi.readthedocs.io/en/latest/specs/: scopes of the types ``http``, ``websocket`` and ``lifespan``.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from inspect import iscoroutinefunction
from typing import Any

from webfw.asgi.adapterexchange import AdaptedExchange
from webfw.asgi.adapterhost import Receive, Send, refusal
from webfw.asgi.adapterwebsocket import WebSocketExchange, noticed, without_response
from webfw.httpserver import Begin
from webfw.httpserver.adapters import begin_with_callback, begin_with_delegate
from webfw.httpserver.limits import Limits
from webfw.httpserver.peer import RequestContext, behind_proxy, context_of
from webfw.httputil import HTTPServerConnectionDelegate, HTTPServerRequest
from webfw.log import app_log, gen_log
from webfw.netutil import AddressSet
from webfw.routing import RuleRouter
from webfw.sansio.errors import RemoteProtocolError
from webfw.web import Application
from webfw.wsgi import WSGIContainer

__all__ = ["ASGIAdapter"]


class ASGIAdapter:
    """An application of webfw as an ASGI 3.0 application, for uvicorn, hypercorn, granian, daphne and others::

        app = ASGIAdapter(make_app())  # uvicorn module:app

    Handlers, WebSockets, event streams, long polls, uploads and files work as they do on webfw's own server.  What is
    the host's business: connections with their limits and deadlines, the framing of messages, ``Date``, ``Server`` and
    reason phrases, compression and pings of WebSockets.

    :param application: what an `HTTPServer` takes: an `Application`, a `WSGIContainer`, a router or any other
        `HTTPServerConnectionDelegate`, or a function of each `HTTPServerRequest`.
    :param xheaders: believe ``X-Real-Ip``/``X-Forwarded-For`` and ``X-Scheme``/``X-Forwarded-Proto``.  Some hosts do
        that themselves, for proxies that they have been told of.
    :param trusted_downstream: addresses of proxies, or networks, to skip in ``X-Forwarded-For``.
    :param protocol: the scheme requests shall report, where the host does not know it.
    :param decompress_request: undo gzip and deflate request bodies; ``max_body_size`` then limits what comes out.
    :param chunk_size: bytes a streaming handler gets at once, at most.
    :param max_body_size: bytes of a request's body; more is answered 413.  100 MiB by default.
    :param body_timeout: seconds a whole body may take; none by default.
    :param min_body_rate: bytes a second a body must bring, on average over every ``body_grace`` seconds.
    :param limits: all of these limits as one `Limits`; those of connections are not used.
    :param date_header: send ``Date``.  Most hosts add it, and would do so twice; daphne does not.
    :param drain_timeout: seconds that what still runs at the host's shutdown may take, 10 by default.
    """

    def __init__(
        self,
        application: HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], object],
        *,
        xheaders: bool = False,
        trusted_downstream: Sequence[str] = (),
        protocol: str | None = None,
        decompress_request: bool = False,
        chunk_size: int | None = None,
        max_body_size: int | None = None,
        body_timeout: float | None = None,
        min_body_rate: int | None = None,
        body_grace: float | None = None,
        limits: Limits | None = None,
        date_header: bool = False,
        drain_timeout: float = 10.0,
    ) -> None:
        if limits is None:
            given: dict[str, Any] = {
                "chunk_size": chunk_size,
                "max_body_size": max_body_size,
                "body_timeout": body_timeout,
                "min_body_rate": min_body_rate,
                "body_grace": body_grace,
            }
            limits = Limits(**{name: value for name, value in given.items() if value is not None})
        if not drain_timeout >= 0:
            raise ValueError(f"drain_timeout must not be {drain_timeout!r}")
        self.application = application
        self.limits = limits
        self.xheaders = xheaders
        self.protocol = protocol
        self.decompress_request = decompress_request
        self.date_header = date_header
        self.drain_timeout = drain_timeout
        #: Fields that the host sets: its framing is another, and so may be its clock.
        self.hosts_own = frozenset({b"transfer-encoding"} if date_header else {b"date", b"transfer-encoding"})
        self._trusted_downstream = AddressSet(trusted_downstream)
        self._begin = _begin_of(application)
        self._running = 0
        self._empty: asyncio.Event | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one scope, as the specification has it.

        :raises ValueError: a scope of another type.
        :raises ResponseCut: a response cannot be completed; see there.
        """
        kind = scope["type"]
        if kind == "http":
            await self._answer(AdaptedExchange, scope, receive, send)
        elif kind == "websocket":
            await self._answer(WebSocketExchange, scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            raise ValueError(f"no scope of the type {kind!r} is known here")

    # Requests.

    async def _answer(
        self,
        exchange_type: type[AdaptedExchange],
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            exchange = exchange_type(self, scope, receive, send)
        except RemoteProtocolError as error:
            await self._refuse(error, exchange_type, scope, receive, send)
            return
        self._running += 1
        try:
            await exchange.answer(self._begin)
        finally:
            self._running -= 1
            if not self._running and self._empty is not None:
                self._empty.set()
            if exchange.asked:
                self._tell_closed(exchange)

    async def _refuse(
        self,
        error: RemoteProtocolError,
        exchange_type: type[AdaptedExchange],
        scope: Mapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer a request that none can be made of."""
        gen_log.info("%s: refused with %d: %s", self.context_of(scope), error.status, error)
        head, body = refusal(exchange_type.kind, error.status, str(error), self.date_header)
        if exchange_type is WebSocketExchange:
            if (await receive())["type"] != "websocket.connect":
                return
            if exchange_type.kind not in (scope.get("extensions") or ()):
                send = without_response(send)
        await send(head)
        if scope.get("method") == "HEAD":
            body = b""
        await send({"type": f"{exchange_type.kind}.body", "body": body, "more_body": False})
        if exchange_type is WebSocketExchange:
            await noticed()

    def _tell_closed(self, exchange: AdaptedExchange) -> None:
        """Tell a delegate that the connection is over which its request seems to have had to itself."""
        if isinstance(self.application, HTTPServerConnectionDelegate):
            try:
                self.application.on_close(exchange)
            except Exception:
                # Border: a hook of the application must not break what the host has called.
                app_log.error("Uncaught exception in on_close", exc_info=True)

    def context_of(self, scope: Mapping[str, Any]) -> RequestContext:
        """Who the client of a scope is."""
        client = scope.get("client")
        tls = scope.get("scheme") in ("https", "wss")
        return context_of(client and tuple(client), tls, self.protocol, self._trusted_downstream)

    def believed(self, context: RequestContext, request: HTTPServerRequest) -> RequestContext:
        """The client of a request by what the proxy in front says, where that is believed."""
        if not self.xheaders:
            return context
        seen = behind_proxy(context, request.headers)
        request.context = seen
        request.remote_ip = seen.remote_ip
        request.protocol = seen.protocol
        return seen

    # The beginning and the end.

    async def _live(self, receive: Receive, send: Send) -> None:
        """Answer a ``lifespan`` scope."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                done = await self._tried(self.startup, "startup")
            elif message["type"] == "lifespan.shutdown":
                done = await self._tried(self.shutdown, "shutdown")
            else:
                raise RuntimeError(f"the ASGI host sent {message['type']!r} to a lifespan application")
            await send(done)
            if message["type"] == "lifespan.shutdown":
                return

    async def _tried(self, hook: Callable[[], Any], name: str) -> dict[str, Any]:
        """Call a hook; the message that says how it went."""
        try:
            await hook()
        except Exception as error:
            # Border: the host is to learn of it in the way that it can act on.
            app_log.error("Uncaught exception in %s", name, exc_info=True)
            return {"type": f"lifespan.{name}.failed", "message": f"{type(error).__name__}: {error}"}
        return {"type": f"lifespan.{name}.complete"}

    async def startup(self) -> None:
        """Have the application begin: call ``async def startup()`` of it and of all that it hands requests to.

        A host that knows ``lifespan`` calls it.
        """
        for part in _parts(self.application):
            await _call(part, "startup")

    async def shutdown(self) -> None:
        """Have the application end: clients that stay are sent away, then brokers closed and ``shutdown()`` called.

        A host that knows ``lifespan`` calls it, mostly when it has closed all connections.
        """
        start_draining = getattr(self.application, "start_draining", None)
        if start_draining is not None:
            start_draining(self.drain_timeout)
        if self._running:
            self._empty = asyncio.Event()
            try:
                async with asyncio.timeout(self.drain_timeout):
                    await self._empty.wait()
            except TimeoutError:
                gen_log.warning("%d requests were still running at the end", self._running)
        for part in reversed(list(_parts(self.application))):
            if isinstance(part, Application):
                await part.close_broker()
            elif isinstance(part, WSGIContainer):
                part.close()
            await _call(part, "shutdown")


def _begin_of(application: Any) -> Begin:
    """How an exchange reaches the application, as with `HTTPServer`."""
    begin: Begin | None = getattr(application, "begin", None)
    if begin is not None:
        return begin
    if isinstance(application, HTTPServerConnectionDelegate):
        return begin_with_delegate(application)
    if not callable(application):
        raise TypeError(f"an application is what an HTTPServer takes, not {type(application).__name__}")
    return begin_with_callback(application)


def _parts(application: Any) -> Iterator[Any]:
    """An application and all that it hands requests to, each once."""
    seen: set[int] = set()
    waiting = [application]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, type):
            continue
        seen.add(id(part))
        yield part
        router = part.default_router if isinstance(part, Application) else part
        if isinstance(router, RuleRouter):
            for rule in reversed(router.rules):
                waiting.append(rule.target)
                # What a `FallbackHandler` falls back on.
                fallback = (rule.target_kwargs or {}).get("fallback")
                if fallback is not None:
                    waiting.append(fallback)


async def _call(part: Any, name: str) -> None:
    """Call the ``async`` method of that name, if there is one; any other is not meant for this."""
    hook = getattr(part, name, None)
    if iscoroutinefunction(hook):
        await hook()
