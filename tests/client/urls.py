"""Views of a site that call the gateway."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

from ai_gateway.client import async_client, sync_client
from tests.control.rows import make_user

CHAT = "/v1/chat/completions"
ASKED = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}


def ask(request: HttpRequest) -> HttpResponse:
    """A synchronous view, whose user exists in its transaction only."""
    with sync_client(user=make_user("new")) as client:
        return HttpResponse(client.post(CHAT, json=ASKED).content)


def tell(request: HttpRequest) -> StreamingHttpResponse:
    """A synchronous view that passes a stream on."""
    client = sync_client(user=request.user)
    response = client.send(client.build_request("POST", CHAT, json={**ASKED, "stream": True}), stream=True)
    return StreamingHttpResponse(response.iter_bytes())


async def ask_on_the_loop(request: HttpRequest) -> HttpResponse:
    """An asynchronous view."""
    async with async_client(user=await request.auser()) as client:
        return HttpResponse((await client.post(CHAT, json=ASKED)).content)


urlpatterns = [
    path("ask/", ask),
    path("tell/", tell),
    path("ask-on-the-loop/", ask_on_the_loop),
    path("", include("ai_gateway.urls")),
]
