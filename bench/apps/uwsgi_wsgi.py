"""A WSGI application in uWSGI: ``uwsgi_wsgi.py PORT MODULE:NAME THREADS http|http11``."""

import sys

import pyuwsgi

if __name__ == "__main__":
    port, target, threads, socket = sys.argv[1:]
    pyuwsgi.run(
        [
            *(f"--{socket}-socket", f"127.0.0.1:{port}", "--module", target, "--threads", threads),
            *("--master", "--need-app", "--die-on-term", "--disable-logging", "--listen", "100"),
            *(() if socket == "http11" else ("--add-header", "Connection: close")),
        ]
    )
