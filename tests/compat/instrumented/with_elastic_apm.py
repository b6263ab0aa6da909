"""What Elastic's agent sees: it replaces ``_execute``, ``_handle_request_exception`` and ``render``."""

import asyncio
import sys
from typing import Any

from site_ import application, drive, report  # isort: split

from elasticapm.contrib.tornado import ElasticAPM
from elasticapm.transport.base import Transport

sys.modules["kept"] = sys.modules[__name__]
events: list[Any] = []


class Kept(Transport):
    def queue(self, event_type: str, data: Any, flush: bool = False) -> None:
        if event_type in ("transaction", "error"):
            events.append((event_type, data))


def facts(kind: str, data: Any) -> Any:
    request = data["context"]["request"]
    response = data["context"].get("response")
    return {
        "kind": kind,
        "name": data.get("name"),
        "result": data.get("result"),
        "raised": data.get("exception", {}).get("type"),
        "request": [request["method"], request["url"]["full"].rpartition("/")[2], request.get("body")],
        "status": response and response["status_code"],
        "own": response and response["headers"].get("x-own", response["headers"].get("X-Own")),
    }


async def main() -> list[str]:
    app = application(
        ELASTIC_APM={
            "SERVICE_NAME": "site",
            "TRANSPORT_CLASS": "kept.Kept",
            "CAPTURE_BODY": "all",
            "METRICS_INTERVAL": "0s",
            "CLOUD_PROVIDER": "none",
            "CENTRAL_CONFIG": False,
        }
    )
    agent = ElasticAPM(app)
    try:
        return await drive(app)
    finally:
        agent.client.close()


lines = asyncio.run(main())
report(lines, [facts(kind, data) for kind, data in events])
