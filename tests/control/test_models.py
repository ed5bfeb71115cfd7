"""What people may write into the models, and what they are told if not."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import override_settings
from django.utils import timezone

from ai_gateway import crypto, registry
from ai_gateway.models import ConfigurationVersion, Provider, ProviderCredential, Route, RouteTarget, VirtualKey
from ai_gateway.stored import SECRET as FIELD
from tests.control.rows import SECRET, make_credential, make_key, make_provider, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

BEDROCK = "ai_gateway.providers.bedrock.BedrockProvider"


def errors(instance: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        instance.full_clean()
    return caught.value.message_dict


@pytest.mark.parametrize(
    "fields",
    [
        {"alias": "openai", "backend": "openai"},
        {"alias": "our-gpu.2", "backend": "custom", "base_url": "https://gpu.example/v1"},
        {"alias": "az", "backend": "azure", "options": {"resource": "ours"}},
        {"alias": "slow", "backend": "openai", "timeouts": {"first_byte": 60, "total": 0}, "dialects": ["openai_chat"]},
        {"alias": "own", "backend": BEDROCK, "options": {"region": "eu-west-1"}},
        {"alias": "few", "backend": "openai", "max_concurrency": 3, "allow_private": True, "label": "Few"},
    ],
)
@override_settings(AI_GATEWAY={"STORED_BACKENDS": ["ai_gateway.providers.bedrock.*"]})
def test_a_provider_that_can_be_called_is_fine(fields: dict[str, Any]) -> None:
    provider = Provider(**fields)
    provider.full_clean()
    built = provider.build()
    assert built.name == fields["alias"]
    assert built.max_concurrency == fields.get("max_concurrency")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"alias": "a/b"}, "alias"),
        ({"alias": "ÄB"}, "alias"),
        ({"alias": "-a"}, "alias"),
        ({"backend": "no-such"}, "backend"),
        ({"backend": "os.path.join"}, "backend"),
        ({"backend": "custom"}, "__all__"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": "https://user:canary@x/v1"}, "base_url"),
        ({"dialects": ["latin"]}, "dialects"),
        ({"dialects": "openai_chat"}, "dialects"),
        ({"timeouts": {"idle": 0}}, "timeouts"),
        ({"timeouts": {"lunch": 5}}, "timeouts"),
        ({"options": ["x"]}, "options"),
        ({"options": {"api_key": "canary"}}, "options"),
        ({"options": {"secret_access_key": "canary"}}, "options"),
        ({"options": {"base_url": "https://x"}}, "options"),
        ({"options": {"colour": "red"}}, "__all__"),
        ({"max_concurrency": 0}, "max_concurrency"),
    ],
)
def test_a_provider_that_could_not_be_called_is_refused_where_it_is_wrong(fields: dict[str, Any], where: str) -> None:
    found = errors(Provider(**{"alias": "x", "backend": "openai", **fields}))
    assert list(found) == [where]
    assert "canary" not in str(found)


called: list[str] = []


def call_me() -> None:
    """What a backend of the database must not be."""
    called.append("called")


@pytest.mark.parametrize("permitted", [(), ["mysite.*"], ["tests.control.test_models"]])
def test_no_code_is_run_for_a_backend_that_is_not_permitted(permitted: list[str]) -> None:
    backend = f"{__name__}.call_me"
    with override_settings(AI_GATEWAY={"STORED_BACKENDS": permitted}):
        found = str(errors(Provider(alias="x", backend=backend)))
        Provider.objects.create(alias="x", backend=backend)
        broken = registry.refresh().broken
    assert "STORED_BACKENDS" in found
    assert "STORED_BACKENDS" in broken["x"]
    assert called == []


def test_a_module_that_is_not_permitted_is_not_imported() -> None:
    sys.modules.pop("this", None)
    errors(Provider(alias="x", backend="this.s"))
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, "__all__"),
        ({"secret": "sk-x", "reference": "env:OPENAI_API_KEY"}, "__all__"),
        ({"reference": "OPENAI_API_KEY"}, "reference"),
        ({"reference": "env:SECRET_KEY"}, "reference"),
        ({"reference": "env:AI_GATEWAY_ENCRYPTION_KEYS"}, "reference"),
        ({"reference": "file:/etc/passwd"}, "reference"),
        ({"reference": "file:/run/secrets/../../etc/passwd"}, "reference"),
        ({"secret": "sk canary\n"}, "secret"),
        ({"secret": "sk-cänary"}, "secret"),
        ({"secret": "sk-x", "option": "base_url"}, "option"),
        ({"secret": "sk-x", "weight": 0}, "weight"),
    ],
)
def test_a_credential_is_one_secret_or_one_permitted_reference(fields: dict[str, Any], where: str) -> None:
    found = errors(ProviderCredential(provider=make_provider(), name="main", **fields))
    assert where in found
    assert "canary" not in str(found)


@pytest.mark.parametrize("reference", ["env:OPENAI_API_KEY", "file:/run/secrets/openai"])
def test_usual_references_are_permitted(reference: str) -> None:
    credential = ProviderCredential(provider=make_provider(), name="main", reference=reference)
    credential.full_clean()
    credential.save()
    assert ProviderCredential.objects.get().reference == reference


@override_settings(AI_GATEWAY={"STORED_REFERENCES": ["env:OURS_*"]})
def test_the_settings_say_which_references_are_permitted() -> None:
    provider = make_provider()
    ProviderCredential(provider=provider, name="main", reference="env:OURS_X").full_clean()
    assert "env:OURS_*" in str(errors(ProviderCredential(provider=provider, name="b", reference="env:OPENAI_API_KEY")))


def test_a_reference_takes_the_place_of_a_stored_secret() -> None:
    make_credential(make_provider())
    credential = ProviderCredential.objects.get()
    credential.reference = "env:OPENAI_API_KEY"
    credential.full_clean()
    credential.save()
    assert FIELD.open(ProviderCredential.objects.get()) is None


@pytest.mark.parametrize(("secret", "hint"), [(SECRET, "cdef"), ("sk-short", "")])
def test_the_last_letters_of_a_long_secret_are_kept_to_be_shown(secret: str, hint: str) -> None:
    make_credential(make_provider(), secret=secret)
    assert ProviderCredential.objects.get().secret_hint == hint


def test_without_an_encryption_key_a_secret_is_refused_and_a_reference_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    provider = make_provider()
    assert "gateway_rotate_secrets --generate" in str(
        errors(ProviderCredential(provider=provider, name="a", secret="x"))
    )
    ProviderCredential(provider=provider, name="b", reference="env:OPENAI_API_KEY").full_clean()


def test_a_target_leads_to_a_provider_that_there_is() -> None:
    make_provider("our-gpu", backend="custom", base_url="https://gpu.example/v1")
    route = make_route("fast")
    for alias in ("our-gpu", "groq"):
        RouteTarget(route=route, provider=alias, model="m").full_clean()
    assert "provider" in errors(RouteTarget(route=route, provider="nobody", model="m"))
    assert "model" in errors(RouteTarget(route=route, provider="groq", model="with blank"))


def test_a_route_has_a_name_without_blanks_that_is_its_own() -> None:
    make_route("fast")
    assert "name" in errors(Route(name="fast"))
    assert "name" in errors(Route(name="very fast"))
    assert "tags" in errors(Route(name="x", tags=[""]))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"allowed_networks": ["10.0.0.300"]}, "allowed_networks"),
        ({"allowed_networks": ["10.0.0.1/24"]}, "allowed_networks"),
        ({"allowed_models": "fast"}, "allowed_models"),
        ({"allowed_models": [" fast"]}, "allowed_models"),
        ({"allowed_models": ["x"] * 201}, "allowed_models"),
        ({"metadata": {"a": {"b": 1}}}, "metadata"),
        ({"metadata": ["a"]}, "metadata"),
        ({"name": ""}, "name"),
    ],
)
def test_a_key_is_described_in_the_right_form(fields: dict[str, Any], where: str) -> None:
    key = VirtualKey(user=make_user(), **{"name": "x", **fields})
    key.issue()
    assert where in errors(key)


def test_a_key_of_a_group_belongs_to_a_member() -> None:
    member, other = make_user("ann", "team"), make_user("bob")
    group = member.groups.get()
    key = VirtualKey(user=member, name="x", group=group)
    key.issue()
    key.full_clean()
    key.user = other
    assert "group" in errors(key)


def test_a_key_is_stored_as_a_hash_that_only_the_encryption_key_makes_sense_of() -> None:
    key, token = make_key(make_user())
    row = VirtualKey.objects.values().get()
    assert token not in str(row)
    assert token[20:60] not in str(row)
    assert key.shown == f"gw_{key.public_id}_…{token[-4:]}"
    assert crypto.public_id_of(token.encode()) == key.public_id


def test_a_key_that_is_issued_again_keeps_its_public_id_and_nothing_else() -> None:
    key, token = make_key(make_user())
    before = (key.public_id, key.digest)
    other = key.issue()
    assert key.public_id == before[0]
    assert key.digest != before[1]
    assert other != token


def test_a_key_expires() -> None:
    now = timezone.now()
    assert VirtualKey(expires_at=now - timedelta(seconds=1)).is_expired
    assert not VirtualKey(expires_at=now + timedelta(hours=1)).is_expired
    assert not VirtualKey().is_expired


def test_what_a_form_leaves_empty_is_an_empty_list_or_object() -> None:
    provider = Provider(alias="x", backend="openai", options=None, timeouts=None, dialects=None)
    provider.full_clean()
    provider.save()
    assert (provider.options, provider.timeouts, provider.dialects) == ({}, {}, [])


def test_the_version_counts_each_by_itself() -> None:
    ConfigurationVersion.bump("keys")
    ConfigurationVersion.bump("configuration", "keys")
    row = ConfigurationVersion.objects.get()
    assert (row.configuration, row.keys) == (1, 2)


def test_every_field_is_described_for_people() -> None:
    for model in (Provider, ProviderCredential, Route, RouteTarget, VirtualKey):
        for field in (*model._meta.fields, *model._meta.many_to_many):
            if field.editable and not field.auto_created:
                assert field.verbose_name
                assert field.help_text or field.name in ("is_enabled", "description", "state", "provider", "route"), (
                    field
                )
