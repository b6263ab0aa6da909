"""`RequestHandler`: the chapters bound into one class; what a chapter can hold may not enter."""

from typing import TYPE_CHECKING, Any

from webfw.httputil import HTTPServerRequest
from webfw.web.arguments import Arguments
from webfw.web.cookies import Cookies
from webfw.web.errors import Errors
from webfw.web.freshness import Freshness
from webfw.web.identity import Identity
from webfw.web.language import Language
from webfw.web.output import Output
from webfw.web.pages import Pages
from webfw.web.verbs import Verbs
from webfw.web.xsrf import Xsrf

if TYPE_CHECKING:
    from webfw.web.application import Application

__all__ = ["RequestHandler"]


class RequestHandler(Verbs, Output, Arguments, Cookies, Xsrf, Identity, Language, Pages, Freshness, Errors):
    """Answers one request; make a subclass with a method for each verb it serves.

    :param application: the application that serves the request.
    :param request: the request.
    :param kwargs: what the route gives, passed to `initialize`.

    The methods are kept in chapters: `Verbs` (what to override), `Output` (the response), `Arguments`, `Cookies`,
    `Xsrf`, `Identity`, `Language`, `Pages` (templates and links), `Freshness` (ETag) and `Errors`.
    """

    def __init__(self, application: "Application", request: HTTPServerRequest, **kwargs: Any) -> None:
        self.application = application
        self.request = request
        self.clear()
        self.initialize(**kwargs)
