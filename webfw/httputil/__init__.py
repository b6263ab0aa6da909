"""HTTP messages as values: fields, start lines, requests, forms, cookies, dates; no I/O may enter."""

from webfw.httputil.cookies import parse_cookie, simple_cookie
from webfw.httputil.delegates import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate
from webfw.httputil.errors import HTTPInputError, HTTPOutputError, RangeNotSatisfiable
from webfw.httputil.forms import (
    BodySource,
    HTTPFile,
    MultipartForm,
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    is_form,
    multipart_form,
    parse_body_arguments,
    parse_multipart_form_data,
    set_parse_body_config,
)
from webfw.httputil.headers import HTTP_WHITESPACE, HTTPHeaders, _normalize_header
from webfw.httputil.ranges import _get_content_range, _parse_request_range, parse_ranges
from webfw.httputil.request import HTTPServerRequest
from webfw.httputil.startlines import (
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
    parse_response_start_line,
)
from webfw.httputil.urls import (
    encode_username_password,
    qs_to_qsl,
    split_host_and_port,
    url_concat,
    urlencode,
)
from webfw.httputil.values import (
    _encode_header,
    _parse_header,
    choose_encoding,
    doctests,
    format_timestamp,
    match_etag,
    parse_etags,
    parse_http_date,
    responses,
    strong_match,
    weak_match,
)

__all__ = [
    "HTTP_WHITESPACE",
    "BodySource",
    "HTTPConnection",
    "HTTPFile",
    "HTTPHeaders",
    "HTTPInputError",
    "HTTPMessageDelegate",
    "HTTPOutputError",
    "HTTPServerConnectionDelegate",
    "HTTPServerRequest",
    "MultipartForm",
    "ParseBodyConfig",
    "ParseMultipartConfig",
    "ParseUrlEncodedConfig",
    "RangeNotSatisfiable",
    "RequestStartLine",
    "ResponseStartLine",
    "_encode_header",
    "_get_content_range",
    "_normalize_header",
    "_parse_header",
    "_parse_request_range",
    "choose_encoding",
    "doctests",
    "encode_username_password",
    "format_timestamp",
    "is_form",
    "match_etag",
    "multipart_form",
    "parse_body_arguments",
    "parse_cookie",
    "parse_etags",
    "parse_http_date",
    "parse_multipart_form_data",
    "parse_ranges",
    "parse_request_start_line",
    "parse_response_start_line",
    "qs_to_qsl",
    "responses",
    "set_parse_body_config",
    "simple_cookie",
    "split_host_and_port",
    "strong_match",
    "url_concat",
    "urlencode",
    "weak_match",
]
