"""What was used, in the admin: everybody's or one's own, with no count, and as a file."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ai_gateway.admin import usage_base
from ai_gateway.models import UsageRecord
from tests.admin.conftest import Login
from tests.admin.pages import get, url
from tests.control.rows import make_key, make_user
from tests.usage.rows import DOLLAR, NOON, record, save, some_days

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key", "_at_noon")]

RECORDS, DAYS = "ai_gateway_usagerecord", "ai_gateway_usagedaily"
MOST_QUERIES = 8


@pytest.fixture
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the rows is today."""
    monkeypatch.setattr(usage_base, "today", NOON.date)


def listed(client: Client, name: str, **query: Any) -> str:
    return get(client, f"{name}_changelist", **query)


def exported(client: Client, format: str = "csv", **query: Any) -> list[dict[str, str]]:
    response: Any = client.get(url(f"{RECORDS}_export", format), query)
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


# Who sees what.


@pytest.mark.parametrize("name", [RECORDS, DAYS])
def test_one_sees_ones_own_only(login: Login, name: str) -> None:
    ann = login(f"view_{name.removeprefix('ai_gateway_')}", name="ann")
    me = ann.session["_auth_user_id"]
    save(record(user_id=int(me), served_model="mine"), record(user=make_user("bob"), served_model="theirs"), record())
    page = listed(ann, name)
    assert "openai/mine" in page
    assert "theirs" not in page
    assert "gpt-5-mini" not in page


@pytest.mark.parametrize("name", [RECORDS, DAYS])
def test_who_may_see_usage_sees_everybodys(login: Login, name: str) -> None:
    save(record(user=make_user("bob"), served_model="theirs"))
    assert "openai/theirs" in listed(login("view_usage"), name)


@pytest.mark.parametrize("name", [RECORDS, DAYS])
def test_who_may_not_look_does_not(login: Login, name: str) -> None:
    client = login()
    assert client.get(url(f"{name}_changelist")).status_code == 403


def test_the_call_and_the_export_of_somebody_else_do_not_exist(login: Login) -> None:
    theirs = record(user=make_user("bob"))
    save(theirs)
    ann = login("view_usagerecord", name="ann")
    assert (
        ann.get(url(f"{RECORDS}_change", theirs.pk)).status_code == 302
    )  # To the index, as for any that is not there.
    assert exported(ann) == []
    assert login(name="nobody").get(url(f"{RECORDS}_export", "csv")).status_code == 403


@pytest.mark.parametrize("name", [RECORDS, DAYS])
def test_nobody_changes_what_was_used(boss: Client, name: str) -> None:
    save(record())
    assert boss.get(url(f"{name}_add")).status_code == 403
    page = listed(boss, name)
    assert 'name="_selected_action"' not in page
    assert "Add " not in page.split('id="content-main"')[1]


# The list of calls.


def test_list__of_calls(boss: Client) -> None:
    ann = make_user("ann")
    save(
        record(user=ann, key_name="laptop", cost_nanos=DOLLAR // 1000, input_tokens=1200, duration_ms=1500),
        record(NOON - timedelta(hours=1), outcome="timed_out", status=504, cost_nanos=None, user_id=99_999),
    )
    page = listed(boss, RECORDS)
    for shown in ("laptop (ann)", "openai/gpt-5-mini", "$0.0010", "1,200", "1.50 s", "answered 200"):
        assert shown in page
    for shown in ("timed out 504", "#99999"):
        assert shown in page
    assert re.search(r"field-cost_shown[^>]*>\s*\?\s*</td>", page)
    assert page.index("answered 200") < page.index("timed out 504")


def test_list__counts_nothing_and_asks_little(boss: Client) -> None:
    save(*(record(NOON - timedelta(minutes=n), user=make_user(f"u{n}") if n < 3 else None) for n in range(300)))
    listed(boss, RECORDS)
    for query in ({}, {"p": "3"}, {"q": "u1"}, {"outcome__exact": "answered", "span": "all"}):
        with CaptureQueriesContext(connection) as captured:
            listed(boss, RECORDS, **query)
        asked = [each["sql"] for each in captured.captured_queries]
        assert not [sql for sql in asked if re.search(r"COUNT\(\*\)", sql)], asked
        assert len(asked) <= MOST_QUERIES, asked


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"span": "today"}, 4),
        ({"span": "yesterday"}, 1),
        ({"span": "7d"}, 7 + 3),
        ({"span": "30d"}, 30 + 3),
        ({"span": "month"}, 20 + 3),
        ({"span": "last-month"}, 20),
        ({"span": "nonsense"}, 40 + 3),
        ({"outcome__exact": "failed"}, 1),
        ({"provider": "groq"}, 1),
        ({"provider": "-"}, 1),
        ({"route": "-", "span": "all"}, 40 + 3),
        ({"provider": "long-ago", "span": "all"}, 0),
        ({"served_model": "llama"}, 1),
        ({"price": "unknown"}, 1),
        ({"price": "known"}, 42),
        ({"is_estimated__exact": "1"}, 1),
        ({"q": "req_wanted"}, 1),
        ({"q": "an"}, 1),
        ({"q": "nobody"}, 0),
    ],
)
def test_list__filters_and_search(boss: Client, query: dict[str, str], count: int) -> None:
    save(
        *some_days(40),
        record(outcome="failed", request_id="req_wanted"),
        record(provider="groq", served_model="llama", cost_nanos=None),
        record(is_estimated=True, user=make_user("ann"), provider="" if query.get("provider") == "-" else "openai"),
    )
    assert len(exported(boss, **query)) == count


def test_list__filters_by_what_was_not_used_lately(boss: Client) -> None:
    save(record(NOON - timedelta(days=100)))
    assert [len(exported(boss, provider=name, span="all")) for name in ("openai", "groq")] == [1, 0]


def test_list__offers_what_was_used_lately(login: Login) -> None:
    ann = login("view_usagerecord", name="ann")
    save(record(user_id=int(ann.session["_auth_user_id"])), record(served_model="secret-of-bob", user=make_user("bob")))
    page = listed(ann, RECORDS)
    assert "?served_model=gpt-5-mini" in page
    assert "secret-of-bob" not in page


def test_detail__has_all_there_is_to_know(boss: Client) -> None:
    call = record(
        cost_nanos=1_000_000_001,
        cache_read_tokens=50_000,
        trail=[
            {"provider": "openai", "model": "o", "error": "breaker", "why": "it is open"},
            {"provider": "groq", "model": "llama", "status": 502, "error": "upstream_closed", "ms": 12},
        ],
        tags=["eu"],
        metadata={"cost_centre": "<b>4711</b>"},
        key_name="laptop",
        units={"searches": 2},
    )
    save(call)
    page = get(boss, f"{RECORDS}_change", call.pk)
    assert "passed over: it is open" in page
    for shown in ("$1.000000001", "50,000", "groq/llama", "502 upstream_closed, 12 ms", "eu", "4711", "laptop"):
        assert shown in page
    assert "<b>4711" not in page
    assert "audio tokens heard" not in page.lower()
    assert 'name="_save"' not in page


def test_detail__of_a_call_whose_people_are_gone(boss: Client) -> None:
    ann = make_user("ann", "team")
    key, _ = make_key(ann)
    call = record(user=ann, key=key, key_name="laptop", group=ann.groups.get(), cost_nanos=None)
    save(call)
    number = ann.pk
    ann.delete()
    page = get(boss, f"{RECORDS}_change", call.pk)
    assert f"#{number}" in page
    assert "laptop" in page
    assert "Nobody knows" in page


# The export.


def test_export__has_the_filters_of_the_list(boss: Client) -> None:
    save(record(), record(outcome="failed"))
    page = listed(boss, RECORDS, outcome__exact="failed", span="all")
    assert "/export/csv/?outcome__exact=failed&amp;span=all" in page
    assert [row["outcome"] for row in exported(boss, outcome__exact="failed")] == ["failed"]


def test_export__is_a_file_that_is_streamed(boss: Client) -> None:
    save(record(model="=cmd"))
    response: Any = boss.get(url(f"{RECORDS}_export", "jsonl"))
    assert response.streaming
    assert re.fullmatch(r'attachment; filename="usage-[\dT-]+\.jsonl"', response["Content-Disposition"])
    assert json.loads(b"".join(response.streaming_content))["model"] == "=cmd"
    assert exported(boss)[0]["model"] == "'=cmd"


def test_export__a_format_that_is_not_there(boss: Client) -> None:
    assert boss.get(url(f"{RECORDS}_export", "xlsx")).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_export__is_streamed_under_asgi_without_being_collected_first(boss: Client) -> None:
    """Django warns of a synchronous iterator, which it would read to its end first; a warning fails a test."""
    save(record(), record())

    async def ask() -> bytes:
        client = AsyncClient()
        client.cookies = boss.cookies
        response: Any = await client.get(url(f"{RECORDS}_export", "csv"))
        return b"".join([piece async for piece in response.streaming_content])

    assert asyncio.run(ask()).count(b"gpt-5-mini") == 2


# The list of days.


def test_days__have_a_sum_of_what_the_filters_leave(boss: Client) -> None:
    save(
        record(cost_nanos=12 * DOLLAR),
        record(served_model="gpt-5", cost_nanos=30 * DOLLAR),
        record(provider="groq", served_model="llama", outcome="failed", cost_nanos=None),
        record(NOON - timedelta(days=60), cost_nanos=1000 * DOLLAR),
    )
    page = listed(boss, DAYS)
    summary = page.split("gateway-usage-title")[2].split("</section>")[0]
    assert "<strong>$42.00</strong>" in summary
    assert "3 requests" in summary
    assert "1 errors" in summary
    assert "1 without a price" in summary
    assert summary.index("openai/gpt-5<") < summary.index("openai/gpt-5-mini<")
    assert "$1,042.00" in listed(boss, DAYS, span="all")
    assert "$42.00" not in listed(boss, DAYS, provider="groq")


def test_days__are_those_of_this_month_unless_others_are_chosen(boss: Client) -> None:
    save(*some_days(40))
    assert listed(boss, DAYS).count("field-day") == 20
    assert listed(boss, DAYS, span="all").count("field-day") == 40


def test_days__of_nothing(boss: Client) -> None:
    assert "gateway-usage-title" not in listed(boss, DAYS)


# Links.


def test_a_keys_page_leads_to_its_usage_and_limits(boss: Client) -> None:
    key, _ = make_key(make_user("ann"))
    save(record(key=key, served_model="with-it"), record(served_model="without-it"))
    page = get(boss, "ai_gateway_virtualkey_change", key.pk)
    assert f"{url(f'{DAYS}_changelist')}?key={key.pk}" in page
    assert f"{url('ai_gateway_limit_changelist')}?key={key.pk}" in page
    found = listed(boss, DAYS, key=key.pk)
    assert "openai/with-it" in found
    assert "openai/without-it" not in found


def test_an_own_row_is_as_old_as_it_says(boss: Client) -> None:
    call = record(timezone.now())
    UsageRecord.objects.bulk_create([call])
    at = timezone.localtime(call.started_at)
    assert re.search(rf"{at:%H:%M:%S}.*{at:%b} {at.day}", listed(boss, RECORDS))
    assert f"{at:%Y-%m-%d %H:%M:%S}" in get(boss, f"{RECORDS}_change", call.pk)
