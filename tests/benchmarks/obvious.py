"""The obvious implementation, to be beaten: an async view and one `httpx.AsyncClient` shared by all requests.

Without middleware, and with a pool wide enough for every scenario: what a careful newcomer would write.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

import django
import httpx
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import path

from tests.benchmarks.wire import CHAT_PATH, PROVIDER_KEY

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None,
)
django.setup()

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=1024, keepalive_expiry=60)
client = httpx.AsyncClient(base_url=os.environ["BENCHMARK_UPSTREAM"], timeout=600, limits=LIMITS)


async def chat(request: HttpRequest) -> HttpResponseBase:
    """Ask the upstream, and give its answer back."""
    wants_stream = json.loads(request.body).get("stream")
    headers = {"content-type": "application/json", "authorization": f"Bearer {PROVIDER_KEY}"}
    upstream_request = client.build_request("POST", request.path, content=request.body, headers=headers)
    response = await client.send(upstream_request, stream=bool(wants_stream))
    content_type = response.headers.get("content-type")
    if wants_stream:
        return StreamingHttpResponse(_pieces(response), status=response.status_code, content_type=content_type)
    return HttpResponse(response.content, status=response.status_code, content_type=content_type)


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    finally:
        await response.aclose()


async def health(request: HttpRequest) -> HttpResponse:
    """Answer at once: how long that takes shows how long the event loop was busy."""
    return HttpResponse(b'{"status":"healthy"}', content_type="application/json")


urlpatterns = [path(CHAT_PATH[1:], chat), path("health", health)]
application = get_asgi_application()
