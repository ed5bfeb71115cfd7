"""Checks of what is to be kept of bodies."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway import crypto
from tests.checks.site import Site


@pytest.mark.parametrize(
    "value", [{}, {"keys": ["*"], "percent": 0.5, "headers": True, "redact": "json.dumps", "max_bytes": 1}]
)
def test_bodies_that_are_kept(site: Site, value: Any) -> None:
    site.gateway(BODY_LOGGING=value, ENCRYPTION_KEYS=[crypto.generate_key()])
    assert site.ids() == set()


def test_bodies_that_are_kept_for_ever(site: Site) -> None:
    site.gateway(BODY_LOGGING={"retention_days": None}, ENCRYPTION_KEYS=[crypto.generate_key()])
    assert site.ids() == {"W135"}


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"ENCRYPTION_KEYS": ["env:NOT_THERE"]}, "no key to encrypt"),
        ({"BODY_LOGGING": {"redact": "no.such.function"}}, "no.such.function"),
        ({"USAGE": False}, '"USAGE"'),
    ],
)
def test_bodies_that_are_not_kept_although_they_are_wanted(site: Site, others: Any, reason: str) -> None:
    site.gateway(**{"BODY_LOGGING": {}, "ENCRYPTION_KEYS": [crypto.generate_key()], **others})
    assert "W136" in site.ids()
    assert any(reason in message.msg for message in site.messages())
