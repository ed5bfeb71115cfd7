"""Limits in the admin: a form that explains itself, and where each limit stands now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from ai_gateway.charges import Counter, State
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.models import Limit
from tests.admin.conftest import Login
from tests.admin.pages import filled_in, get, send, told, url
from tests.control.rows import make_key, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

LIST = "ai_gateway_limit_changelist"
NEW: dict[str, Any] = {
    "name": "a limit",
    "scope": "everyone",
    "measure": "requests",
    "amount": "60",
    "window": "minute",
}


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> dict[str, State]:
    """Where counters stand, by the beginnings of their names."""
    told: dict[str, State] = {}

    async def states(counters: Sequence[Counter]) -> list[State]:
        return [
            next((state for name, state in told.items() if counter.name.startswith(name)), State(0, 0, 0.0))
            for counter in counters
        ]

    monkeypatch.setattr(store(), "states", states)
    return told


def make_limit(**fields: Any) -> Limit:
    return Limit.objects.create(**{**NEW, **fields})


def errors_of(client: Client, **fields: Any) -> str:
    response = send(client, "ai_gateway_limit_add", **{**NEW, **fields})
    assert response.status_code == 200
    return str(response.content.decode())


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "60 requests in a minute"),
        ({"measure": "cost", "window": "month", "amount": "20.5"}, "$20.50 in a month"),
        ({"measure": "tokens", "window": "total", "amount": "1000000"}, "1,000,000 tokens in all"),
        ({"measure": "concurrency", "window": "", "amount": "4"}, "4 calls at once"),
        ({"scope": "model", "subject": "gpt-5*"}, "a model: gpt-5*"),
        ({"scope": "key"}, "a key: each by itself"),
        ({"scope": "header", "header": "x-user-id"}, "a value of a header x-user-id: each by itself"),
    ],
)
def test_add__and_the_list_says_it_in_words(boss: Client, fields: dict[str, Any], shown: str) -> None:
    assert send(boss, "ai_gateway_limit_add", **{**NEW, **fields}).status_code == 302
    assert shown in get(boss, LIST)


@pytest.mark.parametrize(
    ("scope", "subject", "is_unknown"),
    [
        ("route", "fast", False),
        ("route", "fsat", True),
        ("route", "f*", False),
        ("provider", "groq", False),
        ("provider", "grok", True),
        ("model", "a-model-that-only-its-provider-knows", False),
    ],
)
def test_add__says_so_if_there_is_nothing_that_it_is_for(
    boss: Client, scope: str, subject: str, is_unknown: bool
) -> None:
    make_route("fast", "echo/echo-1")
    response = send(boss, "ai_gateway_limit_add", **{**NEW, "scope": scope, "subject": subject})
    assert (f"There is nothing by the name of {subject}" in told(response)) is is_unknown


def test_add__for_a_key_a_user_and_a_group(boss: Client) -> None:
    ann = make_user("ann", "team")
    key, _ = make_key(ann)
    for scope, chosen in (("key", key), ("user", ann), ("group", ann.groups.get())):
        fields = {"name": scope, "scope": scope, scope: chosen.pk}
        assert send(boss, "ai_gateway_limit_add", **{**NEW, **fields}).status_code == 302
    page = get(boss, LIST)
    for shown in ("a key: laptop", "a user: ann", "a group: team"):
        assert shown in page


def test_add__what_the_scope_has_no_use_for_is_left_out(boss: Client) -> None:
    """Whoever changes the scope leaves something behind in fields that are not shown any more."""
    key, _ = make_key(make_user("ann"))
    fields = {"key": key.pk, "header": "x-user-id", "subject": "gpt-5"}
    assert send(boss, "ai_gateway_limit_add", **{**NEW, **fields}).status_code == 302
    limit = Limit.objects.get()
    assert (limit.key, limit.header, limit.subject) == (None, "", "")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"measure": "cost"}, "Money is counted by the hour or longer."),
        ({"measure": "concurrency"}, "Calls at once have no window."),
        ({"window": ""}, "Choose in which time they are counted."),
        ({"amount": "1.5"}, "Only dollars have a fraction."),
        ({"amount": "-1"}, "greater than or equal to 0"),
        ({"amount": "9000001", "measure": "cost", "window": "month"}, "At most 9,000,000 can be counted."),
        ({"scope": "header"}, "The header belongs to the scope of a header"),
        ({"scope": "header", "header": "bad header:"}, "No header has such a name."),
        ({"scope": "header", "header": "é"}, "No header has such a name."),
        ({"scope": "header", "header": "Authorization"}, "It holds a secret"),
        ({"scope": "header", "header": "cookie"}, "It holds a secret"),
        ({"time_zone": "Mars/Olympus"}, "There is no such time zone."),
    ],
)
def test_add__what_does_not_fit_together_is_said(boss: Client, fields: dict[str, Any], message: str) -> None:
    assert message in errors_of(boss, **fields)
    assert not Limit.objects.exists()


def test_form__explains_itself_and_suggests_what_there_is(boss: Client) -> None:
    make_route("fast", "echo/echo-1")
    page = get(boss, "ai_gateway_limit_add")
    assert "whose calls are counted together" in page
    assert "A minute slides" in page
    assert '<option value="fast">' in page
    assert "ai_gateway/limits.js" in page


def test_form__writes_an_amount_without_the_zeros_of_its_column(boss: Client) -> None:
    limit = make_limit(measure="cost", window="day", amount="20.50")
    assert 'value="20.5"' in get(boss, "ai_gateway_limit_change", limit.pk)
    assert send(boss, "ai_gateway_limit_change", limit.pk).status_code == 302


def test_stands__is_what_the_store_tells(boss: Client, counters: dict[str, State]) -> None:
    budget = make_limit(name="budget", measure="cost", window="month", amount="20")
    rate = make_limit(name="rate")
    counters[f"{budget.pk}:cost:everyone:all:"] = State(12_300_000_000, 0, 0.0)
    counters[f"{rate.pk}:requests:everyone:all:minute"] = State(60, 0, 12.0)
    page = get(boss, LIST)
    assert "used $12.30 of $20.00 · resets in " in page
    assert '<span class="gateway-no">used 60 of 60 · resets in 12 s</span>' in page
    assert "used $12.30 of $20.00" in get(boss, "ai_gateway_limit_change", budget.pk)


def test_stands__of_a_key_and_of_a_pattern(boss: Client, counters: dict[str, State]) -> None:
    key, _ = make_key(make_user("ann"))
    of_key = make_limit(name="of a key", scope="key", key=key)
    of_models = make_limit(name="of models", scope="model", subject="gpt-*")
    counters[f"{of_key.pk}:requests:key:{key.pk}:minute"] = State(7, 0, 0.0)
    counters[f"{of_models.pk}:requests:model:gpt-*:minute"] = State(8, 0, 0.0)
    page = get(boss, LIST)
    assert "used 7 of 60" in page
    assert "used 8 of 60" in page


def test_stands__where_nothing_can_be_told(boss: Client) -> None:
    make_limit(name="each", scope="key")
    make_limit(name="off", is_enabled=False)
    page = get(boss, LIST)
    assert "each has its own count" in page
    assert "not enabled" in page


def test_stands__while_the_store_is_away(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def states(counters: object) -> None:
        raise StoreUnavailable("redis: connection refused")

    monkeypatch.setattr(store(), "states", states)
    make_limit()
    page = get(boss, LIST)
    assert "cannot be told now" in page
    assert "connection refused" not in page


def test_list__asks_the_store_once_and_the_database_little(
    boss: Client, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    asked: list[int] = []

    async def states(counters: Sequence[Counter]) -> list[State]:
        asked.append(len(counters))
        return [State(0, 0, 0.0) for _ in counters]

    monkeypatch.setattr(store(), "states", states)
    for number in range(30):
        key, _ = make_key(make_user(f"u{number}"))
        make_limit(name=f"limit {number}", scope="key", key=key)
    with django_assert_max_num_queries(8):
        get(boss, LIST)
    assert asked == [30]


def test_actions__switch_limits_and_tell_the_history(boss: Client) -> None:
    limits = [make_limit(name=name) for name in ("one", "two")]
    data = {"_selected_action": [limit.pk for limit in limits], "action": "disable_selected"}
    assert "Disabled 2 limits." in boss.post(url(LIST), data, follow=True).content.decode()
    assert not Limit.objects.filter(is_enabled=True).exists()
    boss.post(url(LIST), {**data, "action": "enable_selected"})
    assert Limit.objects.filter(is_enabled=True).count() == 2
    assert LogEntry.objects.filter(change_message__contains="enabled: yes").count() == 2


def test_permissions(login: Login) -> None:
    limit = make_limit()
    viewer = login("view_limit")
    assert "60 requests in a minute" in get(viewer, LIST)
    assert viewer.post(url("ai_gateway_limit_change", limit.pk), NEW).status_code == 403
    assert login(name="nobody").get(url(LIST)).status_code == 403


def test_form__does_not_switch_on_again_what_was_switched_off_while_it_was_open(boss: Client) -> None:
    limit = make_limit()
    form = {**filled_in(get(boss, "ai_gateway_limit_change", limit.pk)), "soft_percent": "55"}
    boss.post(url(LIST), {"action": "disable_selected", "_selected_action": [limit.pk]})
    page = boss.post(url("ai_gateway_limit_change", limit.pk), form).content.decode()
    assert "Somebody changed this while the form was open" in page
    limit.refresh_from_db()
    assert not limit.is_enabled
    assert send(boss, "ai_gateway_limit_change", limit.pk, soft_percent="55").status_code == 302
