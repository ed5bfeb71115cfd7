"""What the readers of all formats make of a provider's error."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import Kind
from ai_gateway.protocols.provider_errors import (
    MAX_MESSAGE,
    code_of_words,
    decoded,
    error_members,
    kind_of,
    lacks_money,
    message_of,
    retry_after,
    shown,
    without_secrets,
)

DATE = b"Wed, 21 Oct 2026 07:28:30 GMT"
EARLIER = b"Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\xff", b"{", b"[" * 100_000, b"NaN"])
def test_what_is_no_json_is_nothing(body: bytes) -> None:
    assert decoded(body) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"error": {"message": "So."}}, "So."),
        ([{"error": {"message": "So."}}], "So."),
        ({"error": "So."}, "So."),
        ({"code": "words", "error": "So."}, "So."),
        ({"object": "error", "message": "So."}, "So."),
        ({"Message": "So."}, "So."),
        ({"detail": "So."}, "So."),
        ({"detail": [{"msg": "So.", "loc": []}, {"msg": "And so."}]}, "So.; And so."),
        ({"error": {"message": "So.", "metadata": {"raw": "Behind."}}}, "So.: Behind."),
        ({"error": {"message": " ", "detail": "So."}}, "So."),
        ("So.", "So."),
        ({"error": {"message": "<html>no</html>"}}, ""),
        ({"error": {"message": {"a": 1}}}, ""),
        ({"error": None}, ""),
        ([], ""),
        (3, ""),
        (None, ""),
    ],
)
def test_words_are_found_in_any_shape(value: Any, message: str) -> None:
    assert message_of(error_members(value)) == message


def test_a_string_keeps_the_code_beside_it() -> None:
    assert error_members({"code": "bad", "error": "So."}) == {"code": "bad", "error": "So.", "message": "So."}


def test_a_message_is_no_page_and_has_an_end() -> None:
    assert shown("", 500) == shown("<!DOCTYPE html>", 500) == "The provider answered with status 500."
    assert shown("Oh: <HTML>", None) == "The provider reported an error."
    assert shown("a" * 5000, 500) == "a" * MAX_MESSAGE


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc123",
        "sk-",
        "sk-abc***xyz",
        "gsk_abc",
        "xai-abc",
        "hf_abcdef",
        "nvapi-abc",
        "AIzaSyD-abc",
        "AQ.Ab8RN6Jabcdefg",
        "ya29.a0AfH6SMB",
        "api_key:AIzaSyA1234567890",
        "Bearer abc.def",
        "abcd********wxyz",
        "key-1234abcd",
        "AKIAIOSFODNN7EXAMPLE",
        "bedrock-api-key-YmVkcm9jaw==",
        "arn:aws:iam::123456789012:user/me",
    ],
)
def test_nothing_of_a_key_is_told(secret: str) -> None:
    assert without_secrets(f"It is {secret} here.") == "It is [redacted] here."
    assert without_secrets(f"The key '{secret}'.", "[...]") == "The key '[...]'."


@pytest.mark.parametrize("piece", ["a", "sk", "key-", "*", "Bearer ", " ", "<", "AIza"])
def test_a_long_message_takes_linear_time(piece: str) -> None:
    """Nothing is timed: with quadratic time, this would not come to its end."""
    message = piece * 100_000
    assert len(without_secrets(message)) <= len(message)
    assert len(shown(message, 500) or "") < 3000


def test_a_key_in_an_address_is_not_told() -> None:
    assert without_secrets("GET /v1?key=geheim&alt=sse failed") == "GET /v1?key=[redacted]&alt=sse failed"


@pytest.mark.parametrize(
    "words",
    [
        "Unsupported parameter: 'api_version'.",
        "The key is missing.",
        "Invalid API Key format.",
        "Unknown key max_tokens in the body.",
        "This is *important*.",
    ],
)
def test_common_words_are_no_keys(words: str) -> None:
    assert without_secrets(words) == words


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.AUTHENTICATION),
        (402, Kind.QUOTA),
        (409, Kind.BAD_REQUEST),
        (418, Kind.BAD_REQUEST),
        (429, Kind.RATE_LIMIT),
        (500, Kind.UPSTREAM),
        (524, Kind.TIMEOUT),
        (529, Kind.OVERLOADED),
        (599, Kind.UPSTREAM),
    ],
)
def test_a_status_tells_the_kind(status: int, kind: Kind) -> None:
    assert kind_of(status) is kind


@pytest.mark.parametrize(
    "words", ["insufficient_quota", "Your credit balance is too low", "Insufficient credits", "project_spend_limit_hit"]
)
def test_missing_money_is_told_from_a_rate(words: str) -> None:
    assert lacks_money(words)
    assert not lacks_money("Rate limit reached for requests")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
        ("prompt is too long: 210000 tokens > 200000 maximum", "context_length_exceeded"),
        ("The input token count (12) exceeds the maximum number of tokens allowed (1).", "context_length_exceeded"),
        ("Too many input tokens. Max input tokens: 8192", "context_length_exceeded"),
        ("It triggered the content management policy.", "content_policy_violation"),
        ("openai/x requires moderation on OpenAI. Your input was flagged.", "content_policy_violation"),
        ("Unknown parameter: 'x'.", None),
    ],
)
def test_words_tell_the_code_of_a_bad_request(words: str, code: str | None) -> None:
    assert code_of_words(words) == code


@pytest.mark.parametrize(
    ("headers", "now", "seconds"),
    [
        ({b"retry-after": b"7"}, None, 7),
        ({b"retry-after": b"0.2"}, None, 1),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, None, 2),
        ({b"retry-after-ms": b"soon", b"retry-after": b"9"}, None, 9),
        ({b"retry-after": DATE, b"date": EARLIER}, None, 30),
        ({b"retry-after": DATE, b"date": EARLIER}, 0.0, 30),
        ({b"retry-after": EARLIER, b"date": DATE}, None, 0),
        ({b"retry-after": DATE}, 1792567700.5, 10),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:30 GMT"}, None, 0),
        ({b"retry-after": b"Wed, 21 Oct 9015 07:28:30 GMT"}, None, None),
        ({b"retry-after": b"soon", b"date": DATE}, None, None),
        ({b"retry-after": b"nan"}, None, None),
        ({b"retry-after": b"inf"}, None, None),
        ({b"retry-after": b"-1"}, None, None),
        ({}, 0.0, None),
    ],
)
def test_when_to_ask_again(headers: dict[bytes, bytes], now: float | None, seconds: int | None) -> None:
    assert retry_after(headers, None, now) == seconds


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        (b"1s", 1),
        (b"6m0s", 360),
        (b"2m59.56s", 180),
        (b"17ms", 1),
        (b"1d2h3m", 93780),
        (b"7.66", 8),
        (b"30", 30),
        (b"2026-10-21T07:28:30Z", 30),
        (b"2026-10-21T07:27:30Z", 0),
        (b"1792567710", 30),
        (b"1792567710500", 31),
        (b"", None),
        (b"soon", None),
        (b"-1", None),
        (b"nan", None),
        (b"9" * 400, None),
        (b"99999999999999999999", None),
    ],
)
def test_a_limit_that_is_used_up_says_when_it_comes_back(reset: bytes, seconds: int | None) -> None:
    headers = {b"date": EARLIER, b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": reset}
    assert retry_after(headers) == seconds
    assert retry_after({**headers, b"x-ratelimit-remaining-tokens": b"1"}) is None
    assert retry_after({**headers, b"retry-after": b"7"}) == 7


def test_of_several_limits_that_are_used_up_the_last_to_come_back_counts() -> None:
    headers = {
        b"anthropic-ratelimit-requests-remaining": b"0",
        b"anthropic-ratelimit-requests-reset": b"2026-10-21T07:28:10Z",
        b"anthropic-ratelimit-input-tokens-remaining": b"0",
        b"anthropic-ratelimit-input-tokens-reset": b"2026-10-21T07:28:45Z",
        b"anthropic-ratelimit-output-tokens-remaining": b"50",
        b"anthropic-ratelimit-output-tokens-reset": b"2026-10-21T07:29:59Z",
    }
    assert retry_after({**headers, b"date": EARLIER}) == 45


def test_openrouter_quotes_the_headers_of_a_limit_in_the_error() -> None:
    quoted = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1792567740000"}
    assert retry_after({b"date": EARLIER}, {"metadata": {"headers": quoted}}) == 60
    assert retry_after({}, {"metadata": {"headers": "none"}}) is None


@pytest.mark.parametrize(
    ("details", "seconds"),
    [([{"@type": "RetryInfo", "retryDelay": "34.4s"}], 35), ([3, {"retryDelay": 3}], None), ("text", None)],
)
def test_google_says_in_the_error_when_to_ask_again(details: Any, seconds: int | None) -> None:
    assert retry_after({}, {"details": details}) == seconds
    assert retry_after({b"retry-after": b"7"}, {"details": details}) == 7
