"""Whole answers of Messages, from both sides, and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types.beta import BetaMessage

from ai_gateway.errors import Kind, ProviderError, UpstreamProtocolError
from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Part,
    Refusal,
    State,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from ai_gateway.protocols.partial import whole_members
from tests.protocols.anthropic_messages.helpers import (
    ASKED,
    CARRIER,
    FORMAT,
    comparable,
    read,
    sdk_comparable,
)
from tests.protocols.vectors import Vector, vectors

ANSWERS = [
    vector
    for vector in vectors(FORMAT)
    if vector.status == 200 and isinstance(vector.response, dict) and "content" in vector.response
]
ERRORS = [vector for vector in vectors(FORMAT) if vector.status >= 400]
EVERY_ANSWER = pytest.mark.parametrize("vector", ANSWERS, ids=str)


def message(**members: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **members,
    }


def answer(*parts: Part, stop: Stop = Stop.END, **members: Any) -> Answer:
    return Answer(id="1", model="m", parts=list(parts), stop=stop, **members)


def write(given: Answer) -> dict[str, Any]:
    written = PROTOCOL.write_answer(given, ASKED, CARRIER)
    BetaMessage.model_validate(written)
    return written


# Reading.


@EVERY_ANSWER
def test_a_recorded_answer_is_read_as_the_sdk_reads_it(vector: Vector) -> None:
    expected = BetaMessage.model_validate(vector.response)
    given = PROTOCOL.read_answer(vector.response)
    assert comparable(given.parts) == sdk_comparable(expected)
    assert (given.id, given.model) == (expected.id, expected.model)
    assert given.stop_sequence == expected.stop_sequence
    usage = expected.usage
    assert given.usage is not None
    assert given.usage.total_output == usage.output_tokens
    assert given.usage.total_input == usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (
        usage.cache_read_input_tokens or 0
    )


@EVERY_ANSWER
def test_a_recorded_answer_survives_being_written(vector: Vector) -> None:
    given = PROTOCOL.read_answer(vector.response)
    written = write(given)
    again = PROTOCOL.read_answer(written)
    assert (again.id, again.model, again.stop, again.usage) == (given.id, given.model, given.stop, given.usage)
    assert [part[:2] for part in comparable(again.parts)] == [part[:2] for part in comparable(given.parts)]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", Stop.END),
        ("stop_sequence", Stop.STOP_SEQUENCE),
        ("tool_use", Stop.TOOL_USE),
        ("max_tokens", Stop.MAX_TOKENS),
        ("model_context_window_exceeded", Stop.CONTEXT_FULL),
        ("refusal", Stop.FILTERED),
        ("pause_turn", Stop.PAUSED),
        ("compaction", Stop.END),
        ("invented_tomorrow", Stop.END),
        (None, Stop.END),
    ],
)
def test_every_reason_to_stop_is_understood(reason: str | None, stop: Stop) -> None:
    assert PROTOCOL.read_answer(message(stop_reason=reason)).stop is stop


CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", Stop.TOOL_USE),
        ("stop_sequence", Stop.TOOL_USE),
        ("pause_turn", Stop.TOOL_USE),
        ("max_tokens", Stop.MAX_TOKENS),
        ("refusal", Stop.FILTERED),
    ],
)
def test_an_end_with_calls_waits_for_their_results(reason: str, stop: Stop) -> None:
    """Compatible servers end so: an agent of another format would not run the tools."""
    given = PROTOCOL.read_answer(message(content=[CALL], stop_reason=reason, stop_sequence="x"))
    assert (given.stop, given.stop_sequence) == (stop, None)


def test_the_buckets_of_the_usage_are_disjoint() -> None:
    usage = {
        "input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 11,
        "output_tokens_details": {"thinking_tokens": 5},
        "service_tier": "standard",
    }
    given = PROTOCOL.read_answer(message(usage=usage))
    assert given.usage == TokenUsage(input=1, cache_read=2, cache_write=3, cache_write_1h=4, output=6, reasoning=5)
    assert given.service_tier == "default"
    assert write(given)["usage"] == usage


def test_a_missing_usage_is_not_taken_for_zero() -> None:
    assert PROTOCOL.read_answer(message(usage={})).usage is None
    assert PROTOCOL.read_answer({**message(), "usage": None}).usage is None


def test_a_refusal_has_its_explanation() -> None:
    given = PROTOCOL.read_answer(
        message(stop_reason="refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "No."})
    )
    assert (given.stop, given.explanation) == (Stop.FILTERED, "No.")


def test_the_blocks_of_server_tools_are_no_calls_of_the_callers() -> None:
    content = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "invented_tomorrow"},
        "no block at all",
        {"type": "text", "text": "Found."},
    ]
    assert PROTOCOL.read_answer(message(content=content)).parts == [Text(text="Found.")]


def test_a_citation_of_a_web_page_says_what_text_it_stands_for() -> None:
    location = {"type": "web_search_result_location", "url": "https://a.example", "title": "A"}
    block = {"type": "text", "text": "12345", "citations": [{**location, "cited_text": "c", "encrypted_index": "E"}]}
    (part,) = PROTOCOL.read_answer(message(content=[block])).parts
    assert part == Text(
        text="12345", citations=[Citation(url="https://a.example", title="A", cited_text="c", start=0, end=5)]
    )


def test_a_citation_of_a_document_is_kept_as_it_is() -> None:
    location = {"type": "char_location", "cited_text": "c", "document_index": 0, "document_title": "D"}
    location |= {"start_char_index": 0, "end_char_index": 1}
    given = PROTOCOL.read_answer(message(content=[{"type": "text", "text": "x", "citations": [location]}]))
    assert write(given)["content"][0]["citations"] == [location]


def test_an_error_with_status_200_is_raised() -> None:
    with pytest.raises(ProviderError) as raised:
        PROTOCOL.read_answer({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert (raised.value.status, raised.value.kind) == (503, Kind.OVERLOADED)


@pytest.mark.parametrize("body", [{}, {"content": "text"}, {"id": "msg_1"}])
def test_what_is_no_answer_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        PROTOCOL.read_answer(body)


# Writing.


def test_an_answer_of_another_provider_becomes_a_message() -> None:
    state = State(format="openai_responses", kind="encrypted", value="gAAAA", id="rs_1")
    given = answer(
        Thinking(text="Hm.", state=state),
        Text(text="Hello"),
        ToolCall(id="call_1", name="f", arguments='{"a": 1}'),
        stop=Stop.TOOL_USE,
        usage=TokenUsage(input=3, output=2, reasoning=1),
    )
    written = write(given)
    assert (written["id"], written["stop_reason"]) == ("msg_1", "tool_use")
    assert written["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": CARRIER.seal(state)}
    assert written["content"][1:] == [
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
    ]
    assert (written["usage"]["input_tokens"], written["usage"]["output_tokens"]) == (3, 3)


@pytest.mark.parametrize(
    ("stop", "parts", "reason"),
    [
        (Stop.END, [ToolCall(id="1", name="f")], "tool_use"),
        (Stop.TOOL_USE, [Text(text="x")], "end_turn"),
        (Stop.MAX_TOKENS, [ToolCall(id="1", name="f")], "max_tokens"),
        (Stop.CONTEXT_FULL, [], "model_context_window_exceeded"),
        (Stop.PAUSED, [], "pause_turn"),
    ],
)
def test_the_reason_to_stop_fits_the_content(stop: Stop, parts: list[Part], reason: str) -> None:
    assert write(answer(*parts, stop=stop))["stop_reason"] == reason


def test_an_empty_answer_has_no_blocks() -> None:
    assert write(answer(Text(text=""), Thinking()))["content"] == []


def test_a_refusal_is_text_and_is_explained() -> None:
    written = write(answer(Refusal(text="I cannot."), stop=Stop.FILTERED))
    assert written["content"] == [{"type": "text", "text": "I cannot."}]
    assert written["stop_reason"] == "refusal"
    assert written["stop_details"] == {"type": "refusal", "category": None, "explanation": "I cannot."}


@pytest.mark.parametrize(
    ("arguments", "stop", "expected"),
    [
        ("", Stop.TOOL_USE, {}),
        ("null", Stop.TOOL_USE, {}),
        ("[1]", Stop.TOOL_USE, {"INVALID_JSON": "[1]"}),
        ('{"a": "\\x"}', Stop.TOOL_USE, {"INVALID_JSON": '{"a": "\\x"}'}),
        ('{"a": 1, "b": "cut of', Stop.MAX_TOKENS, {"a": 1}),
        ('{"a": {"b": [1, 2]}, "c": 12', Stop.MAX_TOKENS, {"a": {"b": [1, 2]}}),
        ('{"a": true', Stop.MAX_TOKENS, {"a": True}),
        ("{", Stop.MAX_TOKENS, {}),
        ("nonsense", Stop.MAX_TOKENS, {}),
    ],
)
def test_arguments_become_an_object_whatever_they_are(arguments: str, stop: Stop, expected: dict[str, Any]) -> None:
    written = write(answer(ToolCall(id="1", name="f", arguments=arguments), stop=stop))
    assert written["content"][0]["input"] == expected


def test_reading_cut_arguments_takes_linear_time() -> None:
    raw = "{" + ",".join(f'"k{number}":"{"x" * 50}"' for number in range(20_000))
    assert len(whole_members(raw)) == 20_000


def test_free_text_of_a_call_is_its_one_argument() -> None:
    call = ToolCall(id="1", name="apply_patch", arguments="*** Begin", is_custom=True)
    assert write(answer(call))["content"][0]["input"] == {"input": "*** Begin"}


def test_a_call_without_an_id_gets_one() -> None:
    (block,) = write(answer(ToolCall(name="f")))["content"]
    assert block["id"].startswith("toolu_")


def test_a_citation_of_another_provider_is_marked_as_such() -> None:
    citation = Citation(url="https://a.example", title="A", start=0, end=1)
    (block,) = write(answer(Text(text="x", citations=[citation])))["content"]
    (given,) = block["citations"]
    assert (given["type"], given["url"]) == ("web_search_result_location", "https://a.example")
    assert given["encrypted_index"].startswith("gw1.")


# States that travel with a caller.


def returned(given: Answer) -> list[Part]:
    """What is read of an answer that a caller sends back as it is."""
    content = write(given)["content"]
    return read({"messages": [{"role": "assistant", "content": content}]}).messages[0].parts


def test_the_state_of_another_providers_reasoning_comes_back() -> None:
    state = State(format="openai_responses", kind="encrypted", value="gAAAA", id="rs_1")
    (part,) = returned(answer(Thinking(text="Hm.", state=state)))
    assert isinstance(part, Thinking)
    assert part.text == "Hm."
    assert part.state == State(
        format="openai_responses",
        kind="encrypted",
        value="gAAAA",
        id="rs_1",
        provider="upstream",
        model="its-model",
    )


def test_a_state_without_anything_to_see_comes_back() -> None:
    state = State(format="openai_responses", kind="encrypted", value="gAAAA", id="rs_1")
    (part,) = returned(answer(Thinking(state=state)))
    assert isinstance(part, Thinking)
    assert (part.text, part.state is not None) == ("", True)


def test_the_state_of_a_call_comes_back_with_the_call() -> None:
    state = State(format="gemini", kind="signature", value="c2ln", id="own id")
    (part,) = returned(answer(ToolCall(id="call 1", name="f", state=state), stop=Stop.TOOL_USE))
    assert isinstance(part, ToolCall)
    assert part.state is not None
    assert (part.state.value, part.state.id, part.state.format) == ("c2ln", "own id", "gemini")


def test_reasoning_without_a_state_comes_back_as_text() -> None:
    (part,) = returned(answer(Thinking(text="Hm.")))
    assert isinstance(part, Thinking)
    assert (part.text, part.state) == ("Hm.", None)


# Errors.


@pytest.mark.parametrize("vector", ERRORS, ids=str)
def test_a_recorded_error_is_understood(vector: Vector) -> None:
    error = PROTOCOL.read_error(vector.status, {}, json.dumps(vector.response).encode())
    assert error.status == vector.status
    assert error.message == vector.response["error"]["message"]


def error_body(type: str, text: str = "Something.", **details: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": type, "message": text, **details}}).encode()


@pytest.mark.parametrize(
    ("status", "type", "kind", "told", "code"),
    [
        (400, "invalid_request_error", Kind.BAD_REQUEST, 400, None),
        (401, "authentication_error", Kind.AUTHENTICATION, 401, "invalid_api_key"),
        (402, "billing_error", Kind.QUOTA, 429, "insufficient_quota"),
        (403, "permission_error", Kind.PERMISSION, 403, "permission_denied"),
        (404, "not_found_error", Kind.NOT_FOUND, 404, "not_found"),
        (413, "request_too_large", Kind.TOO_LARGE, 413, "request_too_large"),
        (429, "rate_limit_error", Kind.RATE_LIMIT, 429, "rate_limit_exceeded"),
        (500, "api_error", Kind.UPSTREAM, 502, "upstream_error"),
        (504, "timeout_error", Kind.TIMEOUT, 504, "upstream_timeout"),
        (408, "invented_tomorrow", Kind.TIMEOUT, 504, "upstream_timeout"),
        (529, "overloaded_error", Kind.OVERLOADED, 503, "server_is_overloaded"),
        (529, "invented_tomorrow", Kind.OVERLOADED, 503, "server_is_overloaded"),
        (418, "invented_tomorrow", Kind.BAD_REQUEST, 400, None),
    ],
)
def test_every_class_of_error_has_its_status(status: int, type: str, kind: Kind, told: int, code: str | None) -> None:
    error = PROTOCOL.read_error(status, {}, error_body(type))
    assert (error.status, error.kind, error.code, error.message) == (told, kind, code, "Something.") or (
        kind is Kind.AUTHENTICATION and error.status == told and error.code == code
    )


def test_a_prompt_that_is_too_long_has_openais_code() -> None:
    error = PROTOCOL.read_error(
        400, {}, error_body("invalid_request_error", "prompt is too long: 3 tokens > 2 maximum")
    )
    assert error.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "body",
    [
        error_body("rate_limit_error", "Spent.", details={"error_code": "enforced_spend_limit_reached"}),
        error_body("invalid_request_error", "Your credit balance is too low to access the API."),
        error_body("billing_error", "Pay."),
    ],
)
def test_without_money_waiting_does_not_help(body: bytes) -> None:
    error = PROTOCOL.read_error(429, {}, body)
    assert (error.kind, error.status, error.retryable) == (Kind.QUOTA, 429, False)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({b"retry-after": b"7"}, 7),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 2),
        ({b"retry-after": b"0.2"}, 1),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({b"retry-after": b"soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_the_headers(fields: dict[bytes, bytes], seconds: int | None) -> None:
    assert PROTOCOL.read_error(429, fields, error_body("rate_limit_error")).retry_after == seconds


def test_a_provider_may_say_that_trying_again_is_of_no_use() -> None:
    fields = {b"x-should-retry": b"false"}
    assert not PROTOCOL.read_error(529, fields, error_body("overloaded_error")).retryable
    assert PROTOCOL.read_error(529, {}, error_body("overloaded_error")).retryable


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><html>Bad gateway sk-ant-1234567</html>",
        b"[]",
        b'["x"]',
        b"null",
        b"17",
        b'{"error": null}',
        b'{"error": {"message": ["x"]}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_error_gives_one_all_the_same(body: bytes) -> None:
    error = PROTOCOL.read_error(502, {}, body)
    assert (error.status, error.kind) == (502, Kind.UPSTREAM)
    assert "sk-ant" not in error.message
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "Just words."}', "Just words."),
        (b'{"message": "Amazon\'s."}', "Amazon's."),
        (b'[{"error": {"message": "In a list."}}]', "In a list."),
        (b'{"detail": "Not found here."}', "Not found here."),
    ],
)
def test_errors_of_other_shapes_have_their_words(body: bytes, text: str) -> None:
    assert PROTOCOL.read_error(500, {}, body).message == text


def test_no_key_gets_into_a_message() -> None:
    shown = PROTOCOL.read_error(400, {}, error_body("invalid_request_error", "Bad key sk-ant-api03-abc*def here."))
    assert shown.message == "Bad key [redacted] here."
    assert "sk-" not in PROTOCOL.read_error(401, {}, error_body("authentication_error", "sk-proj-12345678")).message
