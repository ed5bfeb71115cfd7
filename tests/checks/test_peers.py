"""Checks of the Redis that processes tell each other over."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.checks.site import Site


@pytest.mark.parametrize(
    "peers",
    [
        {"URL": "redis://localhost:port"},
        {"URL": "redis://localhost", "OPTIONS": {"timeout": "soon"}},
        {"URL": "redis://localhost", "OPTIONS": {"url": "redis://localhost"}},
    ],
)
def test_peers_over_a_redis_that_cannot_be(site: Site, peers: dict[str, Any]) -> None:
    site.gateway(PEERS=peers)
    assert site.ids() == {"E122"}


def test_peers_without_the_package(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.gateway(PEERS={"URL": "redis://localhost"})
    assert site.ids() == set()
    monkeypatch.setitem(sys.modules, "ai_gateway.peers.redis", None)
    assert site.ids() == {"E123"}
    assert "[redis]" in site.hint()
