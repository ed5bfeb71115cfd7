"""An entry of `genai-prices`, written as a site would write the price, and the span in which it holds.

Not everything has a counterpart here. Left out are prices for what providers do not tell apart in their answers, or
call differently (cached audio, video, citations), and the ten seconds that Groq's Whisper charges at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, StartDateConstraint, TimeOfDateConstraint

TOKENS = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
}
"""Our buckets by the package's names of prices for a million tokens."""

PIECES = {
    "audio_hours": ("audio_seconds", 3600),
    "input_audio_hours": ("audio_seconds", 3600),
    "input_mchars": ("characters", 10**6),
    "input_document_kpages": ("pages", 1000),
    "web_searches_kcount": ("searches", 1000),
    "rerank_searches_kcount": ("searches", 1000),
    "storage_searches_kcount": ("file_searches", 1000),
}
"""Our units by the package's names of other prices, and for how many of them those are."""

SERVICE_TIERS: dict[str, dict[str, str]] = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
"""The package's context of a call by our name of its service tier. The last one is OpenAI's, and Anthropic's speed."""

MICRO, PICO = Decimal("0.000001"), Decimal("0.000000000001")


def columns_of(info: ModelInfo, moment: datetime, *, has_tiers: bool = True) -> dict[str, Any]:
    """Write a model's price at a moment as `AI_GATEWAY["PRICES"]` would. Empty if nothing of it is known."""
    standard = info.get_prices(moment).__dict__
    columns = _columns(standard)
    if not columns or not has_tiers:
        return columns
    service_tiers = {}
    for name, context in SERVICE_TIERS.items():
        prices = info.get_prices(moment, context).__dict__
        changed = _columns({key: price for key, price in prices.items() if price != standard.get(key)})
        if changed:
            service_tiers[name] = changed
    return {**columns, "service_tiers": service_tiers} if service_tiers else columns


def _columns(prices: Mapping[str, Any]) -> dict[str, Any]:
    return {**_token_columns(prices), **_other_columns(prices)}


def _token_columns(prices: Mapping[str, Any]) -> dict[str, Any]:
    """Write the prices of tokens, those of long contexts below "tiers"."""
    columns: dict[str, Any] = {}
    tiers: dict[int, dict[str, Any]] = {}
    for key, bucket in TOKENS.items():
        price = prices.get(key)
        if price is None:
            continue
        columns[bucket] = _rounded(price if isinstance(price, Decimal) else price.base, MICRO)
        for tier in () if isinstance(price, Decimal) else price.tiers:
            tiers.setdefault(tier.start, {})[bucket] = _rounded(tier.price, MICRO)
    if tiers:
        columns["tiers"] = [{"above": above, **tiers[above]} for above in sorted(tiers)]
    return columns


def _other_columns(prices: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    fee = prices.get("requests_kcount")
    if fee is not None:
        columns["request"] = _rounded(fee / 1000, PICO)
    pieces = {
        unit: _rounded(prices[key] / number, PICO)
        for key, (unit, number) in PIECES.items()
        if prices.get(key) is not None
    }
    return {**columns, "units": pieces} if pieces else columns


def _rounded(amount: Decimal, step: Decimal) -> Decimal:
    """Round to what a price can hold. Some of the data were computed in floating point."""
    return amount.quantize(step, ROUND_HALF_UP).normalize()


def span(info: ModelInfo, moment: datetime) -> tuple[float, float]:
    """Tell since when and until when a model's prices are those of this moment."""
    at = moment.timestamp()
    changes = [change.timestamp() for change in _changes(info, moment)]
    return (
        max((change for change in changes if change <= at), default=-inf),
        min((change for change in changes if change > at), default=inf),
    )


def _changes(info: ModelInfo, moment: datetime) -> Iterator[datetime]:
    """Give the moments around this one at which a price begins or ends to hold."""
    conditions: Iterable[Any] = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    for condition in conditions:
        constraint: StartDateConstraint | TimeOfDateConstraint | None = condition.constraint
        if constraint is None:
            continue
        start = getattr(constraint, "start_date", None)
        if start is not None:
            yield datetime.combine(start, time(), UTC)
            continue
        for hour in (constraint.start_time, constraint.end_time):  # type: ignore[union-attr]
            for days in (-1, 0, 1):
                yield datetime.combine(moment.date() + timedelta(days), hour, hour.tzinfo or UTC)


def literals(match: Any) -> Iterator[str]:
    """Give the texts that a model's names are compared with."""
    for name in ("equals", "starts_with"):
        if hasattr(match, name):
            yield getattr(match, name)
    for name in ("or_", "and_"):
        for clause in getattr(match, name, ()):
            yield from literals(clause)
