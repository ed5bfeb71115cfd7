"""Realtime sessions of a gateway that reaches its providers through an outbound proxy, and in no other way."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import GATEWAY_KEY, StartGateway, default_settings
from tests.outbound_proxy import OutboundProxy
from tests.realtime_upstream import RealtimeUpstream
from tests.upstream import Upstream

PATIENCE = 20.0
SECRET = "sk-stored-realtime"
BEARER = ("Authorization", f"Bearer {GATEWAY_KEY}")
USER, PASSWORD = "ann", "secret"


@pytest.fixture
def provider() -> Iterator[RealtimeUpstream]:
    """A provider of sessions."""
    provider = RealtimeUpstream()
    yield provider
    provider.stop()


@pytest.fixture
def proxy() -> Iterator[OutboundProxy]:
    """The only one who knows where the provider is."""
    proxy = OutboundProxy(USER, PASSWORD)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("door", ["direct"], indirect=True)
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_session_goes_through_the_outbound_proxy(
    start_gateway: StartGateway, scheme: str, proxy: OutboundProxy, provider: RealtimeUpstream, upstream: Upstream
) -> None:
    settings = default_settings(upstream)
    hidden = {"base_url": f"http://voice.test:{provider.port}/v1", "api_key": SECRET}
    settings["PROVIDERS"]["hidden"] = {"BACKEND": "openai", "OPTIONS": hidden}
    options = {"proxy": f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"}
    settings["TRANSPORT"] = {"BACKEND": "ai_gateway.transports.httpx.HttpxTransport", "OPTIONS": options}
    url = f"ws://127.0.0.1:{start_gateway(**settings).port}/v1/realtime?model=hidden/gpt-realtime"
    with connect(url, additional_headers=[BEARER], compression=None) as session:
        session.send("hello")
        assert provider.messages.get(timeout=PATIENCE) == "hello"
    [handshake] = provider.handshakes
    assert handshake.headers["Authorization"] == f"Bearer {SECRET}"
    assert "Proxy-Authorization" not in handshake.headers
    assert proxy.asked == [f"voice.test:{provider.port}"]
    proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n" if scheme == "http" else b"\x05\x02\x00\x01" + bytes(6)
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers=[BEARER])
    error = json.loads(refused.value.response.body)["error"]
    assert (refused.value.response.status_code, error["code"]) == (502, "upstream_unreachable")
    assert "proxy" in error["message"]
    assert PASSWORD not in error["message"]
