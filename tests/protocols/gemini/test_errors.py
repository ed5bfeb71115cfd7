"""Reading Google's errors, and what stands in their place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import errors as genai_errors

from ai_gateway import errors
from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.gemini import DIALECT, PROTOCOL
from tests.protocols.gemini.samples import ERRORS
from tests.protocols.recordings import RecordedError
from tests.protocols.recordings import errors as recorded_errors
from tests.protocols.vectors import Vector

RECORDED = [error for error in recorded_errors() if error.dialect == "gemini"]


def error_of(status: int, body: Any, headers: dict[bytes, bytes] | None = None) -> ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PROTOCOL.read_error(status, headers or {}, data)


def google(code: int, status: str, message: str = "Oh.", details: list[Any] | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": details or []}}


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_every_recorded_error_is_read(case: Vector) -> None:
    error = error_of(case.status, case.response)
    assert error.message == case.response["error"]["message"]
    assert genai_errors.APIError(case.status, case.response).message == error.message


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda error: f"{error.provider}-{error.status}")
def test_every_other_recorded_error_is_read(recorded: RecordedError) -> None:
    error = error_of(recorded.status, recorded.body)
    assert error.message
    assert 400 <= error.status < 600


def test_a_bad_key_is_one_though_google_says_400() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    error = error_of(400, google(400, "INVALID_ARGUMENT", "API key not valid.", details))
    assert (error.status, error.kind, error.code) == (401, Kind.AUTHENTICATION, "invalid_api_key")
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "name", "kind", "code", "is_retryable"),
    [
        (400, "INVALID_ARGUMENT", Kind.BAD_REQUEST, None, False),
        (400, "FAILED_PRECONDITION", Kind.BAD_REQUEST, None, False),
        (401, "UNAUTHENTICATED", Kind.AUTHENTICATION, "invalid_api_key", False),
        (403, "PERMISSION_DENIED", Kind.PERMISSION, "permission_denied", False),
        (404, "NOT_FOUND", Kind.NOT_FOUND, "model_not_found", False),
        (413, "", Kind.TOO_LARGE, "request_too_large", False),
        (429, "RESOURCE_EXHAUSTED", Kind.RATE_LIMIT, "rate_limit_exceeded", True),
        (500, "INTERNAL", Kind.UPSTREAM, "upstream_error", True),
        (503, "UNAVAILABLE", Kind.OVERLOADED, "server_is_overloaded", True),
        (504, "DEADLINE_EXCEEDED", Kind.TIMEOUT, "upstream_timeout", True),
    ],
)
def test_classes(status: int, name: str, kind: Kind, code: str | None, is_retryable: bool) -> None:
    error = error_of(status, google(status, name))
    assert (error.status, error.kind, error.code, error.retryable) == (status, kind, code, is_retryable)
    assert error_of(status, [google(status, name)]).kind is kind


def test_a_prompt_that_is_too_long() -> None:
    message = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    assert error_of(400, google(400, "INVALID_ARGUMENT", message)).code == "context_length_exceeded"


def quota(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def test_a_quota_of_the_day_is_no_rate() -> None:
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
    day = error_of(429, google(429, "RESOURCE_EXHAUSTED", details=[quota("GenerateRequestsPerDayPerProject"), delay]))
    assert (day.kind, day.code, day.retryable, day.retry_after) == (Kind.QUOTA, "insufficient_quota", False, None)
    minute = error_of(429, google(429, "RESOURCE_EXHAUSTED", details=[quota("GenerateRequestsPerMinute"), delay]))
    assert (minute.kind, minute.retryable, minute.retry_after) == (Kind.RATE_LIMIT, True, 35)


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({b"retry-after": b"7"}, 7),
        ({b"retry-after-ms": b"1500"}, 2),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({b"retry-after": b"-1"}, None),
        ({}, None),
    ],
)
def test_when_to_come_again(headers: dict[bytes, bytes], delay: int | None) -> None:
    assert error_of(503, google(503, "UNAVAILABLE"), headers).retry_after == delay


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>502</body></html>", b"[]", b"5", b"null", b"{}", b"\xff", b"[" * 100_000]
)
def test_a_body_may_be_anything(body: bytes) -> None:
    error = error_of(502, body)
    assert (error.message, error.status, error.kind) == ("The provider answered with status 502.", 502, Kind.UPSTREAM)


@pytest.mark.parametrize("body", [{"error": "Nope."}, {"message": "Nope."}, {"detail": "Nope."}, [{"error": "Nope."}]])
def test_other_shapes(body: Any) -> None:
    assert error_of(400, body).message == "Nope."


@pytest.mark.parametrize(
    "secret", ["AIzaSyA1234567890abcdefg", "api_key:AIzaSyA1234567890", "ya29.a0AfH6SMB", "Bearer abc.def"]
)
def test_no_key_is_passed_on(secret: str) -> None:
    message = error_of(403, google(403, "PERMISSION_DENIED", f"Consumer '{secret}' has been suspended.")).message
    assert secret not in message
    assert "has been suspended" in message
    message = error_of(403, google(403, "", "GET https://x.example/v1?key=geheim123&alt=sse failed")).message
    assert "geheim123" not in message
    assert "alt=sse" in message


@pytest.mark.parametrize(
    "error",
    [
        errors.BadRequest("wrong"),
        errors.InvalidCredential("no key"),
        errors.ModelNotFound("no model"),
        errors.UpstreamTimeout("slow"),
        ProviderError("slower", status=429, kind=Kind.RATE_LIMIT),
        ProviderError("busy", status=503, kind=Kind.OVERLOADED),
    ],
)
def test_what_the_gateway_writes_it_reads_as_the_same_class(error: errors.GatewayError) -> None:
    written = DIALECT.write_error(error, "req_1")
    read = PROTOCOL.read_error(error.status, {}, written)
    assert (read.status, read.kind, read.message) == (error.status, error.kind, error.message)
    raised = genai_errors.APIError(error.status, json.loads(written))
    assert (raised.code, raised.message) == (error.status, error.message)
