"""The dashboard: its sums are those of the calls, it keeps to who may see what, and its address says all."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ai_gateway import figures, questions
from ai_gateway.admin import dashboard, usage_base
from ai_gateway.models import UsageDaily, UsageLabelDaily, UsageRecord
from ai_gateway.questions import read_question
from tests.admin.conftest import Login
from tests.admin.pages import get, url
from tests.control.rows import make_key, make_user
from tests.usage.rows import DOLLAR, NOON, record, save

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key", "_at_noon")]

PAGE = "ai_gateway_dashboard_changelist"
DAY = timedelta(days=1)
MOST_QUERIES = 25


@pytest.fixture
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the rows is today."""
    monkeypatch.setattr(usage_base, "today", NOON.date)
    monkeypatch.setattr(dashboard, "read_question", lambda given, zone: read_question(given, zone, NOON))


def shown(client: Client, **query: Any) -> str:
    return get(client, PAGE, **query)


def table(client: Client, name: str = "breakdown", **query: Any) -> list[dict[str, str]]:
    response = client.get(url(PAGE), {"csv": name, **query})
    assert response["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(response.content.decode())))


def summed(rows: list[dict[str, str]], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def a_month() -> list[UsageRecord]:
    """Calls of two users, with two keys and three models, over sixty days; some failed, some have no price."""
    people = [make_user("ann"), make_user("bob")]
    keys = [make_key(name=f"key-{who}", user=who)[0] for who in people]
    return [
        record(
            NOON - DAY * (number % 60) - timedelta(minutes=number),
            user=people[number % 2],
            key=keys[number % 2],
            key_name=keys[number % 2].name,
            served_model=("small", "large", "huge")[number % 3],
            route="" if number % 4 else "fast",
            outcome="failed" if number % 7 == 0 else "answered",
            cost_nanos=None if number % 11 == 0 else (number + 1) * DOLLAR // 1000,
            duration_ms=100 + 37 * number % 9000,
            first_token_ms=None if number % 5 == 0 else 50 + 13 * number,
        )
        for number in range(180)
    ]


# Its sums are those of the calls.


def test_sums_of_days_are_those_of_calls(boss: Client) -> None:
    save(*a_month())
    for by in ("provider", "key", "user", "group", "route"):
        sums_are_those_of_calls(boss, by, "30d")
    for period in ("7d", "month"):
        sums_are_those_of_calls(boss, "model", period)


def sums_are_those_of_calls(boss: Client, by: str, period: str) -> None:
    question = read_question({"period": period}, "UTC", NOON)
    calls = UsageRecord.objects.between(question.since, question.until).totals()
    before = UsageRecord.objects.between(question.before, question.since).totals()
    for rows in (table(boss, by=by, period=period), table(boss, "timeline", by=by, period=period)):
        assert summed(rows, "requests") == calls.requests
        assert summed(rows, "errors") == calls.errors
        assert summed(rows, "tokens") == calls.tokens
        assert summed(rows, "unpriced") == calls.unpriced
        assert sum(round(float(row["cost"] or 0) * DOLLAR) for row in rows) == calls.cost_nanos
    assert summed(table(boss, by=by, period=period), "requests_before") == before.requests


def test_what_answers_from_the_cache_saved_is_a_tile_where_there_are_any(boss: Client) -> None:
    save(record(cost_nanos=DOLLAR))
    assert "answered from the cache" not in shown(boss)
    save(*(record(outcome="cached", route="fast", cost_nanos=0, saved_nanos=2 * DOLLAR) for _ in range(3)))
    for period in ("7d", "24h"):
        page = shown(boss, period=period)
        assert ("3 answered from the cache" in page, "$6.00" in page) == (True, True)


def test_hours_are_summed_up_as_days_are(boss: Client) -> None:
    save(*(record(NOON - timedelta(minutes=20 * number), duration_ms=100 * number) for number in range(100)))
    rows = table(boss, "timeline", period="24h")
    assert len(rows) == 24
    assert rows[-1]["time"] == "2026-11-20T12:00:00+00:00"
    assert summed(rows, "requests") == len(UsageRecord.objects.between(NOON - timedelta(hours=23), NOON + DAY))


def test_calls_and_days_come_to_the_same_percentiles(boss: Client) -> None:
    calls = a_month()
    UsageRecord.objects.bulk_create(calls)
    from_calls = figures.ask(read_question({"session": ""}, "UTC", NOON), None)
    assert from_calls.now.requests == 0
    with_session = [record(NOON, duration_ms=number * 20, first_token_ms=number, session="s") for number in range(200)]
    save(*with_session)
    found = figures.ask(read_question({"session": "s"}, "UTC", NOON), None)
    assert found.is_calls
    assert found.now.requests == 200
    assert found.now.duration(0.5) == pytest.approx(2000, rel=0.25)
    assert sum(found.now.durations) == sum(found.now.first_tokens) == 200


@pytest.mark.parametrize(
    "filters",
    [{"provider": "openai"}, {"model": "openai/large"}, {"user": "ann"}, {"key": "key-bob"}, {"route": "fast"}],
)
def test_filters_narrow_everything(boss: Client, filters: dict[str, str]) -> None:
    save(*a_month())
    everything = summed(table(boss), "requests")
    of_page = table(boss, **filters)
    assert summed(of_page, "requests") == summed(table(boss, "timeline", **filters), "requests")
    assert 0 < summed(of_page, "requests") <= everything
    assert f"{next(iter(filters.values()))} <span" in shown(boss, **filters)


@pytest.mark.parametrize("filters", [{"user": "nobody"}, {"key": "x" * 99}, {"model": "none"}, {"tag": "none"}])
def test_a_filter_that_nothing_meets_shows_what_to_do(boss: Client, filters: dict[str, str]) -> None:
    save(*a_month())
    page = shown(boss, **filters)
    assert "Nothing was used in this span" in page
    assert "Leave the filters out" in page


def test_labels_are_told_apart(boss: Client) -> None:
    for number in range(12):
        UsageLabelDaily.objects.create(
            day=NOON.date() - DAY * number,
            slot=str(number),
            kind="session",
            value=f"s{number % 3}",
            requests=2,
            cost_nanos=5,
        )
    save(record())
    assert {row["session"]: row["requests"] for row in table(boss, by="session", period="30d")} == {
        "s0": "8",
        "s1": "8",
        "s2": "8",
    }


def test_tags_of_hours_come_from_calls(boss: Client) -> None:
    save(record(tags=["red", "blue"]), record(tags=["red"]), record())
    rows = {row["tag"]: row["requests"] for row in table(boss, by="tag", period="24h")}
    assert rows == {"red": "2", "blue": "1"}
    assert summed(table(boss, tag="blue"), "requests") == 1


# Who sees what.


def test_one_sees_ones_own_only(login: Login) -> None:
    ann = login(name="ann")
    me = int(ann.session["_auth_user_id"])
    save(record(user_id=me, served_model="mine", session="mine"), record(user=make_user("bob"), served_model="theirs"))
    UsageLabelDaily.objects.create(
        day=NOON.date(), slot="1", kind="session", value="s-theirs", requests=1, user_id=me + 1
    )
    for query in ({}, {"period": "24h"}, {"by": "session"}, {"user": "bob"}, {"by": "user"}):
        page = shown(ann, **query)
        assert "theirs" not in page
        assert "your own usage" in page
    assert [row["model"] for row in table(ann)] == ["openai/mine"]
    assert "usagerecord/?" not in shown(ann)  # There is no link to what may not be seen.


def test_who_may_see_usage_sees_everybodys(login: Login) -> None:
    save(record(user=make_user("bob"), served_model="theirs"))
    assert "openai/theirs" in shown(login("view_usage"))


def test_who_is_not_of_the_staff_is_not_let_in(login: Login) -> None:
    assert login(name="ann", is_staff=False).get(url(PAGE)).status_code == 302


def test_budgets_are_for_those_who_may_see_limits(login: Login, boss: Client) -> None:
    from ai_gateway.models import Limit

    Limit.objects.create(name="all-money", scope="everyone", measure="cost", window="month", amount=100)
    save(record())
    assert "all-money" in shown(boss)
    assert "all-money" not in shown(login("view_usage"))


# What it looks like.


def test_what_has_no_price_is_not_for_nothing(boss: Client) -> None:
    save(record(cost_nanos=None), record(cost_nanos=None))
    page = shown(boss)
    assert "unpriced" in page
    assert "$0" not in page
    assert table(boss)[0]["cost"] == ""


def test_pictures_are_well_formed_and_lead_to_the_calls(boss: Client) -> None:
    save(*a_month(), record(served_model='<b>"&'))
    page = shown(boss).split('id="content-main"')[1]
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) > 10
    for picture in pictures:
        ElementTree.fromstring(picture)
    link = re.search(r'<a href="([^"]*usagerecord/\?since=[^"]*)" aria-label', page)
    assert link
    assert boss.get(link[1].replace("&amp;", "&")).status_code == 200


@pytest.mark.parametrize("by", ["provider", "route", "user", "key", "group", "model"])
def test_each_line_leads_to_its_calls(boss: Client, by: str) -> None:
    save(*a_month(), record(provider="", served_model="", outcome="refused"))
    lines = boss.get(url(PAGE), {"period": "30d", "by": by}).context["breakdown"]
    assert any(line["link"] for line in lines)
    for line in lines:
        if line["link"]:
            exported = boss.get(line["link"].replace("usagerecord/?", "usagerecord/export/jsonl/?"))
            assert str(len(b"".join(exported).splitlines())) == line["requests"], line["name"]


def test_the_page_keeps_to_a_strict_policy(boss: Client) -> None:
    save(*a_month())
    content = shown(boss).split('id="content-main"')[1].split("</main>")[0]
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=|https?://", content)


def test_the_first_page_says_what_to_do(boss: Client) -> None:
    page = shown(boss)
    assert "Nothing was used in this span" in page
    assert url("ai_gateway_provider_changelist") in page


def test_the_first_page_leads_nobody_where_they_may_not_be(login: Login) -> None:
    link = url("ai_gateway_provider_changelist")
    assert f'<a href="{link}">Configure' not in shown(login("view_usagerecord", name="ann"))
    assert f'<a href="{link}">Configure' in shown(login("change_provider", name="bob"))


def test_the_index_leads_to_it(boss: Client) -> None:
    assert url(PAGE) in boss.get("/admin/ai_gateway/").content.decode()


def test_what_makes_no_sense_in_an_address_is_left_out(boss: Client) -> None:
    save(record())
    for query in (
        {"period": "x", "by": "x"},
        {"period": "custom"},
        {"period": "custom", "since": "0001-01-01", "until": "0001-01-01"},
        {"period": "custom", "since": "2026-11-20", "until": "2026-11-19"},
        {"period": "custom", "since": "0001-01-02", "until": "0001-01-02", "tag": "x"},
        {"period": "custom", "since": "9999-12-30", "until": "9999-12-30", "tag": "x"},
        {"key": "9" * 23},
        {"user": "9" * 23, "group": str(2**63)},
        {"user": "\0", "group": "x"},
        {"csv": "x"},
    ):
        shown(boss, **query)


def test_few_questions_are_asked_however_much_there_is(boss: Client) -> None:
    save(*a_month())
    shown(boss)
    with CaptureQueriesContext(connection) as captured:
        shown(boss)
    assert len(captured) <= MOST_QUERIES, [each["sql"][:90] for each in captured.captured_queries]


def test_too_many_calls_are_not_read(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_CALLS", 2)
    save(*(record() for _ in range(3)))
    assert "too many calls" in shown(boss, period="24h")
    assert "too many calls" not in shown(boss)


def test_an_address_says_the_same_when_it_is_written_again() -> None:
    for given in (
        {"period": "7d", "by": "key", "user": "ann"},
        {"period": "custom", "since": "2026-01-01", "until": "2026-02-01"},
    ):
        question = read_question(given, "Europe/Berlin", NOON)
        address = dict(each.split("=") for each in question.address().removeprefix("?").split("&"))
        assert read_question(address, "Europe/Berlin", NOON) == question
    assert set(questions.PERIODS) == set(dashboard.PERIOD_NAMES)
    assert UsageDaily is not None
