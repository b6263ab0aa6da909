"""A Django project with Channels, in one file: async views, streams, uploads, sessions, and WebSockets with groups.

It runs in a process of its own (`serve`), since a process can have only one set of Django's settings.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings

DIRECTORY = Path(os.environ["DJANGO_DIR"])
REDIS = os.environ.get("CHANNEL_REDIS", "")

settings.configure(
    SECRET_KEY="not so secret",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    INSTALLED_APPS=["channels"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    FILE_UPLOAD_MAX_MEMORY_SIZE=100_000,
    DATA_UPLOAD_MAX_MEMORY_SIZE=200_000,
    LOGGING_CONFIG=None,
    CHANNEL_LAYERS={
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS]}}
        if REDIS
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    },
)
django.setup()

# Settings come first.
from channels.generic.http import AsyncHttpConsumer  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path, re_path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

#: What has happened beside the answers.
events: list[str] = []


# --- views ---


async def home(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse("home", content_type="text/plain", headers={"X-Method": str(request.method)})


def in_thread(request: HttpRequest) -> HttpResponse:
    """Not async: Django runs it in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return HttpResponse("no loop here")
    return HttpResponse("on the loop")


async def said(request: HttpRequest, rest: str) -> HttpResponse:
    return JsonResponse(
        {
            "path": request.path,
            "rest": rest,
            "query": request.GET.getlist("a"),
            "uri": request.build_absolute_uri(),
            "header": request.headers.get("X-One"),
            "client": request.META["REMOTE_ADDR"],
            "cookies": request.COOKIES,
        }
    )


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Until all is said, or the client has gone: then Django cancels it, or has felt it in sending."""
    count = int(request.GET["count"])
    name = request.GET.get("name", "")

    async def parts() -> AsyncIterator[str]:
        try:
            for n in range(count):
                yield f"part {n}\n"
                await asyncio.sleep(0.001)
        finally:
            events.append(f"stream {name} has ended")

    return StreamingHttpResponse(parts(), content_type="text/plain")


def stream_in_thread(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        for n in range(20):
            yield bytes([n]) * 20_000

    return StreamingHttpResponse(parts(), content_type="application/octet-stream")


@csrf_exempt
async def upload(request: HttpRequest) -> HttpResponse:
    found: dict[str, Any] = dict(request.POST.items())
    for name, file in request.FILES.items():
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        found[name] = [file.name, file.size, digest.hexdigest(), type(file).__name__]
    return JsonResponse(found)


@csrf_exempt
async def body(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"size": len(request.body)})


async def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("posted" if request.method == "POST" else "form")


async def visits(request: HttpRequest) -> HttpResponse:
    count = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", count)
    return JsonResponse({"visits": count})


async def download(request: HttpRequest) -> FileResponse:
    return FileResponse((DIRECTORY / "big.bin").open("rb"), as_attachment=True, filename="größe.bin")


async def wait(request: HttpRequest) -> HttpResponse:
    events.append("waits")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        events.append("wait cancelled")
        raise
    return HttpResponse("nobody reads this")


async def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken on purpose")


async def told(request: HttpRequest) -> HttpResponse:
    return JsonResponse(events, safe=False)


async def tell(request: HttpRequest, room: str) -> HttpResponse:
    """Sends to everybody in a room, from a view."""
    layer = get_channel_layer()
    await layer.group_send(f"room.{room}", {"type": "said", "name": "view", "text": request.GET["text"]})
    return HttpResponse("told")


urlpatterns = [
    path("", home),
    path("thread", in_thread),
    re_path("^said/(?P<rest>.*)$", said),
    path("stream", stream),
    path("stream/big", stream_in_thread),
    path("upload", upload),
    path("body", body),
    path("form", form),
    path("visits", visits),
    path("download", download),
    path("wait", wait),
    path("broken", broken),
    path("told", told),
    path("tell/<room>", tell),
]


# --- consumers ---


class Room(AsyncJsonWebsocketConsumer):
    """A room: what one says, all hear, whichever process they are connected to."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if self.room == "closed":
            await self.close()
            return
        await self.channel_layer.group_add(f"room.{self.room}", self.channel_name)
        await self.accept("chat" if "chat" in self.scope["subprotocols"] else None)
        await self.send_json({"joined": self.room, "visits": self.scope["session"].get("visits")})

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if content.get("leave"):
            await self.close(4000, "as you like")
            return
        await self.channel_layer.group_send(f"room.{self.room}", {"type": "said", **content})

    async def said(self, event: dict[str, Any]) -> None:
        await self.send_json({"name": event["name"], "text": event["text"]})

    async def disconnect(self, code: int) -> None:
        events.append(f"left {self.room} with {code}")
        await self.channel_layer.group_discard(f"room.{self.room}", self.channel_name)


class Echo(WebsocketConsumer):
    """Runs in threads."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data, bytes_data)


class ServerEvents(AsyncHttpConsumer):
    """Server-sent events by Channels; it has the whole body before it begins."""

    async def handle(self, body: bytes) -> None:
        await self.send_headers(headers=[(b"Content-Type", b"text/event-stream")])
        for n in range(5):
            await self.send_body(b"data: %d\n\n" % n, more_body=True)
        await self.send_body(b"data: %d bytes\n\n" % len(body))


application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [path("channels/events", ServerEvents.as_asgi()), re_path("", get_asgi_application())]
        ),
        "websocket": AllowedHostsOriginValidator(
            SessionMiddlewareStack(
                URLRouter([path("rooms/<room>", Room.as_asgi()), path("echo", Echo.as_asgi())])
            )
        ),
    }
)
