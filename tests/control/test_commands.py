"""The commands: what they print, what they change, how they end."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import DatabaseError
from django.test import override_settings
from django.utils import timezone

from ai_gateway import changes, crypto, interchange
from ai_gateway.credentials import Secret
from ai_gateway.crypto import Keyring
from ai_gateway.key_store import read_keys
from ai_gateway.management.commands import gateway_reload
from ai_gateway.models import Limit, Price, Provider, ProviderCredential, Route, RouteTarget, VirtualKey
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


# gateway_export and gateway_import


MONEY = {"scope": "key", "measure": "cost", "window": "day", "amount": "1"}
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "providers": {
        "gpu": {"backend": "custom", "base_url": "https://gpu.example/v1", "timeouts": {"idle": 60}},
        "openai": {
            "backend": "openai",
            "credentials": {
                "main": {"reference": "env:OPENAI_API_KEY"},
                "more": {"reference": "env:B_API_KEY", "weight": 2},
            },
        },
    },
    "limits": {
        "ann's month": {"scope": "user", "measure": "cost", "window": "month", "amount": "12.5", "user": "ann"},
        "each key": {"scope": "key", "measure": "requests", "window": "minute", "amount": "60"},
    },
    "prices": [
        {
            "provider": "gpu",
            "model": "llama*",
            "valid_from": "2026-01-01T00:00:00+00:00",
            "input": "0.05",
            "output": "0",
            "service_tiers": {"batch": 0.5},
        }
    ],
    "routes": {
        "fast": {
            "strategy": "weighted",
            "is_public": False,
            "users": ["ann"],
            "groups": ["team"],
            "targets": [
                {"provider": "openai", "model": "gpt-5-mini", "weight": 3},
                {"provider": "gpu", "model": "llama"},
            ],
        }
    },
}


@pytest.fixture
def document(tmp_path: Path) -> str:
    make_user("ann", "team")
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(DOCUMENT))
    return str(path)


def test_import__is_what_export_writes_and_changes_nothing_the_second_time(document: str) -> None:
    out, _ = run("gateway_import", document)
    assert '+    "gpu": {' in out
    assert json.loads(run("gateway_export")[0]) == DOCUMENT
    before = list(ProviderCredential.objects.values()), list(Route.objects.values())
    assert run("gateway_import", document)[0] == "No changes.\n"
    assert (list(ProviderCredential.objects.values()), list(Route.objects.values())) == before


def test_import__dry_run_shows_all_and_changes_nothing(document: str) -> None:
    out, err = run("gateway_import", document, "--dry-run")
    assert '+    "fast": {' in out
    assert "nothing was changed" in err
    assert not Provider.objects.exists()


def test_import__prune_deletes_what_is_not_mentioned(document: str) -> None:
    make_provider("groq")
    make_route("old", "groq/x")
    run("gateway_import", document)
    assert Provider.objects.filter(alias="groq").exists()
    out, _ = run("gateway_import", document, "--prune")
    assert '-    "old": {' in out
    assert not Provider.objects.filter(alias="groq").exists()


@pytest.mark.parametrize("part", ["providers", "routes", "limits", "prices"])
def test_import__prune_leaves_a_part_alone_that_the_document_has_no_member_for(document: str, part: str) -> None:
    run("gateway_import", document)
    before = json.loads(run("gateway_export")[0])
    Path(document).write_text(json.dumps({"version": 1, **({"routes": {}} if part != "routes" else {})}))
    run("gateway_import", document, "--prune")
    after = json.loads(run("gateway_export")[0])
    assert after[part] == before[part]
    assert part == "routes" or after["routes"] == {}


def test_import__prune_deletes_a_part_that_is_empty_in_the_document(document: str) -> None:
    run("gateway_import", document)
    empty = {"version": 1, "providers": {}, "routes": {}, "limits": {}, "prices": []}
    Path(document).write_text(json.dumps(empty))
    run("gateway_import", document, "--prune")
    assert json.loads(run("gateway_export")[0]) == empty


def test_import__an_alias_may_be_written_in_capitals(document: str) -> None:
    targets = [{"provider": "GPU", "model": "llama"}, "OpenAI/gpt-5"]
    written = {
        "version": 1,
        "providers": {"OpenAI": {}, "GPU": {"backend": "vllm"}},
        "routes": {"fast": {"targets": targets}},
    }
    Path(document).write_text(json.dumps(written))
    run("gateway_import", document, "--prune")
    assert set(Provider.objects.values_list("alias", "backend")) == {("openai", "openai"), ("gpu", "vllm")}
    targets_before = list(RouteTarget.objects.values_list("pk", "provider", "model"))
    assert [target[1:] for target in targets_before] == [("gpu", "llama"), ("openai", "gpt-5")]
    assert run("gateway_import", document, "--prune")[0] == "No changes.\n"
    assert list(RouteTarget.objects.values_list("pk", "provider", "model")) == targets_before


def test_import__prune_leaves_synchronised_prices_alone(document: str) -> None:
    for source in Price.Source:
        Price.objects.create(provider="x", model=source, source=source)
    Limit.objects.create(name="old", scope="key", measure="requests", window="minute", amount=1)
    run("gateway_import", document, "--prune")
    assert set(Price.objects.values_list("model", flat=True)) == {"synced", "llama*"}
    assert set(Limit.objects.values_list("name", flat=True)) == {"ann's month", "each key"}


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


def test_export__has_no_secret_and_import_keeps_it(tmp_path: Path) -> None:
    make_credential(make_provider())
    out, _ = run("gateway_export")
    assert SECRET not in out
    assert "gw1:" not in out
    assert json.loads(out)["providers"]["openai"]["credentials"] == {"main": {"stored": True}}
    path = tmp_path / "gateway.json"
    path.write_text(out)
    assert run("gateway_import", str(path), "--prune")[0] == "No changes.\n"
    Provider.objects.all().delete()
    assert "has to be entered by hand" in run("gateway_import", str(path))[1]


def test_export_and_import__as_yaml(tmp_path: Path, document: str) -> None:
    run("gateway_import", document)
    path = tmp_path / "gateway.yaml"
    path.write_text(run("gateway_export", "--format", "yaml")[0])
    assert run("gateway_import", str(path))[0] == "No changes.\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version"),
        (
            {"limits": {"x": {"scope": "user", "measure": "cost", "window": "day", "amount": "1", "user": "eve"}}},
            "'eve'",
        ),
        ({"limits": {"x": {**MONEY, "amount": "much"}}}, "no number"),
        ({"limits": {"x": {**MONEY, "window": "minute"}}}, "by the hour"),
        ({"prices": [{"model": "m", "valid_from": "soon"}]}, "'soon' for a time"),
        ({"prices": [{"model": "m", "input": "cheap"}]}, "no number"),
        ({"extra": 1}, "unknown member 'extra'"),
        ({"providers": {"x": {"backend": "no-such"}}}, "provider 'x' is wrong"),
        ({"providers": {"x": {"api_key": "sk-canary"}}}, "unknown member 'api_key'"),
        ({"providers": {"openai": {"credentials": {"a": {"reference": "env:PATH"}}}}}, "not permitted"),
        ({"routes": {"x": {"targets": ["nobody/m"]}}}, "no provider nobody"),
        ({"routes": {"x": {"users": ["eve"], "targets": []}}}, "'eve'"),
        ({"routes": {"x": []}}, "must be an object"),
        ({"routes": []}, '"routes" must be an object'),
        ({"limits": None}, '"limits" must be an object'),
        ({"prices": {}}, '"prices" must be an array'),
        ({"providers": {"gpu": {}, "GPU": {}}}, "'GPU' is in the document twice"),
        ({"routes": {"x": {"targets": [5]}}}, "text or an object"),
    ],
)
def test_import__of_a_wrong_document__says_where_and_changes_nothing(
    document: str, change: dict[str, Any], message: str
) -> None:
    Path(document).write_text(json.dumps({**DOCUMENT, **change}))
    with pytest.raises(CommandError, match=message) as caught:
        run("gateway_import", document)
    assert "canary" not in str(caught.value)
    assert not Provider.objects.exists()


@pytest.mark.parametrize("content", ["{", "[1]", "- x", "a: [", "\udcff"])
def test_import__of_what_is_no_document(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CommandError):
        run("gateway_import", str(path))


LITELLM = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, weight: 3}
  - model_name: gpt-4o
    litellm_params: {model: azure/our-gpt, api_key: os.environ/AZURE_API_KEY, api_base: "https://ours.openai.azure.com"}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY, rpm: 100}
  - model_name: local
    litellm_params: {model: openai/llama, api_base: "http://gpu.internal:8000/v1", api_key: sk-written-here-canary}
  - model_name: cheap
    litellm_params: {model: groq/llama-4, api_key: os.environ/GROQ_API_KEY, timeout: 30}
  - model_name: "anything/*"
    litellm_params: {model: openai/*, api_key: os.environ/OPENAI_API_KEY}
  - model_name: strange
    litellm_params: {model: sagemaker/x}
router_settings:
  routing_strategy: usage-based-routing
  fallbacks: [{claude: [cheap]}, {nobody: [cheap]}]
  model_group_alias: {gpt-4: gpt-4o}
litellm_settings:
  drop_params: true
general_settings:
  master_key: sk-master-canary
environment_variables: {A: b}
"""


def test_import__from_litellm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LITELLM)
    out, err = run("gateway_import", "--from", "litellm", str(path))
    assert "canary" not in out + err
    document = interchange.export()
    assert document["providers"]["openai"] == {
        "backend": "openai",
        "credentials": {"litellm": {"reference": "env:OPENAI_API_KEY"}},
    }
    assert document["providers"]["azure"]["base_url"] == "https://ours.openai.azure.com"
    assert document["providers"]["openai-2"] == {"backend": "custom", "base_url": "http://gpu.internal:8000/v1"}
    assert document["providers"]["groq"]["timeouts"] == {"first_byte": 30}
    assert document["routes"]["gpt-4o"] == document["routes"]["gpt-4"]
    assert document["routes"]["gpt-4o"]["strategy"] == "weighted"
    assert document["routes"]["gpt-4o"]["targets"][0] == {"provider": "openai", "model": "gpt-4o", "weight": 3}
    assert [target["provider"] for target in document["routes"]["claude"]["targets"]] == ["anthropic", "groq"]
    assert "strategy" not in document["routes"]["claude"]
    assert document["limits"]["anthropic/claude-sonnet-4-5 rpm"] == {
        "scope": "model",
        "subject": "anthropic/claude-sonnet-4-5",
        "measure": "requests",
        "window": "minute",
        "amount": "100",
    }
    for part in (
        "sagemaker/x",
        "written into the file",
        "wildcard",
        "'nobody'",
        "routing_strategy",
        "drop_params",
        "master_key",
        "environment_variables",
    ):
        assert part in err
    assert run("gateway_import", "--from", "litellm", str(path))[0] == "No changes.\n"


def test_import__from_litellm__takes_over_the_strategy(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LITELLM.replace("usage-based-routing", "latency-based-routing"))
    _, err = run("gateway_import", "--from", "litellm", str(path))
    assert "routing_strategy" not in err
    routes = interchange.export()["routes"]
    assert routes["gpt-4o"]["strategy"] == routes["gpt-4"]["strategy"] == "lowest_latency"
    assert "strategy" not in routes["claude"]  # Its fallbacks are asked in order.


@override_settings(AI_GATEWAY={"STORED_REFERENCES": []})
def test_import__from_litellm__keeps_to_what_is_permitted(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LITELLM)
    with pytest.raises(CommandError, match="not permitted"):
        run("gateway_import", "--from", "litellm", str(path))


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
