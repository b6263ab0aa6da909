"""The command ``python -m webfw.httpclient``: addresses in, responses on standard output; no networking of its own."""

import sys

from webfw.httpclient.client import HTTPClient
from webfw.httpclient.errors import HTTPClientError
from webfw.options import define, options, parse_command_line

__all__ = ["main"]


def main() -> None:
    """Fetch the addresses of the command line and print what comes.

    The options are ``--print_headers`` (off), ``--print_body`` (on), ``--follow_redirects`` (on), ``--validate_cert``
    (on), ``--proxy_host`` and ``--proxy_port``.
    """
    define("print_headers", type=bool, default=False)
    define("print_body", type=bool, default=True)
    define("follow_redirects", type=bool, default=True)
    define("validate_cert", type=bool, default=True)
    define("proxy_host", type=str)
    define("proxy_port", type=int)
    urls = parse_command_line()
    client = HTTPClient()
    try:
        for url in urls:
            try:
                response = client.fetch(
                    url,
                    follow_redirects=options.follow_redirects,
                    validate_cert=options.validate_cert,
                    proxy_host=options.proxy_host,
                    proxy_port=options.proxy_port,
                )
            except HTTPClientError as error:
                if error.response is None:
                    raise
                response = error.response
            if options.print_headers:
                sys.stdout.write(f"{response.headers}\n")
            if options.print_body:
                sys.stdout.write(response.body.decode("utf-8", "replace") + "\n")
    finally:
        client.close()
