"""That breakers opened and closed is written down."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from ai_gateway import breaker_events
from ai_gateway.breakers import Breaker
from ai_gateway.calls import Target
from ai_gateway.models import BreakerEvent
from ai_gateway.signals import breaker_closed, breaker_opened

pytestmark = pytest.mark.django_db

AT = 1_900_000_000.5
WHAT: dict[str, Any] = {"target": Target("openai", "gpt-5"), "reason": "5 failures in a row", "seconds": 30.0, "at": AT}


def test_what_happened_is_written_down() -> None:
    breaker_opened.send(Breaker, **WHAT)
    breaker_closed.send(Breaker, **{**WHAT, "reason": "a call did well", "seconds": 0.0, "at": AT + 60})
    closed, opened = BreakerEvent.objects.all()
    assert (opened.at, opened.provider, opened.model) == (datetime.fromtimestamp(AT, UTC), "openai", "gpt-5")
    assert (opened.event, opened.reason, opened.seconds) == ("opened", "5 failures in a row", 30.0)
    assert (closed.event, closed.reason, closed.seconds) == ("closed", "a call did well", 0.0)
    assert str(closed) == "openai/gpt-5 closed"


def test_a_name_that_is_too_long_is_cut_and_none_is_empty() -> None:
    breaker_opened.send(Breaker, **{**WHAT, "target": Target("x" * 300, None)})
    (event,) = BreakerEvent.objects.all()
    assert (event.provider, event.model) == ("x" * 200, "")


def test_a_database_that_fails_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(BreakerEvent, "save", fail)
    breaker_opened.send(Breaker, **WHAT)
    assert "is not written down: away" in caplog.text


def test_a_site_without_a_database_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker_events, "has_database", lambda: False)
    breaker_opened.send(Breaker, **WHAT)
    assert not BreakerEvent.objects.exists()


def test_they_are_pruned_with_usage() -> None:
    breaker_opened.send(Breaker, **{**WHAT, "at": timezone.now().timestamp()})
    breaker_opened.send(Breaker, **{**WHAT, "at": timezone.now().timestamp() - 10 * 86_400})
    output = StringIO()
    call_command("gateway_prune_usage", "--older-than", "5d", "--dry-run", stdout=output)
    assert "1 breaker events" in output.getvalue()
    assert BreakerEvent.objects.count() == 2
    call_command("gateway_prune_usage", "--older-than", "5d", stdout=output)
    assert BreakerEvent.objects.count() == 1
