"""Prices in the admin: entered, copied, listed by when they count, and the models that have none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from ai_gateway.models import Price, UsageDaily
from tests.admin.conftest import Login
from tests.admin.pages import get, send, told, url

pytestmark = pytest.mark.django_db


def make_price(provider: str = "openai", model: str = "gpt-5.5", **fields: Any) -> Price:
    return Price.objects.create(provider=provider, model=model, **{"input": 5, "output": 30, **fields})


def test_add__as_a_person_writes_it(boss: Client) -> None:
    response = send(
        boss,
        "ai_gateway_price_add",
        provider="anthropic",
        model="claude-*",
        input="3",
        cache_read="0.30",
        output="15",
        tiers='[{"above": 200000, "input": 6, "output": 22.5}]',
        service_tiers='{"batch": 0.5}',
        units='{"searches": 0.01}',
    )
    assert response.status_code == 302
    price = Price.objects.get()
    assert str(price) == "anthropic/claude-*"
    assert price.source == "manual"
    assert (price.cache_read, price.cache_write) == (Decimal("0.30"), None)
    assert price.tiers == [{"above": 200000, "input": 6, "output": 22.5}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Write what it costs, 0 for what is free."),
        ({"input": "-1"}, "greater than or equal to 0"),
        ({"input": "0.1234567"}, "input has more than 6 decimals"),
        ({"input": "9999999999.999999"}, "input must be at most 1,000,000 dollars"),
        ({"input": "1", "tiers": '[{"above": "many", "input": 2}]'}, "must be a number of tokens"),
        ({"input": "1", "tiers": '[{"above": 9, "inptu": 2}]'}, "has no &#x27;inptu&#x27;"),
        ({"input": "1", "service_tiers": '{"batch": "half"}'}, "service_tiers: batch must be an amount of dollars"),
        ({"input": "1", "units": '{"images": -1}'}, "units: images must be 0 or more dollars"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_add__a_price_that_no_call_could_be_charged_by_is_refused_in_words(
    boss: Client, fields: dict[str, str], message: str
) -> None:
    page = send(boss, "ai_gateway_price_add", model="m", **fields).content.decode()
    assert message in page
    assert not Price.objects.exists()


def test_add__the_highest_price_is_kept_to_its_last_decimal(boss: Client) -> None:
    highest = {"input": "999999.999999", "request": "999999.999999999"}
    assert send(boss, "ai_gateway_price_add", model="m", **highest).status_code == 302
    price = Price.objects.get()
    assert (price.input, price.request) == (Decimal("999999.999999"), Decimal("999999.999999999"))


def test_add__what_is_wrong_stands_beside_its_field(boss: Client) -> None:
    page = send(boss, "ai_gateway_price_add", model="m", tiers="[{}]", units='{"images": -1}').content.decode()
    for field, problem in (("tiers", "must be a number of tokens"), ("units", "must be 0 or more dollars")):
        _, _, row = page.partition(f"field-{field}")
        assert problem in row.partition("</textarea>")[0]


def test_add__a_span_that_ends_before_it_begins_is_refused(boss: Client) -> None:
    data = {
        "valid_from_0": "2026-02-01",
        "valid_from_1": "00:00",
        "valid_until_0": "2026-01-01",
        "valid_until_1": "00:00",
    }
    page = send(boss, "ai_gateway_price_add", model="m", input="1", **data).content.decode()
    assert "It must be valid until a later time than it is valid from." in page


@pytest.mark.parametrize(("provider", "is_unknown"), [("groq", False), ("gr*", False), ("grok", True)])
def test_add__says_so_if_there_is_no_such_provider(boss: Client, provider: str, is_unknown: bool) -> None:
    response = send(boss, "ai_gateway_price_add", provider=provider, model="m", input="1", output="1")
    assert (f"There is no provider {provider}" in told(response)) is is_unknown


def test_add__without_a_price_for_output_says_that_answers_are_free(boss: Client) -> None:
    send(boss, "ai_gateway_price_add", model="text-embedding", input="0.02")
    assert "answers of these models count as free" in get(boss, "ai_gateway_price_changelist")


def test_change__notes_the_price_in_the_history(boss: Client) -> None:
    price = make_price()
    send(boss, "ai_gateway_price_change", price.pk, output="25")
    assert "Output: “30" in LogEntry.objects.get().get_change_message()


def test_change__a_synchronised_price_is_the_persons_from_then_on(boss: Client) -> None:
    price = make_price(source=Price.Source.SYNCED)
    send(boss, "ai_gateway_price_change", price.pk, output="25")
    price.refresh_from_db()
    assert price.source == Price.Source.MANUAL


def test_copy__a_price_is_saved_as_a_new_one(boss: Client) -> None:
    price = make_price()
    send(boss, "ai_gateway_price_change", price.pk, model="gpt-5.6", _saveasnew="Save as new")
    assert sorted(Price.objects.values_list("model", flat=True)) == ["gpt-5.5", "gpt-5.6"]


def test_list__shows_dollars_per_million_and_when_they_count(boss: Client) -> None:
    make_price(cache_read=Decimal("0.5"), units={"searches": 0.01})
    page = get(boss, "ai_gateway_price_changelist")
    for text in ("openai/gpt-5.5", "$5<", "$0.5 / —", "$30<", "input, $/M", "units", "→ …", "entered here"):
        assert text.lower() in page.lower(), text


def test_change__nothing_changed_leaves_a_synchronised_price_synchronised(boss: Client) -> None:
    price = make_price(source=Price.Source.SYNCED)
    send(boss, "ai_gateway_price_change", price.pk)
    before, price = price, Price.objects.get()
    assert (price.source, price.valid_from) == (Price.Source.SYNCED, before.valid_from)
    response = send(boss, "ai_gateway_price_change", price.pk, note="ours")
    assert Price.objects.get().source == Price.Source.MANUAL
    assert "counts as entered now" in str(list(get_messages(response.wsgi_request))[-2:])


def test_list__a_price_ends_where_a_newer_one_begins(boss: Client) -> None:
    begins = [datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 6)]
    old, new = (make_price(valid_from=begin) for begin in begins)
    entered, synced = make_price(model="m"), make_price(model="m", source=Price.Source.SYNCED)
    ended = make_price(model="n", valid_from=begins[0])
    make_price(model="n", valid_from=begins[1], valid_until=begins[1] + timedelta(days=1))

    def listed(state: str) -> set[Any]:
        page = boss.get(url("ai_gateway_price_changelist"), {"in_force": state})
        return {price.pk for price in page.context["cl"].result_list}

    assert listed("now") == {new.pk, entered.pk, ended.pk}  # What took its place for a day is over.
    assert {old.pk, synced.pk} < listed("ended")
    assert "01/01/2026 → 06/01/2026" in get(boss, "ai_gateway_price_changelist")


def test_list__filters_by_whether_a_price_counts_now(boss: Client) -> None:
    now = timezone.now()
    make_price(model="current", valid_from=now - timedelta(days=1))
    make_price(model="ended", valid_from=now - timedelta(days=9), valid_until=now - timedelta(days=1))
    make_price(model="to-come", valid_from=now + timedelta(days=1))

    def listed(**query: str) -> set[str]:
        page = get(boss, "ai_gateway_price_changelist", **query)
        return {model for model in ("current", "ended", "to-come") if f"openai/{model}" in page}

    assert listed() == {"current", "ended", "to-come"}
    assert listed(in_force="now") == {"current"}
    assert listed(in_force="ended") == {"ended"}
    assert listed(in_force="later") == {"to-come"}
    assert listed(provider__exact="openai", model__exact="ended") == {"ended"}


# Models without a price


def make_unpriced(provider: str, model: str, calls: int, days_ago: int = 0) -> None:
    day = timezone.now().date() - timedelta(days=days_ago)
    UsageDaily.objects.create(
        day=day, slot=f"{provider} {model} {days_ago}"[:32], provider=provider, served_model=model, unpriced=calls
    )


def test_unpriced__lists_models_of_the_last_week_with_a_link_that_fills_the_form_in(boss: Client) -> None:
    make_unpriced("custom-gpu", "llama-9", 3, days_ago=1)
    make_unpriced("custom-gpu", "llama-9", 4)
    make_unpriced("custom-gpu", "long-ago", 4, days_ago=9)
    assert url("ai_gateway_price_unpriced") in get(boss, "ai_gateway_price_changelist")
    page = get(boss, "ai_gateway_price_unpriced")
    assert "<td>7</td>" in page
    assert "long-ago" not in page
    assert f"{url('ai_gateway_price_add')}?provider=custom-gpu&amp;model=llama-9" in page
    form = get(boss, "ai_gateway_price_add", provider="custom-gpu", model="llama-9")
    assert 'value="custom-gpu"' in form
    assert 'value="llama-9"' in form


def test_unpriced__says_which_have_a_price_by_now(boss: Client) -> None:
    make_unpriced("custom-gpu", "llama-9", 3)
    make_price("custom-gpu", "llama-*")
    assert "Has one now" in get(boss, "ai_gateway_price_unpriced")


def test_unpriced__nothing_is_good_news(boss: Client) -> None:
    assert "Every model that was called has a price." in get(boss, "ai_gateway_price_unpriced")


def test_unpriced__needs_the_right_to_see_prices(login: Login) -> None:
    assert login("view_route").get(url("ai_gateway_price_unpriced")).status_code == 403


def test_unpriced__who_may_not_add_a_price_gets_no_link_to_do_so(login: Login) -> None:
    make_unpriced("custom-gpu", "llama-9", 3)
    page = get(login("view_price"), "ai_gateway_price_unpriced")
    assert "llama-9" in page
    assert url("ai_gateway_price_add") not in page
