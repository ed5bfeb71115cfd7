"""The catalogue of prices, held against the package that it is made of: for every model of every provider we know."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Provider

from ai_gateway.consumption import Consumption
from ai_gateway.price_catalogue import PIECES, PROVIDERS, SERVICE_TIERS, GenAIPrices
from ai_gateway.protocols.conversation import TokenUsage

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
"""A moment at which the history of the package is known."""

MOMENTS = (
    NOW,
    datetime(2026, 11, 28, 3, 30, tzinfo=UTC).timestamp(),  # DeepSeek's and others' hours.
    datetime(2026, 10, 12, tzinfo=UTC).timestamp(),
    datetime(2026, 3, 1, tzinfo=UTC).timestamp(),
    datetime(2025, 2, 8, 23, 59, 59, tzinfo=UTC).timestamp(),
)


@pytest.fixture(scope="module")
def catalogue() -> GenAIPrices:
    loaded = GenAIPrices()
    loaded.load()
    return loaded


def provider_of(row: str) -> Provider:
    return next(provider for provider in get_snapshot().providers if provider.id == PROVIDERS[row])


def some_tokens(chance: random.Random) -> TokenUsage:
    """Tokens in buckets that the package counts the same way: what has no bucket there is charged as its kind."""
    most = chance.choice((50, 5_000, 150_000, 300_000))

    def count() -> int:
        return chance.choice((0, chance.randrange(most)))

    return TokenUsage(
        input=count(),
        cache_read=count(),
        cache_write=count(),
        cache_write_1h=count(),
        output=count(),
        reasoning=count(),
        input_audio=count(),
        input_image=count(),
        output_audio=count(),
        output_image=count(),
    )


def theirs(tokens: TokenUsage, units: dict[str, int]) -> genai_prices.Usage:
    """Write tokens as the package wants them: each sum with all its parts."""
    return genai_prices.Usage(
        input_tokens=tokens.total_input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.total_output,
        output_reasoning_tokens=tokens.reasoning,
        input_audio_tokens=tokens.input_audio,
        input_image_tokens=tokens.input_image,
        output_audio_tokens=tokens.output_audio,
        output_image_tokens=tokens.output_image,
        input_video_tokens=0,
        output_video_tokens=0,
        output_citation_tokens=0,
        cache_audio_read_tokens=0,
        cache_image_read_tokens=0,
        audio_seconds=units.get("audio_seconds", 0),
        input_audio_seconds=units.get("audio_seconds", 0),
        input_characters=units.get("characters", 0),
        input_document_pages=units.get("pages", 0),
        input_annotated_document_pages=0,
        web_searches=units.get("searches", 0),
        storage_searches=units.get("file_searches", 0),
    )


def some_units(chance: random.Random) -> dict[str, int]:
    names = sorted({unit for unit, _ in PIECES.values()})
    return {name: chance.randrange(10, 4000) for name in names if chance.random() < 0.5}


@pytest.mark.parametrize("row", PROVIDERS)
@pytest.mark.parametrize("at", MOMENTS, ids=lambda at: datetime.fromtimestamp(at, UTC).isoformat())
def test_every_model_costs_what_the_package_says(catalogue: GenAIPrices, row: str, at: float) -> None:
    chance = random.Random(f"{row} {at}")
    moment = datetime.fromtimestamp(at, UTC)
    provider = provider_of(row)
    priced = 0
    for name in catalogue.models(row):
        model = provider.find_model(name)
        assert model is not None
        price = catalogue.quote(row, name, at).price
        for tier, context in (("", dict[str, str]()), *SERVICE_TIERS.items()):
            tokens, units = some_tokens(chance), some_units(chance)
            expected = model.calc_price(
                theirs(tokens, units), provider, genai_request_timestamp=moment, price_context=context
            ).total_price
            if price is None:
                assert expected == 0, model.id
                continue
            priced += 1
            ours = price.cost(Consumption(tokens=tokens, units=units, service_tier=tier))
            nanos = expected * 10**9
            # Half a pico-dollar for each token or piece of which the package's price is finer than ours.
            assert abs(ours - nanos) <= Decimal("0.5") + Decimal("0.0005") * (
                tokens.total_input + sum(units.values())
            ), (
                model.id,
                tier,
                tokens,
                units,
            )
    assert priced
