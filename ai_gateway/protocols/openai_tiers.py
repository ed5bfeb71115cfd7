"""OpenAI's words for how a request is served (`service_tier`), the same in all of its formats."""

from __future__ import annotations

TIERS = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))
"""The words that its clients know."""

WORDS = {tier: tier for tier in TIERS} | {"standard": "default", "standard_only": "default"}
"""OpenAI's word for a tier, by its own and others' words."""
