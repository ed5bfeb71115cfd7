"""The pages, of a site with everything in it: each asks the server something of its own."""

from __future__ import annotations

import io

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from ai_gateway.models import UsageDaily, UsageRecord, VirtualKey
from tests.control.rows import make_user

pytestmark = [pytest.mark.usefixtures("encryption_key", "site"), pytest.mark.urls("tests.portal.urls")]


@pytest.fixture
def boss() -> Client:
    """A superuser, and what there is to see."""
    call_command("gateway_demo", "--days=9", "--calls=300", verbosity=0)
    client = Client()
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


def read(client: Client, path: str, **query: str) -> str:
    """Read a page, to its end if it is a stream."""
    answer = client.get(path, query)
    assert answer.status_code == 200, (path, query)
    return (b"".join(answer) if answer.streaming else answer.content).decode()


def test_every_page_is_there(boss: Client) -> None:
    lists = [model for model in apps.get_app_config("ai_gateway").get_models() if admin.site.is_registered(model)]
    for model in lists:
        page = reverse(f"admin:ai_gateway_{model._meta.model_name}_changelist")
        read(boss, page)
        row = model._base_manager.order_by("-pk").first()
        if row is not None and not model._meta.proxy:
            read(boss, reverse(f"admin:ai_gateway_{model._meta.model_name}_change", args=[row.pk]))
    for name in ("keys", "usage", "models", "connect"):
        read(boss, reverse(f"ai_gateway_portal:{name}"))
    read(boss, reverse("admin:ai_gateway_explain"))


def test_lists_are_searched_and_exported(boss: Client) -> None:
    keys, records = (reverse(f"admin:ai_gateway_{name}_changelist") for name in ("virtualkey", "usagerecord"))
    key, call = VirtualKey.objects.order_by("pk")[0], UsageRecord.objects.order_by("pk")[0]
    assert key.public_id in read(boss, keys, q=key.name)
    assert call.request_id in read(boss, records, q=call.request_id)
    assert str(call.request_id) in read(boss, f"{records}export/csv/", q=call.request_id)
    read(boss, reverse("admin:ai_gateway_dashboard_changelist"), days="7")


def test_commands_read_and_tidy_up(boss: Client) -> None:
    printed = io.StringIO()
    for by in ("model", "user", "key", "day", "tag"):
        call_command("gateway_usage", "report", f"--by={by}", stdout=printed)
    call_command("gateway_reconcile_usage", stdout=printed)
    assert "gpt" in printed.getvalue()
    before = UsageDaily.objects.totals().requests
    call_command("gateway_prune_usage", "--older-than=3d", verbosity=0)
    assert 0 < UsageRecord.objects.count() < before
    assert UsageDaily.objects.totals().requests == before
    call_command("gateway_demo", "--remove", verbosity=0)
    assert not UsageRecord.objects.exists()
