"""`gateway_sync_prices`: what it brings into the database, what it changes there, and what it leaves alone."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ai_gateway import registry
from ai_gateway.models import Price, UsageDaily
from ai_gateway.price_catalogue import GenAIPrices
from ai_gateway.price_sync import CatalogueSource, Change, Sync, Wanted
from tests.control.rows import make_provider, make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Source:
    """Prices of which the test says what they are."""

    def __init__(self, **models: Any) -> None:
        self.wanted = {
            model: wanted if isinstance(wanted, Wanted) else Wanted(wanted) for model, wanted in models.items()
        }

    def find(self, row: str, model: str) -> Wanted | None:
        assert row == "openai"
        return self.wanted.get(model)

    def models(self, row: str) -> list[str]:
        return list(self.wanted)


def sync(source: Source, *models: str, at: datetime = NOW, **options: Any) -> list[Change]:
    return Sync(source, registry.refresh(), lambda: at).run({("openai", model) for model in models}, **options)


def spans(model: str = "m") -> list[tuple[Any, datetime, datetime | None]]:
    rows = Price.objects.filter(model=model).order_by("valid_from")
    return [(row.input, row.valid_from, row.valid_until) for row in rows]


LATER = NOW + timedelta(days=1)


def test_a_price_becomes_a_row() -> None:
    columns = {
        "input": Decimal("2.5"),
        "output": Decimal("15"),
        "units": {"searches": Decimal("0.01")},
        "tiers": [{"above": 272_000, "input": Decimal(5)}],
        "service_tiers": {"batch": {"input": Decimal("1.25")}},
    }
    (change,) = sync(Source(m=columns), "m")
    assert change.kind == "added"
    row = Price.objects.get()
    assert (row.provider, row.model, row.source, row.valid_from) == ("openai", "m", "synced", NOW)
    assert (row.input, row.output, row.cache_read) == (Decimal("2.5"), 15, None)
    assert row.units == {"searches": 0.01}
    assert row.tiers == [{"above": 272_000, "input": 5}]
    assert row.service_tiers == {"batch": {"input": 1.25}}
    row.full_clean()


def test_a_second_time_nothing_changes() -> None:
    source = Source(
        m={"input": Decimal("0.1"), "units": {"images": Decimal("0.04")}, "tiers": [{"above": 5, "input": 1}]}
    )
    assert sync(source, "m")
    assert sync(source, "m", at=LATER) == []
    assert len(spans()) == 1


def test_a_changed_price_ends_the_old_row_where_the_new_one_begins() -> None:
    sync(Source(m={"input": 1, "output": 4, "cache_read": Decimal("0.1")}), "m")
    (change,) = sync(Source(m={"input": 2, "output": 4, "reasoning": 5}), "m", at=LATER)
    assert change.kind == "changed"
    assert change.differences() == {"input": (1, 2), "cache_read": (0.1, None), "reasoning": (None, 5)}
    assert spans() == [(1, NOW, LATER), (2, LATER, None)]


def test_a_price_that_is_known_no_more_ends() -> None:
    sync(Source(m={"input": 1}), "m")
    (change,) = sync(Source(), at=LATER)  # It need not be used any more to be looked after.
    assert change.kind == "removed"
    assert spans() == [(1, NOW, LATER)]
    assert sync(Source(), at=LATER + timedelta(days=1)) == []


def test_of_two_rows_that_two_runs_began_at_once_none_outlives_the_other() -> None:
    sync(Source(m={"input": 1}), "m")
    Price.objects.create(provider="openai", model="m", valid_from=NOW, source=Price.Source.SYNCED, input=1)
    sync(Source(), at=LATER, is_dry=True)
    assert Price.objects.filter(valid_until=None).count() == 2
    (change,) = sync(Source(), at=LATER)
    assert change.kind == "removed"
    assert not Price.objects.filter(valid_until=None).exists()


def test_a_price_that_will_change_ends_when_it_will() -> None:
    soon = NOW + timedelta(days=10)
    sync(Source(m=Wanted({"input": 1}, soon)), "m")
    assert spans() == [(1, NOW, soon)]
    assert sync(Source(m=Wanted({"input": 1}, None)), "m", at=LATER) == []  # It will not, after all.
    assert spans() == [(1, NOW, None)]


def test_what_a_person_entered_is_left_alone() -> None:
    entered = Price.objects.create(provider="openai", model="m", input=7)
    assert [change.kind for change in sync(Source(m={"input": 1}), "m")] == ["added"]
    entered.refresh_from_db()
    assert (entered.input, entered.valid_until) == (7, None)
    assert [change.kind for change in sync(Source(), at=LATER)] == ["removed"]
    entered.refresh_from_db()
    assert entered.valid_until is None


def test_a_dry_run_tells_and_changes_nothing() -> None:
    sync(Source(m={"input": 1}, n={"input": 1}), "m", "n")
    told = sync(Source(m={"input": 2}, o={"input": 3}), "m", "o", at=LATER, is_dry=True)
    assert [(change.model, change.kind) for change in told] == [("m", "changed"), ("n", "removed"), ("o", "added")]
    assert spans("m") == [(1, NOW, None)]
    assert spans("o") == []


def test_a_price_that_cannot_be_read_again_takes_all_others_back() -> None:
    with pytest.raises(ValueError, match="input must be 0 or more dollars"):
        sync(Source(a={"input": 1}, b={"input": -1}), "a", "b")
    assert not Price.objects.exists()


def test_only_the_provider_that_is_named_is_looked_at() -> None:
    sync(Source(m={"input": 1}), "m")
    assert sync(Source(), at=LATER, provider="groq") == []


def test_a_price_that_changes_with_the_hour_is_left_to_the_catalogue() -> None:
    source = CatalogueSource(GenAIPrices(), NOW)
    assert source.find("deepseek", "deepseek-chat") is None
    assert source.find("groq", "openai/gpt-oss-120b") is not None


# The command.


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("gateway_sync_prices", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def site() -> None:
    """Routes to two models, and calls of a third one."""
    for alias in ("openai", "mistral"):
        make_provider(alias)
    make_route("fast", "openai/gpt-4o", "mistral/mistral-large-latest", "openai/gpt-99")
    today = timezone.now().date()
    UsageDaily.objects.create(day=today, slot="1", provider="openai", served_model="gpt-4.1-2025-04-14", requests=1)
    UsageDaily.objects.create(
        day=today - timedelta(days=365), slot="2", provider="openai", served_model="gpt-4", requests=1
    )


@pytest.mark.usefixtures("site")
def test_command__brings_what_the_site_uses_and_says_so() -> None:
    out, err = run()
    assert out.startswith("+ mistral/mistral-large-latest\n    input: $2\n    output: $6\n")
    assert "+ openai/gpt-4.1-2025-04-14\n    input: $2\n    cache_read: $0.5\n    output: $8\n" in out
    assert "+ openai/gpt-4o\n" in out
    assert err == "3 added, 0 changed, 0 removed.\n"
    assert Price.objects.count() == 3
    assert run() == ("", "No changes.\n")


@pytest.mark.usefixtures("site")
def test_command__shows_old_and_new() -> None:
    run("--provider", "mistral")
    Price.objects.update(input=Decimal("1.5"), valid_from=timezone.now() - timedelta(days=1))
    out, err = run("--dry-run", "--provider", "mistral")
    assert out == "~ mistral/mistral-large-latest\n    input: $1.5 -> $2\n"
    assert err == "0 added, 1 changed, 0 removed.\nThis was a dry run: nothing was changed.\n"
    assert Price.objects.count() == 1


@pytest.mark.usefixtures("site")
def test_command__as_json() -> None:
    out, _ = run("--format", "json", "--provider", "mistral", "--dry-run")
    (change,) = json.loads(out)
    assert (change["change"], change["provider"], change["model"]) == ("added", "mistral", "mistral-large-latest")
    assert change["prices"]["input"] == {"old": None, "new": 2}


@pytest.mark.usefixtures("site")
def test_command__from_a_file_of_litellm(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1e-06}}))
    out, err = run("--from", str(file))
    assert out == "+ openai/gpt-4o\n    input: $1\n"
    assert err == "1 added, 0 changed, 0 removed.\n"


def test_command__every_model_of_the_configured_providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    entry = {"litellm_provider": "mistral", "input_cost_per_token": 1e-06}
    other = {"litellm_provider": "groq", "input_cost_per_token": 1e-06}
    file.write_text(json.dumps({"mistral/one": entry, "mistral/two": entry, "groq/three": other}))
    make_provider("mistral").credentials.create(name="main", reference="env:MISTRAL_API_KEY")
    monkeypatch.setenv("MISTRAL_API_KEY", "m-key")
    run("--from", str(file), "--all")
    assert sorted(Price.objects.values_list("model", flat=True)) == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--provider", "nowhere"], "There is no provider 'nowhere'."),
        (["--from", "/not/there.json"], "cannot be read"),
    ],
)
def test_command__what_it_cannot_do(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run(*arguments)


def test_command__a_file_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"gpt": 1}')
    with pytest.raises(CommandError, match="It holds no prices of LiteLLM"):
        run("--from", str(file))


def test_command__without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GenAIPrices, "is_missing", True)
    with pytest.raises(CommandError, match=r"pip install 'django-ai-gateway\[prices\]', or give a file with --from"):
        run()
