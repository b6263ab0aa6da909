"""The grammar of HTTP/1, each rule beside its section of the RFC; nothing that decides may enter.

From RFC 9110 (semantics), RFC 9112 (HTTP/1.1) and RFC 3986 (URI); no erratum known in November 2026 changes
a rule used here.  Quantifiers are possessive (``*+``, ``++``) wherever they could give a character back: no
rule here takes more than one pass over its input.

Heads are matched as text decoded from latin-1, so that one character is one octet.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

# RFC 9110 section 5.6.2: tchar, the characters of a token, as the inside of a character class.
TCHAR: Final = r"!#$%&'*+\-.^_`|~0-9A-Za-z"

# RFC 9110 section 5.6.2: token = 1*tchar
TOKEN: Final = rf"[{TCHAR}]++"

# RFC 9110 section 9.1: method = token.  The length is ours: RFC 9112 section 3 answers a method longer than
# any that is implemented with 501, and the longest registered one (UPDATEREDIRECTREF) has 17 characters.
MAX_METHOD: Final = 24
METHOD: Final = rf"[{TCHAR}]{{1,{MAX_METHOD}}}"

# RFC 9112 section 3.2: the forms of a request target are told apart later; all of them consist of visible
# ASCII, and none has a fragment ("#", RFC 9110 section 7.1).
TARGET: Final = r'[!-"$-~]++'

# RFC 9112 section 2.3: HTTP-version = HTTP-name "/" DIGIT "." DIGIT, HTTP-name = %s"HTTP" (case-sensitive)
VERSION: Final = r"HTTP/([0-9])\.([0-9])"
VERSION_1: Final = r"HTTP/1\.([0-9])"

# RFC 9110 section 5.5: field-value, where field-vchar = VCHAR / obs-text, and SP and HTAB may stand between
# and, as OWS (RFC 9112 section 5), around it.  No other control character is allowed.
FIELD_VALUE: Final = r"[\t -~\x80-\xff]*+"

# RFC 9112 section 5: field-line = field-name ":" OWS field-value OWS.  No whitespace before the colon
# (section 5.1), none before the name (obs-fold, section 5.2).
FIELD_LINE: Final = rf"{TOKEN}:{FIELD_VALUE}"

# RFC 9112 sections 2.1 and 3: request-line CRLF *( field-line CRLF ), without the empty line that ends it.
# Groups: method, target, minor version, field block.
REQUEST_HEAD: Final = re.compile(rf"({METHOD}) ({TARGET}) {VERSION_1}\r\n((?:{FIELD_LINE}\r\n)*+)")

# RFC 9112 section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ], where reason-phrase is
# 1*( HTAB / SP / VCHAR / obs-text ).  The last SP is missing in too many answers to insist on it.
# Groups: minor version, status, reason, field block.
RESPONSE_HEAD: Final = re.compile(
    rf"{VERSION_1} ([1-9][0-9][0-9])(?: ({FIELD_VALUE}))?+\r\n((?:{FIELD_LINE}\r\n)*+)"
)

# The parts on their own, for finding out what is wrong with a head and for what is sent.
IS_TOKEN: Final = re.compile(TOKEN)
IS_TARGET: Final = re.compile(TARGET)
IS_VERSION: Final = re.compile(VERSION)
IS_FIELD_VALUE: Final = re.compile(FIELD_VALUE)
IS_FIELD_LINE: Final = re.compile(FIELD_LINE)

# RFC 9112 section 2.2: a CR that no LF follows, and an LF that no CR precedes.  A CR at the end of what has
# arrived is not yet bare.
BARE_CR: Final = re.compile(rb"\r(?=[^\n])", re.DOTALL)
BARE_CR_OR_LF: Final = re.compile(rb"\r(?=[^\n])|(?<!\r)\n", re.DOTALL)

# The end of a head whose lines may end in a bare LF (RFC 9112 section 2.2 allows a recipient that).
LENIENT_END: Final = re.compile(rb"\n\r?+\n")

# RFC 9110 section 8.6: Content-Length = 1*DIGIT.  Eighteen digits are an exabyte less one and fit every
# 64-bit reader.
CONTENT_LENGTH: Final = re.compile(r"[0-9]{1,18}")

# RFC 9110 section 5.6.4: quoted-string.
QUOTED_STRING: Final = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'

# RFC 9112 section 7.1.1: chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
_CHUNK_EXT = rf"(?:[ \t]*+;[ \t]*+{TOKEN}(?:[ \t]*+=[ \t]*+(?:{TOKEN}|{QUOTED_STRING}))?+)*+"

# RFC 9112 section 7.1: chunk = chunk-size [ chunk-ext ] CRLF, chunk-size = 1*HEXDIG.  At most 16 digits, so
# that the size fits 64 bits in whatever stands before or behind.  PLAIN_CHUNK has no extension and takes
# its CRLF along.
CHUNK_LINE: Final = re.compile(rf"([0-9A-Fa-f]{{1,16}})({_CHUNK_EXT})".encode("latin-1"))
PLAIN_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")

# RFC 3986 section 3.2.2 as RFC 9110 section 4.1 imports it: uri-host = IP-literal / IPv4address / reg-name,
# and RFC 9110 section 7.2: Host = uri-host [ ":" port ], where port = *DIGIT (RFC 3986 section 3.2.3).
# Groups: IPv6 address, port.
_REG_NAME = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++"
_IP_FUTURE = r"\[[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++\]"
_IS_HOST = re.compile(rf"(?:{_REG_NAME}|\[([0-9A-Fa-f:.]++)\]|{_IP_FUTURE})(?::([0-9]{{0,5}}))?+")

# RFC 9112 section 3.2.2: absolute-form = absolute-URI, here of the schemes an HTTP server is responsible for
# (RFC 9110 section 4.2).  Groups: authority, path and query.
ABSOLUTE_FORM: Final = re.compile(r"(?:[hH][tT][tT][pP][sS]?+)://([^/?]*+)(.*+)")

# RFC 9110 section 6.5.1: fields needed for framing, routing, authentication, request modifiers, response
# controls or the content's format are not allowed in a trailer section.
FORBIDDEN_IN_TRAILERS: Final = frozenset(
    {
        # framing and routing
        "connection",
        "content-length",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        # authentication and cookies
        "authentication-info",
        "authorization",
        "cookie",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "set-cookie",
        "www-authenticate",
        # request modifiers
        "cache-control",
        "expect",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "pragma",
        "range",
        # response controls
        "age",
        "date",
        "expires",
        "location",
        "retry-after",
        "vary",
        "warning",
        # the content's format; Content-Digest is made to be a trailer (RFC 9530 section 6.2)
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-location",
        "content-range",
        "content-type",
    }
)


def is_host(text: str) -> bool:
    """Whether `text` is ``uri-host [ ":" port ]`` with a host that is not empty (RFC 9110 section 7.2).

    An IPv6 literal must be a valid address without a zone; a port must be at most 65535 and may be empty.
    """
    match = _IS_HOST.fullmatch(text)
    if match is None:
        return False
    address, port = match.groups()
    if port and int(port) > 65535:
        return False
    if address is not None:
        try:
            IPv6Address(address)
        except AddressValueError:
            return False
    return True
