"""The database as a source of configuration, alone and behind the settings."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import DatabaseError
from django.test import override_settings

from ai_gateway import crypto, registry, routing, stored
from ai_gateway.calls import Caller, Target
from ai_gateway.checks.database import check_routers
from ai_gateway.configuration import NotHere, SourceUnavailable
from ai_gateway.errors import ProviderNotConfigured
from ai_gateway.models import Provider, ProviderCredential, Route, RouteTarget
from tests.control.rows import SECRET, make_credential, make_key, make_provider, make_route, make_user
from tests.databases import created
from tests.factories import make_call

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

KEY_OF_SETTINGS = "sk-of-the-settings"
SETTINGS = {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": KEY_OF_SETTINGS}}}, "ROUTES": {"fast": ["openai/old"]}}


def credential_header(snapshot: registry.Snapshot, alias: str) -> bytes:
    request = snapshot.providers[alias].build(make_call(model="m"), Caller(key_name="k"), None)
    return dict(request.headers)[b"authorization"]


def test_a_provider_of_the_database_is_called_with_its_credential() -> None:
    provider = make_provider(
        "our-gpu", backend="custom", base_url="https://gpu.example/v1", timeouts={"idle": 7}, label="Ours"
    )
    make_credential(provider)
    snapshot = registry.refresh()
    built = snapshot.providers["our-gpu"]
    assert (built.base_url, built.label) == ("https://gpu.example/v1", "Ours")
    assert built.timeouts == (("idle", 7.0),)
    assert credential_header(snapshot, "our-gpu") == b"Bearer " + SECRET.encode()
    assert SECRET not in repr(snapshot)


def test_a_reference_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_API_KEY", "sk-from-the-environment")
    make_credential(make_provider(), reference="env:OUR_API_KEY")
    assert credential_header(registry.refresh(), "openai") == b"Bearer sk-from-the-environment"


def test_several_credentials_share_the_calls_by_weight() -> None:
    provider = make_provider()
    make_credential(provider, "one", secret="sk-one", weight=3)
    make_credential(provider, "two", secret="sk-two", weight=1)
    make_credential(provider, "off", secret="sk-off", state=ProviderCredential.State.DISABLED)
    snapshot = registry.refresh()
    drawn = [credential_header(snapshot, "openai") for _ in range(400)]
    assert set(drawn) == {b"Bearer sk-one", b"Bearer sk-two"}
    assert 0.6 < drawn.count(b"Bearer sk-one") / len(drawn) < 0.9


def test_a_pair_of_secrets_fills_two_options() -> None:
    provider = make_provider("bedrock", options={"region": "eu-west-1"})
    make_credential(provider, "id", option="access_key_id", secret="AKIA0123456789")
    make_credential(provider, "key", option="secret_access_key", secret="canary-secret")
    built: Any = registry.refresh().providers["bedrock"]
    assert (built.access_key_id.reveal(), built.secret_access_key.reveal()) == ("AKIA0123456789", "canary-secret")
    assert built.region == "eu-west-1"
    assert built.is_configured


@override_settings(AI_GATEWAY=SETTINGS)
def test_the_database_wins_over_the_settings_and_a_check_says_so() -> None:
    make_credential(make_provider())
    make_route("fast", "openai/new")
    snapshot = registry.refresh()
    assert credential_header(snapshot, "openai") == b"Bearer " + SECRET.encode()
    assert snapshot.routes["fast"] == (Target("openai", "new"),)
    assert ids(checked()) == {"ai_gateway.W082", "ai_gateway.W083"}


@override_settings(AI_GATEWAY=SETTINGS)
def test_what_is_switched_off_in_the_database_does_not_exist() -> None:
    make_provider("openai", is_enabled=False)
    make_route("fast", "groq/new", is_enabled=False)
    snapshot = registry.refresh()
    assert "openai" not in snapshot.providers
    assert "fast" not in snapshot.routes


@override_settings(AI_GATEWAY=SETTINGS)
def test_a_credential_that_does_not_open_breaks_its_provider_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """T90: neither the ciphertext nor the credential of the settings is used in its place."""
    make_credential(make_provider())
    monkeypatch.setenv("GROQ_API_KEY", "gsk")
    make_credential(make_provider("groq"), reference="env:GROQ_API_KEY")
    make_route("fast", "openai/new", "groq/new")
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
    with caplog.at_level(logging.ERROR, "ai_gateway"):
        snapshot = registry.refresh()
        registry.refresh()
    assert len(caplog.records) == 1
    assert "openai" not in snapshot.providers
    assert list(snapshot.broken) == ["openai"]
    for model in ("openai/gpt-5", "gpt-5"):
        with pytest.raises(ProviderNotConfigured) as caught:
            routing.resolve(make_call(model=model), snapshot)
        assert caught.value.status == 503
    assert routing.resolve(make_call(model="fast"), snapshot) == [Target("groq", "new")]
    assert credential_header(snapshot, "groq") == b"Bearer gsk"
    assert "gw1:" not in repr(snapshot) + caplog.text
    assert "ai_gateway.E081" in ids(checked())


def test_one_credential_that_opens_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = make_provider()
    make_credential(provider, "lost")
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
    make_credential(provider, "good", secret="sk-good")
    assert credential_header(registry.refresh(), "openai") == b"Bearer sk-good"


@pytest.mark.parametrize(
    "reference",
    ["env:NOT_SET_API_KEY", "env:PATH", "file:/run/secrets/not-there", "file:/run/secrets/../../etc/hostname"],
)
def test_a_reference_that_leads_nowhere_or_is_not_permitted_breaks_its_provider(reference: str) -> None:
    make_credential(make_provider(), reference=reference)
    snapshot = registry.refresh()
    assert list(snapshot.broken) == ["openai"]


def test_a_provider_that_is_moved_to_another_host_loses_its_stored_credentials() -> None:
    provider = make_provider()
    make_credential(provider)
    provider.base_url = "https://evil.example/v1"
    provider.save()
    assert "stored for another host" in registry.refresh().broken["openai"]


@pytest.mark.parametrize("fields", [{"backend": "no-such"}, {"options": {"colour": "red"}}, {"base_url": "no url"}])
def test_a_broken_row_takes_nothing_else_with_it(fields: dict[str, Any]) -> None:
    make_provider("sound", backend="openai")
    Provider.objects.create(**{"alias": "broken", "backend": "openai", **fields})
    snapshot = registry.refresh()
    assert list(snapshot.broken) == ["broken"]
    assert "sound" in snapshot.providers
    assert ids(checked()) == {"ai_gateway.E080"}


def test_a_route_has_its_targets_in_order_and_its_rule() -> None:
    ann = make_user("ann", "team")
    route = make_route("fast", "groq/b", "openai/a", strategy=Route.Strategy.WEIGHTED, is_public=False, tags=["cheap"])
    RouteTarget.objects.filter(provider="groq").update(weight=9)
    RouteTarget.objects.create(route=route, position=5, provider="xai", model="off", is_enabled=False)
    route.users.add(ann)
    route.groups.add(ann.groups.get())
    make_route("plain", "openai/a")
    snapshot = registry.refresh()
    assert snapshot.routes["fast"] == (Target("groq", "b"), Target("openai", "a"))
    rule = snapshot.rules["fast"]
    assert (rule.weights, rule.is_public, rule.tags) == ((9, 1), False, ("cheap",))
    assert (set(rule.users), set(rule.groups)) == ({ann.pk}, {ann.groups.get().pk})
    assert "plain" not in snapshot.rules
    first = [routing.resolve(make_call(model="fast"), snapshot)[0].provider for _ in range(300)]
    assert 0.8 < first.count("groq") / len(first) < 0.98


def test_weights_count_where_the_strategy_goes_by_weight_only() -> None:
    make_route("fast", "groq/b", "openai/a", sticky=Route.Sticky.SESSION)
    RouteTarget.objects.filter(provider="groq").update(weight=9)
    assert registry.refresh().rules["fast"].weights == ()


def test_keys_that_cannot_be_verified_are_told_by_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    make_key(make_user())
    assert ids(checked()) == set()
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
    assert ids(checked()) == {"ai_gateway.E086"}


def test_routes_that_lead_nowhere_are_told_by_a_check() -> None:
    make_route("lost", "nobody/m")
    make_route("empty")
    make_route("off", is_enabled=False)
    assert ids(checked()) == {"ai_gateway.W084", "ai_gateway.W085"}
    assert "empty" not in registry.refresh().routes
    with pytest.raises(ProviderNotConfigured):
        routing.resolve(make_call(model="lost"), registry.snapshot())


@override_settings(AI_GATEWAY=SETTINGS)
def test_a_database_that_fails_leaves_what_was_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_credential(make_provider("groq"))
    before = registry.refresh()

    def away() -> None:
        raise DatabaseError("away")

    with caplog.at_level(logging.WARNING, "ai_gateway"):
        with monkeypatch.context() as failing:
            failing.setattr(stored, "_read", away)
            for _ in range(3):
                after = registry.refresh()
        assert registry.problems() == ["the database: away"]
        assert credential_header(after, "groq") == credential_header(before, "groq")
        registry.refresh()
    assert registry.problems() == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@override_settings(AI_GATEWAY=SETTINGS)
def test_a_database_that_never_answered_leaves_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(stored, "_read", away)
    snapshot = registry.refresh()
    assert credential_header(snapshot, "openai") == b"Bearer " + KEY_OF_SETTINGS.encode()


def test_the_database_is_not_read_on_an_event_loop() -> None:
    async def read() -> None:
        stored.from_database()

    with pytest.raises(NotHere):
        asyncio.run(read())
    assert issubclass(NotHere, SourceUnavailable)


def test_ten_thousand_routes_are_read_with_few_queries_and_stay_small(django_assert_max_num_queries: Any) -> None:
    routes = created(Route(name=f"route-{number}", is_public=number % 10 != 0) for number in range(10_000))
    RouteTarget.objects.bulk_create(
        RouteTarget(route=route, position=position, provider=provider, model="gpt-5-mini")
        for route in routes
        for position, provider in enumerate(("openai", "groq"))
    )
    with django_assert_max_num_queries(8):
        snapshot = registry.refresh()
    assert len(snapshot.routes) == 10_000
    assert len({id(target) for targets in snapshot.routes.values() for target in targets}) == 2
    size = sys.getsizeof(snapshot.routes) + sum(
        sys.getsizeof(name) + sys.getsizeof(targets) for name, targets in snapshot.routes.items()
    )
    assert size < 4_000_000


def checked() -> list[CheckMessage]:
    return [message for message in run_checks(databases=["default"]) if message.id and message.id > "ai_gateway.E"]


def ids(messages: list[CheckMessage]) -> set[str | None]:
    ours = {f"ai_gateway.{letter}{number:03}" for letter in "EW" for number in range(80, 100)}
    return {message.id for message in messages} & ours


def test_the_gateways_tables_are_where_the_users_are(settings: Any) -> None:
    def found() -> list[str | None]:
        return [message.id for message in check_routers(None)]

    assert found() == []
    settings.DATABASE_ROUTERS = ["tests.control.split_site.Router"]
    assert found() == []
    settings.DATABASE_ROUTERS = ["tests.control.split_site.GatewayApart"]
    assert found() == ["ai_gateway.E087"]
