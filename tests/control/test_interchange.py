"""The commands that export and import: what they print, what they change, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import override_settings

from ai_gateway import interchange
from ai_gateway.models import Limit, Price, Provider, ProviderCredential, Route, RouteTarget
from tests.commands import run
from tests.control.rows import SECRET, make_credential, make_provider, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]


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
