"""What goes wrong at a provider, as callers of every other dialect see it: the exceptions of their own SDKs.

Errors before the first content have a real status, whether a stream was asked for or not; errors after it end the
stream so that the SDK raises; and nothing that was cut off ever looks like an end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from tests.gateway_process import Door
from tests.protocols.bedrock_converse import samples as converse
from tests.protocols.vectors import Vector
from tests.translation.conftest import MODELS, Side
from tests.translation.recordings import generations, said_again
from tests.translation.refusals import Refused, refusal
from tests.translation.test_answers import ANSWERS, CALLERS, NOT_ANSWERS, names
from tests.upstream import LAST_CHUNK, End, Script, Upstream, chunk, json_answer, plain_answer, play, stream_head

FORMATS = CALLERS
"""A provider may speak what a caller may speak."""

PAIRS = [(provider, caller) for provider, caller in product(FORMATS, CALLERS) if provider != caller]


# The classes of failure: how each provider says it, and what each caller must hear.


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


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("failure", "provider", "caller"), FAILURES_BY_PAIR, ids=names)
def test_an_error_keeps_its_class(
    direct: Side, upstream: Upstream, failure: Failure, provider: str, caller: str, stream: bool
) -> None:
    upstream.answer(error_answer(failure, provider))
    refused = refusal(lambda: direct.callers[caller].ask(MODELS[provider], stream=stream), caller)
    check(refused, failure, provider, caller)
    assert "retry-after" not in refused.headers


@pytest.mark.parametrize(
    ("failure", "provider", "caller"),
    [case for case in FAILURES_BY_PAIR if case[0].name in ("overloaded", "no money")],
    ids=names,
)
def test_an_error_keeps_its_class_at_the_other_door(
    sides: Callable[[Door], Side], upstream: Upstream, failure: Failure, provider: str, caller: str
) -> None:
    upstream.answer(error_answer(failure, provider))
    refused = refusal(lambda: sides("django").callers[caller].ask_for_whole(MODELS[provider]), caller)
    check(refused, failure, provider, caller)


# How long to wait.


RATE_LIMIT = next(failure for failure in FAILURES if failure.name == "rate limit")


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@pytest.mark.parametrize(
    ("given", "seconds"),
    [(("retry-after", "7"), "7"), (("retry-after-ms", "1200"), "2")],
    ids=["seconds", "milliseconds"],
)
def test_how_long_to_wait_is_told_in_seconds(
    direct: Side, upstream: Upstream, provider: str, caller: str, given: tuple[str, str], seconds: str
) -> None:
    upstream.answer(error_answer(RATE_LIMIT, provider, given))
    refused = refusal(lambda: direct.callers[caller].ask_for_whole(MODELS[provider]), caller)
    assert refused.headers["retry-after"] == seconds
    assert "x-should-retry" not in refused.headers


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_nobody_is_told_to_wait_for_a_day(direct: Side, upstream: Upstream, provider: str, caller: str) -> None:
    """Anthropic's SDK waits as long as it is told."""
    upstream.answer(error_answer(RATE_LIMIT, provider, ("retry-after", "86400")))
    refused = refusal(lambda: direct.callers[caller].ask_for_whole(MODELS[provider]), caller)
    assert refused.headers["x-should-retry"] == "false"


def test_googles_delay_is_told_in_a_header(direct: Side, upstream: Upstream) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]
    error = {"code": 429, "message": "slower", "status": "RESOURCE_EXHAUSTED", "details": details}
    upstream.answer(json_answer({"error": error}, 429))
    refused = refusal(lambda: direct.callers["openai_chat"].ask_for_whole(MODELS["gemini"]), "openai_chat")
    assert refused.headers["retry-after"] == "35"


def test_googles_quota_of_a_day_is_not_asked_for_again(direct: Side, upstream: Upstream) -> None:
    violations = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}]
    error = {"code": 429, "message": "no more today", "status": "RESOURCE_EXHAUSTED", "details": details}
    upstream.answer(json_answer({"error": error}, 429))
    refused = refusal(lambda: direct.callers["openai_chat"].ask_for_whole(MODELS["gemini"]), "openai_chat")
    assert refused.names == ("insufficient_quota", "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"


# The gateway's own credential is none of a caller's business.


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_a_refused_credential_is_the_gateways_fault(
    direct: Side, upstream: Upstream, provider: str, caller: str
) -> None:
    name = {
        "anthropic_messages": "authentication_error",
        "gemini": "UNAUTHENTICATED",
        "bedrock_converse": "UnrecognizedClientException",
    }.get(provider, "invalid_api_key")
    message = "Incorrect API key provided: sk-stored. You can find your API key at the provider's."
    headers = [("x-amzn-errortype", name)] if provider == "bedrock_converse" else []
    upstream.answer(json_answer(error_object(provider, 401, name, message), 401, headers))
    refused = refusal(lambda: direct.callers[caller].ask_for_whole(MODELS[provider]), caller)
    assert refused.status == 502
    assert "sk-" not in refused.message
    assert refused.headers["x-should-retry"] == "false"


# What was recorded.


RECORDED = [vector for vector in generations() if vector.status >= 400]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("vector", "caller"),
    [(vector, caller) for vector, caller in product(RECORDED, CALLERS) if caller != vector.format],
    ids=names,
)
def test_a_recorded_error_is_raised_with_the_providers_words(
    direct: Side, upstream: Upstream, vector: Vector, caller: str, stream: bool
) -> None:
    upstream.answer(said_again(vector))
    refused = refusal(lambda: direct.callers[caller].ask(MODELS[vector.format], stream=stream), caller)
    detail = vector.response["error"]
    is_key = vector.status == 401 or "API_KEY_INVALID" in json.dumps(vector.response)
    if is_key:
        assert refused.status == 502
        assert "key" not in refused.message.lower()
        return
    assert refused.status == vector.status or (refused.status, refused.names) == (402, ("billing_error",))
    assert detail["message"] in refused.message
    if caller in ("openai_chat", "openai_responses") and vector.format in ("openai_chat", "openai_responses"):
        assert detail["code"] is None or refused.names[1] in (detail["code"], "rate_limit_exceeded")
        assert refused.param == detail.get("param")


# What is no error by its status, and no answer either.


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("vector", NOT_ANSWERS, ids=names)
def test_what_is_no_answer_is_an_error(
    direct: Side, upstream: Upstream, vector: Vector, caller: str, stream: bool
) -> None:
    if caller == vector.format:
        return
    upstream.answer(said_again(vector))
    refused = refusal(lambda: direct.callers[caller].ask(MODELS[vector.format], stream=stream), caller)
    assert refused.status in (None, 502)


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"<html>Bad Gateway</html>", "text/html"), (b'{"half": ', "application/json"), (b"", "application/json")],
    ids=["HTML", "half", "nothing"],
)
def test_rubbish_is_a_bad_gateway(
    direct: Side, upstream: Upstream, provider: str, caller: str, stream: bool, body: bytes, content_type: str
) -> None:
    upstream.answer(plain_answer(body, content_type))
    refused = refusal(lambda: direct.callers[caller].ask(MODELS[provider], stream=stream), caller)
    assert refused.status == 502
    assert "<html" not in refused.message


# Errors inside a stream.


def error_event(failure: Failure, provider: str) -> bytes:
    """Write an error as an event of a provider's stream."""
    status, name = failure.said[provider]
    error = error_object(provider, status, name, failure.message)
    if provider == "bedrock_converse":
        assert name is not None
        return converse.exception(name[:1].lower() + name[1:], failure.message)
    if provider == "openai_responses":
        error = {"type": "error", "sequence_number": 2, **error}
    prefix = b"event: error\n" if provider in ("anthropic_messages", "openai_responses") else b""
    return prefix + b"data: " + json.dumps(error).encode() + b"\n\n"


def stream_of(provider: str) -> list[bytes]:
    """Give the events of a stream with text and a call: one that was recorded, or for Converse one after its manual."""
    if provider == "bedrock_converse":
        return [
            converse.START,
            converse.delta(0, text="Hello"),
            converse.delta(0, text=" there"),
            converse.stop(0),
            converse.event(
                "contentBlockStart", contentBlockIndex=1, start={"toolUse": {"toolUseId": "tooluse_1", "name": "get"}}
            ),
            converse.delta(1, toolUse={"input": '{"city": '}),
            converse.delta(1, toolUse={"input": '"Paris"}'}),
            converse.stop(1),
            *converse.ending("tool_use"),
        ]
    return events_of(SHORT_STREAMS[provider])


def events_of(vector: Vector) -> list[bytes]:
    """Cut a recorded stream between its events."""
    return [event + b"\n\n" for event in vector.stream.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]


def shortest(format: str) -> Vector:
    """Choose the shortest recorded stream of a format that calls a tool, in more than a few events."""
    calling = [vector for vector in ANSWERS if vector.format == format and vector.is_stream]
    calling = [vector for vector in calling if "tool_call" in vector.features]
    return min(calling, key=lambda vector: (len(events_of(vector)) < 5, len(events_of(vector)), vector.name))


SHORT_STREAMS = {format: shortest(format) for format in FORMATS if format != "bedrock_converse"}

PROOFS: Mapping[str, Callable[[bytes], bool]] = {
    "openai_chat": lambda event: b"[DONE]" in event or b'"finish_reason":"' in event.replace(b": ", b":"),
    "openai_responses": lambda event: b"response.completed" in event or b"response.incomplete" in event,
    "anthropic_messages": lambda event: b'"stop_reason":"' in event.replace(b": ", b":"),
    "gemini": lambda event: b'"finishReason"' in event,
    "bedrock_converse": lambda event: b"messageStop" in event,
}
"""Whether an event proves that the answer is whole."""


def borders(provider: str) -> Iterator[int]:
    """Give the numbers of events after which a stream can break off."""
    events = stream_of(provider)
    yield from range(next(number for number, event in enumerate(events) if PROOFS[provider](event)) + 1)


def streaming(events: list[bytes], provider: str, *, ends_well: bool = True) -> Script:
    """Answer with events, and an end or a break."""
    kind = "application/vnd.amazon.eventstream" if provider == "bedrock_converse" else "text/event-stream"
    return play(stream_head(content_type=kind), *map(chunk, events), LAST_CHUNK if ends_well else End.RESET)


OVERLOADED = next(failure for failure in FAILURES if failure.name == "overloaded")


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_an_error_as_the_first_event_has_a_real_status(
    direct: Side, upstream: Upstream, provider: str, caller: str
) -> None:
    upstream.answer(streaming([error_event(OVERLOADED, provider)], provider))
    refused = refusal(lambda: direct.callers[caller].ask_for_stream(MODELS[provider]), caller)
    check(refused, OVERLOADED, provider, caller)


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_an_error_after_content_is_raised_by_the_sdk(
    direct: Side, upstream: Upstream, provider: str, caller: str
) -> None:
    last = max(borders(provider))
    upstream.answer(streaming([*stream_of(provider)[:last], error_event(OVERLOADED, provider)], provider))
    refused = refusal(lambda: direct.callers[caller].ask_for_stream(MODELS[provider]), caller)
    assert OVERLOADED.message in refused.message
    if caller == "bedrock_converse":
        assert refused.names == ("serviceUnavailableException",)
    elif caller != "openai_responses":
        assert refused.names == OVERLOADED.names_in(caller)
    else:
        assert refused.names[1] == OVERLOADED.openai[1]


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@pytest.mark.parametrize("ends_well", [True, False], ids=["ended", "reset"])
def test_a_stream_that_breaks_off_is_never_an_answer(
    direct: Side, upstream: Upstream, provider: str, caller: str, ends_well: bool
) -> None:
    """After whichever event, and whether the connection ends in order or not."""
    events = stream_of(provider)
    ask = direct.callers[caller].ask_for_stream
    for border in borders(provider):
        upstream.answer(streaming(events[:border], provider, ends_well=ends_well))
        refused = refusal(lambda: ask(MODELS[provider]), caller)
        assert refused.status in (None, 502), border
