"""What models cost, where nobody entered it: the data of `genai-prices`, an extra, in our terms.

The package has the published prices of 46 providers with their history, long contexts, service tiers and fees. It takes
half a second to a second to import, which no call waits for: whoever watches the configuration calls `load` in a thread
before the first call is served. A call that comes earlier, on an event loop, finds no price.

Not everything has a counterpart here. Left out are prices for what providers do not tell apart in their answers, or
call differently (cached audio, video, citations), and the ten seconds that Groq's Whisper charges at least. A provider
that resells others' models (`fallback_model_providers`: Azure OpenAI's) has their standard prices, not their service
tiers, as in the package.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ai_gateway.model_names import names_of
from ai_gateway.pricing import Quote, read_price

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider, StartDateConstraint, TimeOfDateConstraint

logger = logging.getLogger("ai_gateway")

INSTALL = "pip install 'django-ai-gateway[prices]'"

PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "azure": "azure",
    "bedrock": "aws",
    "groq": "groq",
    "fireworks": "fireworks",
    "together": "together",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "cohere": "cohere",
    "cerebras": "cerebras",
    "moonshot": "moonshotai",
    "zai": "zai",
}
"""The package's names of providers, by the names of our catalogue's rows. The others are not in it."""

HUGGING_FACE = "huggingface"
"""Its models are priced by who serves them, which a name may say: `openai/gpt-oss-120b:groq`."""

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


class Listing(NamedTuple):
    """A price of the catalogue as a site would write it, and the span in which it holds, in seconds since 1970."""

    columns: Mapping[str, Any]
    since: float
    until: float


class GenAIPrices:
    """The data of `genai-prices`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._data: Callable[[], DataSnapshot] | None = None
        self._is_missing = False
        self._loader: threading.Thread | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Import the package and its data, once. If it is not installed nothing is known."""
        with self._lock:
            if self._data is not None or self._is_missing:
                return
            try:
                from genai_prices.data_snapshot import get_snapshot

                get_snapshot()
            except ImportError as error:
                self._is_missing = True
                logger.info("Only prices that were entered are known (%s). For a catalogue: %s", error, INSTALL)
            else:
                self._data = get_snapshot

    @property
    def is_missing(self) -> bool:
        """Whether the package is not installed. Loads it."""
        self.load()
        return self._is_missing

    def quote(self, row: str, model: str, at: float) -> Quote:
        """See `pricing.Catalogue`."""
        if row not in PROVIDERS and row != HUGGING_FACE:
            return Quote(None)
        if self._data is None and not self._is_missing:
            if is_on_event_loop():
                self._load_elsewhere()
                return Quote(None, at, at)
            self.load()
        listing = self.listing(row, model, at)
        if listing is None:
            return Quote(None)
        return Quote(read_price(listing.columns), listing.since, listing.until)

    def _load_elsewhere(self) -> None:
        with self._lock:
            if self._loader is None:
                self._loader = threading.Thread(target=self.load, name="ai-gateway-prices", daemon=True)
                self._loader.start()

    def listing(self, row: str, model: str, at: float) -> Listing | None:
        """Give the price of a model at a time. None if the package does not know it. It must have been loaded."""
        if self._data is None:
            return None
        found = _find(self._data(), row, model)
        if found is None:
            return None
        info, has_tiers = found
        moment = datetime.fromtimestamp(at, UTC)
        columns = columns_of(info, moment, has_tiers=has_tiers)
        return Listing(columns, *_span(info, moment)) if columns else None

    def models(self, row: str) -> list[str]:
        """Name the models of a provider, each by a name that finds it. It must have been loaded."""
        provider = _provider(self._data(), PROVIDERS.get(row, "")) if self._data is not None else None
        if provider is None:
            return []
        named = ((model, (model.id, *_literals(model.match))) for model in provider.models)
        found = (next((name for name in names if provider.find_model(name) is model), None) for model, names in named)
        return [name for name in found if name is not None]


def _literals(match: Any) -> Iterator[str]:
    """Give the texts that a model's names are compared with."""
    for name in ("equals", "starts_with"):
        if hasattr(match, name):
            yield getattr(match, name)
    for name in ("or_", "and_"):
        for clause in getattr(match, name, ()):
            yield from _literals(clause)


def is_on_event_loop() -> bool:
    """Whether this thread runs one, which must not be held up."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _find(data: DataSnapshot, row: str, model: str) -> tuple[ModelInfo, bool] | None:
    """Find a model, and whether it is the provider's own, so that the provider's service tiers apply."""
    name = PROVIDERS.get(row, "")
    if row == HUGGING_FACE:
        model, _, server = model.partition(":")
        name = f"{HUGGING_FACE}_{server}"
    provider = _provider(data, name)
    if provider is None:
        return None
    for each in names_of(model):
        info = provider.find_model(each, all_providers=data.providers)
        if info is not None:
            return info, any(info is own for own in provider.models)
    return None


def _provider(data: DataSnapshot, name: str) -> Provider | None:
    return next((provider for provider in data.providers if provider.id == name), None)


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


def _span(info: ModelInfo, moment: datetime) -> tuple[float, float]:
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
