"""What a finished call was, as others are told: kinds of work, kinds of failures, attempts one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.telemetry.retelling import (
    ENDPOINTS,
    OPERATIONS,
    attempts_of,
    endpoint_of,
    kind_of,
    operation_of,
    own_seconds,
)
from tests.ledger.entries import entry

FAILED = {"provider": "groq", "model": "llama", "status": 503, "error": None, "at": 2, "ms": 10}
CALL: dict[str, Any] = {"provider": "openai", "served_model": "m", "status": 200, "attempts": 2, "duration_ms": 100}


@pytest.mark.parametrize(
    ("path", "endpoint", "operation"),
    [
        ("chat/completions", "chat/completions", "chat"),
        ("chat/completions/made/up", "chat/completions", "chat"),
        ("responses/resp_123/cancel", "responses", "chat"),
        ("messages", "messages", "chat"),
        ("messages/count_tokens", "messages/count_tokens", "messages/count_tokens"),
        ("models/gemini-3-flash:streamGenerateContent", "streamGenerateContent", "generate_content"),
        ("model/anthropic.claude/converse-stream", "converse-stream", "chat"),
        ("embeddings", "embeddings", "embeddings"),
        ("files/file-123/content", "files", "files"),
        ("made-up-by-a-caller", "other", "other"),
        ("", "other", "other"),
    ],
)
def test_endpoints_are_those_of_a_list(path: str, endpoint: str, operation: str) -> None:
    assert endpoint_of(entry(endpoint=path)) == endpoint
    assert operation_of(entry(endpoint=path)) == operation
    assert OPERATIONS.keys() <= ENDPOINTS


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (502, "upstream_unreachable", "unreachable"),
        (504, "upstream_timeout", "timeout"),
        (401, "upstream_auth_error", "credential"),
        (403, "", "credential"),
        (429, "made_up_by_a_provider", "rate_limited"),
        (529, "overloaded_error", "overloaded"),
        (500, "", "server_error"),
        (400, "context_length_exceeded", "unsuitable"),
        (422, "", "refused"),
    ],
)
def test_failures_are_of_a_few_kinds(status: int, code: str, kind: str) -> None:
    assert kind_of(status, code) == kind


def told(**columns: Any) -> list[tuple[str, str, int, int]]:
    return [(each.provider, each.kind, each.begin, each.end) for each in attempts_of(entry(**{**CALL, **columns}))]


def test_the_attempt_that_did_well_comes_behind_those_that_failed() -> None:
    assert told(trail=[FAILED], overhead_us=15_000) == [("groq", "overloaded", 2, 12), ("openai", "", 15, 100)]


def test_a_call_that_nobody_answered_has_only_those_that_failed() -> None:
    last = {**FAILED, "provider": "openai", "at": 20, "ms": 5}
    found = told(trail=[FAILED, last], status=503, outcome="failed")
    assert found == [("groq", "overloaded", 2, 12), ("openai", "overloaded", 20, 25)]


def test_a_stream_that_broke_is_an_attempt_that_failed() -> None:
    assert told(attempts=1, outcome="failed", error_code="upstream_closed") == [("openai", "broken", 0, 100)]


def test_a_target_that_was_passed_over_is_no_attempt() -> None:
    passed_over = {"provider": "groq", "model": "m", "status": None, "error": "breaker", "ms": 0, "why": "it is open"}
    assert told(trail=[passed_over]) == told()
    assert told(trail=[FAILED, passed_over], status=503, outcome="failed") == told(
        trail=[FAILED], status=503, outcome="failed"
    )


def test_an_answer_that_others_went_on_with_has_all_its_parts_in_the_trail() -> None:
    died = {**FAILED, "characters": 5, "tokens": {"output": 3}}
    last = {"provider": "openai", "model": "m", "status": 200, "tokens": {"output": 4}}
    assert told(trail=[died, last]) == [("groq", "overloaded", 2, 12), ("openai", "", 12, 100)]


def test_a_wait_for_a_place_is_not_the_gateways_own_time() -> None:
    assert own_seconds(entry(overhead_us=150)) == 0.00015
    assert own_seconds(entry(overhead_us=2_000_150, queued_ms=2_000)) == 0.00015
    assert own_seconds(entry(overhead_us=0, queued_ms=2_000)) == 0


def test_a_call_that_was_not_sent_has_none() -> None:
    assert told(attempts=0, outcome="refused", status=400) == []


def test_records_from_before_attempts_had_a_beginning_are_told_one_after_the_other() -> None:
    old = {name: value for name, value in FAILED.items() if name != "at"}
    assert told(trail=[old, old]) == [
        ("groq", "overloaded", 0, 10),
        ("groq", "overloaded", 10, 20),
        ("openai", "", 20, 100),
    ]
