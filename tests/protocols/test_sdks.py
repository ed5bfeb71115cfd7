"""The vendors' own SDKs read the gateway's errors: the right exception class, the right members, in a stream too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from openai.types.responses import ResponseErrorEvent

from ai_gateway import errors
from ai_gateway.errors import GatewayError, Kind
from ai_gateway.protocols import DIALECTS, Dialect

CHAT, RESPONSES, MESSAGES = DIALECTS["openai_chat"], DIALECTS["openai_responses"], DIALECTS["anthropic_messages"]
CHAT_CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": None}],
}


class TooManyRequests(GatewayError):
    status = 429
    code = "rate_limit_exceeded"
    kind = Kind.RATE_LIMIT


CLASSES: list[tuple[GatewayError, str]] = [
    (errors.InvalidBody("no JSON", param="model"), "BadRequestError"),
    (errors.InvalidCredential("no key"), "AuthenticationError"),
    (errors.PermissionDenied("not you"), "PermissionDeniedError"),
    (errors.ModelNotFound("no such model"), "NotFoundError"),
    (TooManyRequests("slower"), "RateLimitError"),
    (errors.InternalError("a bug"), "InternalServerError"),
    (errors.UpstreamClosed("hung up"), "InternalServerError"),
    (errors.UpstreamTimeout("too slow"), "InternalServerError"),
]
BY_KIND = pytest.mark.parametrize(("error", "name"), CLASSES, ids=lambda value: getattr(value, "code", ""))


def answering(error: GatewayError, dialect: Dialect) -> Callable[[httpx2.Request], httpx2.Response]:
    body = dialect.write_error(error, "req_1")
    headers = {"content-type": "application/json", "request-id": "req_1", "x-request-id": "req_1"}
    return lambda request: httpx2.Response(error.status, headers=headers, content=body)


def breaking(events: bytes, error: GatewayError, dialect: Dialect) -> Callable[[httpx2.Request], httpx2.Response]:
    body = events + dialect.write_error_event(error, "req_1")
    return lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)


def openai_client(handler: Callable[[httpx2.Request], httpx2.Response]) -> openai.OpenAI:
    http = httpx2.Client(transport=httpx2.MockTransport(handler))
    return openai.OpenAI(api_key="k", base_url="http://gateway/v1", max_retries=0, http_client=http)


def anthropic_client(handler: Callable[[httpx2.Request], httpx2.Response]) -> anthropic.Anthropic:
    http = httpx2.Client(transport=httpx2.MockTransport(handler))
    return anthropic.Anthropic(api_key="k", base_url="http://gateway", max_retries=0, http_client=http)


@BY_KIND
def test_openai_raises_the_class_of_the_status(error: GatewayError, name: str) -> None:
    with openai_client(answering(error, CHAT)) as client, pytest.raises(getattr(openai, name)) as raised:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert error.message in str(raised.value)
    assert (raised.value.code, raised.value.param) == (error.code, error.param)
    assert raised.value.type
    assert raised.value.request_id == "req_1"


@BY_KIND
def test_anthropic_raises_the_class_of_the_status(error: GatewayError, name: str) -> None:
    with anthropic_client(answering(error, MESSAGES)) as client, pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}])
    assert isinstance(raised.value, getattr(anthropic, name))
    assert error.message in str(raised.value)
    assert raised.value.request_id == "req_1"


def test_openai_raises_in_the_middle_of_a_chat_stream() -> None:
    events = b"data: " + json.dumps(CHAT_CHUNK).encode() + b"\n\n" + CHAT.keep_alive
    error = errors.UpstreamClosed("The provider hung up.")
    with openai_client(breaking(events, error, CHAT)) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        assert next(stream).choices[0].delta.content == "Hel"
        with pytest.raises(openai.APIError, match="hung up") as raised:
            next(stream)
    assert (raised.value.code, raised.value.type) == ("upstream_closed", "server_error")


def test_openai_raises_in_the_middle_of_a_responses_stream() -> None:
    created = {"type": "response.in_progress", "sequence_number": 0, "response": {"id": "resp_1", "error": None}}
    events = b"event: response.in_progress\ndata: " + json.dumps(created).encode() + b"\n\n" + RESPONSES.keep_alive
    error = errors.Draining("The gateway is about to stop.")
    with openai_client(breaking(events, error, RESPONSES)) as client:
        stream = client.responses.create(model="m", input="hi", stream=True)
        assert next(stream).type == "response.in_progress"
        with pytest.raises(openai.APIError, match="about to stop") as raised:
            next(stream)
    assert raised.value.code == "gateway_draining"


def test_the_flat_members_of_the_responses_event_suit_the_sdks_own_type() -> None:
    data = RESPONSES.write_error_event(errors.Draining("The gateway is about to stop."), "req_1").partition(b"data: ")[
        2
    ]
    event = ResponseErrorEvent.model_validate_json(data)
    assert (event.type, event.code, event.message) == ("error", "gateway_draining", "The gateway is about to stop.")


def test_anthropic_raises_in_the_middle_of_a_stream() -> None:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    start = {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    events = MESSAGES.keep_alive + b"event: message_start\ndata: " + json.dumps(start).encode() + b"\n\n"
    error = errors.UpstreamClosed("The provider hung up.")
    with anthropic_client(breaking(events + MESSAGES.keep_alive, error, MESSAGES)) as client:
        stream = client.messages.create(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert next(stream).type == "message_start"
        with pytest.raises(anthropic.APIStatusError, match="hung up"):
            list(stream)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_the_types_are_the_vendors_own(vendor: str) -> None:
    """No type name is invented, and none of one vendor is sent to a client of the other."""
    dialect = {"openai": CHAT, "anthropic": MESSAGES}[vendor]
    types = {json.loads(dialect.write_error(error, "req_1"))["error"]["type"] for error, _ in CLASSES}
    assert types <= VENDORS_TYPES[vendor]


VENDORS_TYPES = {
    "openai": {"invalid_request_error", "requests", "insufficient_quota", "timeout", "server_error"},
    "anthropic": {
        *("invalid_request_error", "authentication_error", "permission_error", "not_found_error", "timeout_error"),
        *("rate_limit_error", "api_error", "overloaded_error", "request_too_large", "billing_error"),
    },
}


def test_gemini_writes_googles_status_names() -> None:
    body = json.loads(DIALECTS["gemini"].write_error(errors.ModelNotFound("no such model"), "req_1"))
    assert body == {"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}}
