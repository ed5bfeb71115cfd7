"""OpenAI's SDK through both doors."""

from __future__ import annotations

import asyncio
import io

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.test import says
from tests.conftest import GATEWAY_KEY, StartGateway
from tests.gateway_process import GatewayProcess
from tests.spoken import spoken
from tests.upstream import End, Upstream, chunk, event_stream, json_answer, plain_answer, play, stream_head

ECHO = {"x-provider": "echo"}
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
GOOD_DAY = says("Good day", usage=TokenUsage(input=2, output=2))
FIRST = b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Good "}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def test_a_completion_of_the_echo_provider(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model="echo/echo", messages=MESSAGES)
    assert "Hello there" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_of_the_echo_provider(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(model="echo/echo", messages=MESSAGES, stream=True)
    text = "".join(part.choices[0].delta.content or "" for part in stream if part.choices)
    assert "Hello there" in text


def test_a_response_of_the_echo_provider(openai_client: openai.OpenAI) -> None:
    answer = openai_client.responses.create(model="echo/echo", input="Hello there")
    assert "Hello there" in answer.output_text
    assert answer.status == "completed"


def test_a_streamed_response_of_the_echo_provider(openai_client: openai.OpenAI) -> None:
    events = list(openai_client.responses.create(model="echo/echo", input="Hello there", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert "Hello there" in events[-1].response.output_text


def test_async_calls_of_the_echo_provider(gateway: GatewayProcess) -> None:
    async def call() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=GATEWAY_KEY) as client:
            whole = await client.chat.completions.create(model="echo/echo", messages=MESSAGES)
            stream = await client.chat.completions.create(model="echo/echo", messages=MESSAGES, stream=True)
            parts = [part.choices[0].delta.content or "" async for part in stream if part.choices]
            return whole.choices[0].message.content or "", "".join(parts)

    whole, streamed = asyncio.run(call())
    assert whole == streamed
    assert "Hello there" in whole


def test_a_completion_of_an_upstream(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY))
    answer = openai_client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == "Good day"
    assert upstream.request.json() == {"messages": MESSAGES, "model": "gpt-5-mini"}
    assert upstream.request.header("authorization") == "Bearer sk-stored-openai"
    assert upstream.request.header("x-stainless-lang") == "python"


def test_a_raw_response_shows_the_headers(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY, headers=[("openai-processing-ms", "12"), ("x-request-id", "req_theirs")]))
    raw = openai_client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=MESSAGES)
    assert raw.headers["openai-processing-ms"] == "12"
    assert raw.headers["x-gateway-provider"] == "openai"
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.request_id != "req_theirs"
    assert raw.parse().choices[0].message.content == "Good day"


def test_a_stream_of_an_upstream(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY))
    stream = openai_client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, stream=True)
    assert [part.choices[0].delta.content for part in stream] == ["", "Good", " day", None]


def test_a_stream_that_breaks_raises(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    """The SDK takes a mere end without [DONE] for success: hence the error event."""
    upstream.answer(play(stream_head(), chunk(FIRST), 0.1, End.RESET))
    stream = openai_client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, stream=True)
    assert next(stream).choices[0].delta.content == "Good "
    with pytest.raises(openai.APIError, match="provider"):
        list(stream)


def test_a_streamed_response_that_breaks_raises(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    created = (
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"r"}}\n\n'
    )
    upstream.answer(play(stream_head(), chunk(created), 0.1, End.RESET))
    stream = openai_client.responses.create(model="gpt-5-mini", input="Hello", stream=True)
    assert next(stream).type == "response.created"
    with pytest.raises(openai.APIError, match="provider"):
        list(stream)


def test_leaving_a_stream_frees_the_upstream(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(event_stream(FIRST, End.STALL))
    stream = openai_client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, stream=True)
    next(stream)
    stream.close()
    upstream.wait_for("the gateway has left the upstream", lambda: upstream.aborted == 1)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_providers_error_raises_its_class(
    openai_client: openai.OpenAI, upstream: Upstream, status: int, kind: type[openai.APIStatusError]
) -> None:
    error = {"message": "no", "type": "some_error", "param": "model", "code": "some_code"}
    upstream.answer(json_answer({"error": error}, status))
    with pytest.raises(kind) as caught:
        openai_client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)
    assert caught.value.code == "some_code"
    assert caught.value.param == "model"
    assert caught.value.request_id


def test_a_wrong_key_raises_and_is_not_tried_again(gateway: GatewayProcess, upstream: Upstream) -> None:
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="gw_wrong") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_an_unknown_provider_raises(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="nobody"):
        openai_client.chat.completions.create(model="m", messages=MESSAGES, extra_headers={"x-provider": "nobody"})


def test_an_unreachable_provider_is_tried_as_often_as_the_sdk_says(gateway: GatewayProcess, upstream: Upstream) -> None:
    upstream.answer(play(End.CLOSE), play(End.CLOSE), spoken(GOOD_DAY))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=GATEWAY_KEY, max_retries=2) as client:
        answer = client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == "Good day"
    assert len(upstream.requests) == 3


def test_the_models_are_listed(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(json_answer({"object": "list", "data": [{"id": "gpt-5", "object": "model", "created": 7}]}))
    models = {model.id: model for model in openai_client.models.list()}
    assert "fast" in models
    assert models["fast"].object == "model"
    assert any(name.startswith("echo/") for name in models)


def test_a_providers_own_list_of_models_passes(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(json_answer({"object": "list", "data": [{"id": "gpt-5", "object": "model", "created": 7}]}))
    models = openai_client.models.list(extra_headers={"x-provider": "openai"})
    assert [model.id for model in models] == ["gpt-5"]
    assert upstream.request.target == "/v1/models"


def test_a_model_that_is_not_there_raises(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


def test_audio_is_uploaded_and_transcribed(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(json_answer({"text": "spoken words"}))
    sound = io.BytesIO(bytes(range(256)) * 4000)
    sound.name = "speech.mp3"
    answer = openai_client.audio.transcriptions.create(model="whisper-1", file=sound)
    assert answer.text == "spoken words"
    assert (upstream.request.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert sound.getvalue() in bytes(upstream.request.body)


def test_an_upload_is_routed_by_its_model(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answer(json_answer({"text": "spoken words"}))
    sound = io.BytesIO(bytes(range(256)) * 4000)
    sound.name = "speech.mp3"
    openai_client.audio.transcriptions.create(model="openai/whisper-1", file=sound)
    body = bytes(upstream.request.body)
    assert b'name="model"\r\n\r\nwhisper-1\r\n' in body
    assert sound.getvalue() in body
    assert upstream.request.header("content-length") in (None, str(len(body)))


def test_speech_comes_back_byte_for_byte(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    sound = bytes(range(256)) * 2000
    upstream.answer(plain_answer(sound, "audio/mpeg"))
    answer = openai_client.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
    assert answer.content == sound


def test_embeddings_pass(openai_client: openai.OpenAI, upstream: Upstream) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]
    upstream.answer(json_answer({"object": "list", "data": data, "model": "e", "usage": {}}))
    answer = openai_client.embeddings.create(model="e", input="Hello", encoding_format="float")
    assert answer.data[0].embedding == [0.5, -0.25]


def test_a_callers_own_key_is_passed_through(gateway: GatewayProcess, upstream: Upstream) -> None:
    upstream.answer(spoken(GOOD_DAY))
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key="sk-own", default_headers={"x-provider": "OpenAI"}
    ) as client:
        client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)
    assert upstream.request.header("authorization") == "Bearer sk-own"


def test_the_sdk_does_not_multiply_what_the_gateway_has_tried_already(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    """T33: the SDK would ask three times, the gateway asks two providers. Six calls for one would be too many."""
    upstream.answer(json_answer({"error": {"message": "not now", "type": "server_error"}}, status=503))
    gateway = start_gateway(ROUTES={"not multiplied": ["openai/a", "groq/b"]})
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=GATEWAY_KEY, max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="not multiplied", messages=MESSAGES)
    assert len(upstream.requests) == 2
