"""What Sentry sees: it replaces ``RequestHandler._execute`` and ``log_exception``."""

import asyncio
from typing import Any

from site_ import application, drive, report  # isort: split

import sentry_sdk
from sentry_sdk.integrations.tornado import TornadoIntegration

events: list[Any] = []


class Transport(sentry_sdk.Transport):
    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            event = item.get_event() or item.get_transaction_event()
            if event is not None:
                events.append(event)


def facts(event: Any) -> Any:
    request = event["request"]
    return {
        "kind": event.get("type", "error"),
        "name": event["transaction"],
        "request": [request["method"], request["url"].rpartition("/")[2], request["query_string"]],
        "data": request.get("data"),
        "cookies": request["cookies"],
        "from": request["env"],
        "raised": [value["type"] for value in event.get("exception", {}).get("values", [])],
        "operation": event["contexts"]["trace"]["op"],
    }


sentry_sdk.init(
    dsn="http://key@127.0.0.1:1/1",
    transport=Transport,
    traces_sample_rate=1.0,
    send_default_pii=True,
    default_integrations=False,
    integrations=[TornadoIntegration()],
)
report(asyncio.run(drive(application())), [facts(event) for event in events])
