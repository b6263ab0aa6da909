"""`Client`: an application is asked in memory, by the server's own HTTP/1 code; no socket may enter."""

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any
from urllib.parse import quote, urldefrag, urlencode, urljoin, urlsplit

from webfw import version
from webfw.httpclient import HTTPClientError, HTTPRequest, HTTPStreamClosedError, HTTPTimeoutError
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPHeaders, HTTPServerConnectionDelegate, HTTPServerRequest
from webfw.log import app_log
from webfw.sansio.http1 import encode_chunk, encode_last_chunk, encode_request_head
from webfw.testing.bodies import Pairs, encode_body, pairs_of
from webfw.testing.cookies import Cookies
from webfw.testing.memory import connected_wires
from webfw.testing.ports import get_async_test_timeout
from webfw.testing.responses import ClientResponse, ResponseReader, StreamedResponse
from webfw.testing.websockets import WebSocketSession, open_session
from webfw.websocket import WebSocketClosedError

__all__ = ["Client"]

# Visible ASCII but for "#": what a URL has of other characters is encoded (RFC 3987 section 3.1).
_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 20
#: Turns of the loop in which the server learns that a client has left.
NOTICING = 10

Body = bytes | str | AsyncIterable[bytes]
App = HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], None] | HTTPServer

#: What has gone wrong in the application while it answers a request of a test client.
_errors: ContextVar[list[BaseException] | None] = ContextVar("webfw_testing_errors", default=None)


class _Catcher(logging.Filter):
    """Keeps the exceptions that are logged while a test client's request is answered; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        errors = _errors.get()
        if errors is not None and record.exc_info and record.exc_info[1] is not None:
            errors.append(record.exc_info[1])
        return True


_catcher = _Catcher()


class _Place:
    """Where a request goes."""

    __slots__ = ("authority", "path", "secure", "target", "url")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"a test client speaks http and https, not {url!r}")
        self.url = url
        self.secure = parts.scheme == "https"
        self.authority = parts.netloc.rpartition("@")[2]
        self.path = quote(parts.path or "/", _SAFE)
        self.target = self.path + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")


class Client:
    """Asks an application in memory: no port, no descriptor, and nothing to start or to close.

    ::

        client = Client(app)
        response = await client.post("/login", form={"name": "Alice"})
        assert response.code == 302
        assert (await client.get("/")).text == "Hello, Alice"

    Each request has a connection of its own to a real `HTTPServer`, whose code for HTTP/1 reads and writes the bytes;
    the loop is the one of the test, so handlers and tests may share what is bound to a loop.  Cookies are kept from one
    request to the next.  Responses of any status are returned; ``response.rethrow()`` raises what is no success.

    :param app: an `Application`, a `WSGIContainer` or anything else an `HTTPServer` takes; or an `HTTPServer` that does
        not listen.
    :param base_url: what addresses without a host are relative to; with ``https`` the application sees TLS.
    :param headers: fields of every request.
    :param follow_redirects: whether redirects on the same host are followed, and how it is with requests that do not
        say so themselves.
    :param raise_app_exceptions: raise what the application failed with, as the log has it (``webfw.application``), in
        place of a response such as "500 Internal Server Error".
    :param timeout: seconds a response may take, and every further piece of one that is streamed;
        by default `get_async_test_timeout`, 0 for no limit.
    :param options: arguments of the `HTTPServer`, such as ``xheaders`` or ``max_body_size``.
    :raises TypeError: options beside an `HTTPServer`.

    :ivar cookies: a mapping of the cookies kept; assign to it to send others.
    :ivar server: the server.
    """

    def __init__(
        self,
        app: App,
        *,
        base_url: str = "http://testserver",
        headers: HTTPHeaders | Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        raise_app_exceptions: bool = True,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        if isinstance(app, HTTPServer):
            if options:
                raise TypeError("options are for the server that is made here; this one has its own")
            self.server = app
        else:
            self.server = HTTPServer(app, **options)
        self.base_url = base_url
        self.headers = HTTPHeaders(headers or {})
        self.follow_redirects = follow_redirects
        self.raise_app_exceptions = raise_app_exceptions
        self.timeout = (get_async_test_timeout() if timeout is None else timeout) or None
        self.cookies = Cookies()
        if _catcher not in app_log.filters:
            # First, so that it sees what another filter takes out, such as an ExpectLog.
            app_log.filters.insert(0, _catcher)

    # One request, one response.

    async def request(
        self,
        method: str,
        url: str,
        *,
        query: Pairs | None = None,
        headers: HTTPHeaders | Mapping[str, str] | None = None,
        body: Body | None = None,
        json: Any = ...,
        form: Pairs | None = None,
        files: Mapping[str, Any] | None = None,
        follow_redirects: bool | None = None,
    ) -> ClientResponse:
        """Send a request; wait for the whole response.  Cancelling it closes the connection, as a client that leaves.

        :param method: such as ``"GET"``; any will do.
        :param url: a path, or an absolute address, whose host becomes the Host field.
        :param query: added to the address.
        :param headers: the fields; they win over those of the client.
        :param body: bytes, `str` (sent as UTF-8), or an asynchronous iterable of bytes, which is sent chunked as it
            comes.
        :param json: anything, sent as JSON; None is "null".
        :param form: the fields of a form: a dictionary, whose values may be lists, or pairs.
        :param files: the files of a form, by the names of their fields: content, ``(filename, content)`` or
            ``(filename, content, content_type)``, or a list of them.
        :raises ValueError: more than one kind of body, an address that is not of http, or a field that is none.
        :raises LocalProtocolError: a method that is none.
        :raises HTTPTimeoutError: the response took longer than ``timeout``.
        :raises HTTPStreamClosedError: the connection was closed before the response was complete.

        And what the application fails with, see ``raise_app_exceptions``.
        """
        data, content_type = _encoded(body, json, form, files)
        follow = self.follow_redirects if follow_redirects is None else follow_redirects
        place = self._place(url, query)
        history: list[ClientResponse] = []
        while True:
            response = await self._ask(self._request(method, place, headers, data, content_type), place, data)
            response.history = tuple(history)
            following = _following(response, place, data) if follow else None
            if following is None:
                return response
            history.append(response)
            if len(history) > MAX_REDIRECTS:
                raise RuntimeError(f"more than {MAX_REDIRECTS} redirects, from {history[0].request.url}")
            place = following
            if _becomes_get(response.code, method):
                method, data, content_type = "GET", None, None

    async def get(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send a GET; see `request`."""
        return await self.request("GET", url, **kwargs)

    async def head(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send a HEAD; see `request`."""
        return await self.request("HEAD", url, **kwargs)

    async def post(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send a POST; see `request`."""
        return await self.request("POST", url, **kwargs)

    async def put(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send a PUT; see `request`."""
        return await self.request("PUT", url, **kwargs)

    async def patch(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send a PATCH; see `request`."""
        return await self.request("PATCH", url, **kwargs)

    async def delete(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send a DELETE; see `request`."""
        return await self.request("DELETE", url, **kwargs)

    async def options(self, url: str, **kwargs: Any) -> ClientResponse:
        """Send an OPTIONS; see `request`."""
        return await self.request("OPTIONS", url, **kwargs)

    def _place(self, url: str, query: Pairs | None) -> _Place:
        url = urldefrag(urljoin(self.base_url + ("" if urlsplit(self.base_url).path else "/"), url)).url
        if query is not None:
            url += ("&" if urlsplit(url).query else "?") + urlencode(pairs_of(query))
        return _Place(url)

    def _request(
        self,
        method: str,
        place: _Place,
        headers: HTTPHeaders | Mapping[str, str] | None,
        body: Any,
        content_type: str | None,
    ) -> HTTPRequest:
        """A request with all its fields but those of its framing."""
        fields = HTTPHeaders()
        fields["Host"] = place.authority
        for given in (self.headers, HTTPHeaders(headers or {})):
            for name in given:
                fields.pop(name, None)
            for name, value in given.get_all():
                fields.add(name, value)
        if "User-Agent" not in fields:
            fields["User-Agent"] = f"webfw.testing/{version}"
        if "Cookie" not in fields and (cookies := self.cookies.header(place.path, place.secure)):
            fields["Cookie"] = cookies
        if content_type is not None and "Content-Type" not in fields:
            fields["Content-Type"] = content_type
        return HTTPRequest(place.url, method, fields, None if _is_stream(body) else body)

    async def _ask(self, request: HTTPRequest, place: _Place, body: Any) -> ClientResponse:
        """Send a request and read its response."""
        started = time.perf_counter()
        connection = _Connection(self.server, request.method, tls=place.secure, whole=True)
        reader = connection.reader
        try:
            async with asyncio.timeout(self.timeout), connection.sending(request, place.target, body):
                head = await reader.get_head()
                content = await reader.get_body()
        except TimeoutError:
            self._raise_errors(connection, request)
            text = f"{request.method} {request.url} was not answered within {self.timeout} seconds"
            raise HTTPTimeoutError(text) from None
        except HTTPStreamClosedError:
            self._raise_errors(connection, request)
            raise
        finally:
            connection.wire.close()
        self._raise_errors(connection, request)
        response = ClientResponse(
            request,
            head.status,
            HTTPHeaders.from_fields(head.fields),
            io.BytesIO(content),
            reason=head.reason or None,
            request_time=time.perf_counter() - started,
            start_time=request.start_time,
        )
        self.cookies.take(response.headers.get_list("Set-Cookie"), place.path)
        return response

    def _raise_errors(self, connection: "_Connection", request: HTTPRequest) -> None:
        """Raise what the application has failed with, if that is wanted."""
        if self.raise_app_exceptions and connection.errors:
            error = connection.errors[0]
            connection.errors.clear()
            error.add_note(
                f"The application raised this while it answered {request.method} {request.url}; "
                "a client made with raise_app_exceptions=False gets the response instead"
            )
            raise error

    def _note_errors(self, connection: "_Connection", error: Exception) -> None:
        """Say with what a test finds wrong how the application has failed before."""
        if self.raise_app_exceptions and connection.errors:
            error.add_note(f"The application had failed: {connection.errors[0]!r}")

    # Responses that are read as they come.

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        query: Pairs | None = None,
        headers: HTTPHeaders | Mapping[str, str] | None = None,
        body: Body | None = None,
        json: Any = ...,
        form: Pairs | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Send a request; read its response as it comes, and leave when enough has been seen::

            async with client.stream("GET", "/events") as response:
                async for line in response.lines():
                    ...

        Leaving the block before the end of the response is a client that disconnects; when it has been left, the
        application has been told.  Who does not read is not sent more than fits between them, as on a network.
        Redirects are not followed; parameters and errors are those of `request`.
        """
        place = self._place(url, query)
        data, content_type = _encoded(body, json, form, files)
        request = self._request(method, place, headers, data, content_type)
        connection = _Connection(self.server, method, tls=place.secure, whole=False)
        try:
            async with connection.sending(request, place.target, data):
                try:
                    async with asyncio.timeout(self.timeout):
                        head = await connection.reader.get_head()
                except TimeoutError:
                    text = f"{method} {place.url} was not answered within {self.timeout} seconds"
                    raise HTTPTimeoutError(text) from None
                response = StreamedResponse(request, head, connection.reader, self.timeout)
                self.cookies.take(response.headers.get_list("Set-Cookie"), place.path)
                yield response
        except HTTPStreamClosedError:
            self._raise_errors(connection, request)
            raise
        except Exception as error:
            self._note_errors(connection, error)
            raise
        finally:
            connection.wire.close()
            await connection.noticed()
        self._raise_errors(connection, request)

    # WebSockets.

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        query: Pairs | None = None,
        headers: HTTPHeaders | Mapping[str, str] | None = None,
        subprotocols: Sequence[str] | None = None,
        compression_options: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[WebSocketSession]:
        """Open a WebSocket, and close it at the end of the block::

            async with client.websocket("/chat") as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"

        :param url: a path, or an absolute address; ``ws`` and ``wss`` are as good as ``http`` and ``https``.
        :param headers: fields of the opening request, such as Origin.
        :param subprotocols: what is offered, the preferred first.
        :param compression_options: offer permessage-deflate (RFC 7692); an empty dictionary will do.
        :raises HTTPClientError: the application has not opened it; its response comes with the error.
        :raises TimeoutError: it took longer than ``timeout``.

        And what the application fails with, see ``raise_app_exceptions``.
        """
        if url.startswith(("ws:", "wss:")):
            url = "http" + url[2:]
        place = self._place(url, query)
        fields = self._request("GET", place, headers, None, None).headers
        request = HTTPRequest(f"ws://{place.authority}{place.target}", headers=fields)
        connection = _Connection(self.server, "GET", tls=place.secure, whole=False)
        session = None
        try:
            session = await open_session(
                connection.wire, request, subprotocols, compression_options, self.timeout
            )
            self.cookies.take(session.headers.get_list("Set-Cookie"), place.path)
            yield session
        except (HTTPClientError, WebSocketClosedError):
            self._raise_errors(connection, request)
            raise
        except Exception as error:
            self._note_errors(connection, error)
            raise
        finally:
            if session is not None:
                # An application that does not answer a Close within the time is cut.
                with suppress(TimeoutError):
                    await session.close()
            connection.wire.close()
            await connection.noticed()
        self._raise_errors(connection, request)


class _Connection:
    """One connection to the server."""

    __slots__ = ("errors", "far", "reader", "wire")

    def __init__(self, server: HTTPServer, method: str, *, tls: bool, whole: bool) -> None:
        self.errors: list[BaseException] = []
        served_in = server.context.copy()
        served_in.run(_errors.set, self.errors)
        self.wire, self.far = connected_wires(asyncio.get_running_loop(), copy_context(), served_in, tls=tls)
        self.reader = ResponseReader(self.wire, method, whole=whole)
        served_in.run(server._wire_connected, self.far)  # type: ignore[arg-type]  # it has all that servers use

    @asynccontextmanager
    async def sending(self, request: HTTPRequest, target: str, body: Any) -> AsyncIterator[None]:
        """Send a request; its body goes on being sent while the response is read."""
        fields = request.headers
        framed = "Content-Length" in fields or "Transfer-Encoding" in fields
        if _is_stream(body):
            if not framed:
                fields["Transfer-Encoding"] = "chunked"
        elif not framed and (body is not None or request.method in ("POST", "PUT", "PATCH")):
            fields["Content-Length"] = str(len(body or b""))
        head = encode_request_head(request.method, target, fields.fields())
        if not _is_stream(body):
            self.wire.write(head + (body or b""))
            yield
            return
        self.wire.write(head)
        chunked = fields.get("Transfer-Encoding") == "chunked"
        producer = asyncio.ensure_future(self._produce(body, chunked))
        try:
            yield
        except HTTPStreamClosedError:
            if producer.done() and not producer.cancelled() and producer.exception() is not None:
                producer.result()  # that is why
            raise
        finally:
            producer.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await producer

    async def _produce(self, body: AsyncIterable[bytes], chunked: bool) -> None:
        try:
            async for piece in body:
                if self.wire.closing:
                    return
                self.wire.write(encode_chunk(piece) if chunked else piece)
                await self.reader.room()
        except BaseException:
            self.wire.abort()  # the request must not look complete
            raise
        if chunked:
            self.wire.write(encode_last_chunk())

    async def noticed(self) -> None:
        """Let the server notice that this end is closed."""
        for _ in range(NOTICING):
            if self.far.eof or self.far.lost:
                break
            await asyncio.sleep(0)


def _is_stream(body: Any) -> bool:
    return hasattr(body, "__aiter__")


def _encoded(
    body: Body | None, json: Any, form: Pairs | None, files: Mapping[str, Any] | None
) -> tuple[Any, str | None]:
    """The body, encoded unless it is one that comes by and by, and its Content-Type."""
    content, content_type = encode_body(b"" if _is_stream(body) else body, json, form, files)  # type: ignore[arg-type]
    return (body if _is_stream(body) else content), content_type


def _following(response: ClientResponse, place: _Place, body: Any) -> _Place | None:
    """Where a response sends the client on to; None where it is not, or does not go (RFC 9110 section 15.4)."""
    location = response.headers.get("Location")
    if response.code not in _REDIRECTS or location is None:
        return None
    if _is_stream(body) and response.code in (307, 308):  # it cannot be sent again
        return None
    try:
        following = _Place(urljoin(place.url, location))
    except ValueError:
        return None
    return following if urlsplit(following.url).hostname == urlsplit(place.url).hostname else None


def _becomes_get(code: int, method: str) -> bool:
    """Whether a request that is redirected goes on as a GET, as with browsers (RFC 9110 section 15.4)."""
    return (code == 303 and method not in ("GET", "HEAD")) or (code in (301, 302) and method == "POST")
