"""Lists of many pages: no count, and few queries, however many rows there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ai_gateway.models import Price, Provider, ProviderCredential, Route, RouteTarget, VirtualKey
from tests.admin.conftest import Login
from tests.admin.pages import get, url
from tests.control.rows import make_route
from tests.databases import created

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

MANY = 300
"""Rows of each kind: six pages."""

LISTS = ["virtualkey", "route", "provider", "providercredential", "price"]
MOST_QUERIES = 8
"""The session, the user, the rows with what is fetched along, filters and saved points."""


@pytest.fixture
def many(db: None) -> None:
    """Hundreds of everything, written without the trouble of encryption."""
    users = created(get_user_model()(username=f"user-{n}") for n in range(100))
    VirtualKey.objects.bulk_create(
        [VirtualKey(public_id=f"{n:012}", name=f"key-{n}", user=users[n % 100], digest="0" * 64) for n in range(MANY)]
    )
    Price.objects.bulk_create([Price(provider="openai", model=f"m{n}", input=n) for n in range(MANY)])
    routes = created(Route(name=f"route-{n}") for n in range(MANY))
    RouteTarget.objects.bulk_create(
        [RouteTarget(route=route, provider="echo", model=f"m{n}") for route in routes for n in range(2)]
    )
    providers = created(Provider(alias=f"provider-{n}", backend="echo") for n in range(MANY))
    ProviderCredential.objects.bulk_create(
        [ProviderCredential(provider=each, name="main", reference="env:OPENAI_API_KEY") for each in providers]
    )


def queries(client: Client, name: str, **query: Any) -> tuple[str, list[str]]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        page = get(client, f"ai_gateway_{name}_changelist", **query)
    return page, [each["sql"] for each in captured.captured_queries]


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("name", LISTS)
def test_list__counts_nothing_and_asks_little(boss: Client, name: str) -> None:
    get(boss, f"ai_gateway_{name}_changelist")  # What is made once for a process is not this page's.
    for query in ({}, {"p": 3}, {"q": "1"}):
        _, asked = queries(boss, name, **query)
        assert not [sql for sql in asked if re.search(r"COUNT\(\*\)", sql)], asked
        assert len(asked) <= MOST_QUERIES, asked


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("provider", "No provider is stored here yet."),
        ("providercredential", "No credential is stored yet."),
        ("route", "No route is stored yet"),
        ("virtualkey", "No key is stored yet."),
        ("limit", "No limit is stored yet."),
        ("price", "No price is stored yet."),
        ("usagerecord", "No call is written down yet."),
        ("usagedaily", "Nothing is written down of this month yet."),
        ("alert", "Nobody was alerted to anything yet."),
        ("breakerevent", "No breaker has opened so far"),
    ],
)
def test_list__that_is_empty_says_what_that_means(boss: Client, name: str, text: str) -> None:
    assert text in get(boss, f"ai_gateway_{name}_changelist")


def test_list__in_which_nothing_is_found_is_not_said_to_be_empty(boss: Client) -> None:
    make_route("fast", "echo/echo-1")
    for query in ({}, {"q": "slow"}, {"is_enabled__exact": "0"}):
        assert "No route is stored yet" not in get(boss, "ai_gateway_route_changelist", **query)


@pytest.mark.usefixtures("many")
def test_pages__lead_to_each_other(boss: Client) -> None:
    first = get(boss, "ai_gateway_virtualkey_changelist")
    assert first.count('name="_selected_action"') == 50
    assert 'rel="next"' in first
    assert 'rel="prev"' not in first
    assert f"key-{MANY - 1}<" in first
    last = get(boss, "ai_gateway_virtualkey_changelist", p=MANY // 50)
    assert 'rel="prev"' in last
    assert 'rel="next"' not in last
    assert "key-0<" in last


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("page", ["-3", "0", "999999", "9" * 23, "9" * 5000, "x"])
def test_pages__that_do_not_exist_are_no_failure(boss: Client, page: str) -> None:
    response = boss.get(url("ai_gateway_virtualkey_changelist"), {"p": page})
    assert response.status_code in (200, 302)


@pytest.mark.parametrize("name", ["usagedaily", "usagerecord", "limit", "virtualkey", "providercredential"])
@pytest.mark.parametrize("field", ["key", "key__id__exact", "user__id__exact", "group", "provider"])
@pytest.mark.parametrize("number", [str(2**63), "9" * 23, "9" * 5000])
def test_list__of_what_no_row_can_refer_to_is_no_failure(boss: Client, name: str, field: str, number: str) -> None:
    assert boss.get(url(f"ai_gateway_{name}_changelist"), {field: number}).status_code in (200, 302)


@pytest.mark.usefixtures("many")
def test_select_across__is_not_offered_beyond_the_page(boss: Client) -> None:
    assert "Select all 3" not in get(boss, "ai_gateway_virtualkey_changelist")


@pytest.mark.usefixtures("many")
def test_form__of_a_route_asks_for_the_providers_once(boss: Client) -> None:
    route = Route.objects.all()[0]
    with CaptureQueriesContext(connection) as captured:
        get(boss, "ai_gateway_route_change", route.pk)
    table = connection.ops.quote_name("ai_gateway_provider")
    assert len([each for each in captured.captured_queries if f"FROM {table}" in each["sql"]]) == 1


@pytest.mark.usefixtures("many")
def test_form__of_a_key_lists_no_users(login: Login) -> None:
    client = login(name="boss", is_superuser=True)
    assert "user-7" not in get(client, "ai_gateway_virtualkey_add")
