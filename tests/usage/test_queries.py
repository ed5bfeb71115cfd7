"""What `UsageRecord.objects` and `UsageDaily.objects` answer: both the same, where both can."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway.ids import new_id
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.models.usage_queries import UsageTotals
from tests.control.rows import make_key, make_user
from tests.usage.rows import DOLLAR, NOON, record, save, some_days

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

both = pytest.mark.parametrize("table", [UsageRecord, UsageDaily], ids=lambda model: model.__name__)


@both
def test_nothing_was_used_of_an_empty_table(table: Any) -> None:
    assert table.objects.cost() == Decimal(0)
    assert table.objects.tokens() == 0
    assert table.objects.totals() == UsageTotals()
    assert table.objects.group_totals("model") == []


@both
def test_totals__have_every_column(table: Any) -> None:
    save(
        record(input_tokens=10, cache_read_tokens=5, reasoning_tokens=2, output_tokens=3, first_token_ms=200),
        record(outcome="failed", status=502, is_estimated=True, cost_nanos=0),
        record(outcome="limited", status=429, input_tokens=0, output_tokens=0, cost_nanos=0),
        record(outcome="cached", cost_nanos=0),
        record(cost_nanos=None, output_audio_tokens=7, bytes_out=99),
    )
    totals = table.objects.totals()
    assert (totals.requests, totals.errors, totals.limited, totals.cached) == (5, 1, 1, 1)
    assert (totals.estimated, totals.unpriced) == (1, 1)
    assert (totals.first_tokens, totals.first_token_mean_ms) == (1, 200)
    assert (totals.duration_ms, totals.bytes_out) == (5 * 900, 99)
    assert totals.buckets == {
        "input": 310,
        "cache_read": 5,
        "cache_write": 0,
        "cache_write_1h": 0,
        "output": 63,
        "reasoning": 2,
        "input_audio": 0,
        "input_image": 0,
        "output_audio": 7,
        "output_image": 0,
    }
    assert totals.tokens == table.objects.tokens() == 387
    assert totals.cost == table.objects.cost() == Decimal("0.01")


@both
def test_money_is_exact(table: Any) -> None:
    """A float has no third of a cent, and no sum of ten times a tenth."""
    save(*(record(cost_nanos=100_000_001, route=f"r{number}") for number in range(10)))
    assert table.objects.cost() == Decimal("1.00000001")


@both
def test_money__a_sum_beyond_what_a_float_counts_exactly(table: Any) -> None:
    save(record(cost_nanos=2**53), record(cost_nanos=1))
    assert table.objects.totals().cost_nanos == 2**53 + 1


def test_a_row_has_its_cost_in_dollars() -> None:
    assert record(cost_nanos=1_500_000_000).cost == Decimal("1.5")
    assert record(cost_nanos=None).cost is None
    assert UsageDaily(cost_nanos=1).cost == Decimal("1E-9")


@both
def test_between__is_half_open(table: Any) -> None:
    save(*some_days(5, cost_nanos=DOLLAR))  # From the 16th to the 20th.
    rows = table.objects
    assert rows.between(date(2026, 11, 17), date(2026, 11, 19)).cost() == 2
    assert rows.between(date(2026, 11, 19)).cost() == 2
    assert rows.between(None, date(2026, 11, 17)).cost() == 1
    assert rows.between(None, None).cost() == 5


def test_between__asks_a_site_without_time_zones_by_its_own_clock(settings: Any) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    settings.AI_GATEWAY = {"TIME_ZONE": "UTC"}
    UsageRecord.objects.create(id=new_id(), started_at=datetime(2026, 11, 20, 0, 59), outcome="answered")
    UsageRecord.objects.create(id=new_id(), started_at=datetime(2026, 11, 20, 1, 0), outcome="answered")
    for since in (date(2026, 11, 20), datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 20, 1)):
        assert UsageRecord.objects.between(since).totals().requests == 1
        assert UsageRecord.objects.between(None, since).totals().requests == 1


def test_between__moments_of_records_are_exact_and_those_of_days_are_widened() -> None:
    save(*some_days(3, cost_nanos=DOLLAR))
    assert UsageRecord.objects.between(NOON, NOON + timedelta(microseconds=1)).cost() == 1
    assert UsageRecord.objects.between(NOON + timedelta(seconds=1)).cost() == 0
    assert UsageDaily.objects.between(NOON + timedelta(seconds=1)).cost() == 1
    assert UsageDaily.objects.between(None, datetime(2026, 11, 19, tzinfo=UTC)).cost() == 1


@both
@override_settings(AI_GATEWAY={"TIME_ZONE": "Pacific/Auckland"})
def test_days_are_those_of_the_time_zone_of_accounting(table: Any) -> None:
    save(record(datetime(2026, 11, 20, 10, 59, tzinfo=UTC)), record(datetime(2026, 11, 20, 11, 0, tzinfo=UTC)))
    assert [each.by["day"] for each in table.objects.group_totals("day")] == [date(2026, 11, 20), date(2026, 11, 21)]
    assert table.objects.between(date(2026, 11, 21)).totals().requests == 1


@both
def test_by__user_group_and_key_as_objects_and_as_ids(table: Any) -> None:
    ann = make_user("ann", "team")
    team = ann.groups.get()
    key, _ = make_key(ann)
    save(record(user=ann, group=team, key=key, key_name="laptop"), record())
    for narrowed in (
        table.objects.by_user(ann),
        table.objects.by_user(ann.pk),
        table.objects.by_group(team),
        table.objects.by_group(team.pk),
        table.objects.by_key(key),
        table.objects.by_key(key.pk),
        table.objects.by_user(ann).by_group(team).by_key(key),
    ):
        assert narrowed.totals().requests == 1


@both
def test_by_key__of_the_settings_is_not_a_virtual_key_of_the_same_name(table: Any) -> None:
    key, _ = make_key(make_user("ann"), name="team-a")
    save(record(key=key, key_name="team-a"), record(key_name="team-a"), record(key_name="team-b"))
    assert table.objects.by_key("team-a").totals().requests == 1


@both
def test_by_model__by_its_name_or_with_its_provider(table: Any) -> None:
    save(
        record(served_model="gpt-5"),
        record(served_model="gpt-5", provider="azure"),
        record(served_model="meta/llama-4", provider="openrouter"),
    )
    assert table.objects.by_model("gpt-5").totals().requests == 2
    assert table.objects.by_model("azure/gpt-5").totals().requests == 1
    assert table.objects.by_model("meta/llama-4").totals().requests == 1
    assert table.objects.by_model("openrouter/meta/llama-4").totals().requests == 1


@both
def test_by__provider_and_route(table: Any) -> None:
    save(record(provider="groq"), record(route="fast"))
    assert table.objects.by_provider("groq").totals().requests == 1
    assert table.objects.by_route("fast").totals().requests == 1


@pytest.mark.parametrize(
    ("outcome", "is_failure"),
    [
        ("answered", False),
        ("cached", False),
        ("limited", False),
        ("disconnected", False),
        ("refused", True),
        ("blocked", True),
        ("failed", True),
        ("timed_out", True),
        ("stopped", True),
    ],
)
@both
def test_failed(table: Any, outcome: str, is_failure: bool) -> None:
    save(record(outcome=outcome))
    assert table.objects.failed().exists() is is_failure


@pytest.mark.parametrize("tag", ["eu", 'say "eu"', "ü", "100%", "EU"])
def test_by_tag__means_the_whole_tag(tag: str) -> None:
    others = [each for each in ("eu", 'say "eu"', "ü", "100%", "EU", "europe", "1000") if each != tag]
    save(record(tags=["blue", tag]), record(tags=others), record(tags=None))
    assert UsageRecord.objects.by_tag(tag).totals().requests == 1


def test_by_header__a_value_that_calls_were_tracked_by() -> None:
    save(record(project="p1", session="s1"), record(project="p2"))
    assert UsageRecord.objects.by_header("X-Project-Id", "p1").totals().requests == 1
    assert UsageRecord.objects.by_header("x-claude-code-session-id", "s1").totals().requests == 1
    with pytest.raises(ValueError, match="is not kept"):
        UsageRecord.objects.by_header("x-colour", "red")


@both
def test_group_totals__the_most_expensive_first(table: Any) -> None:
    save(
        record(served_model="small", cost_nanos=1),
        record(served_model="large", cost_nanos=5),
        record(served_model="large", cost_nanos=5),
    )
    found = table.objects.group_totals("model")
    assert [(each.by, each.totals.requests, each.totals.cost_nanos) for each in found] == [
        ({"model": "large"}, 2, 10),
        ({"model": "small"}, 1, 1),
    ]


@both
def test_group_totals__by_several(table: Any) -> None:
    save(*some_days(2), record(provider="groq", route="fast"))
    found = table.objects.group_totals("day", "provider", "route")
    assert [tuple(each.by.values()) for each in found] == [
        (date(2026, 11, 19), "openai", ""),
        (date(2026, 11, 20), "groq", "fast"),
        (date(2026, 11, 20), "openai", ""),
    ]


@both
def test_group_totals__by_key_follow_a_key_that_was_renamed(table: Any) -> None:
    key, _ = make_key(make_user("ann"))
    save(record(key=key, key_name="a laptop"), record(key=key, key_name="b laptop"), record(key_name="team-a"))
    found = {each.by["key"]: (each.totals.requests, each.key_name) for each in table.objects.group_totals("key")}
    assert found == {key.pk: (2, "b laptop"), "team-a": (1, "team-a")}


@both
def test_group_totals__is_one_query(table: Any, django_assert_num_queries: Any) -> None:
    save(*(record(served_model=f"m{number}") for number in range(20)))
    with django_assert_num_queries(1):
        table.objects.group_totals("model", "provider", "user", "group", "key", "route", "day")


@both
@pytest.mark.parametrize("names", [(), ("colour",), ("model", "colour")])
def test_group_totals__by_what_is_not_there(table: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="sums can be made by"):
        table.objects.group_totals(*names)


def test_tag_totals__a_call_with_two_tags_counts_for_both() -> None:
    save(
        record(tags=["eu", "batch"], cost_nanos=1),
        record(tags=["eu"], cost_nanos=2),
        record(tags=["eu", "eu"], cost_nanos=4),
        record(),
    )
    found = [
        (each.by["tag"], each.totals.requests, each.totals.cost_nanos) for each in UsageRecord.objects.tag_totals()
    ]
    assert found == [("eu", 3, 7), ("batch", 1, 1)]
