"""A site without time zones (USE_TZ=False): every page of the admin and the portal, with weeks of calls to show."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from ai_gateway import ledger_store
from ai_gateway.models import BreakerEvent, Price, UsageRecord, VirtualKey
from tests.admin.pages import get, send, url
from tests.ledger.made import made

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("encryption_key", "_without_time_zones"),
    pytest.mark.urls("tests.portal.urls"),
]

HREF = re.compile(r'<a\b[^>]*href="([^"#]+)')
ID = re.compile(r"/(?:\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9A-Za-z]{12})(?=/)")
STARTS = (
    "/admin/",
    "/admin/ai_gateway/dashboard/?period=24h",
    "/admin/ai_gateway/dashboard/?period=24h&by=key&csv=timeline",
    "/admin/ai_gateway/dashboard/?period=7d&by=tag",
    "/admin/ai_gateway/usagerecord/?since=2020-01-01T00:00:00",
    "/admin/ai_gateway/usagerecord/?since=2020-01-01T00:00:00%2B02:00",
    "/portal/",
    "/portal/usage/",
    "/portal/new/",
    "/portal/models/",
    "/portal/connect/",
)


@pytest.fixture(params=["Europe/Berlin", "Asia/Kolkata"])
def _without_time_zones(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, request.param
    settings.AI_GATEWAY = {**settings.AI_GATEWAY, "TIME_ZONE": request.param}
    # How moments are written is worked out once for a connection, and was for one of a site with time zones.
    monkeypatch.setattr(ledger_store, "_plans", ledger_store._Plans())


def shape(address: str) -> tuple[str, tuple[str, ...]]:
    """What pages have in common that differ in a number or a value alone."""
    parts = urlsplit(address)
    return ID.sub("/N", parts.path), tuple(sorted(name for name, _value in parse_qsl(parts.query)))


def is_new(address: str, known: set[tuple[str, tuple[str, ...]]]) -> bool:
    """Whether it is a page of a shape that was not seen. Of filters each is tried alone."""
    path, names = shape(address)
    return len(set(names) - {"since", "until", "span"}) < 2 and (path, names) not in known


def walk(client: Client) -> Iterator[tuple[str, int]]:
    """Follow the links of all pages, one of each shape."""
    due, known = list(STARTS), set(map(shape, STARTS))
    while due:
        address = due.pop()
        response = client.get(address)
        content = b"".join(response) if response.streaming else response.content
        yield address, response.status_code
        for href in HREF.findall(content.decode()):
            found = urljoin(address, html.unescape(href))
            if found.startswith(("/admin/ai_gateway/", "/portal/")) and is_new(found, known):
                known.add(shape(found))
                due.append(found)


@pytest.mark.parametrize("_without_time_zones", ["Asia/Kolkata"], indirect=True)
def test_every_page_is_shown(boss: Client) -> None:
    call_command("gateway_demo", "--days", "10", "--calls", "300", "--force", verbosity=0)
    VirtualKey.objects.update(expires_at=timezone.now() + timedelta(days=1))
    answers = dict(walk(boss))
    assert len(answers) > 60
    assert not {address: status for address, status in answers.items() if status >= 400}


def test_a_call_has_its_time(boss: Client, settings: Settings) -> None:
    at = datetime(2026, 11, 20, 12, 34, 56, tzinfo=UTC)
    ledger_store.write([made(started_at=at.timestamp())])
    shown = at.astimezone(timezone.get_default_timezone())
    record = UsageRecord.objects.get()
    assert f"{shown:%Y-%m-%d %H:%M:%S}" in get(boss, "ai_gateway_usagerecord_change", record.pk)
    exported = boss.get(url("ai_gateway_usagerecord_export", "jsonl"))
    assert json.loads(b"".join(exported))["started_at"] == "2026-11-20T12:34:56Z"


def test_hours_of_the_dashboard_lead_to_their_calls(boss: Client) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for ago in (0, 1, 1, 30):
        ledger_store.write([made(started_at=(hour - timedelta(hours=ago)).timestamp())])
    BreakerEvent.objects.create(at=timezone.now(), event="opened", provider="openai")
    page = boss.get(url("ai_gateway_dashboard_changelist"), {"period": "24h"})
    lines = [line for line in page.context["timeline"] if line["link"]]
    assert [line["requests"] for line in lines] == ["2", "1"]
    for line in lines:
        exported = boss.get(line["link"].replace("usagerecord/?", "usagerecord/export/jsonl/?"))
        assert str(len(b"".join(exported).splitlines())) == line["requests"]


def test_forms_and_commands_keep_moments(boss: Client) -> None:
    response = send(boss, "ai_gateway_price_add", provider="openai", model="m", input="1")
    assert response.status_code == 302
    assert abs(Price.objects.get().valid_from - timezone.now()) < timedelta(minutes=1)
    call_command("gateway_key", "create", "--user", "boss", "--name", "k", "--expires", "2090-01-31")
    assert VirtualKey.objects.get().expires_at == datetime(2090, 1, 31)
