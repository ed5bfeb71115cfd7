"""The portal's page of what one used oneself, and of what is left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from ai_gateway import registry
from ai_gateway.charges import Counter, State
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.models import Limit
from ai_gateway.portal import usage
from tests.control.rows import make_key, make_user
from tests.usage.rows import DOLLAR, NOON, record, save

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("encryption_key"),
    pytest.mark.urls("tests.portal.urls"),
]


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site where the day of the rows is today."""
    monkeypatch.setattr(usage, "today", NOON.date)
    with override_settings(AI_GATEWAY={"TIME_ZONE": "UTC"}):
        yield


@pytest.fixture
def ann() -> Any:
    return make_user("ann", "team")


def page_of(user: Any) -> str:
    registry.forget()
    client = Client()
    client.force_login(user)
    response = client.get(reverse("ai_gateway_portal:usage"))
    assert response.status_code == 200
    return str(response.content.decode())


def limit(name: str, **fields: Any) -> Limit:
    usual = {"scope": "everyone", "measure": "requests", "window": "day", "amount": 100}
    return Limit.objects.create(name=name, **{**usual, **fields})


def test_this_month_by_model_and_by_key(ann: Any) -> None:
    key, _ = make_key(ann)
    save(
        record(user=ann, key=key, key_name="laptop", cost_nanos=3 * DOLLAR),
        record(user=ann, key_name="old phone", provider="groq", served_model="llama", cost_nanos=DOLLAR // 2),
        record(NOON - timedelta(days=30), user=ann, cost_nanos=100 * DOLLAR),
        record(user=make_user("bob"), served_model="of-bob", key_name="key-of-bob", cost_nanos=100 * DOLLAR),
    )
    page = page_of(ann)
    for shown in (
        "November 2026",
        "$3.50",
        "openai/<wbr>gpt-5-mini",
        "groq/<wbr>llama",
        "laptop",
        "old phone",
        "$0.5000",
    ):
        assert shown in page
    for hidden in ("of-bob", "$100", "$103"):
        assert hidden not in page


def test_nothing_yet(ann: Any) -> None:
    page = page_of(ann)
    assert "Nothing was used with your keys this month." in page
    assert f'<a href="{reverse("ai_gateway_portal:connect")}">How programs use a key</a>' in page
    assert "No limit holds for your calls" in page


def test_calls_without_a_price_are_said_to_count_as_nothing(ann: Any) -> None:
    save(record(user=ann, cost_nanos=None))
    assert "Requests without a price, which count as nothing: 1." in page_of(ann)


def test_limits__those_that_hold_each_once_and_whose_they_are(ann: Any) -> None:
    team = ann.groups.get()
    make_key(ann, name="laptop", group=team)
    make_key(ann, name="phone", group=team)
    make_key(ann, name="lost", is_active=False)
    bob = make_user("bob")
    limit("everybody's")
    limit("each user's", scope="user")
    limit("each team's", scope="group")
    limit("each key's", scope="key")
    limit("bob's", scope="user", user=bob)
    limit("a model's", scope="model")
    found = re.findall(r"<h3>(.*?)</h3><span class=\"badge\">(.*?)</span>", page_of(ann))
    assert sorted(found) == [
        ("each key&#x27;s", "the key laptop"),
        ("each key&#x27;s", "the key phone"),
        ("each team&#x27;s", "the team team"),
        ("each user&#x27;s", "all of my keys"),
        ("everybody&#x27;s", "everybody together"),
    ]


def test_limits__a_bar_and_the_same_in_words(ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def states(counters: Sequence[Counter]) -> list[State]:
        return [State(12_300_000_000, 0, 0.0) for _ in counters]

    monkeypatch.setattr(store(), "states", states)
    limit("budget", scope="user", measure="cost", window="month", amount=20)
    page = page_of(ann)
    assert re.search(r'<meter [^>]*value="61" aria-label="How much of budget is used">61 %</meter>', page)
    assert "used $12.30 of $20.00 · resets in" in page
    assert "$20.00 in a month" in page


def test_limits__while_the_store_is_away(ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def states(counters: object) -> None:
        raise StoreUnavailable("redis: connection refused")

    monkeypatch.setattr(store(), "states", states)
    limit("budget")
    page = page_of(ann)
    assert "not to be had at the moment" in page
    assert "connection refused" not in page


def test_the_page_asks_the_database_little(ann: Any, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        make_key(ann, name=f"key {number}", group=ann.groups.get())
    save(*(record(user=ann, key_name=f"k{number}", served_model=f"m{number}") for number in range(20)))
    limit("each key's", scope="key")
    with django_assert_max_num_queries(40):
        page_of(ann)
