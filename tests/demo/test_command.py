"""The command: what it makes is marked, is what the ledger would have made, and goes without a trace."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db.models import Model

from ai_gateway import ledger_store, reconciliation, seeding
from ai_gateway.allowances import Due, LimitRule
from ai_gateway.conf import settings
from ai_gateway.demo import cast
from ai_gateway.models import (
    BreakerEvent,
    Limit,
    LimitCounter,
    Price,
    Provider,
    RecordedCall,
    Route,
    RouteTarget,
    UsageDaily,
    UsageLabelDaily,
    UsageRecord,
    VirtualKey,
)
from ai_gateway.rollups import Days
from ai_gateway.signals import call_finished
from ai_gateway.stored import from_database
from tests.control.rows import make_key, make_provider, make_route, make_user
from tests.ledger.made import made

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

MODELS: list[Any] = [
    get_user_model(),
    Group,
    VirtualKey,
    Provider,
    Route,
    RouteTarget,
    Price,
    Limit,
    LimitCounter,
    UsageRecord,
    UsageDaily,
    UsageLabelDaily,
    BreakerEvent,
    RecordedCall,
]


def run(*arguments: str) -> str:
    """Run the command; give what it printed."""
    out = io.StringIO()
    call_command("gateway_demo", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def rows(model: type[Model]) -> list[Any]:
    return list(model._default_manager.order_by("pk").values())


def set_up() -> None:
    run("--calls", "150", "--days", "9")


def test_what_it_makes_is_what_the_ledger_would_have_made() -> None:
    heard: list[Any] = []

    def hear(entry: Any, **_: Any) -> None:
        heard.append(entry)

    call_finished.connect(hear)
    set_up()
    call_finished.disconnect(hear)
    assert not heard
    assert UsageRecord.objects.count() == 150
    zone = Days(settings.TIME_ZONE)
    days = reconciliation.days_with_records(zone)
    assert 9 <= len(days) <= 10
    assert not [drift for day in days for drift in reconciliation.drifts(day, zone)]


def test_all_of_it_can_be_seen_to_be_made_up() -> None:
    set_up()
    assert all(key.metadata[cast.MARK] for key in VirtualKey.objects.all())
    assert all(record.metadata[cast.MARK] for record in UsageRecord.objects.all())
    names = [user.get_username() for user in get_user_model()._default_manager.all()]
    names += Group.objects.values_list("name", flat=True)
    names += Provider.objects.values_list("alias", flat=True)
    names += Route.objects.values_list("name", flat=True)
    names += Limit.objects.values_list("name", flat=True)
    assert all(name.startswith(cast.PREFIX) for name in names)
    assert {provider.backend for provider in Provider.objects.all()} == {"echo"}
    assert not any(user.has_usable_password() for user in get_user_model()._default_manager.all())


def test_the_rows_are_valid_and_form_a_configuration_without_faults() -> None:
    set_up()
    for model in (Provider, Route, RouteTarget, Price, Limit, VirtualKey):
        for row in model._default_manager.all():
            row.full_clean()
    found = from_database()
    assert not found.broken
    assert {*found.routes} == {route.name for route in cast.ROUTES}
    assert len(found.limits) == len(cast.BUDGETS)


def used(rule: LimitRule, at: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Tell which part of a limit is used, as the stores of limits find it out when they begin."""
    monkeypatch.setattr(seeding, "find", lambda counter, rules: (rule, rule.subject))
    return seeding.spent(Due(rule, rule.subject).counter(at)) / rule.amount


def test_budgets_are_in_every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    run("--calls", "800", "--days", "9")
    rules = {rule.name: rule for rule in from_database().limits}
    now = UsageRecord.objects.latest("started_at").started_at.timestamp()
    assert used(rules["demo-evaluations"], now, monkeypatch) >= 1
    assert used(rules["demo-platform a month"], now, monkeypatch) == pytest.approx(0.61, abs=0.07)
    assert used(rules["demo-support a month"], now, monkeypatch) == pytest.approx(0.87, abs=0.1)


def test_removing_it_leaves_what_was_there_before() -> None:
    user = make_user("demo-somebody", "team")
    key, _ = make_key(user, name="real")
    make_provider("demo-own")
    make_route("demo-mine")
    ledger_store.write([made(key_id=key.pk, user_id=user.pk, key_name="real", project="real", tags=["real"])])
    before = {model: rows(model) for model in MODELS}
    run("--calls", "50", "--days", "9", "--force")
    assert BreakerEvent.objects.filter(provider=cast.ANTHROPIC).exists()
    assert UsageLabelDaily.objects.filter(value="gateway").exists()
    limit = Limit.objects.get(name="demo-evaluations")
    LimitCounter.objects.create(name=f"{limit.pk}:{limit.key_id}:total")
    run("--remove")
    assert {model: rows(model) for model in MODELS} == before
    run("--remove")
    assert {model: rows(model) for model in MODELS} == before


def test_a_removal_that_was_interrupted_goes_on() -> None:
    set_up()
    UsageRecord.objects.filter(pk__in=UsageRecord.objects.values("pk")[:50]).delete()
    VirtualKey.objects.filter(name="support-bot").delete()
    run("--remove")
    assert not UsageRecord.objects.exists()
    assert not UsageDaily.objects.exists()


class TestRefusals:
    def test_a_database_with_real_calls_is_left_alone(self) -> None:
        ledger_store.write([made(key_id=1)])
        with pytest.raises(CommandError, match="Real calls are written down here"):
            run()
        assert not VirtualKey.objects.exists()

    def test_calls_of_the_built_in_echo__and_those_that_reached_nobody__are_no_real_ones(self) -> None:
        ledger_store.write([made(provider="echo", cost_nanos=0), made(provider="", status=401, outcome="refused")])
        set_up()
        assert UsageRecord.objects.count() == 152

    def test_there_is_one_demo_at_a_time(self) -> None:
        set_up()
        with pytest.raises(CommandError, match="The demo is there already"):
            run("--force")

    @pytest.mark.parametrize("kind", ["user", "provider", "route"])
    def test_it_takes_nobodys_name(self, kind: str) -> None:
        if kind == "user":
            make_user("demo-ada")
        elif kind == "provider":
            make_provider("demo-openai")
        else:
            make_route("demo-fast")
        with pytest.raises(CommandError, match="which is not the demo's"):
            run("--force")
        run("--remove")
        assert get_user_model()._default_manager.count() + Provider.objects.count() + Route.objects.count() == 1

    @pytest.mark.parametrize("arguments", [("--calls", "0"), ("--days", "-1")])
    def test_there_is_at_least_a_call_in_a_day(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="1 or more"):
            run(*arguments)
