"""LiteLLM's list of prices, `model_prices_and_context_window.json`, in our terms.

Its entries are by model, with the provider in front where it resells, and in `litellm_provider`. Prices are dollars a
token, in floating point: what a price can hold of them, a millionth of a dollar for a million tokens, is more than they
mean. A figure in a name (`input_cost_per_token_above_200k_tokens`) is a long context, a word at its end
(`_batches`, `_flex`, `_priority`) a service tier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from ai_gateway.model_names import names_of

PREFIXES = {
    "gemini": ("gemini", "vertex_ai-language-models"),
    "bedrock": ("bedrock", "bedrock_converse"),
    "fireworks": ("fireworks_ai", "fireworks_ai-embedding-models"),
    "together": ("together_ai",),
    "cohere": ("cohere", "cohere_chat"),
    "nvidia": ("nvidia_nim",),
    "qwen": ("dashscope",),
}
"""LiteLLM's names of providers by ours, where they differ."""

TOKENS = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}
PIECES = {
    "output_cost_per_image": "images",
    "input_cost_per_second": "audio_seconds",
    "input_cost_per_character": "characters",
    "input_cost_per_query": "searches",
    "ocr_cost_per_page": "pages",
}
SEARCHES, USUAL_SIZE = "search_context_cost_per_query", "search_context_size_medium"
"""A member with what a search of the web costs by how much is read of what it found, and the size that is usual."""

SERVICE_TIERS = {"_batches": "batch", "_flex": "flex", "_priority": "priority"}

LONG = re.compile(r"(.+)_above_(\d+)k_tokens")
STEP, PIECE = Decimal("0.000001"), Decimal("0.000000000001")


class LiteLLMPrices:
    """The prices of one such file."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Raises ValueError if it is another kind of file."""
        self._entries: dict[tuple[str, str], Mapping[str, Any]] = {}
        for name, entry in document.items():
            provider = entry.get("litellm_provider") if isinstance(entry, Mapping) else None
            if isinstance(provider, str) and name != "sample_spec":
                model = name.lower().removeprefix(f"{provider}/".lower())
                self._entries.setdefault((provider, model), entry)
        if not self._entries:
            raise ValueError("It holds no prices of LiteLLM: entries by model, each with litellm_provider.")

    def columns(self, row: str, model: str) -> dict[str, Any] | None:
        """Give the price of a model as `AI_GATEWAY["PRICES"]` would write it, by our name of its provider. None if it
        is not in the file, or has no price there."""
        for name in names_of(model):
            for provider in PREFIXES.get(row, (row,)):
                entry = self._entries.get((provider, name))
                if entry is not None:
                    return columns_of(entry) or None
        return None

    def models(self, row: str) -> list[str]:
        """Name the models of a provider that have a price."""
        ours = PREFIXES.get(row, (row,))
        return [model for (provider, model), entry in self._entries.items() if provider in ours and columns_of(entry)]


def columns_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Write an entry as a price. Empty if it has none."""
    columns: dict[str, Any] = {}
    for key, value in entry.items():
        amount = _amount(value)
        if amount is None:
            continue
        name, target = key, columns
        suffix = next((suffix for suffix in SERVICE_TIERS if name.endswith(suffix)), None)
        if suffix is not None:
            name = name.removesuffix(suffix)
            target = columns.setdefault("service_tiers", {}).setdefault(SERVICE_TIERS[suffix], {})
        _put(target, name, amount)
    if columns:
        _put_searches(columns, entry.get(SEARCHES))
    return _tidy(columns)


def _put(columns: dict[str, Any], name: str, amount: Decimal) -> None:
    long = LONG.fullmatch(name)
    if name in TOKENS:
        columns[TOKENS[name]] = _per_million(amount)
    elif name in PIECES:
        columns.setdefault("units", {})[PIECES[name]] = amount.quantize(PIECE, ROUND_HALF_UP).normalize()
    elif long is not None and long[1] in TOKENS:
        columns.setdefault("tiers", {}).setdefault(int(long[2]) * 1000, {})[TOKENS[long[1]]] = _per_million(amount)


def _put_searches(columns: dict[str, Any], costs: object) -> None:
    amount = _amount(costs.get(USUAL_SIZE)) if isinstance(costs, Mapping) else None
    if amount is not None:
        columns.setdefault("units", {}).setdefault("searches", amount.quantize(PIECE, ROUND_HALF_UP).normalize())


def _tidy(columns: dict[str, Any]) -> dict[str, Any]:
    """Write long contexts as a list, and leave out service tiers of which nothing is known."""
    if "tiers" in columns:
        columns["tiers"] = [{"above": above, **prices} for above, prices in sorted(columns["tiers"].items())]
    if "service_tiers" in columns:
        tiers = {name: _tidy(prices) for name, prices in columns.pop("service_tiers").items() if prices}
        if tiers and columns:
            columns["service_tiers"] = tiers
    return columns


def _per_million(amount: Decimal) -> Decimal:
    return (amount * 10**6).quantize(STEP, ROUND_HALF_UP).normalize()


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
