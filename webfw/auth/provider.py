"""Asking a provider and reading its answer, the same for all protocols; what is asked for may not enter.

Whatever goes wrong here ends in an `AuthError` whose text can be logged.  The errors of the client are not chained to
it: their texts may quote the address that was asked, and a query can hold a token.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from webfw.auth.errors import AuthError, AuthHTTPError
from webfw.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse, HTTPTimeoutError
from webfw.web import RequestHandler

__all__ = [
    "FORM",
    "ProviderMixin",
    "ask",
    "denial",
    "handler_of",
    "host_of",
    "read_form",
    "read_json",
    "report",
]

#: The media type of a form.
FORM: Final = "application/x-www-form-urlencoded"

#: A word for an error that may be told.  RFC 6749 section 5.2 allows more, such as "<"; but a handler may well write
#: the text of the exception into a page as it is.
_ERROR: Final = re.compile(r"[A-Za-z0-9 _.:/-]{1,64}")
#: Longest description that is kept, in characters.
_MAX_DESCRIPTION: Final = 500


class ProviderMixin:
    """What the mixins of all protocols share."""

    def get_auth_http_client(self) -> AsyncHTTPClient:
        """The client that asks the provider, by default the one all share; override it for another."""
        return AsyncHTTPClient()


def handler_of(mixin: ProviderMixin) -> RequestHandler:
    """The mixin as what it is mixed into; a base class would forbid to list the mixin after the handler."""
    return cast(RequestHandler, mixin)


def host_of(url: str) -> str:
    """The host of an address, for messages."""
    return urlsplit(url).hostname or "the provider"


async def ask(client: AsyncHTTPClient, url: str, what: str, **options: Any) -> HTTPResponse:
    """Fetch an address of the provider.

    :param what: what is asked for, for messages: "the access token".
    :param options: as for `HTTPRequest`.
    :raises AuthHTTPError: it was not answered with success.
    """
    host = host_of(url)
    try:
        return await client.fetch(url, **options)
    except HTTPTimeoutError:
        raise AuthHTTPError(f"{host} did not give {what} in time", host=host) from None
    except HTTPClientError as error:
        if error.code == 599 or error.response is None:
            reason = "there is no connection or no whole response"
            raise AuthHTTPError(f"{host} did not give {what}: {reason}", error.code, host=host) from None
        word, description = _reported(error.response)
        suffix = f": {word}" if word else ""
        raise AuthHTTPError(
            f"{host} answered {error.code} when asked for {what}{suffix}",
            error.code,
            error.response,
            host=host,
            error=word,
            error_description=description,
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AuthHTTPError(f"{host} did not give {what}: {reason}", host=host) from None


def read_json(response: HTTPResponse, url: str, what: str) -> Any:
    """The body of an answer as JSON.

    :raises AuthError: it is none.
    """
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        host = host_of(url)
        raise AuthError(f"{host} gave {what} in a form that is no JSON", host=host) from None


def read_form(response: HTTPResponse, url: str, what: str) -> dict[str, str]:
    """The body of an answer as a form (RFC 5849 section 2.1).

    :raises AuthError: it is none, or a name comes twice.
    """
    try:
        pairs = parse_qsl(
            response.body.decode("utf-8").strip(),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=100,
        )
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a name comes twice")
    except ValueError:
        host = host_of(url)
        raise AuthError(f"{host} gave {what} in a form that is not {FORM}", host=host) from None
    return values


def report(values: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The word and the description of an error, as OAuth 2 and several providers of OAuth 1 report it."""
    word = values.get("error", values.get("oauth_problem"))
    description = values.get("error_description")
    if not isinstance(word, str) or not _ERROR.fullmatch(word):
        word = None
    if not isinstance(description, str):
        description = None
    return word, description[:_MAX_DESCRIPTION] if description else None


def denial(host: str, values: Mapping[str, Any]) -> AuthError:
    """The error that a provider reports instead of a login."""
    word, description = report(values)
    message = "the user declined" if word == "access_denied" else f"it reports {word or 'an error'}"
    return AuthError(
        f"no login by {host}: {message}", host=host, error=word or "unknown", error_description=description
    )


def _reported(response: HTTPResponse) -> tuple[str | None, str | None]:
    """What the answer says about the error, if it says so in a way that is known."""
    try:
        values = json.loads(response.body)
    except (ValueError, RecursionError):
        values = dict(parse_qsl(response.body[:10_000].decode("utf-8", "replace")))
    return report(values) if isinstance(values, dict) else (None, None)
