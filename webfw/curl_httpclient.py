"""The old name of `webfw.httpclient.curl`: only a list; needs the extra ``curl``."""

from webfw.httpclient.curl import CR_OR_LF_RE, CurlAsyncHTTPClient, CurlError, curl_log

__all__ = ["CR_OR_LF_RE", "CurlAsyncHTTPClient", "CurlError", "curl_log"]
