"""Whole answers and errors of chat completions: what is read of a provider's, what is written for a caller."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from ai_gateway.errors import Kind, ProviderError, UpstreamProtocolError
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Reasoning,
    Refusal,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.openai_chat.usage import read_usage, write_usage
from ai_gateway.protocols.transcript import replay
from tests.protocols.openai_chat.helpers import (
    ANSWERS,
    CARRIER,
    ERRORS,
    STREAMS,
    accumulated,
    asking,
    calls,
    chunks_of,
    events_of_bytes,
    signature,
    texts,
    written,
)
from tests.protocols.streams import collected
from tests.protocols.vectors import Vector

vectors = pytest.mark.parametrize("vector", ANSWERS, ids=str)


def read(message: dict[str, Any], reason: str | None = "stop", **members: Any) -> Answer:
    """Read an answer with one message."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return PROTOCOL.read_answer({"id": "i", "model": "x", "created": 1, "choices": [choice], **members})


def write(answer: Answer, **fields: Any) -> dict[str, Any]:
    """Write an answer; it must be what the SDK takes."""
    body = PROTOCOL.write_answer(answer, asking(**fields), CARRIER)
    ChatCompletion.model_validate(body)
    return body


def message(*parts: Any, stop: Stop = Stop.END, **fields: Any) -> dict[str, Any]:
    """Write an answer of some parts; give its message."""
    answer = Answer(id="msg_1", model="claude", parts=list(parts), stop=stop, created=7)
    found: dict[str, Any] = write(answer, **fields)["choices"][0]["message"]
    return found


class TestRecordedAnswers:
    @vectors
    def test_the_answer_is_what_the_sdk_reads(self, vector: Vector) -> None:
        answer = PROTOCOL.read_answer(vector.response)
        completion = ChatCompletion.model_construct(**vector.response)
        found: dict[str, Any] = vector.response["choices"][0]["message"]
        assert (answer.id, answer.model, answer.created) == (completion.id, completion.model, completion.created)
        assert texts(answer, Text) == (found.get("content") or "")
        assert texts(answer, Refusal) == (found.get("refusal") or "")
        assert texts(answer, Thinking) == (found.get("reasoning_content") or found.get("reasoning") or "")
        sent = [
            (each["id"], each["function"]["name"], each["function"]["arguments"])
            for each in found.get("tool_calls") or ()
        ]
        if not found.get("function_call"):
            assert calls(answer) == sent

    @vectors
    def test_the_usage_adds_up(self, vector: Vector) -> None:
        usage = PROTOCOL.read_answer(vector.response).usage
        told = vector.response["usage"]
        assert usage is not None
        assert usage.total_input == told["prompt_tokens"]
        assert usage.total_input + usage.total_output == told["total_tokens"]

    @vectors
    def test_what_is_written_is_what_was_read(self, vector: Vector) -> None:
        answer = PROTOCOL.read_answer(vector.response)
        uses_functions = "function_call" in vector.response["choices"][0]["message"]
        again = PROTOCOL.read_answer(write(answer, uses_functions=uses_functions))
        assert texts(again, Text) == texts(answer, Text)
        assert texts(again, Refusal) == texts(answer, Refusal)
        assert texts(again, Thinking) == texts(answer, Thinking)
        assert [each[1:] for each in calls(again)] == [each[1:] for each in calls(answer)]
        assert (again.stop, again.usage, again.service_tier) == (answer.stop, answer.usage, answer.service_tier)
        assert [part.citations for part in again.parts if isinstance(part, Text)] == [
            part.citations for part in answer.parts if isinstance(part, Text)
        ]

    @pytest.mark.parametrize("vector", [*ANSWERS, *STREAMS], ids=str)
    def test_streamed_or_not_the_caller_gets_the_same(self, vector: Vector) -> None:
        if vector.is_stream:
            answer = collected(events_of_bytes([vector.stream]))
        else:
            answer = PROTOCOL.read_answer(vector.response)
        whole = write(answer)["choices"][0]
        streamed: dict[str, Any] = accumulated(chunks_of(written(replay(answer)))).to_dict()["choices"][0]  # type: ignore[index]
        assert streamed["finish_reason"] == whole["finish_reason"]
        for name in ("content", "refusal", "reasoning_content", "reasoning_details"):
            assert streamed["message"].get(name) == whole["message"].get(name) or name == "content"
        assert (streamed["message"].get("content") or "") == (whole["message"]["content"] or "")


class TestReading:
    def test_text(self) -> None:
        assert read({"content": "Hi"}).parts == [Text(text="Hi")]

    @pytest.mark.parametrize("content", [None, "", []])
    def test_no_content(self, content: Any) -> None:
        assert read({"content": content}).parts == []

    def test_content_as_a_list(self) -> None:
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
        parts = read({"content": [thinking, {"type": "text", "text": "Hi"}, {"type": "reference"}]}).parts
        assert parts == [Thinking(text="Hm"), Text(text="Hi")]

    @pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
    def test_reasoning(self, name: str) -> None:
        assert read({"content": "Hi", name: "Hm"}).parts == [Thinking(text="Hm"), Text(text="Hi")]

    def test_reasoning_that_comes_twice_is_read_once(self) -> None:
        details = [{"type": "reasoning.text", "text": "Hm", "signature": "S", "index": 0}]
        (part,) = read({"reasoning": "Hm", "reasoning_details": details}).parts
        assert isinstance(part, Thinking)
        assert part.text == "Hm"
        assert part.state is not None
        assert loads(part.state.value) == [{"type": "reasoning.text", "signature": "S", "index": 0}]

    def test_a_summary_and_its_encrypted_form_are_one(self) -> None:
        details = [
            {"type": "reasoning.summary", "summary": "Hm", "index": 0},
            {"type": "reasoning.encrypted", "data": "D", "id": "rs", "index": 0},
        ]
        (part,) = read({"reasoning_details": details}).parts
        assert isinstance(part, Thinking)
        assert (part.text, part.is_redacted) == ("Hm", False)

    def test_a_call_without_an_id_gets_one(self) -> None:
        entry = {"id": "", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        first, second = read({"tool_calls": [entry, entry]}).parts
        assert isinstance(first, ToolCall)
        assert isinstance(second, ToolCall)
        assert first.id.startswith("call_")
        assert first.id != second.id

    def test_a_calls_signature(self) -> None:
        extra = {"google": {"thought_signature": "S"}}
        entry = {"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
        assert read({"tool_calls": [entry]}).parts == [
            ToolCall(id="a", name="f", arguments="{}", state=signature("S", "openai_chat"))
        ]

    def test_a_custom_tool(self) -> None:
        entry = {"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
        assert read({"tool_calls": [entry]}).parts == [ToolCall(id="a", name="sh", arguments="ls", is_custom=True)]

    def test_a_stop_for_calls_is_tool_use(self) -> None:
        assert read({"tool_calls": [{"id": "a", "function": {"name": "f"}}]}).stop is Stop.TOOL_USE

    def test_a_reason_of_calls_without_any_is_the_end(self) -> None:
        assert read({"content": "Hi"}, "tool_calls").stop is Stop.END

    def test_no_reason_at_all(self) -> None:
        assert read({"content": "Hi"}, None).stop is Stop.END

    @pytest.mark.parametrize(
        "body",
        [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [{"index": 1, "message": {}}]}],
    )
    def test_what_is_no_answer(self, body: dict[str, Any]) -> None:
        with pytest.raises(UpstreamProtocolError):
            PROTOCOL.read_answer(body)

    def test_an_error_with_status_200(self) -> None:
        with pytest.raises(ProviderError) as caught:
            PROTOCOL.read_answer({"error": {"message": "Busy", "code": 429}})
        assert (caught.value.status, caught.value.kind) == (429, Kind.RATE_LIMIT)

    def test_a_reason_that_is_an_error(self) -> None:
        with pytest.raises(ProviderError):
            read({"content": ""}, "error")


class TestUsage:
    @pytest.mark.parametrize(
        ("told", "usage"),
        [
            pytest.param(
                {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                TokenUsage(input=10, output=5),
                id="-",
            ),
            pytest.param(
                {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 3},
                    "completion_tokens_details": {"reasoning_tokens": 4},
                },
                TokenUsage(input=1, cache_read=6, cache_write=3, output=1, reasoning=4),
                id="OpenAI",
            ),
            pytest.param(
                {
                    "prompt_tokens": 506,
                    "completion_tokens": 12,
                    "total_tokens": 556,
                    "completion_tokens_details": {"reasoning_tokens": 38},
                },
                TokenUsage(input=506, output=12, reasoning=38),
                id="xAI: reasoning beside the completion",
            ),
            pytest.param(
                {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
                TokenUsage(input=35, output=12, reasoning=62),
                id="Google: reasoning in the total alone",
            ),
            pytest.param(
                {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8, "total_tokens": 15},
                TokenUsage(input=2, cache_read=8, output=5),
                id="DeepSeek",
            ),
            pytest.param(
                {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
                TokenUsage(cache_read=3),
                id="more cached than there is",
            ),
            pytest.param({"prompt_tokens": None, "completion_tokens_details": None}, TokenUsage(), id="nulls"),
            pytest.param({}, None, id="empty"),
            pytest.param(None, None, id="none"),
        ],
    )
    def test_reading(self, told: Any, usage: TokenUsage | None) -> None:
        assert read_usage(told) == usage

    def test_groq(self) -> None:
        assert read_usage(None, {"usage": {"prompt_tokens": 1}}) == TokenUsage(input=1)

    def test_the_buckets_come_back_from_what_is_written(self) -> None:
        usage = TokenUsage(input=1, cache_read=2, cache_write=3, output=5, reasoning=6)
        assert read_usage(write_usage(usage)) == usage

    def test_both_lifetimes_of_the_cache_are_one_count(self) -> None:
        written = write_usage(TokenUsage(cache_write=3, cache_write_1h=4))
        assert written["prompt_tokens_details"]["cache_write_tokens"] == 7


class TestWriting:
    def test_the_whole(self) -> None:
        usage = TokenUsage(input=1, output=2)
        answer = Answer(id="msg_1", model="claude", created=7, parts=[Text(text="Hi")], stop=Stop.END, usage=usage)
        assert write(answer) == {
            "id": "chatcmpl-msg_1",
            "object": "chat.completion",
            "created": 7,
            "model": "claude",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": write_usage(usage),
            "system_fingerprint": None,
        }

    def test_texts_are_one_content(self) -> None:
        assert message(Text(text="A"), Text(text="B"))["content"] == "AB"

    def test_nothing_is_an_empty_text(self) -> None:
        assert message()["content"] == ""

    def test_calls(self) -> None:
        found = message(ToolCall(id="a", name="f"), stop=Stop.TOOL_USE)
        assert found["content"] is None
        assert found["tool_calls"] == [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    def test_arguments_stay_as_they_are(self) -> None:
        found = message(ToolCall(id="a", name="f", arguments='{"x": "cut'), stop=Stop.MAX_TOKENS)
        assert found["tool_calls"][0]["function"]["arguments"] == '{"x": "cut'

    def test_the_older_function_call(self) -> None:
        answer = Answer(id="i", model="x", parts=[ToolCall(id="a", name="f")], stop=Stop.TOOL_USE)
        choice = write(answer, uses_functions=True)["choices"][0]
        assert choice["finish_reason"] == "function_call"
        assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}

    def test_reasoning(self) -> None:
        found = message(Thinking(text="A", state=signature()), Text(text="B"), Thinking(text="C"))
        assert found["reasoning_content"] == "A\n\nC"
        first, second = found["reasoning_details"]
        assert (first["text"], first["format"]) == ("A", "anthropic-claude-v1")
        assert CARRIER.open(first["signature"]) is not None
        position = {"content": 1, "tool_calls": 0}
        assert second == {"index": 1, "type": "reasoning.text", "text": "C", "position": position}

    def test_redacted_reasoning(self) -> None:
        found = message(Thinking(is_redacted=True, state=signature(kind="redacted")))
        (detail,) = found["reasoning_details"]
        assert detail["type"] == "reasoning.encrypted"
        assert "reasoning_content" not in found

    def test_reasoning_that_is_not_to_be_seen(self) -> None:
        parts = (Thinking(text="A"), Thinking(text="B", state=signature()), Text(text="C"))
        found = message(*parts, reasoning=Reasoning(is_shown=False))
        assert "reasoning_content" not in found
        assert [(each["index"], each["text"]) for each in found["reasoning_details"]] == [(0, "B")]

    def test_states_of_calls_and_texts(self) -> None:
        state = signature("S", "gemini")
        found = message(Text(text="A", state=state, phase="commentary"), ToolCall(id="a", name="f", state=state))
        for holder in (found, found["tool_calls"][0]):
            assert CARRIER.open(holder["extra_content"]["google"]["thought_signature"]) is not None
        assert found["phase"] == "commentary"

    def test_citations(self) -> None:
        page = Citation(url="https://a.example", title="A", start=1, end=2)
        place = Citation(format="anthropic_messages", verbatim={"type": "page_location"})
        found = message(Text(text="Hello "), Text(text="you", citations=[page, place]))
        (annotation,) = found["annotations"]
        assert annotation["url_citation"] == {
            "start_index": 7,
            "end_index": 8,
            "title": "A",
            "url": "https://a.example",
        }
        assert found["citations"] == [{"type": "page_location"}]

    def test_why_a_provider_refused(self) -> None:
        answer = Answer(id="i", model="x", parts=[], stop=Stop.FILTERED, explanation="Policy")
        choice = write(answer)["choices"][0]
        assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "Policy")
        assert choice["message"]["content"] is None

    def test_a_stop_sequence(self) -> None:
        answer = Answer(id="i", model="x", parts=[], stop=Stop.STOP_SEQUENCE, stop_sequence="END")
        choice = write(answer)["choices"][0]
        assert (choice["finish_reason"], choice["stop_sequence"]) == ("stop", "END")

    def test_probabilities(self) -> None:
        token = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}
        answer = Answer(id="i", model="x", parts=[Text(text="Hi", logprobs=[token])], stop=Stop.END)
        assert write(answer)["choices"][0]["logprobs"] == {"content": [token], "refusal": None}

    @pytest.mark.parametrize(("tier", "told"), [("flex", "flex"), ("batch", None), (None, None)])
    def test_the_tier_is_one_that_callers_know(self, tier: str | None, told: str | None) -> None:
        answer = Answer(id="i", model="x", parts=[], stop=Stop.END, service_tier=tier)
        assert write(answer).get("service_tier") == told


class TestErrors:
    @pytest.mark.parametrize("vector", ERRORS, ids=str)
    def test_recorded_ones(self, vector: Vector) -> None:
        error = PROTOCOL.read_error(vector.status, {}, json.dumps(vector.response).encode())
        assert error.status == vector.status
        assert error.message
        assert "sk-" not in error.message
        told = vector.response["error"]
        assert error.param == told.get("param")
        if error.kind is Kind.BAD_REQUEST:
            assert error.message == told["message"]
            assert error.code == told["code"]

    @pytest.mark.parametrize(
        ("status", "body", "kind", "code"),
        [
            (400, {"error": {"message": "Bad", "code": "invalid_value"}}, Kind.BAD_REQUEST, "invalid_value"),
            (
                400,
                {"error": {"message": "This model's maximum context length is 8192 tokens."}},
                Kind.BAD_REQUEST,
                "context_length_exceeded",
            ),
            (
                400,
                {"error": {"message": "Filtered", "code": "content_filter"}},
                Kind.BAD_REQUEST,
                "content_policy_violation",
            ),
            (
                401,
                {"error": {"message": "Incorrect API key provided: sk-abc."}},
                Kind.AUTHENTICATION,
                "invalid_api_key",
            ),
            (402, {"error": {"message": "Insufficient credits", "code": 402}}, Kind.QUOTA, "insufficient_quota"),
            (403, {"error": {"message": "No", "code": "unsupported_country"}}, Kind.PERMISSION, "unsupported_country"),
            (404, {"error": {"message": "No", "code": "model_not_found"}}, Kind.NOT_FOUND, "model_not_found"),
            (413, b"<html>Too large</html>", Kind.TOO_LARGE, "request_too_large"),
            (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, Kind.BAD_REQUEST, None),
            (429, {"error": {"message": "Rate", "type": "tokens"}}, Kind.RATE_LIMIT, "rate_limit_exceeded"),
            (429, {"error": {"message": "Money", "type": "insufficient_quota"}}, Kind.QUOTA, "insufficient_quota"),
            (500, {"object": "error", "message": "Boom", "type": "x", "code": "3000"}, Kind.UPSTREAM, None),
            (503, {"error": {"message": "Busy"}}, Kind.OVERLOADED, "server_is_overloaded"),
            (500, {"error": "The model is overloaded"}, Kind.OVERLOADED, "server_is_overloaded"),
            (504, b"", Kind.TIMEOUT, None),
            (418, {"code": "Some words", "error": "text"}, Kind.BAD_REQUEST, None),
            (599, [], Kind.UPSTREAM, None),
            (500, 3, Kind.UPSTREAM, None),
            (500, {"error": {"message": {"a": 1}}}, Kind.UPSTREAM, None),
        ],
    )
    def test_any_shape(self, status: int, body: Any, kind: Kind, code: str | None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        error = PROTOCOL.read_error(status, {}, data)
        assert (error.status, error.kind, error.code) == (status, kind, code)
        assert error.message
        assert "<" not in error.message

    def test_a_missing_balance_is_not_worth_a_second_try(self) -> None:
        assert not PROTOCOL.read_error(429, {}, b'{"error":{"type":"insufficient_quota"}}').retryable
        assert PROTOCOL.read_error(429, {}, b"{}").retryable

    @pytest.mark.parametrize(
        ("headers", "body", "seconds"),
        [
            ({b"retry-after": b"20"}, {}, 20),
            ({b"retry-after-ms": b"1500", b"retry-after": b"20"}, {}, 2),
            ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, {}, 0),
            ({b"retry-after": b"Wed, 21 Oct 2026 07:28:30 GMT", b"date": b"Wed, 21 Oct 2026 07:28:00 GMT"}, {}, 30),
            ({b"retry-after": b"nan"}, {}, None),
            ({b"retry-after": b"-1"}, {}, None),
            ({}, {"error": {"details": [{"@type": "RetryInfo", "retryDelay": "34.4s"}]}}, 35),
            ({}, {"error": {"details": "text"}}, None),
            ({}, {}, None),
        ],
    )
    def test_when_to_ask_again(self, headers: dict[bytes, bytes], body: Any, seconds: int | None) -> None:
        assert PROTOCOL.read_error(429, headers, json.dumps(body).encode()).retry_after == seconds

    @pytest.mark.parametrize(
        "secret", ["sk-proj-abc123", "sk-", "AIzaSyD-abc", "Bearer abc.def", "abcd********wxyz", "gsk_abc", "xai-abc"]
    )
    def test_no_piece_of_a_key_is_shown(self, secret: str) -> None:
        body = json.dumps({"error": {"message": f"Wrong key: {secret}"}}).encode()
        error = PROTOCOL.read_error(403, {}, body)
        assert secret not in error.message
        assert secret not in (error.detail or "")
