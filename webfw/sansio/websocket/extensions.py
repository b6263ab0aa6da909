"""Which extensions two peers agree on: Sec-WebSocket-Extensions read and written; nothing is compressed here.

The header is that of RFC 6455 section 9.1, the one extension that is known here permessage-deflate, RFC 7692 section
7.1.  What an agreement means for messages stands in `webfw.sansio.websocket.deflate`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.parameters import encode_parameters
from webfw.sansio.websocket.deflate import DeflateParameters

__all__ = [
    "PERMESSAGE_DEFLATE",
    "Extension",
    "accept_deflate",
    "confirm_deflate",
    "format_deflate_offer",
    "format_deflate_response",
    "parse_extensions",
]

PERMESSAGE_DEFLATE: Final = "permessage-deflate"


class Extension(NamedTuple):
    """One element of Sec-WebSocket-Extensions: a name and its parameters in order, `None` for one without value."""

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()


# --- the header (RFC 6455 section 9.1; lists and linear white space as in RFC 9110 section 5.6) ---

_T: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_Q: Final = r'"(?:[^"\\]|\\.)*+"'
_S: Final = r"[ \t]*+"

# Possessive throughout: each character is looked at once here, and once more for the parameters.
_EXTENSION: Final = re.compile(
    rf"[ \t,]*+({_T})((?:{_S};{_S}{_T}(?:{_S}={_S}(?:{_T}|{_Q}))?+)*+){_S}(?=,|\Z)", re.DOTALL
)
_PARAMETER: Final = re.compile(rf";{_S}({_T})(?:{_S}={_S}(?:({_T})|({_Q})))?+", re.DOTALL)
_TOKEN: Final = re.compile(_T)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_extensions(lines: Iterable[str]) -> list[Extension]:
    """Take the values of Sec-WebSocket-Extensions apart, in order; several lines are one list.

    :param lines: the field values; none of them means no extensions.
    :return: what is offered or accepted.  Names are tokens whose case counts.  Parameters may be repeated: what
        that means is up to the extension.
    :raises RemoteProtocolError: 400 when a value does not follow the grammar.  RFC 6455 section 9.1: who receives one
        MUST fail the connection, which for a server before the end of the handshake is an HTTP error (section 4.2.1).
        Empty list elements are allowed, a list of nothing else is not.
    """
    found: list[Extension] = []
    for line in lines:
        at = 0
        while (match := _EXTENSION.match(line, at)) is not None:
            found.append(Extension(match[1], tuple(_parse_parameters(match[2]))))
            at = match.end()
        if line[at:].strip(" \t,"):
            raise _malformed(line)
    return found


def _parse_parameters(text: str) -> Iterable[tuple[str, str | None]]:
    for match in _PARAMETER.finditer(text):
        name, value, quoted = match.groups()
        if quoted is not None:
            value = _ESCAPED.sub(r"\1", quoted[1:-1])
            if _TOKEN.fullmatch(value) is None:
                raise _malformed(quoted)
        yield name, value


def _malformed(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"malformed Sec-WebSocket-Extensions {text[:60]!r}")


# --- permessage-deflate (RFC 7692 section 7.1) ---

_SERVER_FRESH: Final = "server_no_context_takeover"
_CLIENT_FRESH: Final = "client_no_context_takeover"
_SERVER_BITS: Final = "server_max_window_bits"
_CLIENT_BITS: Final = "client_max_window_bits"

# Section 7.1.2: a decimal integer from 8 to 15 without leading zeroes.
_BITS: Final = {str(bits): bits for bits in range(8, 16)}


def accept_deflate(offers: Iterable[Extension], settings: DeflateParameters) -> DeflateParameters | None:
    """Server: choose the first offer of permessage-deflate that can be accepted (RFC 7692 sections 5.1 and 7.1).

    :param offers: what the client offers, the preferred first; other extensions are passed over.
    :param settings: what this server wishes.  A window of the server and both ways of no context takeover can always
        be had; ``client_max_window_bits`` only of a client that offers the parameter, otherwise the offer is accepted
        without it.
    :return: the agreement, which `format_deflate_response` spells; `None` when no offer is acceptable, and messages
        are then not compressed.

    An offer with a parameter that is unknown, repeated or has an invalid value is declined, as section 7.1 wants; the
    connection goes on.
    """
    for offer in offers:
        if offer.name != PERMESSAGE_DEFLATE:
            continue
        try:
            asked = _read_parameters(offer, offer=True)
        except RemoteProtocolError:
            continue
        return DeflateParameters(
            server_no_context_takeover=_SERVER_FRESH in asked or settings.server_no_context_takeover,
            client_no_context_takeover=_CLIENT_FRESH in asked or settings.client_no_context_takeover,
            server_max_window_bits=_smaller(asked.get(_SERVER_BITS), settings.server_max_window_bits),
            # Section 7.1.2.2: never in the answer to an offer without it.
            client_max_window_bits=(
                _smaller(asked[_CLIENT_BITS], settings.client_max_window_bits)
                if _CLIENT_BITS in asked
                else None
            ),
        )
    return None


def format_deflate_response(agreed: DeflateParameters) -> str:
    """Server: spell what `accept_deflate` gave, for the Sec-WebSocket-Extensions of the response."""
    return encode_parameters(PERMESSAGE_DEFLATE, _fields_of(agreed))


def format_deflate_offer(settings: DeflateParameters) -> str:
    """Client: spell an offer of permessage-deflate, for the Sec-WebSocket-Extensions of the request.

    :param settings: what this client wishes.  ``client_max_window_bits`` is always offered, without a value if there
        is no wish, which tells the server that it may set one (RFC 7692 section 7.1.2.2).
    """
    return encode_parameters(PERMESSAGE_DEFLATE, {_CLIENT_BITS: None, **_fields_of(settings)})


def confirm_deflate(
    accepted: Sequence[Extension], settings: DeflateParameters | None
) -> DeflateParameters | None:
    """Client: check what the server accepted against what was offered (RFC 6455 section 4.1, RFC 7692 section 7.1).

    :param accepted: `parse_extensions` of the response.
    :param settings: what `format_deflate_offer` was given; `None` when nothing was offered.
    :return: the agreement, or `None` when messages are not compressed.
    :raises RemoteProtocolError: the response has an extension that was not offered, or the same one twice; or one of
        its parameters is unknown, repeated, has an invalid value, or allows the server more than the offer did.
    """
    if not accepted:
        return None
    response = accepted[0]
    if settings is None or response.name != PERMESSAGE_DEFLATE:
        raise RemoteProtocolError(f"extension {response.name[:60]!r} was not offered")
    if len(accepted) > 1:
        raise RemoteProtocolError(f"extension {accepted[1].name[:60]!r} after {PERMESSAGE_DEFLATE}")
    told = _read_parameters(response, offer=False)
    if settings.server_no_context_takeover and _SERVER_FRESH not in told:
        raise _refused(_SERVER_FRESH, "is missing")
    wished = settings.server_max_window_bits
    if wished is not None and (told.get(_SERVER_BITS) or 15) > wished:
        raise _refused(_SERVER_BITS, f"is not {wished} or less")
    # A hint in the offer may be ignored, or confirmed with a value not above it; any other is no answer to it.
    hinted = settings.client_max_window_bits
    if hinted is not None and (told.get(_CLIENT_BITS) or 8) > hinted:
        raise _refused(_CLIENT_BITS, f"is not {hinted} or less")
    return DeflateParameters(
        server_no_context_takeover=_SERVER_FRESH in told,
        # What the offer said of this side holds whether the server repeats it or not.
        client_no_context_takeover=_CLIENT_FRESH in told or settings.client_no_context_takeover,
        server_max_window_bits=told.get(_SERVER_BITS),
        client_max_window_bits=told.get(_CLIENT_BITS, hinted),
    )


def _read_parameters(extension: Extension, *, offer: bool) -> dict[str, int | None]:
    """The parameters by name, with `None` for one without value; or `RemoteProtocolError`, as section 7.1 says."""
    found: dict[str, int | None] = {}
    for name, value in extension.parameters:
        if name in found:
            raise _refused(name, "is repeated")
        if name in (_SERVER_FRESH, _CLIENT_FRESH):
            if value is not None:
                raise _refused(name, "has a value")
            found[name] = None
        elif name in (_SERVER_BITS, _CLIENT_BITS):
            if value is None:
                # Section 7.1.2.2: only this one, and only a client may leave the value out.
                if not offer or name != _CLIENT_BITS:
                    raise _refused(name, "has no value")
                found[name] = None
            elif value in _BITS:
                found[name] = _BITS[value]
            else:
                raise _refused(name, f"has the value {value[:20]!r}")
        else:
            raise _refused(name[:60], "is unknown")
    return found


def _refused(name: str, why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{PERMESSAGE_DEFLATE}: {name} {why}")


def _smaller(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _fields_of(parameters: DeflateParameters) -> dict[str, int | None]:
    fields: dict[str, int | None] = {}
    if parameters.server_no_context_takeover:
        fields[_SERVER_FRESH] = None
    if parameters.client_no_context_takeover:
        fields[_CLIENT_FRESH] = None
    if parameters.server_max_window_bits is not None:
        fields[_SERVER_BITS] = parameters.server_max_window_bits
    if parameters.client_max_window_bits is not None:
        fields[_CLIENT_BITS] = parameters.client_max_window_bits
    return fields
