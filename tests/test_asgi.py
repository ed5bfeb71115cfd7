"""The direct door as an ASGI application: what is the gateway's, what is the site's, and how a request ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import gateway
from ai_gateway.asgi import GatewayApplication
from ai_gateway.errors import Draining
from ai_gateway.guard import Watch
from ai_gateway.lifespan import WATCH

Messages = list[dict[str, Any]]
SETTINGS = {"PROVIDERS": {"echo": {}}, "KEYS": {"team": "gw_a-key-of-the-settings"}}


async def site(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Stand where Django would."""
    await send({"type": "the site's", "path": scope["path"]})


def scope_of(path: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer gw_a-key-of-the-settings")],
        "http_version": "1.1",
        **more,
    }


def asked(path: str, *incoming: dict[str, Any], site: Callable[..., Any] = site, **more: Any) -> Messages:
    """Make a request, and give what the application sent."""

    async def main() -> Messages:
        sent: Messages = []
        coming = list(incoming)

        async def receive() -> dict[str, Any]:
            if coming:
                return coming.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        await GatewayApplication(site)(scope_of(path, **more), receive, send)
        await gateway.close(asyncio.get_running_loop())
        return sent

    return asyncio.run(main())


def is_of_the_site(sent: Messages) -> bool:
    return bool(sent[0]["type"] == "the site's")


def body_of(sent: Messages) -> Any:
    return json.loads(b"".join(message.get("body", b"") for message in sent))


@override_settings(AI_GATEWAY={**SETTINGS, "PREFIX": "/ai"})
def test_a_gateway_with_a_prefix_has_what_is_below_it_and_nothing_else() -> None:
    assert asked("/ai/health")[0]["status"] == 200
    assert [model["id"] for model in body_of(asked("/ai/v1/models"))["data"]] == ["echo/echo-1"]
    for path in ("/health", "/v1/models", "/aim/v1/models", "/ai", "/ai/"):
        assert is_of_the_site(asked(path)), path


@override_settings(AI_GATEWAY={**SETTINGS, "PREFIX": "/ai"})
def test_the_end_of_a_path_that_was_encoded_is_not_taken_for_another() -> None:
    assert body_of(asked("/ai/v1/models", raw_path=b"/%61i/v1/models"))["object"] == "list"
    found = asked("/ai/v1/files/a/b", raw_path=b"/ai/v1/files/a%2Fb")
    assert found[0]["status"] == 404


@pytest.mark.parametrize(
    ("prefix", "root", "path"),
    [
        ("", "/ai", "/ai/v1/models"),
        ("/x", "/ai", "/ai/x/v1/models"),
        ("/ai", "/ai", "/ai/v1/models"),
        ("", "/ai", "/v1/models"),
    ],
)
def test_a_path_may_begin_with_where_the_server_is_mounted(prefix: str, root: str, path: str) -> None:
    with override_settings(AI_GATEWAY={**SETTINGS, "PREFIX": prefix}):
        assert body_of(asked(path, root_path=root))["object"] == "list"
        refused = asked(f"{path}/a/../b", root_path=root, raw_path=f"{path}/a/%2e%2e/b".encode())
        assert refused[0]["status"] == 404
        assert is_of_the_site(asked(f"{root}/page", root_path=root))
        assert is_of_the_site(asked(f"{root}m{path}", root_path=root))


@pytest.mark.parametrize("is_direct", [True, False])
def test_a_websocket_where_http_is_spoken_is_closed_at_once(is_direct: bool) -> None:
    with override_settings(AI_GATEWAY={**SETTINGS, "DIRECT_DOOR": is_direct}):
        (closed,) = asked("/v1/responses", {"type": "websocket.connect"}, type="websocket")
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


@override_settings(AI_GATEWAY=SETTINGS)
def test_a_websocket_at_a_path_of_the_sites_is_the_sites() -> None:
    assert is_of_the_site(asked("/chat", {"type": "websocket.connect"}, type="websocket"))


@override_settings(AI_GATEWAY={**SETTINGS, "DIRECT_DOOR": False})
def test_a_session_at_a_site_whose_calls_go_through_django_is_refused() -> None:
    answers: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}
    sent = asked("/v1/realtime", {"type": "websocket.connect"}, type="websocket", subprotocols=[], **answers)
    assert sent[0]["status"] >= 400
    assert "DIRECT_DOOR" in body_of(sent)["error"]["message"]


@pytest.mark.parametrize("who", ["the process stops", "the server cancels"])
def test_a_call_that_is_ended_from_outside_is_answered_if_the_gateway_did_it(
    who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    async def main() -> Messages:
        sent: Messages = []

        async def send(message: Any) -> None:
            sent.append(message)

        watch = Watch(asyncio.get_running_loop())
        serving = asyncio.ensure_future(
            GatewayApplication(site)(scope_of("/v1/models", state={WATCH: watch}), never, send)
        )
        await asyncio.sleep(0)
        if who == "the process stops":
            watch.end_calls(Draining("Stopping."))
            await serving
        else:
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
        return sent

    monkeypatch.setattr(gateway, "handle", never)
    with override_settings(AI_GATEWAY=SETTINGS):
        sent = asyncio.run(main())
    assert [message.get("status") for message in sent] == ([503, None] if who == "the process stops" else [])
