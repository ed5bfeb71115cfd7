"""Two processes see the same, and one of them tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.alerts.receiver import Receiver
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import Upstream
from tests.wire.samples import BEARER, CHAT, CHAT_PATH


def test_of_two_processes_one_sends_the_alert(
    gateway_processes: Callable[..., GatewayProcess], upstream: Upstream
) -> None:
    receiver = Receiver()
    settings = {"ALERTS": {"webhooks": [{"url": receiver.url, "secret": "s"}], "events": ["unknown_price"]}}
    try:
        for seconds in (0.05, 0.06):
            process = gateway_processes("direct", {**settings, "USAGE_INTERVAL": seconds}, {})
            for model in ("never-priced", f"never-priced-{seconds}"):
                raw = RawClient(process.port)
                assert raw.post(CHAT_PATH, {**CHAT, "model": f"openai/{model}"}, [BEARER]).status == 200
        told = "all were told of"
        upstream.wait_for(told, lambda: len(receiver.requests) >= 3)
        subjects = sorted(json.loads(body)["data"]["subject"] for _, body in receiver.requests)
        assert subjects == ["openai/never-priced", "openai/never-priced-0.05", "openai/never-priced-0.06"]
        assert all("webhook-signature" in headers for headers, _ in receiver.requests)
    finally:
        receiver.stop()
