"""Alerts in the admin."""

from __future__ import annotations

import pytest

from ai_gateway.alerts import register
from ai_gateway.alerts.base import News
from ai_gateway.models import Alert
from tests.admin.conftest import Login
from tests.admin.pages import get, url

pytestmark = pytest.mark.django_db

NEWS = News("provider_down", "openai/gpt-5", "openai/gpt-5 is not well.", {})


def test_alerts_are_listed_and_not_changed(login: Login) -> None:
    register.claim(NEWS, 60.0)
    register.note_problem(NEWS, "e-mail: refused")
    client = login("view_alert")
    page = get(client, "ai_gateway_alert_changelist")
    assert "openai/gpt-5 is not well." in page
    assert "not delivered" in page
    assert "No alert" not in get(client, "ai_gateway_alert_changelist", state="open")
    assert "openai/gpt-5 is not well." not in get(client, "ai_gateway_alert_changelist", state="over")
    assert "e-mail: refused" in get(client, "ai_gateway_alert_change", Alert.objects.get().pk)
    assert client.post(url("ai_gateway_alert_add"), {}).status_code == 403


def test_a_stranger_sees_none(login: Login) -> None:
    assert login().get(url("ai_gateway_alert_changelist")).status_code == 403
