"""`gateway_usage`: sums for people and programs, and single calls."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError
from django.test import override_settings

from ai_gateway import exports
from tests.commands import run
from tests.control.rows import make_key, make_user
from tests.usage.rows import DOLLAR, record, save, some_days

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

SINCE = ("--since", "2026-11-01")


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    """A site whose days are those of UTC."""
    with override_settings(AI_GATEWAY={"TIME_ZONE": "UTC"}):
        yield


def usage(*arguments: str) -> str:
    return run("gateway_usage", *arguments)[0]


def report(*arguments: str) -> str:
    return usage("report", *SINCE, *arguments)


def in_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# Reports.


def test_table__is_aligned_and_ends_in_the_total() -> None:
    save(
        record(served_model="gpt-5", cost_nanos=12 * DOLLAR, input_tokens=1_234_567, cache_read_tokens=8),
        record(provider="groq", served_model="llama", cost_nanos=None, is_estimated=True),
    )
    assert report().splitlines() == [
        "Since 2026-11-01, UTC",
        "",
        "provider  model  requests  errors      input  cached  cache written  output  reasoning    cost",
        "──────────────────────────────────────────────────────────────────────────────────────────────",
        "openai    gpt-5         1       0  1,234,567       8              0      20          0  $12.00",
        "groq      llama         1       0        100       0              0      20          0   $0.00",
        "──────────────────────────────────────────────────────────────────────────────────────────────",
        "total                   2       0  1,234,667       8              0      40          0  $12.00",
        "Requests without a price, which count as nothing: 1",
        "Requests that are estimated, because the provider did not say what they used: 1",
    ]


def test_table__of_nothing_is_a_total_of_nothing() -> None:
    lines = report().splitlines()
    assert re.fullmatch(r"total +0 .*\$0\.00", lines[-1])


def test_table__the_first_few_and_the_total_of_all() -> None:
    save(*(record(served_model=f"m{number}", cost_nanos=number * DOLLAR) for number in range(5)))
    text = report("--top", "2")
    assert re.findall(r"^openai +(m\d)", text, re.MULTILINE) == ["m4", "m3"]
    assert re.search(r"^total +5 ", text, re.MULTILINE)
    assert "3 more are in the total." in text


@pytest.mark.parametrize(
    ("by", "labels"),
    [
        ("model", [("openai", "gpt-5-mini"), ("groq", "llama")]),
        ("provider", [("openai",), ("groq",)]),
        ("user", [("ann",), ("",)]),
        ("group", [("team",), ("",)]),
        ("key", [("laptop (ann)",), ("team-a",)]),
        ("route", [("fast",), ("",)]),
        ("day", [("2026-11-20",)]),
        ("tag", [("eu",)]),
        ("variant", [("spring:control",)]),
    ],
)
def test_report__by(by: str, labels: list[tuple[str, ...]]) -> None:
    ann = make_user("ann", "team")
    key, _ = make_key(ann)
    used_by_ann: dict[str, Any] = {"user": ann, "group": Group.objects.get(), "key": key, "tags": ["eu"]}
    save(
        record(**used_by_ann, route="fast", cost_nanos=2, variant="spring:control"),
        record(key_name="team-a", provider="groq", served_model="llama", cost_nanos=1),
    )
    rows = in_csv(report("--by", by, "--format", "csv"))
    assert [tuple(row.values())[: len(labels[0])] for row in rows] == labels
    names = ("provider", "model") if by == "model" else (by,)
    assert tuple(rows[0])[: len(names)] == names


def test_report__who_was_deleted_is_still_there() -> None:
    ann = make_user("ann")
    key, _ = make_key(ann)
    save(record(user=ann, key=key, key_name="laptop"))
    gone = ann.pk
    ann.delete()
    assert in_csv(report("--by", "user", "--format", "csv"))[0]["user"] == f"#{gone}"
    assert in_csv(report("--by", "key", "--format", "csv"))[0]["key"] == "laptop"


def test_csv__is_exact_and_has_every_number() -> None:
    save(record(cost_nanos=1_000_000_001, reasoning_tokens=3))
    (row,) = in_csv(report("--format", "csv"))
    assert row["cost"] == "1.000000001"
    assert row["reasoning_tokens"] == "3"
    assert set(row) >= {"requests", "errors", "limited", "cached", "estimated", "unpriced", "output_audio_tokens"}


def test_json__is_exact_and_says_what_it_is_of() -> None:
    save(record(cost_nanos=1_000_000_001))
    found = json.loads(report("--format", "json", "--until", "2026-12-01"))
    assert (found["since"], found["until"], found["by"]) == ("2026-11-01", "2026-12-01", "model")
    assert (found["time_zone"], found["currency"], found["more"]) == ("UTC", "USD", 0)
    assert found["rows"][0]["model"] == "gpt-5-mini"
    assert Decimal(found["total"]["cost"]) == Decimal("1.000000001")


def test_report__of_a_span() -> None:
    save(*some_days(5))
    rows = in_csv(usage("report", "--since", "2026-11-17", "--until", "2026-11-19", "--by", "day", "--format", "csv"))
    assert [row["day"] for row in rows] == ["2026-11-17", "2026-11-18"]


@pytest.mark.parametrize("option", ["--user", "--group", "--key", "--provider", "--model", "--route"])
def test_report__of_some(option: str) -> None:
    ann = make_user("ann", "team")
    key, _ = make_key(ann)
    save(
        record(user=ann, group=Group.objects.get(), key=key, provider="groq", served_model="llama", route="fast"),
        record(),
    )
    values = {"--user": "ann", "--group": "team", "--key": key.public_id}
    values |= {"--provider": "groq", "--model": "groq/llama", "--route": "fast"}
    found = json.loads(report("--format", "json", option, values[option]))
    assert found["total"]["requests"] == 1


def test_report__of_a_key_of_the_settings() -> None:
    save(record(key_name="team-a"), record(key_name="team-b"))
    assert json.loads(report("--format", "json", "--key", "team-a"))["total"]["requests"] == 1
    with override_settings(AI_GATEWAY={"KEYS": {"idle": "gw_x"}}):
        assert json.loads(report("--format", "json", "--key", "idle"))["total"]["requests"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "--since", "yesterday"), "is not a point in time"),
        (("report", "--until", "x"), "is not a point in time"),
        (("report", "--since", "2026-11-28", "--until", "2026-11-01"), "--until 2026-11-01 is not after --since"),
        (("export", "--since", "2026-11-28", "--until", "2026-11-28"), "is not after"),
        (("report", "--since", "2026-11-28", "--until", "2026-11-27T12:00"), "is not after"),
        (("report", "--user", "nobody"), "There is no user"),
        (("report", "--group", "nobody"), "There is no group"),
        (("report", "--key", "nobody"), "There is no such key"),
        (("report", "--top", "0"), "1 or more"),
        (("report", "--by", "colour"), "invalid choice"),
    ],
)
def test_what_cannot_be_reported_is_said(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        usage(*arguments)


# Single calls.


def test_export__csv_with_exact_cost_and_readable_time() -> None:
    save(record(cost_nanos=1, tags=["eu"], is_stream=True), record(cost_nanos=None))
    first, second = in_csv(usage("export", *SINCE))
    assert (first["cost"], second["cost"]) == ("0.000000001", "")
    assert first["started_at"] == "2026-11-20T12:00:00Z"
    assert (first["tags"], first["is_stream"]) == ('["eu"]', "1")


def test_export__jsonl_has_a_call_in_each_line() -> None:
    save(record(tags=["eu"], user=make_user("ann")), record())
    lines = [json.loads(line) for line in usage("export", *SINCE, "--format", "jsonl").splitlines()]
    assert lines[0]["tags"] == ["eu"]
    assert lines[0]["cost"] == "0.01"
    assert isinstance(lines[0]["user_id"], int)
    assert len(lines) == 2


def test_export__a_batch_at_a_time_and_each_call_once(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(exports, "BATCH", 10)
    calls = [record() for _ in range(25)]
    save(*calls)
    with django_assert_num_queries(3):
        rows = in_csv(usage("export", *SINCE))
    assert [row["id"] for row in rows] == sorted(str(call.id) for call in calls)


def test_export__of_nothing_has_the_names_of_the_columns() -> None:
    assert usage("export", *SINCE).strip() == ",".join(exports.COLUMNS)
    assert usage("export", *SINCE, "--format", "jsonl") == ""


def test_export__of_a_span_and_of_some() -> None:
    save(*some_days(3), record(provider="groq"))
    assert len(in_csv(usage("export", "--since", "2026-11-19", "--provider", "openai"))) == 2


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\uff1d1"])
def test_export__no_text_is_a_formula(name: str) -> None:
    save(record(model=name))
    (row,) = in_csv(usage("export", *SINCE))
    assert row["model"] == f"'{name}"


@pytest.mark.parametrize(
    ("name", "written"),
    [("a;=1+1", "a;'=1+1"), ("a\t@x", "a\t'@x"), ("a;;-1", "a;;'-1"), ("a;b-c=d", "a;b-c=d"), ("a-b", "a-b")],
)
def test_export__nor_is_one_behind_another_separator(name: str, written: str) -> None:
    save(record(model=name))
    (row,) = in_csv(usage("export", *SINCE))
    assert row["model"] == written


def test_csv_of_a_report__no_name_is_a_formula() -> None:
    save(record(served_model="=cmd|' /C calc'!A0"))
    assert in_csv(report("--format", "csv"))[0]["model"].startswith("'=")
