"""Anthropic's SDK through both doors."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from anthropic.types import MessageParam

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.test import says
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.spoken import spoken
from tests.upstream import Upstream, event_stream, json_answer

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello there"}]
GOOD_DAY = says("Good day", usage=TokenUsage(input=2, output=2))


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_of_the_echo_provider(anthropic_client: anthropic.Anthropic) -> None:
    message = anthropic_client.messages.create(model="echo/echo", max_tokens=64, messages=HELLO)
    assert "Hello there" in text_of(message)
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


def test_a_stream_of_the_echo_provider(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(model="echo/echo", max_tokens=64, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Hello there" in text
    assert text_of(final) == text
    assert final.stop_reason == "end_turn"


def test_async_calls_of_the_echo_provider(gateway: GatewayProcess) -> None:
    async def call() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=GATEWAY_KEY) as client:
            whole = await client.messages.create(model="echo/echo", max_tokens=64, messages=HELLO)
            async with client.messages.stream(model="echo/echo", max_tokens=64, messages=HELLO) as stream:
                parts = [part async for part in stream.text_stream]
            return text_of(whole), "".join(parts)

    whole, streamed = asyncio.run(call())
    assert whole == streamed
    assert "Hello there" in whole


@pytest.mark.parametrize("argument", ["api_key", "auth_token"])
def test_a_gateway_key_works_in_either_header(gateway: GatewayProcess, upstream: Upstream, argument: str) -> None:
    upstream.answer(spoken(GOOD_DAY))
    credentials = {"api_key": None, argument: GATEWAY_KEY}
    with anthropic.Anthropic(base_url=gateway.url, max_retries=0, **credentials) as client:  # type: ignore[arg-type]
        message = client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=HELLO)
    assert text_of(message) == "Good day"
    assert upstream.request.values("x-api-key") == ["sk-ant-stored-anthropic"]
    assert upstream.request.values("authorization") == []
    assert upstream.request.header("anthropic-version")


@pytest.mark.parametrize("argument", ["api_key", "auth_token"])
def test_a_callers_own_credential_passes_in_the_header_it_came_in(
    gateway: GatewayProcess, upstream: Upstream, argument: str
) -> None:
    """Which header that is depends on the SDK's version: Anthropic reads both."""
    upstream.answer(spoken(GOOD_DAY))
    credentials = {"api_key": None, argument: "sk-ant-own"}
    with anthropic.Anthropic(base_url=gateway.url, max_retries=0, **credentials) as client:  # type: ignore[arg-type]
        sent = client.auth_headers
        client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=HELLO)
    assert sent
    assert {name: upstream.request.header(name) for name in sent} == sent
    assert b"stored" not in upstream.request.raw_head


def test_the_request_id_is_the_gateways(anthropic_client: anthropic.Anthropic, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY, headers=[("request-id", "req_theirs")]))
    raw = anthropic_client.messages.with_raw_response.create(model="claude-haiku-4-5", max_tokens=64, messages=HELLO)
    assert raw.headers["request-id"] == raw.headers["x-request-id"] != "req_theirs"
    assert text_of(raw.parse()) == "Good day"


def test_a_stream_of_an_upstream(anthropic_client: anthropic.Anthropic, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY))
    with anthropic_client.messages.stream(model="claude-haiku-4-5", max_tokens=64, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "Good day"
        assert stream.get_final_message().usage.output_tokens == 2


def test_a_stream_that_breaks_raises(anthropic_client: anthropic.Anthropic, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY.slowly(0.03).cut_after(4)))
    received: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError, match="provider"),
        anthropic_client.messages.stream(model="claude-haiku-4-5", max_tokens=64, messages=HELLO) as stream,
    ):
        received.extend(stream.text_stream)
    assert received == ["Good", " day"]


def test_an_overload_as_the_first_event_raises_its_class(
    anthropic_client: anthropic.Anthropic, upstream: Upstream
) -> None:
    event = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    upstream.answer(event_stream(event))
    with pytest.raises(anthropic.APIStatusError) as caught:
        anthropic_client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=HELLO, stream=True)
    assert caught.value.status_code == 529


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.InternalServerError),
    ],
)
def test_a_providers_error_raises_its_class(
    anthropic_client: anthropic.Anthropic,
    upstream: Upstream,
    status: int,
    kind: str,
    name: type[anthropic.APIStatusError],
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_theirs"}
    upstream.answer(json_answer(body, status))
    with pytest.raises(anthropic.APIStatusError) as caught:
        anthropic_client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=HELLO)
    assert caught.value.status_code == status
    assert isinstance(caught.value, name) or status == 529
    assert caught.value.body == body
    assert caught.value.request_id


def test_a_wrong_key_raises_and_is_not_tried_again(gateway: GatewayProcess) -> None:
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key="gw_wrong") as client,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=HELLO)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.request_id


def test_tokens_are_counted(anthropic_client: anthropic.Anthropic, upstream: Upstream) -> None:
    upstream.answer(json_answer({"input_tokens": 42}))
    assert anthropic_client.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO).input_tokens == 42
    assert upstream.request.target.startswith("/v1/messages/count_tokens")


def test_tokens_are_counted_by_the_echo_provider(anthropic_client: anthropic.Anthropic) -> None:
    assert anthropic_client.messages.count_tokens(model="echo/echo", messages=HELLO).input_tokens > 0


def test_the_models_are_listed_in_anthropics_shape(anthropic_client: anthropic.Anthropic, upstream: Upstream) -> None:
    entry = {"type": "model", "id": "claude-haiku-4-5", "display_name": "Claude", "created_at": "2026-01-01T00:00:00Z"}
    upstream.answer(json_answer({"data": [entry], "has_more": False, "first_id": None, "last_id": None}))
    models = {model.id: model for model in anthropic_client.models.list()}
    assert models["fast"].type == "model"
    assert any(name.startswith("echo/") for name in models)


def test_a_providers_own_list_of_models_passes(anthropic_client: anthropic.Anthropic, upstream: Upstream) -> None:
    entry = {"type": "model", "id": "claude-haiku-4-5", "display_name": "Claude", "created_at": "2026-01-01T00:00:00Z"}
    upstream.answer(json_answer({"data": [entry], "has_more": False, "first_id": None, "last_id": None}))
    models = anthropic_client.models.list(extra_headers={"x-provider": "anthropic"})
    assert [model.id for model in models] == ["claude-haiku-4-5"]
    assert upstream.request.header("x-api-key") == "sk-ant-stored-anthropic"
