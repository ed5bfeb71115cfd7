"""What a price says, which price counts, and what comes of it: in integers, to the nano-dollar."""

from __future__ import annotations

import logging
from decimal import Decimal
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway import unpriced
from ai_gateway.consumption import Consumption
from ai_gateway.model_names import names_of
from ai_gateway.pricing import BUCKETS, MAX_REMEMBERED, Price, PriceRow, PriceTable, Quote, read_price
from ai_gateway.protocols.conversation import TokenUsage

MILLION = 10**6
DOLLAR = 10**9
"""In nano-dollars."""


def cost(columns: dict[str, Any], tier: str = "", units: dict[str, float] | None = None, /, **tokens: Any) -> int:
    used = Consumption(tokens=TokenUsage(**tokens), units=units or {}, service_tier=tier)
    return read_price(columns).cost(used)


# What a price says.


def test_tokens_cost_dollars_for_a_million() -> None:
    assert cost({"input": 3, "output": 15}, input=MILLION, output=MILLION) == 18 * DOLLAR
    assert cost({"input": 3, "output": 15}, input=1, output=1) == 18_000


@pytest.mark.parametrize("amount", [1, 1.0, "1", "1.00", Decimal(1)])
def test_an_amount_may_be_written_as_any_number(amount: Any) -> None:
    assert cost({"input": amount}, input=1) == 1000


def test_amounts_are_exact_to_a_millionth_of_a_dollar_for_a_million_tokens() -> None:
    assert cost({"input": "0.000001"}, input=1000 * MILLION) == 1_000_000
    assert cost({"input": 0.1}, input=3 * MILLION) == 300_000_000  # In floating point it is 0.30000000000000004.


def test_a_cost_is_rounded_once_and_half_up() -> None:
    """A token of these costs 0.4 nano-dollars: alone nothing, and two tokens one nano-dollar, not none."""
    tiny = {"input": "0.0004", "output": "0.0004"}
    assert cost(tiny, input=1) == 0
    assert cost(tiny, input=1, output=1) == 1
    assert cost({"input": "0.0005"}, input=1) == 1  # The half.
    assert cost({"input": "0.000499"}, input=1) == 0


def test_a_million_calls_of_a_ten_millionth_of_a_dollar_cost_ten_cents_exactly() -> None:
    one = cost({"input": "0.1"}, input=1)
    assert one == 100
    assert sum(one for _ in range(MILLION)) == DOLLAR // 10


@pytest.mark.parametrize(
    ("bucket", "kind"),
    [
        ("cache_read", "input"),
        ("cache_write", "input"),
        ("cache_write_1h", "cache_write"),
        ("input_audio", "input"),
        ("input_image", "input"),
        ("reasoning", "output"),
        ("output_audio", "output"),
        ("output_image", "output"),
    ],
)
def test_a_bucket_without_a_price_is_charged_as_its_kind(bucket: str, kind: str) -> None:
    assert cost({kind: 2}, **{bucket: 5}) == 10_000
    assert cost({kind: 2, bucket: 3}, **{bucket: 5}) == 15_000
    assert cost({kind: 2, bucket: 0}, **{bucket: 5}) == 0


def test_what_is_kept_for_an_hour_is_charged_as_input_where_writing_has_no_price() -> None:
    assert cost({"input": 2}, cache_write_1h=5) == 10_000


def test_what_has_no_price_of_its_kind_costs_nothing() -> None:
    assert cost({"input": "0.02"}, input=100, output=7) == 2000


def test_a_call_and_other_pieces_have_prices_in_dollars_apiece() -> None:
    price = {"input": 1, "request": "0.005", "units": {"images": 0.04, "audio_seconds": "0.0001"}}
    assert cost(price) == 5_000_000
    assert cost(price, "", {"images": 2}, input=1) == 5_000_000 + 1000 + 80_000_000
    assert cost(price, "", {"audio_seconds": 12.5}) == 5_000_000 + 1_250_000
    assert cost(price, "", {"pages": 9}) == 5_000_000


LONG = {
    "input": 3,
    "cache_read": 0.3,
    "output": 15,
    "tiers": [{"above": 200_000, "input": 6, "output": 22.5}, {"above": 500_000, "input": 12}],
}


@pytest.mark.parametrize(
    ("tokens", "dollars"),
    [
        ({"input": 200_000, "output": 1000}, "0.615"),  # 0.6 + 0.015
        ({"input": 200_001, "output": 1000}, "1.222506"),  # 1.200006 + 0.0225: every token costs more
        ({"input": 1, "cache_read": 200_000}, "0.060006"),  # what is cached counts, and keeps its price
        ({"input": 500_000, "output": 1000}, "3.0225"),
        ({"input": 500_001, "output": 1000}, "6.022512"),  # output keeps the price of the tier before
        ({"output": 900_000}, "13.5"),  # a long answer is no long context
        ({"input": 200_001, "reasoning": 1000}, "1.222506"),  # what has no price of its own goes with its kind
    ],
)
def test_a_long_context_costs_more_from_its_first_token_on(tokens: dict[str, int], dollars: str) -> None:
    assert cost(LONG, **tokens) == Decimal(dollars) * DOLLAR


TIERED = {
    **LONG,
    "request": "0.01",
    "units": {"searches": "0.01"},
    "service_tiers": {
        "batch": 0.5,
        "flex": {"input": 1, "tiers": [{"above": 200_000, "input": 2}]},
        "priority": {"input": 6, "output": 30, "request": 0, "units": {"searches": 0}},
    },
}


def test_a_service_tier_may_be_a_factor_for_tokens() -> None:
    assert cost(TIERED, "batch", {"searches": 1}, input=1000) == 1_500_000 + 20_000_000
    assert cost(TIERED, "batch", input=200_001) == 600_003_000 + 10_000_000
    assert cost({"input": "0.001", "service_tiers": {"batch": "0.333"}}, "batch", input=3) == 1


def test_a_service_tier_may_have_prices_of_its_own() -> None:
    fee = 10_000_000
    assert cost(TIERED, "flex", input=1000, output=1000) == 1_000_000 + 15_000_000 + fee
    # The long context of what has a price of its own is its own; that of the rest is the usual one.
    assert cost(TIERED, "flex", input=200_001, output=1000) == 400_002_000 + 22_500_000 + fee
    assert cost(TIERED, "priority", {"searches": 9}, input=600_000, output=1000) == 3_630_000_000


@pytest.mark.parametrize("tier", ["", "default", "standard", "on_demand", "a new one"])
def test_any_other_service_tier_costs_what_the_model_costs(tier: str) -> None:
    assert cost(TIERED, tier, input=1000) == 13_000_000


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, "write 0 for what is free"),
        ({"inptu": 1}, "A price has no 'inptu'. It may have: cache_read,"),
        ({"input": -1}, "input must be 0 or more dollars"),
        ({"input": "cheap"}, "input must be an amount of dollars, not 'cheap'"),
        ({"input": True}, "input must be an amount of dollars"),
        ({"input": None}, "input must be an amount of dollars"),
        ({"input": float("nan")}, "input must be 0 or more dollars"),
        ({"input": "1e40"}, "input must be at most 1,000,000 dollars, not 1e40"),
        ({"request": "1000000.01"}, "request must be at most 1,000,000 dollars"),
        ({"input": "0.0000001"}, "input has more than 6 decimals: 0.0000001"),
        ({"request": "0.0000000000001"}, "request has more than 12 decimals"),
        ({"units": [1]}, "units must be a mapping"),
        ({"units": {"images": "x"}}, "units: images must be an amount of dollars"),
        ({"tiers": {"above": 1}}, "tiers must be a list such as"),
        ({"tiers": [{"input": 1}]}, '"above" must be a number of tokens, not None'),
        ({"tiers": [{"above": 5}]}, "tiers above 5: no price is given"),
        ({"tiers": [{"above": 5, "request": 1}]}, "tiers has no 'request'"),
        ({"tiers": [{"above": 5, "input": 1}, {"above": 5, "output": 1}]}, "there are two above 5"),
        ({"service_tiers": {"batch": {}}}, "service_tiers: batch: write a factor such as 0.5, or prices"),
        ({"service_tiers": {"batch": {"input": -1}}}, "service_tiers: batch: input must be 0 or more"),
        ({"service_tiers": {"batch": {"service_tiers": {}}}}, "service_tiers: batch has no 'service_tiers'"),
        ({"service_tiers": ["batch"]}, "service_tiers must be a mapping"),
    ],
)
def test_what_is_no_price_is_refused_in_words(columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at below
        read_price(columns)
    assert problem in str(caught.value)


amounts = st.decimals(0, 200, places=6)
plain_prices = st.fixed_dictionaries(
    {"input": amounts}, optional={name: amounts for name in BUCKETS if name != "input"}
)
counts = st.fixed_dictionaries({name: st.integers(0, MILLION) for name in BUCKETS})


def added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one[name] + other[name] for name in BUCKETS}


@given(plain_prices, counts, counts)
def test_whoever_uses_more_pays_no_less(columns: dict[str, Any], used: dict[str, int], more: dict[str, int]) -> None:
    assert cost(columns, **added(used, more)) >= cost(columns, **used) >= 0


@given(plain_prices, counts, counts)
def test_two_calls_cost_what_one_with_both_their_tokens_costs(
    columns: dict[str, Any], one: dict[str, int], other: dict[str, int]
) -> None:
    """But for the rounding: half a nano-dollar of each."""
    assert abs(cost(columns, **added(one, other)) - cost(columns, **one) - cost(columns, **other)) <= 1


@given(plain_prices, counts)
def test_the_cost_is_that_of_decimal_arithmetic(columns: dict[str, Any], used: dict[str, int]) -> None:
    kinds = {"cache_write_1h": "cache_write", "reasoning": "output", "output_audio": "output", "output_image": "output"}

    def price_of(bucket: str) -> Decimal:
        while bucket not in columns and bucket not in ("input", "output"):
            bucket = kinds.get(bucket, "input")
        return Decimal(columns.get(bucket, 0))

    dollars = sum((price_of(bucket) * count for bucket, count in used.items()), Decimal(0)) / MILLION
    assert abs(cost(columns, **used) - dollars * DOLLAR) <= Decimal("0.5")


@given(st.integers(0, MILLION), st.integers(0, MILLION))
def test_a_text_costs_the_same_by_its_two_numbers(prompt: int, answer: int) -> None:
    for columns in (LONG, TIERED):
        assert read_price(columns).cost_of_text(prompt, answer) == cost(columns, input=prompt, output=answer)


# By which names a model is looked up.


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("gpt-5.5", ["gpt-5.5"]),
        ("GPT-5.5-2026-04-01", ["gpt-5.5-2026-04-01", "gpt-5.5"]),
        ("claude-opus-5-5-20260101", ["claude-opus-5-5-20260101", "claude-opus-5-5"]),
        ("claude-sonnet-4-5@20250929", ["claude-sonnet-4-5@20250929", "claude-sonnet-4-5"]),
        ("models/gemini-2.5-pro", ["models/gemini-2.5-pro", "gemini-2.5-pro"]),
        (
            "publishers/google/models/gemini-2.5-pro",
            ["publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"],
        ),
        (
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            [
                "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "anthropic.claude-sonnet-4-5-20250929-v1:0",
                "anthropic.claude-sonnet-4-5-20250929",
                "anthropic.claude-sonnet-4-5",
            ],
        ),
        ("ft:gpt-4o-2024-08-06:org::id", ["ft:gpt-4o-2024-08-06:org::id", "ft:gpt-4o-2024-08-06", "ft:gpt-4o"]),
        ("openai/gpt-5.2-20251211", ["openai/gpt-5.2-20251211", "openai/gpt-5.2"]),
        # These are names of models of their own.
        ("grok-4-0709", ["grok-4-0709"]),
        ("mistral-large-2411", ["mistral-large-2411"]),
        ("us-model", ["us-model"]),
        ("deepseek/deepseek-chat:free", ["deepseek/deepseek-chat:free"]),
        ("model-2026-13-01", ["model-2026-13-01"]),
        ("", [""]),
    ],
)
def test_a_models_names_from_the_most_exact_on(model: str, names: list[str]) -> None:
    assert list(names_of(model)) == names


# Which price counts.


def row(provider: str, model: str, dollars: int, **more: Any) -> PriceRow:
    return PriceRow(provider=provider, model=model, price=read_price({"input": dollars}), **more)


def dollars_of(price: Price | None) -> int | None:
    return None if price is None else price.cost(Consumption(tokens=TokenUsage(input=1))) // 1000


def found(
    rows: list[PriceRow], alias: str = "openai", model: str = "gpt-5.5-2026-04-01", at: float = 1000.0
) -> int | None:
    return dollars_of(PriceTable(rows).of(alias, alias, model, at))


FROM_LEAST_TO_MOST = [
    row("*", "*", 1),
    row("*", "gpt-*", 2),
    row("*", "gpt-5.5-2026*", 3),
    row("openai", "*", 4),
    row("openai", "gpt-5*", 5),
    row("*", "gpt-5.5", 6),
    row("*", "gpt-5.5-2026-04-01", 7),
    row("openai", "gpt-5.5", 8),
    row("openai", "gpt-5.5-2026-04-01", 9),
]


@pytest.mark.parametrize("count", range(1, len(FROM_LEAST_TO_MOST) + 1))
@pytest.mark.parametrize("turned", [False, True])
def test_the_most_particular_row_wins_in_whatever_order_they_are(count: int, turned: bool) -> None:
    rows = FROM_LEAST_TO_MOST[:count]
    assert found(rows[::-1] if turned else rows) == count


def test_what_a_person_entered_wins_over_what_was_synchronised() -> None:
    assert found([row("openai", "gpt-5.5-2026-04-01", 1, is_synced=True), row("*", "*", 2)]) == 2


def test_the_newer_of_two_equal_rows_wins() -> None:
    assert found([row("openai", "gpt-5.5", 1, valid_from=10), row("openai", "gpt-5.5", 2, valid_from=20)]) == 2
    assert (
        found([row("openai", "gpt-5.5", 2), row("openai", "gpt-5.5", 1)]) == 2
    )  # The table is given the newest first.


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("OpenAI", True), ("open*", True), ("*", True), ("azure", False), ("openai-2", False), ("o.enai", False)],
)
def test_a_provider_is_meant_by_its_alias(pattern: str, matches: bool) -> None:
    assert found([row(pattern, "gpt-5.5", 1)]) == (1 if matches else None)


@pytest.mark.parametrize("pattern", ["gpt-[5].5*", "gpt-?.5*", "gpt.5.5*"])
def test_only_a_star_stands_for_anything(pattern: str) -> None:
    assert found([row("*", pattern, 1)]) is None


def test_a_price_counts_from_its_first_instant_until_just_before_its_last() -> None:
    table = PriceTable(
        [
            row("openai", "m", 1, valid_until=100),
            row("openai", "m", 2, valid_from=100, valid_until=200),
            row("openai", "m", 3, valid_from=250),
        ]
    )

    def at(moment: float) -> int | None:
        return dollars_of(table.of("openai", "openai", "m", moment))

    assert [at(moment) for moment in (0, 99.999, 100, 199.999, 200, 249.999, 250)] == [1, 1, 2, 2, None, None, 3]
    assert [at(moment) for moment in (250, 100, 99.999, 200)] == [3, 2, 1, None]  # What is remembered does not matter.


def test_a_row_that_comes_into_force_takes_the_place_of_a_less_particular_one() -> None:
    table = PriceTable([row("*", "*", 1), row("openai", "m", 2, valid_from=100, valid_until=200)])
    seen = [dollars_of(table.of("openai", "openai", "m", at)) for at in (50, 100, 150, 200)]
    assert seen == [1, 2, 2, 1]


def test_nobody_knows_what_an_unknown_model_costs() -> None:
    assert found([]) is None
    assert found([row("openai", "gpt-4*", 1)]) is None


def test_echo_costs_nothing_unless_a_row_says_otherwise() -> None:
    echo = PriceTable([]).of("my-echo", "echo", "echo-1", 0)
    assert echo is not None
    assert echo.cost(Consumption(tokens=TokenUsage(input=MILLION, output=MILLION))) == 0
    assert dollars_of(PriceTable([row("my-echo", "*", 3)]).of("my-echo", "echo", "echo-1", 0)) == 3


# The catalogue behind the rows.


class Catalogue:
    """A catalogue that knows one model, whose price changes at 100, and that counts who asks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []

    def load(self) -> None:
        raise AssertionError("a lookup does not load it")

    def quote(self, row: str, model: str, at: float) -> Quote:
        self.asked.append((row, model, at))
        if model != "known":
            return Quote(None)
        return Quote(read_price({"input": 1}), -inf, 100) if at < 100 else Quote(read_price({"input": 2}), 100, inf)


def test_the_catalogue_is_asked_by_the_providers_row_where_no_price_was_entered() -> None:
    catalogue = Catalogue()
    table = PriceTable([row("*", "entered", 5)], catalogue)
    assert dollars_of(table.of("my-openai", "openai", "entered", 0)) == 5
    assert dollars_of(table.of("my-openai", "openai", "known", 0)) == 1
    assert table.of("my-openai", "openai", "unknown", 0) is None
    assert catalogue.asked == [("openai", "known", 0), ("openai", "unknown", 0)]


def test_an_answer_is_remembered_until_it_could_change() -> None:
    catalogue = Catalogue()
    table = PriceTable([row("*", "known", 7, valid_from=300)], catalogue)
    moments = (1, 2, 99, 100, 200, 299, 300, 400)
    assert [dollars_of(table.of("a", "r", "known", at)) for at in moments] == [1, 1, 1, 2, 2, 2, 7, 7]
    assert [at for _, _, at in catalogue.asked] == [1, 100]


def test_callers_cannot_fill_the_memory_with_names() -> None:
    table = PriceTable([], Catalogue())
    for number in range(MAX_REMEMBERED + 10):
        table.of("a", "r", f"made-up-{number}", 0)
    assert len(table._known) <= MAX_REMEMBERED


# Models without a price are named in the log.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("ai_gateway.unpriced.time.monotonic", lambda: now[0])
    monkeypatch.setattr(unpriced, "_named_at", {})
    return now


def test_a_model_without_a_price_is_named_once_an_hour(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    for seconds in (0, 10, 3599, 3600, 3700):
        clock[0] = 1000.0 + seconds
        unpriced.tell("custom", "llama-9")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "custom/llama-9" in caplog.text
    assert 'AI_GATEWAY["PRICES"], 0 for what is free' in caplog.text


def test_callers_cannot_fill_the_log_with_names(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    for number in range(unpriced.MOST + 50):
        unpriced.tell("custom", f"made-up-{number}")
    assert len(caplog.records) == unpriced.MOST
    clock[0] += unpriced.INTERVAL
    unpriced.tell("custom", "another")
    assert len(caplog.records) == unpriced.MOST + 1
    assert len(unpriced._named_at) == 1
