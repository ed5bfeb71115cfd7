"""The commands for keys, secrets and configuration: what they print, what they change, how they end."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.db import DatabaseError
from django.test import override_settings
from django.utils import timezone

from ai_gateway import changes, crypto
from ai_gateway.credentials import Secret
from ai_gateway.crypto import Keyring
from ai_gateway.key_store import read_keys
from ai_gateway.management.commands import gateway_reload
from ai_gateway.models import Provider, ProviderCredential, Route, VirtualKey
from ai_gateway.stored import SECRET as FIELD
from ai_gateway.stored import read_version
from tests.commands import failing, run
from tests.control.rows import SECRET, make_credential, make_key, make_provider, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]


# gateway_key


def test_key_create__prints_the_key_alone_and_stores_what_was_said() -> None:
    make_user("ann", "team")
    rights = ("--model", "fast", "--model", "openai/*", "--endpoint", "chat/*", "--network", "192.0.2.0/24")
    out, err = run(
        "gateway_key",
        "create",
        "--user",
        "ann",
        "--name",
        "ci",
        "--group",
        "team",
        *rights,
        "--tag",
        "x",
        "--expires",
        "30d",
    )
    token = out.strip()
    key = VirtualKey.objects.get(public_id=crypto.public_id_of(token.encode()))
    assert token not in err
    assert (key.allowed_models, key.allowed_networks, key.tags) == (["fast", "openai/*"], ["192.0.2.0/24"], ["x"])
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - timezone.now() < timedelta(days=31)
    record = read_keys([key.public_id])[key.public_id]
    assert crypto.digest(record.hash_key.hex(), token.encode()) == record.digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--user", "nobody"), "no user"),
        (("--user", "ann", "--group", "nobody"), "no group"),
        (("--user", "ann", "--group", "others"), "not a member"),
        (("--user", "ann", "--network", "x"), "no address"),
        (("--user", "ann", "--expires", "soon"), "neither a duration"),
        (("--user", "ann", "--expires", "99999999999d"), "too far away"),
        (("--user", "ann", "--expires", "9999999d"), "too far away"),
        (("--user", "ann", "--expires", "9999-12-31T23:00:00-05:00"), "too far away"),
        (("--user", "ann", "--expires", "2030-02-31"), "too far away, or is no date"),
        (("--user", "ann", "--expires", "2020-01-01"), "would never work"),
        (("--user", "ann", "--rpm", "-1"), "A limit of requests"),
        (("--user", "ann", "--tpm", "-1"), "A limit of tokens"),
        (("--user", "ann", "--concurrency", "-1"), "A limit of concurrency"),
    ],
)
def test_key_create__says_what_is_wrong(arguments: tuple[str, ...], message: str) -> None:
    make_user("ann", "team")
    make_user("bob", "others")
    with pytest.raises(CommandError, match=message):
        run("gateway_key", "create", "--name", "x", *arguments)
    assert not VirtualKey.objects.exists()


def test_key_create__without_an_encryption_key__says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("ann")
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    with pytest.raises(CommandError, match="--generate"):
        run("gateway_key", "create", "--name", "x", "--user", "ann")


def test_key_list__shows_valid_keys_and_all_of_them_if_asked() -> None:
    ann = make_user("ann")
    _, token = make_key(ann, name="good")
    make_key(ann, name="revoked", is_active=False)
    make_key(ann, name="old", expires_at=timezone.now() - timedelta(days=1))
    make_key(make_user("bob"), name="of bob")
    assert [line.split()[-1] for line in run("gateway_key", "list", "--user", "ann")[0].splitlines()] == ["good"]
    shown = run("gateway_key", "list", "--all", "--json")[0]
    assert {json.loads(line)["name"] for line in shown.splitlines()} == {"good", "revoked", "old", "of bob"}
    assert token not in shown


def test_key_revoke_and_rotate__take_a_public_id_or_the_key() -> None:
    key, token = make_key(make_user())
    fresh = run("gateway_key", "rotate", token)[0].strip()
    assert fresh != token
    assert crypto.public_id_of(fresh.encode()) == key.public_id
    run("gateway_key", "revoke", key.public_id)
    key.refresh_from_db()
    assert not key.is_active
    with pytest.raises(CommandError, match="no such key"):
        run("gateway_key", "revoke", "nonsense")


# gateway_rotate_secrets


def test_rotate_secrets__makes_keys() -> None:
    made = run("gateway_rotate_secrets", "--generate")[0].strip()
    assert Keyring([Secret(made)]).current


def test_rotate_secrets__leaves_nothing_of_the_old_key(encryption_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = make_provider()
    for number in range(3):
        make_credential(provider, f"c{number}", secret=f"{SECRET}{number}")
    make_credential(provider, "by reference", reference="env:OPENAI_API_KEY")
    key, token = make_key(make_user())
    new = crypto.generate_key()
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", f"{new},{encryption_key}")
    monkeypatch.setattr("ai_gateway.management.commands.gateway_rotate_secrets.BATCH", 2)
    assert "3 to be encrypted anew" in run("gateway_rotate_secrets", "--dry-run")[0]
    assert "3 encrypted anew" in run("gateway_rotate_secrets")[0]
    assert "0 encrypted anew, 3 up to date" in run("gateway_rotate_secrets")[0]
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", new)
    opened = [FIELD.open(each) for each in ProviderCredential.objects.order_by("name") if each.secret]
    assert [each.reveal() for each in opened if each] == [f"{SECRET}{number}" for number in range(3)]
    record = read_keys([key.public_id])[key.public_id]
    assert crypto.digest(record.hash_key.hex(), token.encode()) == record.digest


def test_rotate_secrets__what_does_not_open_stays_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    make_credential(make_provider())
    before = ProviderCredential.objects.get().secret
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
    assert "1 failed" in failing("gateway_rotate_secrets")[0]
    assert ProviderCredential.objects.get().secret == before


# gateway_check and gateway_explain


def test_check__tells_what_works_and_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    make_provider("gpu", backend="vllm", base_url="http://127.0.0.1:9/v1", allow_private=True)
    make_credential(make_provider(), reference="env:NOT_SET_API_KEY")
    make_route("fast", "echo/echo-1")
    make_route("lost", "openai/gpt-5", "nobody/m")
    out = failing("gateway_check")[0]
    assert out.count("FAIL") == 4, out
    assert "upstream_unreachable" in out
    assert "ok   route fast" in out


def test_check__of_a_site_that_works__ends_well() -> None:
    make_route("fast", "echo/echo-1")
    make_provider("groq")
    out, _ = run("gateway_check", "--offline")
    assert "FAIL" not in out
    assert "open to callers with their own only" in out


def test_check__of_one_provider_that_there_is_not__fails() -> None:
    Provider.objects.create(alias="off", backend="echo", is_enabled=False)
    for name in ("nope", "off", "route"):
        with pytest.raises(CommandError, match=f"There is no provider '{name}'"):
            run("gateway_check", "--offline", "--provider", name)


def test_check__of_one_provider_says_something_of_it_and_of_no_other() -> None:
    make_route("groq", "echo/echo-1")
    make_credential(make_provider())
    for name, what in (("OpenAI", "not asked"), ("groq", "no credential")):
        out, _ = run("gateway_check", "--offline", "--provider", name)
        assert what in out
        assert len(out.splitlines()) == 1


def test_explain__says_where_a_call_would_go_and_why() -> None:
    make_credential(make_provider())
    make_route("fast", "openai/gpt-5-mini", "echo/echo-1")
    out, _ = run("gateway_explain", "fast")
    assert "'fast' is a route, whose targets are asked in order" in out
    assert out.index("https://api.openai.com/v1/chat/completions") < out.index("echo / echo-1")
    out, _ = run("gateway_explain", "gpt-5")
    assert "the default one is asked, 'openai'" in out
    assert SECRET not in out
    with override_settings(AI_GATEWAY={"RESPONSE_CACHE": {"ttl": 60}}):
        assert "Besides, an answer to an equal call" in run("gateway_explain", "fast")[0]


def test_explain__as_the_holder_of_a_key_and_as_a_user() -> None:
    make_route("team", "echo/echo-1", is_public=False)
    ann = make_user("ann")
    key, _ = make_key(ann, allowed_models=["fast"])
    assert "404 model_not_found" in failing("gateway_explain", "team", "--user", "ann")[0]
    assert "404 model_not_found" in failing("gateway_explain", "echo/echo-1", "--key", key.public_id)[0]
    Route.objects.get().users.add(ann)
    assert "can be asked" in run("gateway_explain", "team", "--user", "ann")[0]
    assert "unsupported_dialect" in failing("gateway_explain", "groq/x", "--path", "/v1/messages")[0]
    key.is_active = False
    key.save()
    with pytest.raises(CommandError, match="revoked"):
        run("gateway_explain", "x", "--key", key.public_id)


def test_explain__says_why_a_target_is_left_out(tmp_path: Path) -> None:
    route = make_route("seen", "echo/text", "echo/eyes")
    route.targets.filter(model="text").update(conditions={"images": False, "headers": {"x-tier": "gold"}})
    body = tmp_path / "body.json"
    body.write_text('{"messages": [{"content": [{"type": "image_url"}]}]}')
    assert "echo / text    left out: it wants another value of x-tier" in run("gateway_explain", "seen")[0]
    out, _ = run("gateway_explain", "seen", "--header", "X-Tier: gold")
    assert out.count("can be asked") == 2
    out, _ = run("gateway_explain", "seen", "--header", "X-Tier: gold", "--body", str(body))
    assert "left out: it wants a call without images" in out
    assert out.index("echo / eyes") < out.index("echo / text")
    route.targets.filter(model="eyes").delete()
    assert "400 no_suitable_target" in failing("gateway_explain", "seen", "--body", str(body))[0]
    with pytest.raises(CommandError, match="cannot be read"):
        run("gateway_explain", "seen", "--body", str(tmp_path / "nothing"))


def test_key__can_be_made_with_limits() -> None:
    make_user("ann")
    limits = ("--rpm", "60", "--tpm", "90000", "--concurrency", "4", "--budget", "20/month", "--budget", "$1.5/day")
    run("gateway_key", "create", "--user", "ann", "--name", "ci", *limits)
    key = VirtualKey.objects.get()
    assert set(key.limits.values_list("measure", "window", "amount")) == {
        ("requests", "minute", 60),
        ("tokens", "minute", 90000),
        ("concurrency", "", 4),
        ("cost", "month", 20),
        ("cost", "day", Decimal("1.5")),
    }
    with pytest.raises(CommandError, match="20/month"):
        run("gateway_key", "create", "--user", "ann", "--name", "ci", "--budget", "20/fortnight")
    assert VirtualKey.objects.count() == 1


# gateway_reload


def test_reload__counts_a_change_of_everything() -> None:
    before = read_version()
    out, _ = run("gateway_reload")
    after = read_version()
    assert (after.configuration, after.keys) == (before.configuration + 1, before.keys + 1)
    assert "within 2 seconds" in out


def test_reload__without_a_database_that_answers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(changes, "note", fail)
    with pytest.raises(CommandError, match="does not answer: away"):
        run("gateway_reload")


def test_reload__without_any_database_names_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_reload, "has_database", lambda: False)
    with pytest.raises(CommandError, match="SIGHUP"):
        run("gateway_reload")
