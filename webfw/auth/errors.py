"""What can go wrong with a login, as the handler that called for it sees it; how to ask may not enter.

The text of an error is fit for a log: it names the host and what was wrong with its answer, and holds neither a token
nor a secret nor an address with its query.  It is fit for a page too: nothing in it could be taken for markup.
"""

from typing import TYPE_CHECKING

from webfw.httpclient import HTTPClientError

if TYPE_CHECKING:
    from webfw.httpclient import HTTPResponse

__all__ = ["AuthError", "AuthHTTPError"]


class AuthError(Exception):
    """A login came to nothing.

    :param message: what happened, without tokens and secrets.
    :param host: the host of the provider, where it is known.
    :param error: the provider's own word for it, such as ``"access_denied"`` (RFC 6749 sections 4.1.2.1 and 5.2).
    :param error_description: the provider's sentence for developers.  It is no part of the exception's text: nobody
        knows what a provider writes into it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        host: str | None = None,
        error: str | None = None,
        error_description: str | None = None,
    ) -> None:
        Exception.__init__(
            self, message
        )  # not super(): the class below has another parent with other arguments
        self.host = host
        self.error = error
        self.error_description = error_description


class AuthHTTPError(AuthError, HTTPClientError):
    """The provider answered with a status other than success, or did not answer (status 599).

    Both an `AuthError` and an `HTTPClientError`: programs written for Tornado catch the latter.

    :param message: what happened, without tokens and secrets.
    :param code: the status.
    :param response: the provider's answer, if there was one.  It refers to the request, which does hold secrets.
    """

    def __init__(
        self,
        message: str = "",
        code: int = 599,
        response: "HTTPResponse | None" = None,
        *,
        host: str | None = None,
        error: str | None = None,
        error_description: str | None = None,
    ) -> None:
        AuthError.__init__(self, message, host=host, error=error, error_description=error_description)
        self.code = code
        self.message = message
        self.response = response

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, {self.code})"
