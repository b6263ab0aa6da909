"""Request handlers and the application that routes to them: what a site is written with."""

# What programs take from here without its being listed: `web.httputil` and the like.
from webfw import escape as escape
from webfw import gen as gen
from webfw import httputil as httputil
from webfw import iostream as iostream
from webfw import locale as locale
from webfw import template as template
from webfw.log import access_log as access_log
from webfw.log import app_log as app_log
from webfw.log import gen_log as gen_log
from webfw.routing import URLSpec
from webfw.web.application import Application
from webfw.web.decorators import (
    _has_stream_request_body as _has_stream_request_body,  # a private name that programs use
)
from webfw.web.decorators import (
    addslash,
    authenticated,
    removeslash,
    stream_request_body,
)
from webfw.web.errors import Finish, HTTPError, MissingArgumentError
from webfw.web.eventsource import EventSourceHandler
from webfw.web.handler import RequestHandler
from webfw.web.longpoll import LongPollHandler
from webfw.web.signing import (
    DEFAULT_SIGNED_VALUE_MIN_VERSION,
    DEFAULT_SIGNED_VALUE_VERSION,
    MAX_SUPPORTED_SIGNED_VALUE_VERSION,
    MIN_SUPPORTED_SIGNED_VALUE_VERSION,
    create_signed_value,
    decode_signed_value,
    get_signature_key_version,
)
from webfw.web.simple import ErrorHandler, FallbackHandler, RedirectHandler
from webfw.web.static import StaticFileHandler
from webfw.web.transforms import GZipContentEncoding, OutputTransform
from webfw.web.ui import TemplateModule, UIModule
from webfw.web.uploads import UploadPart, stream_multipart

__all__ = [
    "DEFAULT_SIGNED_VALUE_MIN_VERSION",
    "DEFAULT_SIGNED_VALUE_VERSION",
    "MAX_SUPPORTED_SIGNED_VALUE_VERSION",
    "MIN_SUPPORTED_SIGNED_VALUE_VERSION",
    "Application",
    "ErrorHandler",
    "EventSourceHandler",
    "FallbackHandler",
    "Finish",
    "GZipContentEncoding",
    "HTTPError",
    "LongPollHandler",
    "MissingArgumentError",
    "OutputTransform",
    "RedirectHandler",
    "RequestHandler",
    "StaticFileHandler",
    "TemplateModule",
    "UIModule",
    "URLSpec",
    "UploadPart",
    "addslash",
    "authenticated",
    "create_signed_value",
    "decode_signed_value",
    "get_signature_key_version",
    "removeslash",
    "stream_multipart",
    "stream_request_body",
    "url",
]

#: Tornado's shorter name for a route.
url = URLSpec
