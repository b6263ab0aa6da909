"""``python -m bench NAME [...]``: runs one of the measurements; without a name, all of them."""

import sys

from bench import fanout, http, httpclient, scale, websocket, wsgi

BENCHES = {
    "http": http.main,
    "websocket": websocket.main,
    "fanout": fanout.main,
    "wsgi": wsgi.main,
    "client": httpclient.main,
    "scale": scale.main,
}


def main() -> int:
    names = sys.argv[1:2]
    if not names or names == ["--quick"]:
        return max(run(sys.argv[1:]) for run in BENCHES.values())
    if names[0] not in BENCHES:
        print(f"no measurement is called {names[0]}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    return BENCHES[names[0]](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
