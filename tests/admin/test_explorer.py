"""The explorer of calls: searched by anything, paged by place, drawn by time; one call taken apart; what was said."""

from __future__ import annotations

import html
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from ai_gateway import recorded
from ai_gateway.admin import usage_base
from ai_gateway.admin.costs import bill
from ai_gateway.admin.histogram import BARS, HEIGHT, drawn
from ai_gateway.admin.keyset import KeysetChangeList
from ai_gateway.admin.waterfall import Phase, bars, phases
from ai_gateway.models import RecordedCall, UsageRecord
from ai_gateway.recorder import Body
from tests.admin.conftest import Login
from tests.admin.pages import get, url
from tests.control.rows import make_key, make_user
from tests.recording.test_recorder import recording
from tests.usage.rows import DOLLAR, NOON, record, save

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key", "_at_noon")]

RECORDS = "ai_gateway_usagerecord"
LINK = re.compile(r"/usagerecord/([0-9a-f-]{36})/change/")


@pytest.fixture
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_base, "today", NOON.date)


def rows(page: str) -> list[uuid.UUID]:
    """The calls of a page, in its order."""
    return [uuid.UUID(id) for id in dict.fromkeys(LINK.findall(page))]


def found(client: Client, **query: Any) -> list[uuid.UUID]:
    """The calls that are found."""
    return rows(get(client, f"{RECORDS}_changelist", **{"span": "all", **query}))


# The list.


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"key": "laptop"}, {"key_name": "laptop"}),
        ({"asked": "slow"}, {"model": "slow"}),
        ({"route": "slow"}, {"route": "slow"}),
        ({"code": "overloaded"}, {"error_code": "overloaded"}),
        ({"session": "s-1"}, {"session": "s-1"}),
        ({"agent": "a-1"}, {"agent": "a-1"}),
        ({"tag": "eu"}, {"tags": ["eu"]}),
        ({"slower": "2.5"}, {"duration_ms": 2501}),
        ({"dearer": "0.02"}, {"cost_nanos": DOLLAR // 50 + 1}),
        ({"status": "5"}, {"status": 503}),
        ({"status": "0"}, {"status": 0}),
        ({"status": "errors"}, {"outcome": "timed_out"}),
        ({"is_stream__exact": "1"}, {"is_stream": True}),
        ({"is_mirror__exact": "1"}, {"is_mirror": True}),
        ({"since": "2026-11-20T12:30:00"}, {"at": NOON + timedelta(hours=1)}),
        ({"until": "2026-11-20T11:30:00"}, {"at": NOON - timedelta(hours=1)}),
    ],
)
def test_calls_are_searched_by(boss: Client, settings: Settings, query: dict[str, str], fields: dict[str, Any]) -> None:
    settings.TIME_ZONE = "UTC"
    at = fields.pop("at", NOON)
    wanted = record(at, **fields)
    save(record(), wanted, record())
    fields["at"] = at
    assert found(boss, **query) == [wanted.pk]


def test_calls_are_searched_by_a_virtual_key_and_its_owner(boss: Client) -> None:
    ann = make_user("ann")
    key, _ = make_key(ann, name="notebook")
    theirs = record(key=key, key_name="renamed since", user=ann)
    save(record(), theirs)
    for query in ({"key": "notebook"}, {"key": str(key.pk)}, {"who": "an"}):
        assert found(boss, **query) == [theirs.pk]
    assert found(boss, who="nobody") == []


def test_a_search_that_cannot_be_read_says_so_and_finds_nothing(boss: Client) -> None:
    save(record())
    page = get(boss, f"{RECORDS}_changelist", slower="soon", span="all")
    assert "Enter a number." in page
    assert not rows(page)


@pytest.mark.parametrize(
    ("query", "gets_span"),
    [
        ({}, False),
        ({"code": "overloaded"}, True),
        ({"provider": "groq"}, True),
        ({"session": "s"}, False),
        ({"key": "notebook", "provider": "groq"}, False),
        ({"key": "key of the settings"}, True),
        ({"q": "req_1"}, False),
        ({"provider": "groq", "span": "all"}, False),
        ({"provider": "groq", "since": "2026-11-20"}, False),
        ({"order": "oldest"}, False),
    ],
)
def test_what_no_index_finds_is_searched_for_within_days_and_the_address_says_so(
    boss: Client, query: dict[str, str], gets_span: bool
) -> None:
    make_key(make_user("ann"), name="notebook")
    response: Any = boss.get(url(f"{RECORDS}_changelist"), query)
    assert (response.status_code == 302) is gets_span
    assert not gets_span or response.url.endswith("&span=7d")


def following(client: Client, rel: str, page: str) -> str:
    query = re.search(rf'href="([^"]*)" rel="{rel}"', page)
    assert query is not None
    response = client.get(url(f"{RECORDS}_changelist") + html.unescape(query[1]))
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("order", ["", "oldest"])
def test_pages_follow_each_other_without_a_gap_there_and_back(
    boss: Client, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr("ai_gateway.admin.usage.UsageRecordAdmin.list_per_page", 3)
    # Of some the time is the same: their ids tell them apart.
    calls = [record(NOON - timedelta(minutes=n // 4)) for n in range(8)]
    save(*calls)
    expected = [call.pk for call in sorted(calls, key=lambda call: (call.started_at, call.pk), reverse=not order)]
    pages = [get(boss, f"{RECORDS}_changelist", order=order, span="all")]
    for _ in range(2):
        pages.append(following(boss, "next", pages[-1]))
    assert 'rel="next"' not in pages[-1]
    assert [id for page in pages for id in rows(page)] == expected
    back = following(boss, "prev", pages[2])
    assert rows(back) == rows(pages[1])
    first = following(boss, "prev", back)
    assert rows(first) == rows(pages[0])
    assert 'rel="prev"' not in first
    assert KeysetChangeList.has_previous is False


@pytest.mark.parametrize("cursor", ["x", "1", "1.x", "9" * 40 + "." + "0" * 32])
def test_a_place_that_is_none_is_no_error_of_ours(boss: Client, cursor: str) -> None:
    response = boss.get(url(f"{RECORDS}_changelist"), {"after": cursor})
    assert response.status_code == 302


def test_another_filter_begins_with_the_first_page(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_gateway.admin.usage.UsageRecordAdmin.list_per_page", 1)
    save(record(), record())
    second = following(boss, "next", get(boss, f"{RECORDS}_changelist"))
    assert "?outcome__exact=failed" in second


# The histogram.


def link(since: datetime, until: datetime) -> str:
    return f"{since:%H%M%S}-{until:%H%M%S}"


def test_histogram__counts_by_time() -> None:
    calls = [(NOON + timedelta(minutes=n), "failed" if n == 5 else "answered") for n in (40, 5, 5, 0)]
    chart = drawn(calls, link, is_part=False)
    assert chart is not None
    assert [(bar.calls, bar.failed) for bar in chart.bars if bar.calls] == [(1, 0), (2, 2), (1, 0)]
    assert (chart.calls, chart.failed, chart.highest) == (4, 2, 2)
    assert chart.bars[0].link == "120000-120100"
    assert max(float(bar.height) for bar in chart.bars) == HEIGHT


@pytest.mark.parametrize("days", [0.0001, 0.01, 1, 30, 400, 4000])
def test_histogram__has_few_bars_whatever_the_span(days: float) -> None:
    chart = drawn([(NOON, "answered"), (NOON - timedelta(days=days), "failed")], link, is_part=False)
    assert chart is not None
    assert len(chart.bars) <= BARS
    assert sum(bar.calls for bar in chart.bars) == 2


def test_histogram__of_days_on_which_clocks_change(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    with timezone.override("Europe/Vienna"):
        change = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
        calls = [(change + timedelta(hours=n), "answered") for n in range(30, -30, -1)]
        chart = drawn(calls, link, is_part=False)
    assert chart is not None
    assert sum(bar.calls for bar in chart.bars) == 60


def test_every_bar_leads_to_its_calls_on_a_day_on_which_clocks_change(boss: Client, settings: Settings) -> None:
    settings.TIME_ZONE = "America/New_York"
    begin = datetime(2026, 11, 1, 4, tzinfo=UTC)  # Midnight, of a day whose hour from one o'clock comes twice.
    save(*(record(begin + timedelta(minutes=number)) for number in range(5, 300, 10)))
    page = boss.get(url(f"{RECORDS}_changelist"), {"since": "2026-11-01T00:00:00", "until": "2026-11-01T12:00:00"})
    drawn = page.context["histogram"]
    assert drawn.calls == 30
    for bar in drawn.bars:
        query = dict(parse_qsl(html.unescape(bar.link).lstrip("?")))
        assert len(found(boss, **query)) == bar.calls


@pytest.mark.parametrize(
    ("zone", "since", "first"),
    [
        ("America/New_York", "2026-11-01T01:00:00", datetime(2026, 11, 1, 5, tzinfo=UTC)),
        ("America/New_York", "2026-11-01T01:00:00-05:00", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("America/New_York", "2026-03-08T02:30:00", datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),
        ("America/Santiago", "2026-09-06T00:00:00", datetime(2026, 9, 6, 4, tzinfo=UTC)),
        ("UTC", "2026-11-01T01:00:00+02:00", datetime(2026, 10, 31, 23, tzinfo=UTC)),
    ],
)
def test_an_hour_that_comes_twice_or_never_can_be_asked_for(
    boss: Client, settings: Settings, zone: str, since: str, first: datetime
) -> None:
    settings.TIME_ZONE = zone
    wanted = record(first)
    save(record(first - timedelta(seconds=1)), wanted)
    assert found(boss, since=since) == [wanted.pk]
    page = get(boss, f"{RECORDS}_changelist", since=since)
    assert f'value="{since[:19]}"' in page  # As a browser's calendar takes it.


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "2026-02-31T00:00:00", "x" * 99])
def test_a_moment_that_there_is_not_is_told(boss: Client, settings: Settings, zone: str, moment: str) -> None:
    settings.TIME_ZONE = zone
    save(record())
    for name in ("since", "until"):
        assert boss.get(url(f"{RECORDS}_changelist"), {name: moment}).status_code == 200


def test_histogram__of_less_than_two_calls_is_none() -> None:
    assert drawn([(NOON, "answered")], link, is_part=False) is None


def test_histogram__is_over_the_list_and_leads_to_its_calls(boss: Client) -> None:
    save(record(), record(NOON - timedelta(hours=1), outcome="failed"))
    page = get(boss, f"{RECORDS}_changelist")
    assert "gateway-histogram" in page
    assert "1 failed" in page
    assert re.search(r"since=2026-11-20T\d\d%3A00%3A00&amp;until=", page)
    assert "style=" not in page.split('class="gateway-histogram')[1].split("</figure>")[0]


# One call.


def test_waterfall__of_a_call_with_everything() -> None:
    call = record(
        queued_ms=100,
        overhead_us=620_000,
        first_byte_ms=800,
        first_token_ms=850,
        duration_ms=2000,
        is_stream=True,
        trail=[{"provider": "groq", "model": "llama", "status": 502, "error": "closed", "at": 105, "ms": 500}],
    )
    assert list(phases(call)) == [
        Phase("waiting", "waited for a place", 0, 100),
        Phase("gateway", "the gateway", 100, 105),
        Phase("failed", "groq/llama", 105, 605, "502 closed, 500 ms"),
        Phase("provider", "until its first byte", 620, 800, "openai/gpt-5-mini"),
        Phase("provider", "until its first token", 800, 850),
        Phase("answer", "the stream", 850, 2000),
    ]
    first, *_others, last = bars(call)
    assert (first.x, first.width) == ("0.0", "50.0")
    assert (last.x, last.width) == ("425.0", "575.0")


def test_waterfall__of_a_call_that_nobody_answered() -> None:
    trail = [{"provider": "a", "model": "m", "status": 500, "error": "x", "at": at, "ms": 50} for at in (2, 60)]
    call = record(overhead_us=61_000, duration_ms=111, trail=trail, outcome="failed")
    assert [phase.kind for phase in phases(call)] == ["gateway", "failed", "failed"]


def test_waterfall__of_a_call_that_was_refused() -> None:
    assert list(phases(record(duration_ms=3))) == [Phase("gateway", "the gateway", 0, 3)]


def test_waterfall__of_an_older_record() -> None:
    call = record(
        overhead_us=90_000,
        duration_ms=200,
        first_byte_ms=150,
        trail=[{"provider": "a", "model": "m", "status": 500, "error": "x", "ms": ms} for ms in (50, 30)],
    )
    assert [(phase.begin, phase.end) for phase in phases(call)][1:3] == [(0, 50), (50, 80)]


def test_waterfall__is_a_table_that_needs_no_styles(boss: Client) -> None:
    call = record(overhead_us=1500, first_byte_ms=100, duration_ms=300)
    save(call)
    page = get(boss, f"{RECORDS}_change", call.pk)
    table = page.split('class="gateway-waterfall"')[1].split("</table>")[0]
    assert "until its first byte" in table
    assert "style=" not in table


def test_bill__has_each_kind_of_token_with_its_price(settings: Settings) -> None:
    price = {"provider": "openai", "model": "gpt-5-mini", "input": "0.25", "output": 2, "cache_read": "0.025"}
    settings.AI_GATEWAY = {"PRICES": [{**price, "units": {"searches": "0.01"}}]}
    used: dict[str, Any] = {
        "input_tokens": 1000,
        "cache_read_tokens": 4000,
        "output_tokens": 200,
        "units": {"searches": 2},
    }
    cost = 1000 * 250 + 4000 * 25 + 200 * 2000 + 20_000_000
    made = bill(record(**used, cost_nanos=cost))
    assert [line[1:] for line in made.lines] == [
        ("1,000", "$0.25", "$0.00025"),
        ("4,000", "$0.025", "$0.0001"),
        ("200", "$2", "$0.0004"),
        ("2", "$0.01", "$0.02"),
    ]
    assert (made.total, made.note) == ("$0.02075", "")
    assert "something else" in bill(record(**used, cost_nanos=cost + 1)).note


def test_bill__of_what_nobody_knows_the_price_of(settings: Settings) -> None:
    settings.AI_GATEWAY = {"PROVIDERS": {"ours": {"BACKEND": "custom", "OPTIONS": {"base_url": "https://a.example"}}}}
    made = bill(record(provider="ours", served_model="m", cost_nanos=None))
    assert made.total == "?"
    assert {line.cost for line in made.lines} == {"?"}


def test_one_call_leads_on(boss: Client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    call = record(session="s 1", route="fast", dialect="anthropic_messages", trace_id=trace)
    save(call)
    page = html.unescape(get(boss, f"{RECORDS}_change", call.pk))
    assert "/usagerecord/?session=s+1&order=oldest" in page
    assert "/explain/?model=fast&key=&path=%2Fv1%2Fmessages" in page
    assert "/recorded/" not in page
    assert "/history/" not in page  # Nobody changes what was used.
    assert f'<code id="gateway-trace-id">{trace}</code>' in page
    explained = get(boss, "ai_gateway_explain", model="fast", path="/v1/messages")
    assert '<option value="/v1/messages" selected>' in explained


# What was said.

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'javascript:alert(1)"


@pytest.fixture
def kept(settings: Settings) -> UsageRecord:
    """A call whose bodies are kept, in which every text attacks whoever reads it."""
    settings.AI_GATEWAY = {"BODY_LOGGING": {}}
    call = record(user=make_user("ann"))
    save(call)
    part = {"type": "image_url", "image_url": {"url": f"https://example.com/{ATTACK}"}}
    tool = {"id": "call_1", "type": "function", "function": {"name": ATTACK, "arguments": json.dumps({"a": ATTACK})}}
    question = {
        "model": ATTACK,
        "messages": [
            {"role": "system", "content": ATTACK},
            {"role": "user", "content": [{"type": "text", "text": ATTACK}, part]},
            {"role": "assistant", "content": None, "tool_calls": [tool]},
            {"role": "tool", "tool_call_id": "call_1", "content": ATTACK},
        ],
        "tools": [{"type": "function", "function": {"name": ATTACK}}],
    }
    message = {"role": "assistant", "content": ATTACK, "reasoning_content": ATTACK}
    answer = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    bodies = {"request": json.dumps(question).encode(), "response": json.dumps(answer).encode()}
    made = msgspec.structs.replace(
        recording(),
        id=call.pk.hex,
        user_id=call.user_id,
        keeps_headers=True,
        request_headers=[(b"user-agent", ATTACK.encode()), (b"authorization", b"Bearer canary-0123456789")],
        **{name: Body(body, len(body)) for name, body in bodies.items()},
    )
    recorded.store([made])
    return call


def test_what_was_said_is_readable_and_harmless(boss: Client, kept: UsageRecord) -> None:
    page = get(boss, f"{RECORDS}_recorded", kept.pk)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert "canary" not in page
    for shown in ("System", "User", "Assistant", "Tool", "Thinking", "calls", "Result of", "the model was done"):
        assert shown in page
    assert html.escape(ATTACK) in page


def test_each_reading_is_noted(boss: Client, kept: UsageRecord) -> None:
    page = get(boss, f"{RECORDS}_change", kept.pk)
    assert f"/usagerecord/{kept.pk}/recorded/" in page
    assert not LogEntry.objects.exists()
    response: Any = boss.get(url(f"{RECORDS}_recorded", kept.pk))
    assert "no-store" in response["cache-control"]
    note = LogEntry.objects.get()
    assert (note.user.get_username(), note.object_id, note.change_message) == (
        "boss",
        str(kept.pk),
        "Read what was said.",
    )


@pytest.mark.parametrize("permissions", [["view_usage"], ["view_usagerecord", "view_recordedcall"], []])
def test_who_may_not_read_does_not(login: Login, kept: UsageRecord, permissions: list[str]) -> None:
    client = login(*permissions)
    assert client.get(url(f"{RECORDS}_recorded", kept.pk)).status_code == 403
    assert "/recorded/" not in client.get(url(f"{RECORDS}_change", kept.pk)).content.decode()
    assert not LogEntry.objects.exists()


def test_what_does_not_open_is_said(boss: Client, kept: UsageRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", "")
    assert "There is no encryption key" in get(boss, f"{RECORDS}_recorded", kept.pk)


def test_bodies_that_cannot_be_read_are_shown_as_they_are(boss: Client, settings: Settings) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {}}
    call = record()
    save(call)
    made = msgspec.structs.replace(
        recording(), id=call.pk.hex, request=Body(b'{"model": "m", "mess', 4711), response=Body(b"\xff\xfb", 2)
    )
    recorded.store([made])
    page = get(boss, f"{RECORDS}_recorded", call.pk)
    for shown in ("cannot be read as a conversation", "Cut: it had 4,711 bytes.", "shown as base64", "//s="):
        assert shown in page
    assert RecordedCall.objects.get().is_cut
