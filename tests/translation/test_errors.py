"""What goes wrong at a provider, as callers of every other dialect see it: the exceptions of their own SDKs.

Errors before the first content have a real status, whether a stream was asked for or not. For those after it see
`test_stream_errors.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import pytest

from tests.gateway_process import Door
from tests.protocols.vectors import Vector
from tests.translation.conftest import MODELS, Side
from tests.translation.failures import FAILURES, FAILURES_BY_PAIR, PAIRS, Failure, check, error_answer, error_object
from tests.translation.recordings import generations, said_again
from tests.translation.refusals import refusal
from tests.translation.test_answers import CALLERS, NOT_ANSWERS, names
from tests.upstream import Upstream, json_answer, plain_answer


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
