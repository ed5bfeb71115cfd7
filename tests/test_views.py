"""The Django door, through Django's own test client: what a downstream project's tests see."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx
from asgiref.sync import markcoroutinefunction
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings

from ai_gateway import gateway, views
from ai_gateway.calls import Reply, ReplyBody
from tests.factories import run
from tests.patience import PATIENCE

KEY = "gw_0123456789abcdefghij"
URL = "https://api.openai.com/v1/chat/completions"
OPTIONS = {
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-stored"}}},
    "KEYS": {"team": KEY},
    "TRANSPORT": {"BACKEND": "ai_gateway.transports.httpx.HttpxTransport"},
    "ALLOW_PRIVATE_UPSTREAMS": True,
    "METRICS_TOKEN": "metrics-token-0123456789",
}
CALL = {"model": "gpt-5", "messages": []}


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    with override_settings(AI_GATEWAY=OPTIONS):
        yield


def post(path: str = "/v1/chat/completions", data: Any = CALL, **headers: str) -> Any:
    headers = {"authorization": f"Bearer {KEY}", **headers}
    return run(AsyncClient().post(path, data, content_type="application/json", headers=headers))


@respx.mock
def test_respx_mocks_the_upstream() -> None:
    route = respx.post(URL).mock(return_value=httpx.Response(200, json={"id": "x"}, headers={"x-request-id": "theirs"}))
    response = post()
    assert (response.status_code, response.json()) == (200, {"id": "x"})
    assert response["x-upstream-request-id"] == "theirs"
    assert route.calls.last.request.headers["authorization"] == "Bearer sk-stored"


@respx.mock
@pytest.mark.parametrize("loop", range(3))
def test_every_event_loop_has_a_transport_of_its_own(loop: int) -> None:
    respx.post(URL).mock(return_value=httpx.Response(200, json={"loop": loop}))
    assert post().json() == {"loop": loop}


@respx.mock
def test_a_stream_comes_as_a_streaming_response() -> None:
    stream = b'data: {"choices":[]}\n\ndata: [DONE]\n\n'
    respx.post(URL).mock(
        return_value=httpx.Response(200, content=stream, headers={"content-type": "text/event-stream"})
    )

    async def main() -> bytes:
        response: Any = await AsyncClient().post(
            "/v1/chat/completions",
            {**CALL, "stream": True},
            content_type="application/json",
            headers={"authorization": f"Bearer {KEY}", "accept-encoding": "gzip"},
        )
        assert isinstance(response, StreamingHttpResponse)
        assert response["x-accel-buffering"] == "no"
        return b"".join([chunk async for chunk in response])

    assert run(main()) == stream


@respx.mock
def test_an_upstream_that_cannot_be_reached_is_a_502() -> None:
    respx.post(URL).mock(side_effect=httpx.ConnectError("refused"))
    response = post()
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_unreachable")


def test_errors_are_json_in_the_callers_dialect() -> None:
    response = post("/v1/messages", authorization="Bearer gw_wrong")
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"
    assert response["x-should-retry"] == "false"


def test_under_wsgi_it_is_not_ready() -> None:
    response = Client().get("/health/ready")
    assert response.status_code == 500
    assert b"runs under WSGI" in response.content


def test_under_wsgi_the_api_says_what_is_wrong() -> None:
    response = Client().post("/v1/chat/completions", CALL, content_type="application/json")
    assert response.status_code == 500
    assert "ASGI" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/health", "/health/"])
def test_health(path: str) -> None:
    response = run(AsyncClient().get(path))
    assert (response.status_code, response.json()["status"]) == (200, "healthy")


@pytest.mark.django_db
@pytest.mark.parametrize(("token", "status"), [("metrics-token-0123456789", 200), ("metrics-token", 403), (KEY, 403)])
def test_the_providers_are_shown_with_the_metrics_token_only(token: str, status: int) -> None:
    response = run(AsyncClient().get("/health/providers", headers={"authorization": f"Bearer {token}"}))
    assert response.status_code == status


def test_other_methods_are_refused_in_json() -> None:
    response = run(AsyncClient().post("/health"))
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/chat/completions", 401), ("/health", 200), ("/health/providers", 403)],
)
def test_a_site_that_requires_logins_leaves_the_gateway_its_own_credentials(path: str, status: int) -> None:
    middleware = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    with override_settings(MIDDLEWARE=middleware):
        response = run(AsyncClient().get(path))
    assert (response.status_code, response["content-type"]) == (status, "application/json")


class Stream(ReplyBody):
    """A stream that never ends."""

    is_broken = False

    def __init__(self) -> None:
        self.closed = 0
        self.is_closed = asyncio.Event()

    async def __anext__(self) -> bytes:
        return b"x"

    async def aclose(self) -> None:
        self.closed += 1
        self.is_closed.set()


class Slow:
    """A middleware that takes its time for a response, and leaves it be."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response: Any) -> None:
        self._get_response = markcoroutinefunction(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        response = await self._get_response(request)
        await asyncio.Event().wait()
        return response


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The body of whatever is answered."""
    body = Stream()

    async def handle(*_: Any) -> Reply:
        return Reply(status=200, headers=[], body=body)

    monkeypatch.setattr(gateway, "handle", handle)
    return body


async def hang_up() -> None:
    """Send a request, and hang up when Django has had the time to come to where it waits."""
    asked = asyncio.ensure_future(AsyncClient().post("/v1/chat/completions", CALL, content_type="application/json"))
    await asyncio.sleep(0.3)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert asked.cancelled()


def test_a_caller_that_leaves_before_the_stream_begins_closes_it(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = threading.Event()
    monkeypatch.setattr(views, "close_connections", lambda: leaving.wait(10))

    async def main() -> None:
        await hang_up()
        leaving.set()

    run(main())
    assert stream.closed == 1


def test_a_caller_that_leaves_while_a_middleware_has_the_response_closes_the_stream(stream: Stream) -> None:
    async def main() -> None:
        await hang_up()
        gc.collect()
        async with asyncio.timeout(PATIENCE):
            await stream.is_closed.wait()

    with override_settings(MIDDLEWARE=[f"{__name__}.Slow"]):
        run(main())


def test_a_stream_that_was_closed_is_not_closed_again(stream: Stream) -> None:
    async def main() -> None:
        response: Any = await AsyncClient().post("/v1/chat/completions", CALL, content_type="application/json")
        parts = aiter(response)
        assert await anext(parts) == b"x"
        await parts.aclose()
        del response, parts
        gc.collect()
        await asyncio.sleep(0.01)

    run(main())
    assert stream.closed == 1


def test_what_nobody_has_when_the_loop_is_over_is_no_error(stream: Stream) -> None:
    async def main() -> views.LeftBody:
        return views.LeftBody(stream)

    left = run(main())
    del left
    gc.collect()
    assert stream.closed == 0
