"""Counters in Redis: other ways to run it, and how the settings say so."""

from __future__ import annotations

import httpx
import pytest
from django.test import override_settings

from ai_gateway import limits
from ai_gateway.limits.redis import RedisStore
from tests.conftest import GATEWAY_KEY, StartGateway
from tests.limits.charging import admits, quota, rate
from tests.limits.redis_bench import UNHURRIED, keys, new_sentinel, play, used
from tests.redis_server import RedisServer
from tests.upstream import Upstream


class TestDeployments:
    """Other ways to run Redis, and how the settings say so."""

    def test_the_settings_name_it(self, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "seed", lambda charge: 15)
        entry = {"BACKEND": "redis", "OPTIONS": {"url": server.url, "timeout": UNHURRIED}, "TIMEOUT": UNHURRIED}
        with override_settings(AI_GATEWAY={"LIMIT_STORE": entry}):
            assert play(used(limits.store(), quota(), rate())) == [15, 0]
        assert "{ai_gateway}:quota:quota:all:total" in keys(server)

    def test_a_gateway_keeps_its_limits_there(
        self, server: RedisServer, start_gateway: StartGateway, upstream: Upstream, door: str
    ) -> None:
        """Calls on one event loop under the direct door, and on one of many under Django's."""
        # What the other door's calls used is written down in the same database, and would be known here.
        model = f"of-{door}"
        of_model = {"scope": "model", "subject": model, "measure": "requests", "window": "day", "amount": 3}
        limit = {"name": "three a day", **of_model}
        gateway = start_gateway(
            LIMITS=[limit, {**limit, "name": "two at once", "measure": "concurrency", "window": "", "amount": 2}],
            LIMIT_STORE={"BACKEND": "redis", "OPTIONS": {"url": server.url, "timeout": UNHURRIED}, "TIMEOUT": 60},
        )
        headers = {"authorization": f"Bearer {GATEWAY_KEY}"}
        statuses = [
            httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": model, "messages": []}, headers=headers)
            for _ in range(4)
        ]
        assert [answer.status_code for answer in statuses] == [200, 200, 200, 429]
        assert len(upstream.requests) == 3

    def test_sentinels_are_asked_for_the_master(self, server: RedisServer) -> None:
        sentinel = new_sentinel(server)
        try:
            store = RedisStore(sentinels=[("127.0.0.1", sentinel.port)], service="limits", timeout=UNHURRIED)
            assert play(admits(store, quota(1)))
        finally:
            sentinel.remove()
        assert "{ai_gateway}:quota:quota:all:total" in keys(server)
