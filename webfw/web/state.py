"""The state of a request handler, which every chapter of `RequestHandler` shares; no behaviour may enter.

`RequestHandler` is made of chapters: classes that each own one noun (arguments, cookies, output ...) and inherit only
this state.  What a chapter asks of another is listed here too, declared for the type checker alone.
"""

from typing import TYPE_CHECKING, Any, NoReturn

from webfw.httputil import HTTPHeaders, HTTPServerRequest

if TYPE_CHECKING:
    import datetime
    from collections.abc import Awaitable
    from http.cookies import Morsel, SimpleCookie
    from types import TracebackType

    from webfw.web.application import Application
    from webfw.web.execution import BodyGate
    from webfw.web.transforms import OutputTransform

__all__ = ["HandlerState"]


class HandlerState:
    """What the chapters of a handler know.  Defaults stand on the class: a new handler costs few assignments."""

    #: The application that serves the request.
    application: "Application"
    #: The request being answered.
    request: HTTPServerRequest
    #: Positional and named groups of the route's pattern, decoded.  The defaults are replaced, never added to.
    path_args: list[str] = []
    path_kwargs: dict[str, str] = {}

    # The response so far.
    _status_code: int = 200
    _reason: str = "OK"
    _headers: HTTPHeaders
    _write_buffer: list[bytes]
    _new_cookie: "SimpleCookie | None" = None
    _transforms: "list[OutputTransform] | None" = None

    # How far the answer has come.
    _headers_written: bool = False
    _finished: bool = False
    _auto_finish: bool = True
    # Where the body is taken as it comes: between it and the handler.
    _gate: "BodyGate | None" = None

    @property
    def settings(self) -> dict[str, Any]:
        """The application's settings."""
        return self.application.settings

    if TYPE_CHECKING:
        # What the chapters ask of one another; each is defined in the chapter named beside it.

        # output
        def clear(self) -> None: ...
        def set_status(self, status_code: int, reason: str | None = None) -> None: ...
        def get_status(self) -> int: ...
        def set_header(self, name: str, value: Any) -> None: ...
        def add_header(self, name: str, value: Any) -> None: ...
        def clear_header(self, name: str) -> None: ...
        def write(self, chunk: str | bytes | dict[str, Any]) -> None: ...
        def flush(self, include_footers: bool = False) -> Awaitable[None]: ...
        def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Awaitable[None]: ...
        def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None: ...
        def on_finish(self) -> None: ...

        # errors
        def send_error(self, status_code: int = 500, **kwargs: Any) -> None: ...
        def write_error(self, status_code: int, **kwargs: Any) -> None: ...
        def log_exception(
            self,
            typ: type[BaseException] | None,
            value: BaseException | None,
            tb: TracebackType | None,
        ) -> None: ...
        def _request_summary(self) -> str: ...
        def _cut(self) -> None: ...

        # arguments
        def get_argument(self, name: str, default: Any = ..., strip: bool = True) -> Any: ...
        def get_query_argument(self, name: str, default: Any = ..., strip: bool = True) -> Any: ...
        def get_body_argument(self, name: str, default: Any = ..., strip: bool = True) -> Any: ...
        def decode_argument(self, value: bytes, name: str | None = None) -> str: ...

        # cookies
        @property
        def cookies(self) -> dict[str, Morsel[str]]: ...
        def get_cookie(self, name: str, default: str | None = None) -> str | None: ...
        def set_cookie(
            self,
            name: str,
            value: str | bytes,
            domain: str | None = None,
            expires: float | tuple[int, ...] | datetime.datetime | None = None,
            path: str = "/",
            expires_days: float | None = None,
            **kwargs: Any,
        ) -> None: ...
        def require_setting(self, name: str, feature: str = "this feature") -> None: ...

        # xsrf
        def check_xsrf_cookie(self) -> None: ...
        def check_trusted_origin(self, origin: str) -> bool: ...
        @property
        def xsrf_token(self) -> bytes: ...
        def xsrf_form_html(self) -> str: ...

        # identity
        @property
        def current_user(self) -> Any: ...
        def get_login_url(self) -> str: ...

        # language
        @property
        def locale(self) -> Any: ...

        # pages
        def render_string(self, template_name: str, **kwargs: Any) -> bytes: ...
        def static_url(self, path: str, include_host: bool | None = None, **kwargs: Any) -> str: ...
        def reverse_url(self, name: str, *args: Any) -> str: ...
        @property
        def ui(self) -> Any: ...

        # freshness
        def compute_etag(self) -> str | None: ...
        def set_etag_header(self) -> None: ...
        def check_etag_header(self) -> bool: ...

        # verbs
        def allowed_methods(self) -> list[str]: ...
        def _unimplemented_method(self, *args: str, **kwargs: str) -> NoReturn: ...
