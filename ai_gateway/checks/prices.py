"""Checks of PRICES, and of what REQUIRE_PRICE asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register

from ai_gateway.checks.providers import known_aliases
from ai_gateway.checks.settings import TAG, is_sound, suggestion
from ai_gateway.checks.values import is_text
from ai_gateway.conf import settings
from ai_gateway.price_catalogue import INSTALL
from ai_gateway.pricing import read_price

NAMES = ("provider", "model")
"""The members of an entry that say what it is for. All others are the price."""


@register(TAG)
def check_prices(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check every entry of PRICES."""
    if not is_sound("PRICES"):
        return []
    return [message for number, entry in enumerate(settings.PRICES) for message in _check_entry(number, entry)]


def _check_entry(number: int, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    where = f'AI_GATEWAY["PRICES"][{number}]'
    try:
        for name in NAMES:
            if not is_text(entry.get(name, "*" if name == "provider" else None)):
                raise ValueError(f'"{name}" must be a name, with * for anything.')
        read_price({name: value for name, value in entry.items() if name not in NAMES})
    except ValueError as error:
        yield Error(
            f"{where} is no price. {error}",
            hint='Write dollars for a million tokens: {"provider": "groq", "model": "qwen*", "input": 1, "output": 4}. '
            "docs/prices.md has everything that a price may say.",
            id="ai_gateway.E052",
        )
        return
    provider = str(entry.get("provider", "*")).lower()
    if "*" not in provider and provider not in known_aliases():
        yield Warning(
            f"{where} is for an unknown provider: {provider!r}.",
            hint=f"{suggestion(provider, known_aliases())} If it is in the database, silence this check.",
            id="ai_gateway.W053",
        )


@register(TAG)
def check_catalogue(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that not every call is refused for want of a price."""
    if not is_sound("REQUIRE_PRICE") or settings.REQUIRE_PRICE != "always" or find_spec("genai_prices") is not None:
        return []
    return [
        Warning(
            'AI_GATEWAY["REQUIRE_PRICE"] is "always", and there is no catalogue of prices: only models whose price was '
            "entered here can be called.",
            hint=f"Run: {INSTALL}. If all prices are entered by hand, silence this check.",
            id="ai_gateway.W054",
        )
    ]
