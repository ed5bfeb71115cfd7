"""The catalogue of prices, held against the package that it is made of: for every model of every provider we know."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Provider

from ai_gateway import refresher, registry
from ai_gateway.consumption import Consumption
from ai_gateway.price_catalogue import PROVIDERS, GenAIPrices
from ai_gateway.pricing import PriceTable, Quote
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.providers import CATALOG
from ai_gateway.published_prices import PIECES, SERVICE_TIERS
from ai_gateway.stored import Version
from tests.forking import forked
from tests.threads import none_can_start

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


@cache
def names_of_models(row: str) -> list[str]:
    loaded = GenAIPrices()
    loaded.load()
    return loaded.models(row)


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
    for name in names_of_models(row):
        model = provider.find_model(name)
        assert model is not None
        if at != NOW and not isinstance(model.prices, list) and not model.price_variants:
            continue  # Its price is the same at all times.
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
    assert priced or at != NOW


# Names, and what is not in it.


@pytest.mark.parametrize(
    ("row", "model", "dollars"),
    [
        ("openai", "gpt-5.5-2026-04-01", 5),  # The package knows the model, and not this release of it.
        ("openai", "gpt-4o-2024-05-13", 5),  # A release with a price of its own: later ones cost half of it.
        ("openai", "gpt-4o-2024-08-06", "2.5"),
        ("openai", "ft:gpt-4o-2024-08-06:org::id", "3.75"),  # Fine-tuned models cost more than their base.
        ("anthropic", "claude-opus-5-5-20260101", 4),
        ("anthropic", "claude-sonnet-4-5@20250929", 3),
        ("gemini", "models/gemini-2.5-pro", "1.25"),
        ("azure", "gpt-4o", "2.5"),
        ("bedrock", "eu.amazon.nova-lite-v1:0", "0.06"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b", "0.15"),
        ("openrouter", "anthropic/claude-sonnet-4.5", 3),
        ("openrouter", "openai/gpt-4o", "2.5"),
        ("huggingface", "openai/gpt-oss-120b:groq", "0.15"),
    ],
)
def test_a_model_is_found_by_the_name_that_it_is_served_by(
    catalogue: GenAIPrices, row: str, model: str, dollars: Any
) -> None:
    listing = catalogue.listing(row, model, NOW)
    assert listing is not None
    assert listing.columns["input"] == Decimal(dollars)


@pytest.mark.parametrize(
    ("row", "model"),
    [
        ("azure", "our-deployment"),
        ("openai", "gpt-99"),
        ("openai", "ft:gpt-99:org::id"),
        ("huggingface", "openai/gpt-oss-120b"),  # Whoever is free serves it, at a price of their own.
        ("ollama", "llama3"),
        ("custom", "gpt-4o"),
        ("", "gpt-4o"),
    ],
)
def test_what_it_does_not_know_has_no_price(catalogue: GenAIPrices, row: str, model: str) -> None:
    assert catalogue.quote(row, model, NOW) == Quote(None)


def test_its_providers_are_rows_of_our_catalogue() -> None:
    assert set(PROVIDERS) <= set(CATALOG)
    assert set(PROVIDERS.values()) <= {provider.id for provider in get_snapshot().providers}


def test_every_model_has_a_name_that_finds_it() -> None:
    for row in PROVIDERS:
        named = {model.id for name in names_of_models(row) if (model := provider_of(row).find_model(name)) is not None}
        unnamed = {model.id for model in provider_of(row).models} - named
        assert len(unnamed) <= 2, unnamed


# Prices that change with time.


def test_a_quote_holds_until_the_price_changes(catalogue: GenAIPrices) -> None:
    """DeepSeek's price was another one by night: from 16:30 to 00:30, by Greenwich."""
    day = datetime(2026, 11, 28, tzinfo=UTC).timestamp()
    begins, ends = day + 30 * 60, day + 16.5 * 3600
    by_day = catalogue.quote("deepseek", "deepseek-chat", begins)
    assert (by_day.since, by_day.until) == (begins, ends)
    at_night = catalogue.quote("deepseek", "deepseek-chat", ends)
    assert (at_night.since, at_night.until) == (ends, begins + 86400)
    assert by_day.price != at_night.price
    assert catalogue.quote("deepseek", "deepseek-chat", begins - 1).price == at_night.price


def test_a_price_list_takes_effect_at_midnight_of_its_day(catalogue: GenAIPrices) -> None:
    """Long contexts of Claude Opus 4.6 cost more until 2026-03-13."""
    day = datetime(2026, 3, 13, tzinfo=UTC).timestamp()
    before, after = (catalogue.quote("anthropic", "claude-opus-4-6", at) for at in (day - 0.001, day))
    assert before.until == day == after.since
    used = Consumption(tokens=TokenUsage(input=300_000))
    assert before.price is not None
    assert after.price is not None
    assert (before.price.cost(used), after.price.cost(used)) == (3_000_000_000, 1_500_000_000)


# Loading.


def test_it_is_loaded_when_it_is_first_asked_where_that_holds_up_nobody() -> None:
    assert GenAIPrices().quote("openai", "gpt-4o", NOW).price is not None


def test_a_call_on_an_event_loop_does_not_wait_for_it() -> None:
    catalogue = GenAIPrices()

    async def ask() -> tuple[Quote, Quote]:
        early = catalogue.quote("openai", "gpt-4o", NOW)
        assert catalogue._loader is not None
        await asyncio.to_thread(catalogue._loader.join)
        return early, catalogue.quote("openai", "gpt-4o", NOW)

    early, late = asyncio.run(ask())
    assert early == Quote(None, NOW, NOW)  # An answer for that moment alone: nothing to remember.
    assert late.price is not None


def test_no_call_waits_for_a_thread_that_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loads, go_on = threading.Event(), threading.Event()
    catalogue = GenAIPrices()

    def load() -> object:
        loads.set()
        assert go_on.wait(10)
        return object()

    monkeypatch.setattr("genai_prices.data_snapshot.get_snapshot", load)

    async def ask() -> Quote:
        catalogue.quote("openai", "gpt-4o", NOW)
        assert loads.wait(10)
        return catalogue.quote("openai", "gpt-4o", NOW)

    try:
        assert asyncio.run(ask()) == Quote(None, NOW, NOW)
        assert not go_on.is_set()
    finally:
        go_on.set()
        assert catalogue._loader is not None
        catalogue._loader.join()


def test_a_thread_that_cannot_be_started_is_tried_again() -> None:
    catalogue = GenAIPrices()

    async def ask() -> Quote:
        with none_can_start():
            assert catalogue.quote("openai", "gpt-4o", NOW).price is None
        catalogue.quote("openai", "gpt-4o", NOW)
        assert catalogue._loader is not None
        await asyncio.to_thread(catalogue._loader.join)
        return catalogue.quote("openai", "gpt-4o", NOW)

    assert asyncio.run(ask()).price is not None


LOADS = """
import threading, time
from ai_gateway.price_catalogue import GenAIPrices
catalogue = GenAIPrices()
thread = threading.Thread(target=catalogue.load)
thread.start()
time.sleep(0.05)
"""
CHILD = 'print(catalogue.quote("openai", "gpt-4o", time.time()).price is not None)'


def test_a_process_that_is_forked_while_it_is_loaded_has_it() -> None:
    assert forked(LOADS, CHILD, "thread.join()") == ["True"]


def test_the_table_asks_again_after_an_early_call() -> None:
    catalogue = GenAIPrices()
    table = PriceTable([], catalogue)

    async def early() -> object:
        price = table.of("openai", "openai", "gpt-4o", NOW)
        assert catalogue._loader is not None
        await asyncio.to_thread(catalogue._loader.join)
        return price

    assert asyncio.run(early()) is None
    assert table.of("openai", "openai", "gpt-4o", NOW) is not None


def test_without_the_package_nothing_is_known_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    caplog.set_level(logging.INFO)
    catalogue = GenAIPrices()
    assert catalogue.is_missing
    assert catalogue.quote("openai", "gpt-4o", NOW) == Quote(None)
    assert catalogue.models("openai") == []
    assert caplog.text.count("django-ai-gateway[prices]") == 1


def test_a_broken_package_is_logged_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("it is of another kind")

    monkeypatch.setattr("genai_prices.data_snapshot.get_snapshot", fail)
    catalogue = GenAIPrices()
    assert catalogue.quote("openai", "gpt-4o", NOW) == Quote(None)
    assert "it is of another kind" in caplog.text


def test_a_price_that_cannot_be_read_is_logged_and_unknown(
    catalogue: GenAIPrices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ai_gateway.price_catalogue.columns_of", lambda *args, **more: {"input": -1})
    assert catalogue.quote("openai", "gpt-4o", NOW) == Quote(None)
    assert "price of openai/gpt-4o cannot be read" in caplog.text


def test_whoever_watches_the_configuration_loads_it_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = GenAIPrices()
    monkeypatch.setattr(registry, "price_catalogue", catalogue)
    watch = refresher.Refresher(lambda: Version(0, 0), lambda used: None, lambda: None)
    watch.start().result(60)
    assert catalogue._data is not None
    watch.stop()
