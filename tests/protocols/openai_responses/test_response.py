"""Whole answers of Responses, and errors in place of them."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from ai_gateway.errors import Kind, ProviderError, UpstreamProtocolError
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Part,
    Refusal,
    Request,
    State,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from ai_gateway.protocols.openai_responses import PROTOCOL
from tests.protocols.openai_responses.wire import CARRIER, SEALING, asked, read
from tests.protocols.vectors import Vector, vectors

RECORDED = [v for v in vectors("openai_responses") if v.status == 200 and isinstance(v.response, dict)]
ENDED = [v for v in RECORDED if v.response.get("status", "completed") in ("completed", "incomplete")]
ERRORS = [v for v in vectors("openai_responses") if v.status >= 400]


def answer(*parts: Part, **fields: Any) -> Answer:
    return Answer(id="msg_1", model="thinker-1", parts=list(parts), **{"stop": Stop.END, **fields})


def write(given: Answer, request: Request | None = None) -> dict[str, Any]:
    """Write an answer that the SDK takes."""
    written = PROTOCOL.write_answer(given, request or asked(), SEALING)
    Response.model_validate(written)
    return written


def response(*output: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1.5,
        "model": "m",
        "status": "completed",
        "output": list(output),
        **members,
    }


# Reading.


@pytest.mark.parametrize("vector", ENDED, ids=str)
def test_a_recorded_answer_says_what_the_sdk_says(vector: Vector) -> None:
    found = PROTOCOL.read_answer(vector.response)
    sdk = Response.model_construct(**vector.response)
    output = [item for item in vector.response["output"] if isinstance(item, dict)]
    said = [part["text"] for item in output if item["type"] == "message" for part in item["content"] if "text" in part]
    calls = [item for item in output if item["type"] in ("function_call", "custom_tool_call")]
    assert [part.text for part in found.parts if isinstance(part, Text)] == said
    assert [(part.id, part.name, part.arguments) for part in found.parts if isinstance(part, ToolCall)] == [
        (item["call_id"], item["name"], item.get("arguments", item.get("input"))) for item in calls
    ]
    assert found.id == sdk.id
    assert found.usage is not None
    assert found.usage.total_input == vector.response["usage"]["input_tokens"]
    assert found.usage.total_output == vector.response["usage"]["output_tokens"]
    if vector.response.get("status") == "completed":
        assert found.stop is (Stop.TOOL_USE if calls else Stop.END)


@pytest.mark.parametrize("vector", [v for v in RECORDED if v not in ENDED], ids=str)
def test_an_answer_that_is_not_ready_is_none(vector: Vector) -> None:
    with pytest.raises(UpstreamProtocolError):
        PROTOCOL.read_answer(vector.response)


@pytest.mark.parametrize("vector", ENDED, ids=str)
def test_a_recorded_answer_is_written_as_it_was_read(vector: Vector) -> None:
    found = PROTOCOL.read_answer(vector.response)
    before = copy.deepcopy(vector.request)
    request = asked(tools=(vector.request or {}).get("tools") or [])
    again = PROTOCOL.read_answer(write(found, request))
    assert [spoken(part) for part in again.parts] == [spoken(part) for part in merged(found.parts)]
    assert (again.usage, again.stop) == (found.usage, found.stop)
    assert vector.request == before


def spoken(part: Part) -> Any:
    """What a part says, without what only its maker could read."""
    if isinstance(part, Thinking):
        return "thinking", part.text, part.state is not None
    if isinstance(part, Text):
        return part.text, part.citations
    return part


def merged(parts: list[Part]) -> list[Part]:
    """Texts that follow each other are one."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, Text) and isinstance(last, Text) and part.phase == last.phase:
            found[-1] = msgspec.structs.replace(last, text=last.text + part.text)
        else:
            found.append(part)
    return found


STOPS: list[tuple[dict[str, Any], Stop]] = [
    ({}, Stop.END),
    ({"status": None}, Stop.END),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, Stop.MAX_TOKENS),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, Stop.FILTERED),
    ({"status": "incomplete", "incomplete_details": None}, Stop.MAX_TOKENS),
]


@pytest.mark.parametrize(("members", "stop"), STOPS)
def test_why_an_answer_ended(members: dict[str, Any], stop: Stop) -> None:
    assert PROTOCOL.read_answer(response(**members)).stop is stop


def test_items_in_their_order() -> None:
    found = PROTOCOL.read_answer(
        response(
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {
                "type": "message",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "So.", "annotations": []}],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "say", "input": "4 + 4"},
            {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]},
            {"type": "unheard_of"},
        )
    )
    assert found.parts == [
        Thinking(state=State(format="openai_responses", kind="encrypted", value="gAAA", id="rs_1")),
        Text(text="So.", phase="commentary"),
        ToolCall(id="call_1", name="add", arguments="{"),
        ToolCall(id="call_2", name="say", arguments="4 + 4", is_custom=True),
        Refusal(text="No."),
    ]
    assert (found.stop, found.created) == (Stop.TOOL_USE, 1)


USAGES: list[tuple[dict[str, Any], TokenUsage]] = [
    (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 130,
        },
        TokenUsage(input=30, cache_read=60, cache_write=10, output=10, reasoning=20),
    ),
    (
        {
            "input_tokens": 100,
            "input_tokens_details": {
                "cache_write_tokens": 50,
                "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 40},
            },
            "output_tokens": 1,
        },
        TokenUsage(input=50, cache_write=10, cache_write_1h=40, output=1),
    ),
    # Reasoning beside the output, as xAI counts it in chat completions.
    (
        {
            "input_tokens": 506,
            "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 38},
            "total_tokens": 556,
        },
        TokenUsage(input=506, output=12, reasoning=38),
    ),
    ({"input_tokens": 3, "output_tokens": 4, "input_tokens_details": None}, TokenUsage(input=3, output=4)),
]


@pytest.mark.parametrize(("usage", "neutral"), USAGES)
def test_usage(usage: dict[str, Any], neutral: TokenUsage) -> None:
    assert PROTOCOL.read_answer(response(usage=usage)).usage == neutral


def test_an_answer_that_is_an_error() -> None:
    with pytest.raises(ProviderError) as caught:
        PROTOCOL.read_answer(response(status="failed", error={"code": "rate_limit_exceeded", "message": "Slow down."}))
    assert (caught.value.status, caught.value.kind, caught.value.message) == (429, Kind.RATE_LIMIT, "Slow down.")


@pytest.mark.parametrize("body", [{}, {"output": "x"}, response(status="in_progress"), response(status="queued")])
def test_what_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        PROTOCOL.read_answer(body)


# Writing.


def test_the_request_is_repeated() -> None:
    tools = [{"type": "function", "name": "add", "parameters": {"type": "object"}}]
    request = asked(
        instructions="Be brief.",
        tools=tools,
        tool_choice="required",
        temperature=0.5,
        reasoning={"effort": "low"},
        text={"format": {"type": "json_object"}},
        metadata={"a": "b"},
        store=True,
        max_output_tokens=50,
    )
    written = write(answer(Text(text="So.")), request)
    expected = {
        "instructions": "Be brief.",
        "tools": [{**tools[0], "description": None, "strict": False}],
        "tool_choice": "required",
        "temperature": 0.5,
        "reasoning": {"effort": "low", "summary": None},
        "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
        "metadata": {"a": "b"},
        "max_output_tokens": 50,
        "store": False,
        "top_p": 1.0,
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "previous_response_id": None,
    }
    assert {name: written[name] for name in expected} == expected


def test_an_answer_of_all_kinds() -> None:
    written = write(
        answer(
            Thinking(text="Hm.", state=State(format="anthropic_messages", kind="signature", value="c2ln")),
            Thinking(state=State(format="anthropic_messages", kind="redacted", value="cmVk")),
            Text(text="So.", phase="final_answer"),
            ToolCall(id="call_1", name="add", arguments=""),
            ToolCall(id="call_2", name="say", arguments="4 + 4", is_custom=True),
            Refusal(text="No."),
            stop=Stop.TOOL_USE,
            usage=TokenUsage(input=1, cache_read=2, cache_write=3, output=4, reasoning=5),
        )
    )
    thought, redacted, message, call, custom, refusal = written["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert redacted["summary"] == []
    opened = [CARRIER.open(item["encrypted_content"]) for item in (thought, redacted)]
    assert [(state.kind, state.value, state.provider) for state in opened if state] == [
        ("signature", "c2ln", "acme"),
        ("redacted", "cmVk", "acme"),
    ]
    assert message["content"] == [{"type": "output_text", "annotations": [], "logprobs": [], "text": "So."}]
    assert (message["phase"], message["status"]) == ("final_answer", "completed")
    assert (call["call_id"], call["arguments"]) == ("call_1", "{}")
    assert (custom["type"], custom["input"]) == ("custom_tool_call", "4 + 4")
    assert refusal["content"] == [{"type": "refusal", "refusal": "No."}]
    assert len({item["id"] for item in written["output"]}) == 6
    assert written["usage"] == {
        "input_tokens": 6,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 15,
    }


def test_reasoning_comes_back_as_it_was_given() -> None:
    state = State(format="anthropic_messages", kind="signature", value="c2ln")
    given = [Thinking(text="Hm.", state=state), Text(text="So.")]
    output = write(answer(*given))["output"]
    (message,) = read({"model": "m", "input": output}).messages
    sealed = msgspec.structs.replace(state, provider="acme", model="thinker-1")
    assert [msgspec.structs.replace(part, at="") for part in message.parts] == [
        Thinking(text="Hm.", state=sealed),
        Text(text="So."),
    ]


def test_signatures_of_calls_and_texts_come_back_with_them() -> None:
    def signed(value: str) -> State:
        return State(format="gemini", kind="signature", value=value)

    given = [
        Text(text="So.", state=signed("dGV4dA")),
        ToolCall(id="call_1", name="add", arguments="{}", state=signed("Y2FsbA")),
        ToolCall(id="call_2", name="add", arguments="{}"),
    ]
    output = write(answer(*given, stop=Stop.TOOL_USE))["output"]
    results = [{"type": "function_call_output", "call_id": f"call_{number}", "output": "3"} for number in (1, 2)]
    parts = read({"model": "m", "input": [*output, *results]}).messages[0].parts
    states = [part.state.value if part.state else None for part in parts if isinstance(part, Text | ToolCall)]
    assert states == ["dGV4dA", "Y2FsbA", None]
    assert len(parts) == 3


STATUSES = [
    (Stop.END, "completed", None),
    (Stop.TOOL_USE, "completed", None),
    (Stop.STOP_SEQUENCE, "completed", None),
    (Stop.PAUSED, "completed", None),
    (Stop.MAX_TOKENS, "incomplete", "max_output_tokens"),
    (Stop.CONTEXT_FULL, "incomplete", "max_output_tokens"),
    (Stop.FILTERED, "incomplete", "content_filter"),
]


@pytest.mark.parametrize(("stop", "status", "reason"), STATUSES)
def test_statuses(stop: Stop, status: str, reason: str | None) -> None:
    written = write(answer(Text(text="So"), stop=stop))
    assert (written["status"], written["output"][0]["status"]) == (status, status)
    assert written["incomplete_details"] == (None if reason is None else {"reason": reason})


def test_a_refusal_that_is_only_explained_is_said() -> None:
    written = write(answer(stop=Stop.FILTERED, explanation="Not this."))
    assert written["output"][0]["content"] == [{"type": "refusal", "refusal": "Not this."}]


def test_texts_in_a_row_are_one_message_whose_citations_say_where_they_stand() -> None:
    written = write(
        answer(
            Text(text="So "),
            Text(text="it is", citations=[Citation(url="u", title="t")]),
            Text(
                text=", and was.",
                citations=[Citation(url="v", start=2, end=5), Citation(title="no page", verbatim={}, format="x")],
            ),
        )
    )
    (message,) = written["output"]
    (part,) = message["content"]
    assert part["text"] == "So it is, and was."
    assert [(note["url"], note["start_index"], note["end_index"]) for note in part["annotations"]] == [
        ("u", 3, 8),
        ("v", 10, 13),
    ]


def test_nothing_said_is_no_item() -> None:
    assert write(answer(Text(text=""), Thinking()))["output"] == []


NAMESPACE = {
    "type": "namespace",
    "name": "mail",
    "description": "Mail.",
    "tools": [{"type": "function", "name": "send"}],
}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds.", "parameters": {"type": "object"}}


def test_calls_are_named_as_the_caller_names_them() -> None:
    request = asked(tools=[NAMESPACE, SEARCH])
    calls = [
        ToolCall(id="a", name="mail__send", arguments="{}"),
        ToolCall(id="b", name="tool_search", arguments='{"query": "mail"}'),
    ]
    send, search = write(answer(*calls, stop=Stop.TOOL_USE), request)["output"]
    assert (send["namespace"], send["name"]) == ("mail", "send")
    assert (search["type"], search["execution"], search["call_id"]) == ("tool_search_call", "client", "b")
    assert search["arguments"] == {"query": "mail"}


# Errors.


@pytest.mark.parametrize("vector", ERRORS, ids=str)
def test_recorded_errors(vector: Vector) -> None:
    error = PROTOCOL.read_error(vector.status, {}, json.dumps(vector.response).encode())
    assert error.status == vector.status
    assert error.kind in (Kind.BAD_REQUEST, Kind.AUTHENTICATION)
    assert "invalid-key" not in error.message


def openai(code: str | None = None, type: str = "invalid_request_error", message: str = "So it is.") -> bytes:
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}}).encode()


CLASSES: list[tuple[int, bytes, int, Kind, str | None, bool]] = [
    (400, openai(), 400, Kind.BAD_REQUEST, None, False),
    (400, openai("context_length_exceeded"), 400, Kind.BAD_REQUEST, "context_length_exceeded", False),
    (400, openai("model_not_found"), 404, Kind.NOT_FOUND, "model_not_found", False),
    (400, openai("content_filter"), 400, Kind.BAD_REQUEST, "content_policy_violation", False),
    (401, openai("invalid_api_key"), 401, Kind.AUTHENTICATION, "invalid_api_key", False),
    (
        401,
        b'{"error": {"code": "401", "message": "Access denied"}}',
        401,
        Kind.AUTHENTICATION,
        "invalid_api_key",
        False,
    ),
    (403, openai(), 403, Kind.PERMISSION, "permission_denied", False),
    (404, openai(), 404, Kind.NOT_FOUND, "model_not_found", False),
    (413, b"<html>413</html>", 413, Kind.TOO_LARGE, "request_too_large", False),
    (422, b'{"detail": [{"msg": "x"}]}', 422, Kind.BAD_REQUEST, None, False),
    (400, b'{"code": "Client gave a bad argument", "error": "m"}', 400, Kind.BAD_REQUEST, None, False),
    (404, b'{"error": {"code": "DeploymentNotFound", "message": "m"}}', 404, Kind.NOT_FOUND, "model_not_found", False),
    (429, openai("rate_limit_exceeded", "tokens"), 429, Kind.RATE_LIMIT, "rate_limit_exceeded", True),
    (
        429,
        b'{"error": {"code": "RateLimitReached", "message": "m"}}',
        429,
        Kind.RATE_LIMIT,
        "rate_limit_exceeded",
        True,
    ),
    (429, openai("insufficient_quota", "insufficient_quota"), 429, Kind.QUOTA, "insufficient_quota", False),
    (429, openai(None, "insufficient_quota"), 429, Kind.QUOTA, "insufficient_quota", False),
    (429, openai("project_spend_limit_exceeded"), 429, Kind.QUOTA, "project_spend_limit_exceeded", False),
    (500, openai("server_error", "server_error"), 500, Kind.UPSTREAM, "server_error", True),
    (502, b"", 502, Kind.UPSTREAM, "upstream_error", True),
    (503, openai("server_is_overloaded"), 503, Kind.OVERLOADED, "server_is_overloaded", True),
    (504, b"null", 504, Kind.TIMEOUT, "upstream_timeout", True),
    (529, b"[]", 529, Kind.OVERLOADED, "server_is_overloaded", True),
]


@pytest.mark.parametrize(("status", "body", "expected", "kind", "code", "retryable"), CLASSES)
def test_classes_of_errors(
    status: int, body: bytes, expected: int, kind: Kind, code: str | None, retryable: bool
) -> None:
    error = PROTOCOL.read_error(status, {}, body)
    assert (error.status, error.kind, error.code, error.retryable) == (expected, kind, code, retryable)


BODIES = [
    (b'{"error": "as a string"}', "as a string"),
    (b'{"code": "x", "error": "as a string"}', "as a string"),
    (b'[{"error": {"message": "in a list"}}]', "in a list"),
    (b'{"message": "bare"}', "bare"),
    (b'{"detail": "in detail"}', "in detail"),
    (b'{"detail": [{"msg": "Field required", "loc": ["input"]}]}', "Field required"),
    (b"<!DOCTYPE html><html>Bad gateway</html>", "The provider answered with status 400."),
    (b'{"error": {"message": "<html>no</html>"}}', "The provider answered with status 400."),
    (b"plain text", "The provider answered with status 400."),
    (b"\xff\xfe", "The provider answered with status 400."),
    (b"", "The provider answered with status 400."),
    (b"12", "The provider answered with status 400."),
    (b'{"error": {"message": "Key sk-abc***xyz is bad"}}', "Key [hidden] is bad"),
]


@pytest.mark.parametrize(("body", "message"), BODIES)
def test_an_errors_message(body: bytes, message: str) -> None:
    assert PROTOCOL.read_error(400, {}, body).message == message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({b"retry-after": b"7"}, 7),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 2),
        ({b"retry-after": b"0.2"}, 1),
        ({b"retry-after": b"tomorrow"}, None),
        ({b"retry-after": b"nan"}, None),
        ({}, None),
    ],
)
def test_when_to_try_again(headers: dict[bytes, bytes], seconds: int | None) -> None:
    assert PROTOCOL.read_error(429, headers, openai()).retry_after == seconds
