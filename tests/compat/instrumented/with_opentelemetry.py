"""What OpenTelemetry sees: it replaces methods of each handler's class and of ``AsyncHTTPClient``."""

import asyncio
from typing import Any

from site_ import application, drive, report  # isort: split

from opentelemetry.instrumentation.tornado import TornadoInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
TornadoInstrumentor().instrument(tracer_provider=provider)
CHANGING = ("port", "peer", "host", "url", "server", "client.port")


async def client(app: Any) -> list[str]:
    import tornado.httpclient

    server = app.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    response = await tornado.httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/fine/client")
    server.stop()
    await server.close_all_connections()
    return [response.body.decode()]


async def main() -> list[str]:
    app = application()
    return [*await drive(app), *await client(app)]


def facts(span: Any) -> Any:
    attributes = {
        key: value
        for key, value in span.attributes.items()
        if not any(word in key for word in CHANGING) or key == "http.target"
    }
    status = [span.status.status_code.name, [event.name for event in span.events]]
    return {"name": span.name, "kind": span.kind.name, "attributes": attributes, "status": status}


lines = asyncio.run(main())
spans = exporter.get_finished_spans()
trace = {span.context.trace_id for span in spans[-2:]}
report([*lines, f"{len(trace)} trace of client and server"], [facts(span) for span in spans])
