"""Logging in by a third party: OAuth 2, OAuth 1, OpenID, and the providers that are known by name."""

from webfw.auth.errors import AuthError, AuthHTTPError
from webfw.auth.facebook import FacebookGraphMixin
from webfw.auth.github import GitHubOAuth2Mixin
from webfw.auth.google import GoogleOAuth2Mixin
from webfw.auth.oauth1 import OAuthMixin
from webfw.auth.oauth2 import AuthorizationResponse, OAuth2Mixin
from webfw.auth.openid import OpenIdMixin
from webfw.auth.twitter import TwitterMixin

__all__ = [
    "AuthError",
    "AuthHTTPError",
    "AuthorizationResponse",
    "FacebookGraphMixin",
    "GitHubOAuth2Mixin",
    "GoogleOAuth2Mixin",
    "OAuth2Mixin",
    "OAuthMixin",
    "OpenIdMixin",
    "TwitterMixin",
]
