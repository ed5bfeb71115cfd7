"""What does a failed attempt mean?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.calls import Reply
from ai_gateway.errors import (
    BadRequest,
    ConnectFailed,
    GatewayError,
    InvalidCredential,
    Kind,
    PoolTimeout,
    PriceUnknown,
    ProviderBusy,
    ProviderError,
    ProviderNotConfigured,
    RateLimited,
    Unsupported,
    UpstreamClosed,
    UpstreamProtocolError,
    UpstreamRedirect,
    UpstreamRefusedCredential,
    UpstreamTimeout,
)
from ai_gateway.failures import Phase, of_error, of_reply


def limited(*, is_of_target: bool) -> RateLimited:
    return RateLimited("often", limit="l", measure="requests", amount=1, is_of_target=is_of_target)


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (ConnectFailed("no route"), Phase.NOT_SENT),
        (ProviderBusy("full"), Phase.NOT_SENT),
        (PoolTimeout("full"), Phase.NOT_SENT),
        (ProviderNotConfigured("no key"), Phase.NOT_SENT),
        (limited(is_of_target=True), Phase.NOT_SENT),
        (UpstreamRefusedCredential("no"), Phase.REFUSED),
        (UpstreamRedirect("there"), Phase.REFUSED),
        (Unsupported("images"), Phase.UNSUITABLE),
        (PriceUnknown("price"), Phase.UNSUITABLE),
        (UpstreamClosed("gone"), Phase.AMBIGUOUS),
        (UpstreamTimeout("slow"), Phase.AMBIGUOUS),
        (UpstreamProtocolError("noise"), Phase.AMBIGUOUS),
        (limited(is_of_target=False), Phase.FINAL),
        (BadRequest("bad"), Phase.FINAL),
        (InvalidCredential("who"), Phase.FINAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_an_error_tells_how_far_the_call_had_come(error: GatewayError, phase: Phase) -> None:
    assert of_error(error).phase is phase


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        *((status, Phase.REFUSED) for status in (401, 402, 403, 408, 429, 500, 502, 503, 504, 529)),
        (404, Phase.UNSUITABLE),
        *((status, Phase.FINAL) for status in (400, 405, 413, 415, 422, 501)),
    ],
)
def test_a_status_tells_whether_somebody_else_may_do_it(status: int, phase: Phase) -> None:
    failure = of_reply(answer(status, {"error": {"message": "no"}}))
    assert failure is not None
    assert failure.phase is phase
    assert of_error(ProviderError("no", status=status, kind=Kind.UPSTREAM)).phase is phase


def answer(status: int, body: Any, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status=status, headers=list(headers), body=json.dumps(body).encode())


def test_a_good_answer_is_no_failure() -> None:
    assert of_reply(answer(200, {})) is None


LONG, POLICY = "context_length_exceeded", "content_policy_violation"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "context_length_exceeded", "message": "m"}}, "context_length_exceeded"),
        ({"error": {"message": "This model's maximum context length is 8192 tokens."}}, "context_length_exceeded"),
        ({"type": "error", "error": {"message": "prompt is too long: 300000 tokens"}}, "context_length_exceeded"),
        ({"error": {"code": "content_policy_violation", "message": "m"}}, "content_policy_violation"),
        # As each vendor writes it.
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 2 > 1"}}, LONG),
        ({"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens"}}, LONG),
        ({"message": "Input is too long for requested model."}, LONG),
        ({"message": "The model returned the following errors: input is too long"}, LONG),
        (
            {"object": "error", "message": "9 tokens are too many tokens, maximum context length is 8"},
            LONG,
        ),
        ({"error": {"message": "Please reduce the length", "code": "context_length_exceeded"}}, LONG),
        ({"code": "invalid-argument", "error": "This model's maximum prompt length is 131072"}, LONG),
        ({"error": {"code": "content_filter", "message": "Azure OpenAI's content management policy"}}, POLICY),
    ],
)
def test_what_another_model_may_take_is_told_by_code_or_words(body: Any, code: str) -> None:
    failure = of_reply(answer(400, body))
    assert failure is not None
    assert (failure.phase, failure.code) == (Phase.UNSUITABLE, code)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, 'openai/gpt-4 requires moderation on OpenAI. Your input was flagged for "violence".'),
        (402, "This request requires more credits, or fewer max_tokens. You requested up to 9, but can only afford 3."),
        (429, "Request too large for gpt-4 in organization o on tokens per min (TPM): Limit 30000, Requested 500000."),
    ],
)
def test_what_is_wrong_with_a_call_alone_is_not_of_the_credential(status: int, message: str) -> None:
    """OpenRouter's and OpenAI's. With a short word in its place, the status says that it is."""
    for failure in (
        of_reply(answer(status, {"error": {"message": message, "code": status}})),
        of_error(ProviderError(message, status=status, kind=Kind.UPSTREAM)),
    ):
        assert failure is not None
        assert (failure.phase, failure.is_of_credential) == (Phase.UNSUITABLE, False)
    other = of_reply(answer(status, {"error": {"message": "no", "code": status}}))
    assert other is not None
    assert (other.phase, other.is_of_credential) == (Phase.REFUSED, True)


def test_only_the_providers_own_failures_are_faults() -> None:
    faults = {
        status for status in (400, 401, 404, 408, 429, 500, 503) if (f := of_reply(answer(status, {}))) and f.is_fault
    }
    assert faults == {408, 500, 503}
    assert of_error(ConnectFailed("x")).is_fault
    assert not of_error(ProviderBusy("x")).is_fault
    assert not of_error(limited(is_of_target=True)).is_fault


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"7")], 7),
        ([(b"retry-after-ms", b"1500")], 2),
        ([(b"retry-after", b"soon")], None),
        ([(b"date", b"Sat, 28 Nov 2026 04:00:00 GMT"), (b"retry-after", b"Sat, 28 Nov 2026 04:00:09 GMT")], 9),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_read(headers: list[tuple[bytes, bytes]], seconds: int | None) -> None:
    failure = of_reply(answer(429, {}, *headers))
    assert failure is not None
    assert failure.retry_after == seconds


def test_a_body_that_is_no_error_of_any_kind_is_judged_by_its_status() -> None:
    failure = of_reply(Reply(status=502, headers=[], body=b"<html>Bad gateway</html>"))
    assert failure is not None
    assert failure.phase is Phase.REFUSED
