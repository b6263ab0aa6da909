"""The application: routes, settings, and how a request finds its handler; what a handler does may not enter."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from webfw.httpserver import Begin, Exchange, HTTPServer
from webfw.httpserver.adapters import hand_over
from webfw.httputil import HTTPMessageDelegate, HTTPServerRequest
from webfw.log import access_log, app_log
from webfw.netutil.sockets import DEFAULT_BACKLOG
from webfw.pubsub import Broker, connect
from webfw.routing import (
    AnyMatches,
    DefaultHostMatches,
    HostMatches,
    ReversibleRouter,
    ReversibleRuleRouter,
    Rule,
    RuleRouter,
)
from webfw.web.delegate import HandlerDelegate, replay
from webfw.web.execution import answer
from webfw.web.handler import RequestHandler
from webfw.web.live import Live
from webfw.web.livesettings import check_settings
from webfw.web.simple import ErrorHandler
from webfw.web.static import StaticFileHandler
from webfw.web.transforms import OutputTransform, compression_transform
from webfw.web.ui import BUILTIN_MODULES, UIModule

__all__ = ["Application"]


class _HandlerRouter(ReversibleRuleRouter):
    """Rules whose targets may be handler classes, and lists of further rules."""

    def __init__(self, application: "Application", rules: Any = None) -> None:
        self.application = application
        super().__init__(rules)

    def process_rule(self, rule: Rule) -> Rule:
        rule = super().process_rule(rule)
        if isinstance(rule.target, (list, tuple)):
            rule.target = _HandlerRouter(self.application, rule.target)
        return rule

    def get_target_delegate(
        self, target: Any, request: HTTPServerRequest, **target_params: Any
    ) -> HTTPMessageDelegate | None:
        if isinstance(target, type) and issubclass(target, RequestHandler):
            return self.application.get_handler_delegate(request, target, **target_params)
        return super().get_target_delegate(target, request, **target_params)


class Application(ReversibleRouter):
    """Handlers and settings that make up a web application.

    :param handlers: routes, tried in order: tuples ``(pattern, handler[, arguments[, name]])``, `URLSpec` or `Rule`.
        A target may also be a nested list of routes, a router or another application.
    :param default_host: the host to assume when a request names one that no `add_handlers` pattern matches.
    :param transforms: `OutputTransform` classes for every response.
    :param settings: see the reference of settings; a handler reads them as ``self.settings``.

    Settings that this class itself knows: ``debug``, ``autoreload``, ``compress_response``, ``static_path``,
    ``static_url_prefix``, ``static_handler_class``, ``static_handler_args``, ``ui_modules``, ``ui_methods``,
    ``default_handler_class``, ``default_handler_args``, ``log_function``, ``request_timeout``,
    ``cancel_on_disconnect``, ``broker``, ``drain_spread``.

    :raises TypeError, ValueError: a setting about clients that stay (``broker``, ``websocket_...``) is none.
    """

    def __init__(
        self,
        handlers: Iterable[Any] | None = None,
        default_host: str | None = None,
        transforms: "list[type[OutputTransform]] | None" = None,
        **settings: Any,
    ) -> None:
        check_settings(settings)
        self.transforms: list[type[OutputTransform]] = list(transforms or ())
        compression = compression_transform(settings) if transforms is None else None
        if compression is not None:
            self.transforms.append(compression)
        self.default_host = default_host
        self._own_delegates = type(self).get_handler_delegate is not Application.get_handler_delegate
        self.settings: dict[str, Any] = settings
        #: Whether the application is being shut down.
        self.draining = False
        #: The handlers whose clients stay: WebSockets, event streams and long polls.
        self.live: set[Live] = set()
        self._broker: Broker | None = None
        self.ui_modules: dict[str, type[UIModule]] = dict(BUILTIN_MODULES)
        self.ui_methods: dict[str, Any] = {}
        self._load_ui_modules(settings.get("ui_modules") or {})
        self._load_ui_methods(settings.get("ui_methods") or {})
        if settings.get("debug"):
            settings.setdefault("autoreload", True)
            settings.setdefault("compiled_template_cache", False)
            settings.setdefault("static_hash_cache", False)
            settings.setdefault("serve_traceback", True)
        routes = list(handlers or [])
        if settings.get("static_path"):
            routes = [*self._static_routes(), *routes]
        self.wildcard_router = _HandlerRouter(self, routes)
        self.default_router = _HandlerRouter(self, [Rule(AnyMatches(), self.wildcard_router)])
        if settings.get("autoreload"):
            self._watch_sources()

    def _static_routes(self) -> list[Any]:
        settings = self.settings
        prefix = settings.setdefault("static_url_prefix", "/static/")
        handler_class = settings.get("static_handler_class", StaticFileHandler)
        arguments = dict(settings.get("static_handler_args", {}), path=settings["static_path"])
        patterns = (_literal(prefix) + r"(.*)", r"/(favicon\.ico)", r"/(robots\.txt)")
        return [(pattern, handler_class, arguments) for pattern in patterns]

    def _load_ui_methods(self, methods: Any) -> None:
        if isinstance(methods, ModuleType):
            methods = {name: getattr(methods, name) for name in dir(methods)}
        if isinstance(methods, Mapping):
            for name, method in methods.items():
                if not name.startswith("_") and callable(method) and name[:1].lower() == name[:1]:
                    self.ui_methods[name] = method
        else:
            for part in methods:
                self._load_ui_methods(part)

    def _load_ui_modules(self, modules: Any) -> None:
        if isinstance(modules, ModuleType):
            modules = {name: getattr(modules, name) for name in dir(modules)}
        if isinstance(modules, Mapping):
            for name, module in modules.items():
                if isinstance(module, type) and issubclass(module, UIModule):
                    self.ui_modules[name] = module
        else:
            for part in modules:
                self._load_ui_modules(part)

    def listen(
        self,
        port: int,
        address: str | None = None,
        *,
        family: socket.AddressFamily = socket.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
        **kwargs: Any,
    ) -> HTTPServer:
        """Serve this application on a port of the running or current loop.

        :param kwargs: for `HTTPServer`.
        :returns: the server, to stop it.
        """
        server = HTTPServer(self, **kwargs)
        server.listen(
            port, address=address, family=family, backlog=backlog, flags=flags, reuse_port=reuse_port
        )
        if self.settings.get("autoreload"):
            self._watch_sources()  # at the latest now there is a loop
        return server

    def _watch_sources(self) -> None:
        """Have the program started again when its files change, if it is known by now on which loop."""
        from webfw.autoreload.reloader import ensure_started  # for development only: servers do without

        ensure_started()

    def add_handlers(self, host_pattern: str, host_handlers: Iterable[Any]) -> None:
        """Add routes for hosts that match a regular expression; they are tried before those of no host."""
        host_handlers = list(host_handlers)  # it is gone through twice
        matcher = HostMatches(host_pattern)
        rule = Rule(matcher, _HandlerRouter(self, host_handlers))
        self.default_router.rules.insert(-1, rule)
        if self.default_host is not None:
            self.wildcard_router.add_rules([(DefaultHostMatches(self, matcher.host_pattern), host_handlers)])

    def add_transform(self, transform_class: "type[OutputTransform]") -> None:
        """Apply a transform to every response from now on."""
        self.transforms.append(transform_class)

    # Clients that stay.

    async def close_broker(self) -> None:
        """Close the broker, if it has been used."""
        if self._broker is not None:
            await self._broker.close()

    @property
    def broker(self) -> Broker:
        """Where handlers publish and subscribe: the ``broker`` setting, a `Broker` or a URL; ``memory:`` by default."""
        if self._broker is None:
            chosen = self.settings.get("broker") or "memory:"
            self._broker = connect(chosen) if isinstance(chosen, str) else chosen
        return self._broker

    def start_draining(self, timeout: float = 30.0) -> None:
        """Have the clients that stay go away: the application is being shut down.  `HTTPServer.drain` calls it.

        WebSockets are closed with 1012, event streams and long polls end with a hint when to come back; each at a
        random moment of the spread, so that not all of them come back at once.  Applications that this one hands
        requests to are told too.

        :param timeout: seconds until the server cuts what is left; the spread (the ``drain_spread`` setting, 5 seconds
            by default) is at most half of it.
        """
        if self.draining:
            return
        self.draining = True
        spread = min(float(self.settings.get("drain_spread", 5.0)), timeout / 2)
        loop = asyncio.get_running_loop()
        for handler in self.live:
            loop.call_later(random.random() * spread, self._drain, handler)
        for application in _applications_below(self.default_router):
            application.start_draining(timeout)
        try:
            self.on_draining()
        except Exception:
            # Border: the server has to end all the same.
            app_log.error("Uncaught exception in on_draining", exc_info=True)

    def _drain(self, handler: Live) -> None:
        if handler in self.live:
            try:
                handler.on_draining()
            except Exception:
                # Border: one handler that fails must not keep the others.
                app_log.error("Uncaught exception in on_draining", exc_info=True)

    def on_draining(self) -> None:
        """Called once when the application begins to be shut down; override it to stop what runs beside requests."""

    # A request finds its handler.

    @property
    def begin(self) -> Begin | None:
        """How a server hands exchanges over; None where a subclass replaces a part of Tornado's seam, used then."""
        kind = type(self)
        if self.settings.get("autoreload"):
            self._watch_sources()
        if kind.find_handler is Application.find_handler and kind.start_request is Application.start_request:
            return self._begin_watched if self.settings.get("autoreload") else self._begin
        return None

    def _begin_watched(self, exchange: Exchange) -> Awaitable[None] | None:
        """What a server that was made before there was a loop calls; by the first request there is one."""
        self._watch_sources()
        return self._begin(exchange)

    def _begin(self, exchange: Exchange) -> Awaitable[None] | None:
        """Take an exchange from the server: route it and run its handler, or be ready for its body."""
        request = exchange.request
        assert request is not None
        found = self.default_router.resolve(request)
        if found is None:
            delegate = self._not_found(request)
            if not isinstance(delegate, HandlerDelegate):
                return hand_over(exchange, delegate)
        else:
            target, arguments, path_args, path_kwargs, route = found
            # The attribute tells handler classes from all other targets, at the price of one look.
            streams = getattr(target, "_stream_request_body", None)
            if streams is None:
                return hand_over(exchange, self.find_handler(request))
            if exchange.record is not None:
                exchange.record.route = route
            if not (exchange.has_body or streams or self._own_delegates):
                answer(self, request, target, arguments, path_args, path_kwargs)
                return None
            delegate = self.get_handler_delegate(request, target, arguments, path_args, path_kwargs)
            if not isinstance(delegate, HandlerDelegate):
                return hand_over(exchange, delegate)
        if exchange.has_body:
            exchange.sink = delegate
            return delegate.wants_body()
        if delegate.stream_request_body:
            wait = delegate.wants_body()
            exchange.sink = delegate
            return wait
        delegate.execute()
        return None

    def _not_found(self, request: HTTPServerRequest) -> HandlerDelegate:
        if self.settings.get("default_handler_class"):
            arguments = self.settings.get("default_handler_args", {})
            return self.get_handler_delegate(request, self.settings["default_handler_class"], arguments)
        return self.get_handler_delegate(request, ErrorHandler, {"status_code": 404})

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """What shall answer a request (the `Router` interface)."""
        found = self.default_router.find_handler(request)
        return self._not_found(request) if found is None else found

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: Sequence[bytes | None] | None = None,
        path_kwargs: Mapping[str, bytes | None] | None = None,
    ) -> HandlerDelegate:
        """The delegate that runs a handler class for a request; override it to put something in between."""
        return HandlerDelegate(self, request, target_class, target_kwargs, path_args or (), path_kwargs or {})

    def __call__(self, request: HTTPServerRequest) -> Any:
        """Answer a request whose body is there already, as `FallbackHandler` has it."""
        delegate = self.find_handler(request)
        if isinstance(delegate, HandlerDelegate) and not delegate.stream_request_body:
            return delegate.execute()
        return replay(delegate, request)

    def reverse_url(self, name: str, *args: Any) -> str:
        """The path of the route of that name, its groups filled with ``args``.

        :raises KeyError: no route has that name.
        """
        path = self.default_router.reverse_url(name, *args)
        if path is None:
            raise KeyError(f"{name} not found in named urls")
        return path

    def log_request(self, handler: RequestHandler) -> None:
        """Write the access log's line for a request that is done.

        Override it, or set the ``log_function`` setting to a function of the handler, to log in another way.
        """
        log_function = self.settings.get("log_function")
        if log_function is not None:
            log_function(handler)
            return
        record = getattr(handler.request.connection, "record", None)
        if record is not None and record.observers.writes_access_log:
            return
        status = handler._status_code
        level = 20 if status < 400 else 30 if status < 500 else 40
        if access_log.isEnabledFor(level):
            milliseconds = 1000.0 * handler.request.request_time()
            access_log.log(level, "%d %s %.2fms", status, handler._request_summary(), milliseconds)

    def has_own_log(self) -> bool:
        """Whether `log_request` writes the access log in a way of its own, so that the server's is not wanted."""
        return (
            self.settings.get("log_function") is not None
            or type(self).log_request is not Application.log_request
        )


def _applications_below(router: RuleRouter) -> Iterator[Any]:
    """The applications that a router hands requests to, as far as they can be told of the end, such as containers."""
    for rule in router.rules:
        for target in (rule.target, rule.target_kwargs.get("fallback")):
            if not isinstance(target, type) and hasattr(target, "start_draining"):
                yield target
            elif isinstance(target, RuleRouter):
                yield from _applications_below(target)


def _literal(text: str) -> str:
    """A pattern that matches just that text, in the form routes can be reversed from."""
    return "".join("\\" + c if c in r"\.^$*+?{}[]()|" else c for c in text)
