"""permessage-deflate as a program asks for it: its options, and the agreement with the peer; no bytes may enter."""

from collections.abc import Mapping
from typing import Any

from webfw.sansio.websocket import (
    Deflate,
    DeflateParameters,
    accept_deflate,
    confirm_deflate,
    format_deflate_offer,
    format_deflate_response,
    parse_extensions,
)

__all__ = ["agree", "confirm", "offer"]

Options = Mapping[str, Any]

#: The options of `WebSocketHandler.get_compression_options`: those of Tornado, and ours.
_ENGINE = {"compression_level": "level", "mem_level": "mem_level", "threshold": "threshold"}
_WISHES = frozenset(DeflateParameters.__dataclass_fields__)


def _split(options: Options) -> tuple[DeflateParameters, dict[str, Any]]:
    """What is to be agreed on, and what is this side's own business.

    :raises ValueError: an option that does not exist, or a value out of range.
    """
    for name in options:
        if name not in _ENGINE and name not in _WISHES:
            known = ", ".join([*_ENGINE, *sorted(_WISHES)])
            raise ValueError(f"no compression option is called {name!r}; there are: {known}")
    wishes = DeflateParameters(**{name: options[name] for name in options if name in _WISHES})
    return wishes, {_ENGINE[name]: options[name] for name in options if name in _ENGINE}


def agree(options: Options | None, offers: list[str]) -> tuple[Deflate | None, str]:
    """The server's side.

    :param options: None to send and take no compressed messages.
    :param offers: the Sec-WebSocket-Extensions fields of the request.
    :returns: the engine, and the field of the response; None and an empty string where nothing was agreed.
    :raises RemoteProtocolError: the fields are malformed.
    """
    extensions = parse_extensions(offers)
    if options is None:
        return None, ""
    wishes, engine = _split(options)
    agreed = accept_deflate(extensions, wishes)
    if agreed is None:
        return None, ""
    return Deflate(agreed, server=True, **engine), format_deflate_response(agreed)


def offer(options: Options | None) -> str:
    """The Sec-WebSocket-Extensions field of a client's request; an empty string for none."""
    return "" if options is None else format_deflate_offer(_split(options)[0])


def confirm(options: Options | None, accepted: list[str]) -> Deflate | None:
    """The client's side, with what the server has accepted.

    :param accepted: the Sec-WebSocket-Extensions fields of the response.
    :raises RemoteProtocolError: it is not what was offered.
    """
    wishes, engine = _split(options) if options is not None else (None, {})
    agreed = confirm_deflate(parse_extensions(accepted), wishes)
    return None if agreed is None else Deflate(agreed, server=False, **engine)
