"""One HTTP client under one load: NAME LOOP LOAD SECONDS URL AUTHORITY; prints what it took, as JSON.

The loads: `tls`, a new client and 100 requests one after the other, again and again; `sequential`, one after the other;
`many`, 64 at a time.
"""

import asyncio
import json
import resource
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

BATCH = 100
MANY = 64

Get = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def webfw_simple(url: str, authority: str) -> AsyncIterator[Get]:
    from webfw.simple_httpclient import SimpleAsyncHTTPClient

    client = SimpleAsyncHTTPClient(force_instance=True, max_clients=MANY)
    context = ssl.create_default_context(cafile=authority)

    async def get() -> bytes:
        return (await client.fetch(url, ssl_options=context)).body

    yield get
    client.close()


@asynccontextmanager
async def webfw_curl(url: str, authority: str) -> AsyncIterator[Get]:
    from webfw.curl_httpclient import CurlAsyncHTTPClient

    client = CurlAsyncHTTPClient(force_instance=True, max_clients=MANY)

    async def get() -> bytes:
        return (await client.fetch(url, ca_certs=authority)).body

    yield get
    client.close()


@asynccontextmanager
async def tornado_simple(url: str, authority: str) -> AsyncIterator[Get]:
    from tornado.simple_httpclient import SimpleAsyncHTTPClient

    client = SimpleAsyncHTTPClient(force_instance=True, max_clients=MANY)
    context = ssl.create_default_context(cafile=authority)

    async def get() -> bytes:
        return (await client.fetch(url, ssl_options=context)).body

    yield get
    client.close()


@asynccontextmanager
async def tornado_curl(url: str, authority: str) -> AsyncIterator[Get]:
    from tornado.curl_httpclient import CurlAsyncHTTPClient

    client = CurlAsyncHTTPClient(force_instance=True, max_clients=MANY)

    async def get() -> bytes:
        return (await client.fetch(url, ca_certs=authority)).body

    yield get
    client.close()


@asynccontextmanager
async def aiohttp_client(url: str, authority: str) -> AsyncIterator[Get]:
    import aiohttp

    context = ssl.create_default_context(cafile=authority)
    connector = aiohttp.TCPConnector(limit=MANY, ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get() -> bytes:
            async with session.get(url) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def httpx_client(url: str, authority: str) -> AsyncIterator[Get]:
    import httpx

    context = ssl.create_default_context(cafile=authority)
    limits = httpx.Limits(max_connections=MANY, max_keepalive_connections=MANY)
    async with httpx.AsyncClient(verify=context, limits=limits, trust_env=False) as client:

        async def get() -> bytes:
            return (await client.get(url)).content

        yield get


CLIENTS = {
    "webfw-simple": webfw_simple,
    "webfw-curl": webfw_curl,
    "tornado-simple": tornado_simple,
    "tornado-curl": tornado_curl,
    "aiohttp": aiohttp_client,
    "httpx": httpx_client,
}


async def ask(get: Get, count: int) -> None:
    for _ in range(count):
        body = await get()
        if body != b"Hello, world":
            raise SystemExit(f"answered {body[:60]!r}")


async def until(get: Get, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        await ask(get, 10)
        count += 10
    return count


class Meter:
    """Time of the processor and of the clock, from when it is made."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.used = resource.getrusage(resource.RUSAGE_SELF)

    def read(self, requests: int) -> dict[str, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "requests": requests,
            "seconds": time.perf_counter() - self.begin,
            "user": used.ru_utime - self.used.ru_utime,
            "system": used.ru_stime - self.used.ru_stime,
        }


async def measure(name: str, load: str, seconds: float, url: str, authority: str) -> dict[str, float]:
    client = CLIENTS[name]
    if load == "tls":
        async with client(url, authority) as get:
            await ask(get, 10)
        meter, count = Meter(), 0
        while time.perf_counter() < meter.begin + seconds:
            async with client(url, authority) as get:
                await ask(get, BATCH)
            count += BATCH
        return meter.read(count)
    async with client(url, authority) as get:
        workers = MANY if load == "many" else 1
        await asyncio.gather(*[ask(get, 10) for _ in range(workers)])
        meter = Meter()
        counts = await asyncio.gather(*[until(get, meter.begin + seconds) for _ in range(workers)])
        return meter.read(sum(counts))


def main() -> None:
    name, loop, load, seconds, url, authority = sys.argv[1:]
    run = asyncio.run
    if loop == "uvloop":
        import uvloop

        run = uvloop.run
    print(json.dumps(run(measure(name, load, float(seconds), url, authority))))


if __name__ == "__main__":
    main()
