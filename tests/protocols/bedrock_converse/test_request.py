"""Requests for Converse: read as a botocore client writes them, written as its service model has them."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.bedrock_converse import PROTOCOL
from ai_gateway.protocols.bedrock_converse.states import write_reasoning
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Request,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.protocol import Outgoing
from tests.protocols.bedrock_converse.botocore_client import checked, sent
from tests.protocols.bedrock_converse.samples import CARRIER, CLAUDE, HEAD, PDF, PNG, to

Json = dict[str, Any]

HELLO: Json = {"role": "user", "content": [{"text": "Hi"}]}
TOOL: Json = {"toolSpec": {"name": "f", "description": "Does.", "inputSchema": {"json": {"type": "object"}}}}


def read(body: Json) -> Request:
    return PROTOCOL.read_request(body, HEAD, CARRIER)


def write(request: Request) -> Outgoing:
    """Write for a model of Anthropic's, and check what is written against the service model."""
    outgoing = PROTOCOL.write_request(request, to(CLAUDE))
    checked(outgoing.body)
    return outgoing


def parts(*blocks: Json, role: str = "user") -> list[Part]:
    return read({"messages": [{"role": role, "content": list(blocks)}]}).messages[0].parts


FULL: Json = {
    "modelId": "anthropic.claude",
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "What is this?"},
                {"image": {"format": "png", "source": {"bytes": base64.b64decode(PNG)}}},
                {"document": {"format": "pdf", "name": "A B", "source": {"bytes": base64.b64decode(PDF)}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"text": "I look."},
                {"toolUse": {"toolUseId": "t_1", "name": "f", "input": {"a": [1, None]}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "t_1",
                        "status": "error",
                        "content": [
                            {"text": "No."},
                            {"image": {"format": "png", "source": {"bytes": base64.b64decode(PNG)}}},
                        ],
                    }
                },
                {"cachePoint": {"type": "default"}},
                {"text": "Try again."},
            ],
        },
    ],
    "inferenceConfig": {"maxTokens": 2000, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    "toolConfig": {"tools": [TOOL, {"cachePoint": {"type": "default", "ttl": "1h"}}], "toolChoice": {"any": {}}},
    "outputConfig": {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"name": "n", "description": "d", "schema": '{"type":"string"}'}},
        }
    },
    "requestMetadata": {"team": "a"},
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "flex"},
    "additionalModelRequestFields": {"top_k": 5, "other": [1]},
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
}
"""A request with nearly everything in it, as a botocore client takes it: bytes are bytes."""


def test_all_of_a_request_that_a_client_wrote_is_read() -> None:
    path, body = sent(FULL)
    assert path == "/v1/model/anthropic.claude/converse"
    request = read(body)
    system, user, assistant, results = request.messages
    assert system.parts == [Text(at="system[0].text", text="Be brief.", cache=CacheMark(ttl="1h"))]
    assert [type(part) for part in user.parts] == [Text, Image, File]
    assert user.parts[1] == Image(at="messages[0].content[1].image", data=PNG, media_type="image/png")
    assert user.parts[2] == File(
        at="messages[0].content[2].document", data=PDF, media_type="application/pdf", name="A B"
    )
    assert assistant.parts[1] == ToolCall(
        at="messages[1].content[1].toolUse", id="t_1", name="f", arguments='{"a":[1,null]}'
    )
    assert [type(part) for part in results.parts] == [ToolResult, Text]
    result = results.parts[0]
    assert isinstance(result, ToolResult)
    assert (result.call_id, result.is_error, result.cache) == ("t_1", True, CacheMark())
    assert [type(part) for part in result.parts] == [Text, Image]
    assert (request.max_output_tokens, request.temperature, request.top_p, request.stop) == (2000, 0.5, 0.9, ["END"])
    assert request.tools == [
        FunctionTool(
            at="toolConfig.tools[0].toolSpec",
            name="f",
            description="Does.",
            schema={"type": "object"},
            cache=CacheMark(ttl="1h"),
        )
    ]
    assert request.tool_choice == ToolChoice(mode="required")
    assert request.output == OutputFormat(kind="json_schema", name="n", description="d", schema={"type": "string"})
    assert (request.metadata, request.service_tier, request.top_k) == ({"team": "a"}, "flex", 5)
    assert request.hints == {
        "performanceConfig": {"latency": "optimized"},
        "additionalModelRequestFields": {"other": [1]},
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
    }
    assert request.source is body


def test_a_request_that_is_read_and_written_again_is_the_same() -> None:
    body = sent(FULL)[1]
    before = copy.deepcopy(body)
    outgoing = write(read(body))
    assert outgoing.body == before
    assert outgoing.dropped == []
    assert outgoing.emulation is None
    assert body == before


def test_the_same_request_is_always_written_in_the_same_bytes() -> None:
    body = sent(FULL)[1]
    assert json.dumps(write(read(body)).body) == json.dumps(write(read(copy.deepcopy(body))).body)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic.claude-3:0", "/v1/model/anthropic.claude-3%3A0/converse"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x",
            "/v1/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.x/converse",
        ),
    ],
)
def test_the_path_is_the_one_that_a_client_asks_for(model: str, path: str) -> None:
    assert sent({"modelId": model, "messages": [HELLO]})[0] == path
    assert PROTOCOL.target(model, False) == (path, b"")
    assert PROTOCOL.target(model, True) == (f"{path}-stream", b"")


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"text": ""}, Text(text="")),
        ({"guardContent": {"text": {"text": "Hi"}}}, Text(text="Hi")),
        ({"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}}, Text(text="<s> t\nx")),
        ({"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://b/k"}}}}, Image(url="s3://b/k")),
        ({"audio": {"format": "wav", "source": {"bytes": "AAAA"}}}, Audio(data="AAAA", format="wav")),
        ({"document": {"name": "n", "source": {"text": "x"}}}, File(text="x", name="n")),
        ({"document": {"name": "n", "source": {"content": [{"text": "x"}, {"text": "y"}]}}}, File(text="xy", name="n")),
        (
            {"document": {"format": "md", "name": "n", "source": {"bytes": "AAAA"}, "citations": {"enabled": True}}},
            File(data="AAAA", media_type="text/markdown", name="n", cites=True),
        ),
        ({"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}, ToolCall(id="t", name="f", arguments="{}")),
        ({"toolResult": {"toolUseId": "t", "content": [{"json": {"a": 1}}]}}, ToolResult(call_id="t")),
        ({"video": {"format": "mp4", "source": {}}}, Opaque(format="bedrock_converse", value={})),
        ({"new": 1}, Opaque(format="bedrock_converse", value={})),
    ],
)
def test_a_block_is_read(block: Json, part: Part) -> None:
    found = parts(block)[0]
    assert type(found) is type(part)
    for field in ("text", "data", "url", "name", "cites", "format", "arguments", "call_id"):
        assert getattr(found, field, None) == getattr(part, field, None)
    assert found.at.startswith("messages[0].content[0]")


def test_the_json_of_a_result_is_read_as_text() -> None:
    result = parts({"toolResult": {"toolUseId": "t", "content": [{"json": {"a": 1}}]}})[0]
    assert isinstance(result, ToolResult)
    assert [part.text for part in result.parts if isinstance(part, Text)] == ['{"a":1}']


def test_a_cache_point_marks_the_last_part_that_can_be_marked() -> None:
    marked = parts({"text": "a"}, write_reasoning("Hm.", "c2ln"), {"cachePoint": {"type": "default"}})
    assert marked[0] == Text(at="messages[0].content[0].text", text="a", cache=CacheMark())
    assert parts({"cachePoint": {"type": "default"}}, {"text": "a"})[0] == Text(
        at="messages[0].content[1].text", text="a"
    )


def test_a_signature_that_is_no_carrier_gives_no_state() -> None:
    block = write_reasoning("Hm.", "c2ln")
    assert parts(block, {"text": "x"}, role="assistant")[0] == Thinking(at="messages[0].content[0]", text="Hm.")
    redacted = {"reasoningContent": {"redactedContent": "AAAA"}}
    assert [type(part) for part in parts(redacted, {"text": "x"}, role="assistant")] == [Text]


@pytest.mark.parametrize(
    ("fields", "reasoning", "name"),
    [
        (
            {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}}},
            Reasoning(mode="enabled", budget=2000),
            "additionalModelRequestFields.thinking",
        ),
        (
            {"additionalModelRequestFields": {"reasoning_config": {"type": "enabled", "budget_tokens": 2000}}},
            Reasoning(mode="enabled", budget=2000),
            "additionalModelRequestFields.reasoning_config",
        ),
        (
            {"additionalModelRequestFields": {"reasoning_config": "high"}},
            Reasoning(effort="high"),
            "additionalModelRequestFields.reasoning_config",
        ),
        (
            {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}},
            Reasoning(mode="enabled", effort="low"),
            "additionalModelRequestFields.reasoningConfig",
        ),
        (
            {"additionalModelRequestFields": {"reasoning_effort": "low"}},
            Reasoning(effort="low"),
            "additionalModelRequestFields.reasoning_effort",
        ),
        (
            {
                "additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}},
                "outputConfig": {"effort": "max"},
            },
            Reasoning(mode="adaptive", is_shown=True, effort="max"),
            "additionalModelRequestFields.thinking",
        ),
        ({"outputConfig": {"effort": "low"}}, Reasoning(effort="low"), "outputConfig.effort"),
        ({}, None, "outputConfig.effort"),
    ],
)
def test_reasoning_is_asked_for_in_several_words(fields: Json, reasoning: Reasoning | None, name: str) -> None:
    request = read({"messages": [HELLO]} | fields)
    assert request.reasoning == reasoning
    assert request.name_of("reasoning") == name
    assert request.hints == {}


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": 1}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"image": {}}]}]}, "messages[0].content[0].image.source"),
        (
            {"messages": [{"role": "user", "content": [{"image": {"source": {"bytes": "AAAA"}}}]}]},
            "messages[0].content[0].image.format",
        ),
        ({"messages": [{"role": "user", "content": [{"toolUse": {}}]}]}, "messages[0].content[0].toolUse.toolUseId"),
        ({"messages": [HELLO], "system": "Be brief."}, "system"),
        ({"messages": [HELLO], "inferenceConfig": {"maxTokens": "1"}}, "inferenceConfig.maxTokens"),
        ({"messages": [HELLO], "inferenceConfig": {"maxTokens": 1.5}}, "inferenceConfig.maxTokens"),
        ({"messages": [HELLO], "inferenceConfig": {"temperature": True}}, "inferenceConfig.temperature"),
        ({"messages": [HELLO], "inferenceConfig": {"stopSequences": [1]}}, "inferenceConfig.stopSequences[0]"),
        ({"messages": [HELLO], "toolConfig": {"tools": [{"toolSpec": {}}]}}, "toolConfig.tools[0].toolSpec.name"),
        ({"messages": [HELLO], "toolConfig": {"toolChoice": {"tool": {}}}}, "toolConfig.toolChoice.tool.name"),
        (
            {"messages": [HELLO], "outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}},
            "outputConfig.textFormat.structure.jsonSchema.schema",
        ),
        ({"messages": [HELLO], "requestMetadata": {"a": 1}}, "requestMetadata.a"),
        ({"messages": [HELLO], "guardrailConfig": {"guardrailIdentifier": "g"}}, "guardrailConfig"),
    ],
)
def test_what_is_malformed_is_refused_by_its_path(body: Json, at: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read(body)
    assert raised.value.param == at


MEMBERS = [
    "messages",
    "system",
    "role",
    "content",
    "text",
    "toolUse",
    "toolResult",
    "toolUseId",
    "name",
    "input",
    "image",
    "document",
    "source",
    "bytes",
    "format",
    "reasoningContent",
    "reasoningText",
    "signature",
    "redactedContent",
    "cachePoint",
    "toolConfig",
    "tools",
    "toolSpec",
    "inputSchema",
    "json",
    "toolChoice",
    "tool",
    "any",
    "inferenceConfig",
    "maxTokens",
    "temperature",
    "outputConfig",
    "textFormat",
    "structure",
    "jsonSchema",
    "schema",
    "additionalModelRequestFields",
    "thinking",
    "budget_tokens",
    "reasoning_config",
    "serviceTier",
    "requestMetadata",
    "citations",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["user", "assistant", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=6),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=6), st.lists(JSON, max_size=3))
@settings(deadline=None)
def test_no_body_is_read_with_another_error(body: Json, blocks: list[Any]) -> None:
    for each in (body, {"messages": [{"role": "user", "content": blocks}]}):
        with contextlib.suppress(BadRequest):
            assert read(each).messages


# A body for a provider that speaks Converse itself.


def restored(*blocks: Json) -> list[list[Json]]:
    body = {"messages": [HELLO, {"role": "assistant", "content": list(blocks)}], "other": 1}
    before = copy.deepcopy(body)
    changed = PROTOCOL.restore(body, CARRIER, to())
    assert body == before
    assert changed["other"] == 1
    assert changed["messages"][0] == HELLO
    return [message["content"] for message in changed["messages"][1:]]


def carried(kind: str, format: str = "bedrock_converse", text: str = "Hm.") -> Json:
    return write_reasoning(text, CARRIER.seal(State(format=format, kind=kind, value="c2ln")))


def test_states_of_this_provider_are_put_back() -> None:
    text = {"text": "42"}
    assert restored(carried("signature"), text) == [[write_reasoning("Hm.", "c2ln"), text]]
    assert restored(carried("redacted"), text) == [[{"reasoningContent": {"redactedContent": "c2ln"}}, text]]


def test_states_of_others_are_taken_out_with_what_they_sign() -> None:
    text = {"text": "42"}
    assert restored(carried("signature", "gemini"), text, carried("previous:signature", "gemini")) == [[text]]
    assert restored(write_reasoning("Hm.", "gw1.forged.AAAA"), text) == [[text]]
    assert restored(carried("signature", "gemini")) == []


def test_what_is_no_carrier_stays_as_it_is() -> None:
    blocks = [write_reasoning("Hm.", "c2ln"), {"reasoningContent": {"redactedContent": "AAAA"}}, {"new": [1]}]
    assert restored(*blocks) == [blocks]
    assert PROTOCOL.restore({"messages": "?"}, CARRIER, to()) == {"messages": "?"}


def test_a_carrier_comes_back_to_the_model_that_made_the_state_and_to_no_other() -> None:
    body = {"messages": [HELLO, {"role": "assistant", "content": [carried("signature"), {"text": "42"}]}]}
    request = read(body)
    assert write(request).body["messages"][1]["content"][0] == write_reasoning("Hm.", "c2ln")
    other = PROTOCOL.write_request(request, to(CLAUDE, model="another"))
    assert other.body["messages"][1]["content"] == [{"text": "42"}]


def test_a_tool_of_amazons_own_is_read_and_written_as_it_is() -> None:
    tool = {"systemTool": {"name": "nova_code_interpreter"}}
    request = read({"messages": [HELLO], "toolConfig": {"tools": [tool]}})
    assert request.tools == [
        HostedTool(at="toolConfig.tools[0]", format="bedrock_converse", type="systemTool", value=tool)
    ]
    assert write(request).body["toolConfig"] == {"tools": [tool]}


def test_a_hosted_tool_of_another_format_is_refused() -> None:
    tool = HostedTool(at="tools[0]", format="openai_responses", type="web_search", value={"type": "web_search"})
    request = Request(
        format="openai_responses",
        model="m",
        messages=[Message(role="user", parts=[Text(text="Hi")])],
        tools=[tool],
    )
    with pytest.raises(Unsupported) as raised:
        write(request)
    assert raised.value.param == "tools[0]"
