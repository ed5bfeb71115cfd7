"""What models cost, where nobody entered it: the data of `genai-prices`, an extra, in our terms.

The package has the published prices of providers with their history, long contexts, service tiers and fees. It takes
half a second to a second to import, which no call waits for: whoever watches the configuration calls `load` in a thread
before the first call is served. A call that comes earlier, on an event loop, finds no price.

A provider that resells others' models (`fallback_model_providers`: Azure OpenAI's) has their standard prices, not their
service tiers, as in the package.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ai_gateway.model_names import names_of
from ai_gateway.pricing import Quote, read_price
from ai_gateway.published_prices import columns_of, literals, span

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

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


class Listing(NamedTuple):
    """A price of the catalogue as a site would write it, and the span in which it holds, in seconds since 1970."""

    columns: Mapping[str, Any]
    since: float
    until: float


_loading = threading.RLock()
# A process forked amid the import could never import the package: Python's lock for it would stay taken.
os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


class GenAIPrices:
    """The data of `genai-prices`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._data: Callable[[], DataSnapshot] | None = None
        self._is_missing = False
        self._loader: threading.Thread | None = None

    def load(self) -> None:
        """Import the package and its data, once. If it is not installed, or broken, nothing is known."""
        with _loading:
            if self._data is not None or self._is_missing:
                return
            try:
                from genai_prices.data_snapshot import get_snapshot

                get_snapshot()
            except ImportError as error:
                self._is_missing = True
                logger.info("Only prices that were entered are known (%s). For a catalogue: %s", error, INSTALL)
            except Exception:
                self._is_missing = True
                logger.exception("The catalogue of prices is broken: only prices that were entered are known")
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
        try:
            listing = self.listing(row, model, at)
            return Quote(None) if listing is None else Quote(read_price(listing.columns), listing.since, listing.until)
        except Exception:
            # A release of the package that is other than we know it costs a price, not the account of a call.
            logger.exception("The catalogue's price of %s/%s cannot be read", row, model)
            return Quote(None)

    def _load_elsewhere(self) -> None:
        if self._loader is not None and self._loader.is_alive():
            return
        self._loader = threading.Thread(target=self.load, name="ai-gateway-prices", daemon=True)
        with suppress(RuntimeError):  # There is no thread to be had: the next call tries it again.
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
        return Listing(columns, *span(info, moment)) if columns else None

    def models(self, row: str) -> list[str]:
        """Name the models of a provider, each by a name that finds it. It must have been loaded."""
        provider = _provider(self._data(), PROVIDERS.get(row, "")) if self._data is not None else None
        if provider is None:
            return []
        named = ((model, (model.id, *literals(model.match))) for model in provider.models)
        found = (next((name for name in names if provider.find_model(name) is model), None) for model, names in named)
        return [name for name in found if name is not None]


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
