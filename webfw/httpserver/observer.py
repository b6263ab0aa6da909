"""The moments of a request that others may watch, whatever the HTTP version; what they make of them may not enter.

An access log, metrics and traces are each an `Observer`, given to a server as ``HTTPServer(..., observer=...)``.  Every
request has a `Record`, from its head to its last byte; a server without an observer makes none.
"""

from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Literal

from webfw.log import app_log

if TYPE_CHECKING:
    from webfw.httpserver.exchange import Exchange
    from webfw.httpserver.peer import RequestContext
    from webfw.httputil import HTTPServerRequest

__all__ = ["End", "Observer", "Observers", "Record", "Session"]

#: Why a request ended:
#:
#: * ``complete``: the response has left whole, or the client has closed the WebSocket, or agreed to its close;
#: * ``client_gone``: the client went away before that;
#: * ``timeout``: a deadline of the server's has passed (the request came too slowly, or the response was not taken);
#: * ``refused``: the request broke the protocol or a limit, and was answered by the server itself;
#: * ``failed``: the application raised before it could answer, and the server has answered 500;
#: * ``cut``: the application or the end of the server has cut the connection;
#: * ``detached``: the application has taken the connection away, and nothing more is known of it.
End = Literal["complete", "client_gone", "timeout", "refused", "failed", "cut", "detached"]

#: Seconds between two messages about an observer that raises.
COMPLAINT_INTERVAL = 60.0


class Session:
    """What went over a WebSocket: `Record.session` of a request that became one.

    :ivar messages_in: messages that were handed to the application.
    :ivar messages_out: messages that were sent; those dropped because the client is slow do not count.
    :ivar bytes_in: bytes from the client on the wire, framing included.
    :ivar bytes_out: likewise, to the client.
    :ivar close_code: the code in the client's Close: 1005 where it had none, 1006 as long as there was no Close
        (RFC 6455 section 7.1.5).
    :ivar why: why it ends, as soon as that is known to be something else than that the client has gone.
    """

    __slots__ = ("bytes_in", "bytes_out", "close_code", "messages_in", "messages_out", "why")

    def __init__(self) -> None:
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.close_code = 1006
        self.why: End | None = None


class Record:
    """What there is to know of one request; it grows until the end, and observers may read it at any moment.

    Times are those of `time.monotonic`, in seconds, and None as long as it has not come to that.

    :ivar request: the request; None after `Observer.ended`, so that no reference cycle stays behind, and where no head
        could be read.  Keep what is needed of it.
    :ivar exchange: the exchange, for `Exchange.get_extra_info`; None as `request` is.
    :ivar context: who the client is (`RequestContext`): ``remote_ip``, ``protocol``.
    :ivar connection: stands for the connection; only its identity counts.
    :ivar route: the pattern of the route that was found, as the application has written it; None where there is none
        (no route matches, or what answers has no routes).  Known from `Observer.handling` on, for tables of routes.
    :ivar status: the status that was sent; 0 before, and where the client got none.
    :ivar bytes_in: bytes of the request's body, without framing, after decoding where the server decodes; 0 before the
        end.
    :ivar bytes_out: bytes of the response's body, without framing; 0 before the end.
    :ivar started: when the head was there, in seconds since the epoch.
    :ivar begun_at: the same moment, by the monotonic clock.
    :ivar handling_at: when the application's handler began; None where nobody can tell (Tornado delegates).
    :ivar answering_at: when the head of the response was sent.
    :ivar ended_at: when the end came: the last byte was taken by the network, up to what fits below the low-water mark
        of the write buffer.
    :ivar why: why it ended (`End`), None before.
    :ivar upgraded: whether another protocol has taken over, so that the record is that of a session from then on.
    :ivar session: what went over it, if that is a WebSocket.
    :ivar fields: fields that are added to the response, unless the application has set one of that name.
    :ivar request_id: the id the request goes by (`webfw.observe.RequestIds`), None without one.
    :ivar logged_by_application: whether the application writes its own access log, so that nobody else should.
    :ivar span: for an observer that makes spans.
    """

    __slots__ = (
        "answering_at",
        "begun_at",
        "bytes_in",
        "bytes_out",
        "connection",
        "context",
        "ended_at",
        "exchange",
        "fields",
        "handling_at",
        "logged_by_application",
        "observers",
        "request",
        "request_id",
        "route",
        "session",
        "span",
        "started",
        "status",
        "upgraded",
        "why",
    )

    def __init__(
        self,
        observers: "Observers",
        context: "RequestContext",
        connection: object,
        exchange: "Exchange | None" = None,
        request: "HTTPServerRequest | None" = None,
    ) -> None:
        self.observers = observers
        self.context = context
        self.connection = connection
        self.exchange = exchange
        self.request = request
        self.started = time()
        self.begun_at = monotonic()
        self.handling_at: float | None = None
        self.answering_at: float | None = None
        self.ended_at: float | None = None
        self.route: str | None = None
        self.status = self.bytes_in = self.bytes_out = 0
        self.why: End | None = None
        self.upgraded = False
        self.session: Session | None = None
        self.fields: tuple[tuple[str, str], ...] = ()
        self.request_id: str | None = None
        self.logged_by_application = False
        self.span: Any = None

    # Told by whoever answers.

    def handling(self) -> None:
        """The handler begins; to be called in the context it runs in.  Only the first call counts."""
        if self.handling_at is None and self.why is None:
            self.handling_at = monotonic()
            self.observers.tell(self.observers.on_handling, self)

    # Told by the connection.

    def answering(self, status: int) -> None:
        """The head of the response is out."""
        if self.answering_at is None and self.why is None:
            self.answering_at = monotonic()
            self.status = status
            self.observers.tell(self.observers.on_answering, self)

    def upgrade(self) -> None:
        """Another protocol takes the connection over."""
        self.upgraded = True
        self.observers.tell(self.observers.on_upgraded, self)

    def end(self, why: End) -> None:
        """The request is over; only the first call counts."""
        if self.why is None:
            self.why = why
            self.ended_at = monotonic()
            if self.exchange is not None:
                self.bytes_in = self.exchange.bytes_received
                self.bytes_out = self.exchange.bytes_sent
            self.observers.tell(self.observers.on_ended, self)
            self.request = self.exchange = None


class Observer:
    """Watches a server: make a subclass with the methods that are wanted; the others cost nothing.

    For every request whose head could be read there is `begun`, then `ended`, and between them, each at most once and
    not all of them for every request: `handling`, `answering`, `upgraded`.  They are called one at a time on the
    server's loop and must be quick; but `handling` is called in the thread of the handler where a WSGI application runs
    in threads, at the same time as others elsewhere.  What they raise is logged, once a minute, and changes nothing.

    The same observer may watch several servers.
    """

    #: Whether this observer writes a line for each request.  An `Application` and a `WSGIContainer` then write none of
    #: their own, unless they were told how (``log_function``): such requests have `Record.logged_by_application`.
    writes_access_log = False

    def connected(self, connection: object) -> None:
        """A client has connected, over TLS after its handshake.

        :param connection: the same object as in `closed`, and as `Record.connection` of its requests.
        """

    def begun(self, record: Record) -> None:
        """The head of a request is there; the application has not seen it yet."""

    def handling(self, record: Record) -> None:
        """The handler begins: its route is known.

        It is called in the context that the handler runs in: a `contextvars.ContextVar` set here is seen by the handler
        and by what it starts, and by no other request.
        """

    def answering(self, record: Record) -> None:
        """The head of the response has been sent: `Record.status` is known."""

    def upgraded(self, record: Record) -> None:
        """The connection speaks another protocol from now on, such as WebSocket; `ended` comes when it closes."""

    def ended(self, record: Record) -> None:
        """The request is over, as `Record.why` says; the last time that `Record.request` can be read."""

    def refused(self, record: Record) -> None:
        """A request whose head could not be read was answered by the server: malformed, too large, or too slow.

        Neither `begun` nor `ended` is called for it.  ``status`` and ``why`` are set; ``request`` is None.
        """

    def turned_away(self, limit: str) -> None:
        """A connection was not let in, because there are too many.

        :param limit: the name of the limit: ``max_connections`` or ``max_connections_per_address``.
        """

    def closed(self, connection: object) -> None:
        """A connection is gone, or not the server's any more."""


_Call = Callable[[Any], None]


class Observers:
    """The observers of one server as one: tells each, and stands between them and the requests.

    :param observers: in the order in which they are told of everything.
    """

    __slots__ = (
        "_complained",
        "on_answering",
        "on_begun",
        "on_closed",
        "on_connected",
        "on_ended",
        "on_handling",
        "on_refused",
        "on_turned_away",
        "on_upgraded",
        "writes_access_log",
    )

    def __init__(self, observers: Iterable[Observer]) -> None:
        observers = tuple(observers)
        self.writes_access_log = any(observer.writes_access_log for observer in observers)
        self._complained: float | None = None

        def calls(name: str) -> tuple[_Call, ...]:
            idle = getattr(Observer, name)
            methods = [getattr(observer, name) for observer in observers]
            return tuple(method for method in methods if getattr(method, "__func__", None) is not idle)

        self.on_connected = calls("connected")
        self.on_begun = calls("begun")
        self.on_handling = calls("handling")
        self.on_answering = calls("answering")
        self.on_upgraded = calls("upgraded")
        self.on_ended = calls("ended")
        self.on_refused = calls("refused")
        self.on_turned_away = calls("turned_away")
        self.on_closed = calls("closed")

    @classmethod
    def of(cls, observer: "Observer | Iterable[Observer] | None") -> "Observers | None":
        """What a server was given as one; None when nobody watches.

        :raises TypeError: something in it is no `Observer`.
        """
        if observer is None:
            return None
        observers = (observer,) if isinstance(observer, Observer) else tuple(observer)
        for one in observers:
            if not isinstance(one, Observer):
                raise TypeError(f"an observer is a webfw.httpserver.Observer, not {type(one).__name__}")
        return cls(observers) if observers else None

    def tell(self, calls: tuple[_Call, ...], subject: object) -> None:
        """Tell the observers of a moment."""
        for call in calls:
            try:
                call(subject)
            except Exception:
                # Border: an observer must not break a request.
                self.complain(call)

    def complain(self, call: _Call) -> None:
        """Log what an observer has just raised, once a minute: it may raise at every request."""
        now = monotonic()
        if self._complained is None or now - self._complained >= COMPLAINT_INTERVAL:
            self._complained = now
            name = getattr(call, "__qualname__", repr(call))
            app_log.error("Uncaught exception in the observer's %s", name, exc_info=True)
