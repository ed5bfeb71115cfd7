"""The classes of failure: how each provider says it, and what each caller must hear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tests.translation.refusals import Refused
from tests.translation.test_answers import CALLERS
from tests.upstream import Script, json_answer

FORMATS = CALLERS
"""A provider may speak what a caller may speak."""

PAIRS = [(provider, caller) for provider, caller in product(FORMATS, CALLERS) if provider != caller]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A class of failure. `said` is what a provider of each format answers: the status, and its name for it (OpenAI's
    code, Anthropic's type, Google's status, AWS's exception). What a format has no word for is not in it."""

    name: str
    said: Mapping[str, tuple[int, str | None]]
    message: str = "It did not work out."
    messages: Mapping[str, str] = field(default_factory=dict)
    status: int
    anthropic_status: int | None = None
    openai: tuple[str, str | None]
    anthropic: str
    gemini: str
    converse: str
    is_hopeless: bool
    """Whether a repetition cannot heal it: SDKs must not try."""

    def message_of(self, provider: str) -> str:
        return self.messages.get(provider, self.message)

    def names_in(self, caller: str) -> tuple[str | None, ...]:
        if caller in ("openai_chat", "openai_responses"):
            return self.openai
        return ({"anthropic_messages": self.anthropic, "gemini": self.gemini}.get(caller, self.converse),)

    def status_in(self, caller: str) -> int:
        return (self.anthropic_status if caller == "anthropic_messages" else None) or self.status

    def __str__(self) -> str:
        return self.name


def said_by(status: int, code: str | None, type_: str, google: str, aws: str) -> dict[str, tuple[int, str | None]]:
    """Say what a provider of each format answers with one status."""
    return {
        "openai_chat": (status, code),
        "openai_responses": (status, code),
        "anthropic_messages": (status, type_),
        "gemini": (status, google),
        "bedrock_converse": (status, aws),
    }


FAILURES = [
    Failure(
        name="bad request",
        said=said_by(400, None, "invalid_request_error", "INVALID_ARGUMENT", "ValidationException"),
        status=400,
        openai=("invalid_request_error", None),
        anthropic="invalid_request_error",
        gemini="INVALID_ARGUMENT",
        converse="ValidationException",
        is_hopeless=True,
    ),
    Failure(
        name="context too long",
        said=said_by(
            400, "context_length_exceeded", "invalid_request_error", "INVALID_ARGUMENT", "ValidationException"
        ),
        message="This model's maximum context length is 8 tokens. However, your messages resulted in 9 tokens.",
        messages={
            "anthropic_messages": "prompt is too long: 9 tokens > 8 maximum",
            "gemini": "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            "bedrock_converse": "Input is too long for requested model.",
        },
        status=400,
        openai=("invalid_request_error", "context_length_exceeded"),
        anthropic="invalid_request_error",
        gemini="INVALID_ARGUMENT",
        converse="ValidationException",
        is_hopeless=True,
    ),
    Failure(
        name="content policy",
        said={
            "openai_chat": (400, "content_policy_violation"),
            "openai_responses": (400, "content_policy_violation"),
        },
        status=400,
        openai=("invalid_request_error", "content_policy_violation"),
        anthropic="invalid_request_error",
        gemini="INVALID_ARGUMENT",
        converse="ValidationException",
        is_hopeless=True,
    ),
    Failure(
        name="no money",
        said={
            "openai_chat": (429, "insufficient_quota"),
            "openai_responses": (429, "insufficient_quota"),
            "anthropic_messages": (402, "billing_error"),
            "bedrock_converse": (400, "ServiceQuotaExceededException"),
        },
        status=429,
        anthropic_status=402,
        openai=("insufficient_quota", "insufficient_quota"),
        anthropic="billing_error",
        gemini="RESOURCE_EXHAUSTED",
        converse="ServiceQuotaExceededException",
        is_hopeless=True,
    ),
    Failure(
        name="forbidden",
        said=said_by(403, None, "permission_error", "PERMISSION_DENIED", "AccessDeniedException"),
        status=403,
        openai=("invalid_request_error", "permission_denied"),
        anthropic="permission_error",
        gemini="PERMISSION_DENIED",
        converse="AccessDeniedException",
        is_hopeless=True,
    ),
    Failure(
        name="unknown model",
        said=said_by(404, "model_not_found", "not_found_error", "NOT_FOUND", "ResourceNotFoundException"),
        message="model: some-model",
        status=404,
        openai=("invalid_request_error", "model_not_found"),
        anthropic="not_found_error",
        gemini="NOT_FOUND",
        converse="ResourceNotFoundException",
        is_hopeless=True,
    ),
    Failure(
        name="too large",
        said={
            name: said
            for name, said in said_by(413, None, "request_too_large", "INVALID_ARGUMENT", "").items()
            if name != "bedrock_converse"
        },
        status=413,
        openai=("invalid_request_error", "request_too_large"),
        anthropic="request_too_large",
        gemini="INVALID_ARGUMENT",
        converse="ValidationException",
        is_hopeless=True,
    ),
    Failure(
        name="rate limit",
        said=said_by(429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"),
        status=429,
        openai=("requests", "rate_limit_exceeded"),
        anthropic="rate_limit_error",
        gemini="RESOURCE_EXHAUSTED",
        converse="ThrottlingException",
        is_hopeless=False,
    ),
    Failure(
        name="overloaded",
        said=said_by(503, "server_is_overloaded", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException")
        | {"anthropic_messages": (529, "overloaded_error")},
        status=503,
        anthropic_status=529,
        openai=("service_unavailable_error", "server_is_overloaded"),
        anthropic="overloaded_error",
        gemini="UNAVAILABLE",
        converse="ServiceUnavailableException",
        is_hopeless=False,
    ),
    Failure(
        name="timeout",
        said=said_by(504, None, "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeoutException")
        | {"bedrock_converse": (408, "ModelTimeoutException")},
        status=504,
        openai=("timeout", "upstream_timeout"),
        anthropic="timeout_error",
        gemini="DEADLINE_EXCEEDED",
        converse="ModelTimeoutException",
        is_hopeless=False,
    ),
    Failure(
        name="broken provider",
        said=said_by(502, None, "api_error", "INTERNAL", "ModelErrorException")
        | {"bedrock_converse": (424, "ModelErrorException")},
        status=502,
        openai=("server_error", "upstream_error"),
        anthropic="api_error",
        gemini="INTERNAL",
        converse="ModelErrorException",
        is_hopeless=False,
    ),
]
FAILURES_BY_PAIR = [
    (failure, provider, caller) for failure in FAILURES for provider, caller in PAIRS if provider in failure.said
]


def error_object(provider: str, status: int, name: str | None, message: str) -> Any:
    """Write an error as a provider does."""
    if provider in ("openai_chat", "openai_responses"):
        type_ = {429: name if name == "insufficient_quota" else "requests"}.get(
            status, "invalid_request_error" if status < 500 else "server_error"
        )
        return {"error": {"message": message, "type": type_, "param": None, "code": name}}
    if provider == "anthropic_messages":
        return {"type": "error", "error": {"type": name, "message": message}, "request_id": "req_theirs"}
    if provider == "gemini":
        return {"error": {"code": status, "message": message, "status": name}}
    return {"message": message}


def error_answer(failure: Failure, provider: str, *headers: tuple[str, str]) -> Script:
    """Answer with an error."""
    status, name = failure.said[provider]
    if provider == "bedrock_converse":
        headers = (*headers, ("x-amzn-errortype", name or ""))
    return json_answer(error_object(provider, status, name, failure.message_of(provider)), status, headers)


def check(refused: Refused, failure: Failure, provider: str, caller: str) -> None:
    assert refused.names == failure.names_in(caller)
    assert refused.status == failure.status_in(caller)
    assert failure.message_of(provider) in refused.message
    assert "req_theirs" not in refused.message
    assert (refused.headers.get("x-should-retry") == "false") is failure.is_hopeless
    if failure.name == "context too long" and caller == "anthropic_messages":
        # Claude Code shortens the conversation when it reads these words.
        assert refused.message.startswith("prompt is too long")
