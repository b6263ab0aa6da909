"""A native handler at ``/``, and at ``/spin`` WSGI requests that compute in threads.

``webfw_beside_wsgi.py PORT asyncio|uvloop SWITCH_INTERVAL_MS``
"""

import asyncio
import sys

from wsgi_apps import spin

import webfw.web
from webfw.routing import PathMatches, Rule
from webfw.wsgi import WSGIContainer


class Hello(webfw.web.RequestHandler):
    def get(self) -> None:
        self.write("Hello, world")


async def main() -> None:
    container = WSGIContainer(spin, threads=8, log_function=lambda handler: None)
    rules = [("/", Hello), Rule(PathMatches("/spin"), container)]
    app = webfw.web.Application(rules, log_function=lambda handler: None)
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.setswitchinterval(float(sys.argv[3]) / 1000)
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
