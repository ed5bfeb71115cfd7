"""Checks of the site's own prices."""

from __future__ import annotations

from typing import Any

import pytest

from tests.checks.site import Site


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"input": 1}, '"model" must be a name'),
        ({"model": "m", "provider": 1, "input": 1}, '"provider" must be a name'),
        ({"model": "m"}, "write 0 for what is free"),
        ({"model": "m", "inptu": 1}, "'inptu'"),
        ({"model": "m", "input": -1}, "input must be 0 or more dollars"),
        ({"model": "m", "tiers": [{"input": 1}]}, '"above" must be a number of tokens'),
    ],
)
def test_a_price_that_says_nothing(site: Site, entry: dict[str, Any], what: str) -> None:
    site.gateway(PRICES=[{"model": "*", "input": 0}, entry])
    (message,) = site.messages()
    assert site.ids() == {"E052"}
    assert 'AI_GATEWAY["PRICES"][1]' in message.msg
    assert what in message.msg


def test_a_price_for_an_unknown_provider(site: Site) -> None:
    site.gateway(PRICES=[{"provider": "opnai", "model": "*", "input": 0}])
    assert site.ids() == {"W053"}
    assert '"openai"' in site.hint()


def test_a_price_is_required_and_nothing_knows_any(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.gateway(REQUIRE_PRICE="always")
    assert site.ids() == set()
    monkeypatch.setattr("ai_gateway.checks.prices.find_spec", lambda name: None)
    assert site.ids() == {"W054"}
    assert "django-ai-gateway[prices]" in site.hint()
