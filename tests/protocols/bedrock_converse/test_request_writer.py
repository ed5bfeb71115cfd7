"""Tools, formats, reasoning and parameters of callers of other formats, written for Converse."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ai_gateway.protocols.bedrock_converse import PROTOCOL
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    CustomTool,
    FunctionTool,
    OutputFormat,
    Reasoning,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
)
from ai_gateway.protocols.emulation import undo
from ai_gateway.protocols.protocol import Emulation
from tests.protocols.bedrock_converse.samples import ADAPTIVE, CLAUDE, OTHERS, asked
from tests.protocols.bedrock_converse.translating import (
    CALL,
    CALL_BLOCK,
    RESULT,
    TOOL,
    Json,
    assistant,
    refusal,
    system,
    user,
    write,
)

NEW_CLAUDE = msgspec.structs.replace(CLAUDE, parallel_flag=True)
OLD_CLAUDE = msgspec.structs.replace(CLAUDE, parallel_flag=False)

# Tools.


def test_tools_and_choices() -> None:
    strict = FunctionTool(name="g", strict=True, at="tools[1]")
    body = write(asked(tools=[TOOL, strict])).body
    assert body["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "f",
                    "description": "Does.",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                }
            },
            {
                "toolSpec": {
                    "name": "g",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                    "strict": True,
                }
            },
        ]
    }
    assert write(asked(tools=[strict]), ADAPTIVE).dropped == ["tools[1].strict"]


@pytest.mark.parametrize(
    ("choice", "written", "names"),
    [
        (None, None, ["f", "g"]),
        (ToolChoice(mode="auto"), None, ["f", "g"]),
        (ToolChoice(mode="required"), {"any": {}}, ["f", "g"]),
        (ToolChoice(mode="named", name="g"), {"tool": {"name": "g"}}, ["f", "g"]),
        (ToolChoice(mode="auto", allowed=["g"]), None, ["g"]),
        (ToolChoice(mode="required", allowed=["g"]), {"any": {}}, ["g"]),
    ],
)
def test_which_tool_must_be_called(choice: ToolChoice | None, written: Json | None, names: list[str]) -> None:
    outgoing = write(asked(tools=[TOOL, FunctionTool(name="g")], tool_choice=choice))
    config = outgoing.body["toolConfig"]
    assert config.get("toolChoice") == written
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == names
    assert outgoing.dropped == []


def test_without_tools_there_is_no_choice() -> None:
    assert "toolConfig" not in write(asked(tool_choice=ToolChoice(mode="auto"))).body
    assert "toolConfig" not in write(asked(tools=[TOOL], tool_choice=ToolChoice(mode="none"))).body


def test_a_history_with_calls_needs_tools_though_none_may_be_called() -> None:
    history = [user(Text(text="Hi")), assistant(CALL), user(RESULT)]
    bare = write(asked(*history))
    assert [tool["toolSpec"]["name"] for tool in bare.body["toolConfig"]["tools"]] == ["f"]
    assert bare.body["system"] == [{"text": "Do not call any tool now. Answer in text."}]
    forbidden = write(asked(*history, tools=[TOOL], tool_choice=ToolChoice(mode="none")))
    assert forbidden.body["system"] == bare.body["system"]
    assert forbidden.body["toolConfig"]["tools"][0]["toolSpec"]["description"] == "Does."
    assert forbidden.dropped == ["tool_choice"]


def test_a_tool_with_free_text_is_a_function_with_one_argument() -> None:
    call = ToolCall(id="call_1", name="shell", arguments="ls", is_custom=True)
    request = asked(user(Text(text="Hi")), assistant(call), user(RESULT), tools=[CustomTool(name="shell")])
    outgoing = write(request)
    spec = outgoing.body["toolConfig"]["tools"][0]["toolSpec"]
    assert spec["inputSchema"]["json"]["required"] == ["input"]
    assert outgoing.body["messages"][1]["content"][0]["toolUse"]["input"] == {"input": "ls"}
    assert outgoing.emulation is not None
    assert outgoing.emulation.custom_tools == {"shell"}
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    described = write(asked(user(Text(text="Hi")), tools=[CustomTool(name="shell", grammar=grammar)]))
    assert "start: /.+/" in described.body["toolConfig"]["tools"][0]["toolSpec"]["description"]


def test_a_model_without_tools_is_not_given_any() -> None:
    assert refusal(asked(tools=[TOOL]), msgspec.structs.replace(CLAUDE, tools=False)).param == "tools"


def test_a_model_that_cannot_be_forced_is_not() -> None:
    request = asked(tools=[TOOL], tool_choice=ToolChoice(mode="required"))
    assert refusal(request, OTHERS).param == "tool_choice"


def test_where_a_forced_tool_excludes_reasoning_the_tool_comes_first() -> None:
    request = asked(
        tools=[TOOL],
        tool_choice=ToolChoice(mode="required"),
        reasoning=Reasoning(effort="high"),
        names={"reasoning": "reasoning_effort"},
    )
    outgoing = write(request)
    assert outgoing.body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert outgoing.dropped == ["reasoning_effort"]
    adaptive = write(request, ADAPTIVE)
    assert adaptive.body["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert adaptive.dropped == []


# The format of the answer.

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}


def as_json(**fields: Any) -> OutputFormat:
    return OutputFormat(**({"kind": "json_schema", "name": "n", "schema": SCHEMA} | fields))


def test_a_schema_is_written_as_far_as_it_is_taken() -> None:
    outgoing = write(asked(output=as_json(description="d")))
    definition = outgoing.body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (definition["name"], definition["description"]) == ("n", "d")
    assert json.loads(definition["schema"]) == {
        "type": "object",
        "properties": {"a": {"type": "integer", "description": '{"minimum":1}'}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert outgoing.emulation is None


def test_a_schema_inside_out() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "one": {"oneOf": [{"$ref": "#/$defs/D"}, {"type": "null"}]},
            "many": {"type": "array", "items": {"type": "string", "format": "email", "pattern": "x"}, "minItems": 1},
            "odd": {"type": "string", "format": "odd"},
        },
        "$defs": {"D": {"properties": {"x": {"enum": [1]}}, "additionalProperties": True}},
    }
    definition = write(asked(output=as_json(schema=schema))).body["outputConfig"]["textFormat"]["structure"]
    assert json.loads(definition["jsonSchema"]["schema"]) == {
        "type": "object",
        "properties": {
            "one": {"anyOf": [{"$ref": "#/$defs/D"}, {"type": "null"}]},
            "many": {
                "type": "array",
                "items": {"type": "string", "format": "email", "description": '{"pattern":"x"}'},
                "minItems": 1,
            },
            "odd": {"type": "string", "description": '{"format":"odd"}'},
        },
        "$defs": {"D": {"properties": {"x": {"enum": [1]}}, "additionalProperties": False}},
        "additionalProperties": False,
    }


UNABLE = msgspec.structs.replace(CLAUDE, structured_outputs=False)


def test_without_structured_outputs_a_tool_takes_the_answer() -> None:
    outgoing = write(asked(output=as_json()), UNABLE)
    assert outgoing.body["toolConfig"]["toolChoice"] == {"tool": {"name": "json_output"}}
    assert outgoing.emulation is not None
    assert outgoing.emulation.json_tool == "json_output"
    body = {
        "output": {"message": {"content": [{"toolUse": {"toolUseId": "t", "name": "json_output", "input": {"a": 1}}}]}},
        "stopReason": "tool_use",
    }
    answer = undo(PROTOCOL.read_answer(body), outgoing.emulation)
    assert answer.parts == [Text(text='{"a":1}')]


def test_beside_other_tools_any_of_them_may_be_called() -> None:
    mine = msgspec.structs.replace(TOOL, name="json_output")
    outgoing = write(asked(output=as_json(), tools=[mine]), UNABLE)
    assert outgoing.body["toolConfig"]["toolChoice"] == {"any": {}}
    assert outgoing.emulation is not None
    assert outgoing.emulation.json_tool == "json_output_"


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": Reasoning(effort="high")},
        {"tools": [TOOL], "tool_choice": ToolChoice(mode="required")},
        {"output": as_json(schema={"type": "array", "items": {"type": "string"}})},
    ],
)
def test_where_no_tool_can_take_it_the_answer_is_asked_for_in_words(fields: Json) -> None:
    outgoing = write(asked(**({"output": as_json()} | fields)), UNABLE)
    assert "follows this JSON Schema" in outgoing.body["system"][0]["text"]
    assert outgoing.emulation is None


def test_any_json_is_asked_for_in_words() -> None:
    outgoing = write(asked(system(Text(text="s")), user(Text(text="Hi")), output=OutputFormat(kind="json_object")))
    assert outgoing.body["system"][0] == {"text": "s"}
    assert "JSON object" in outgoing.body["system"][1]["text"]


# Reasoning.

LEVEL = Capabilities(reasoning="level", efforts=("low", "medium", "high"))
EFFORT = Capabilities(reasoning="effort", efforts=("low", "medium", "high"))
ALWAYS = msgspec.structs.replace(ADAPTIVE, reasons_by_default=True, can_disable_reasoning=False)


@pytest.mark.parametrize(
    ("capabilities", "reasoning", "fields", "effort", "is_dropped"),
    [
        (CLAUDE, Reasoning(), {}, None, False),
        (CLAUDE, Reasoning(effort="minimal"), {"thinking": {"type": "enabled", "budget_tokens": 1024}}, None, False),
        (CLAUDE, Reasoning(effort="low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}, None, False),
        (CLAUDE, Reasoning(effort="max"), {"thinking": {"type": "enabled", "budget_tokens": 63999}}, None, False),
        (CLAUDE, Reasoning(budget=10), {"thinking": {"type": "enabled", "budget_tokens": 1024}}, None, False),
        (CLAUDE, Reasoning(mode="adaptive"), {"thinking": {"type": "enabled", "budget_tokens": 8192}}, None, False),
        (CLAUDE, Reasoning(effort="none"), {"thinking": {"type": "disabled"}}, None, False),
        (CLAUDE, Reasoning(is_shown=True), {}, None, False),
        (ADAPTIVE, Reasoning(effort="xhigh"), {"thinking": {"type": "adaptive"}}, "high", False),
        (ADAPTIVE, Reasoning(effort="minimal"), {"thinking": {"type": "adaptive"}}, "low", False),
        (ADAPTIVE, Reasoning(budget=9000), {"thinking": {"type": "adaptive"}}, "medium", False),
        (
            ADAPTIVE,
            Reasoning(mode="adaptive", is_shown=True),
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            None,
            False,
        ),
        (ADAPTIVE, Reasoning(mode="between_tools"), {"thinking": {"type": "between_tools"}}, None, False),
        (ADAPTIVE, Reasoning(mode="disabled"), {"thinking": {"type": "disabled"}}, None, False),
        (ALWAYS, Reasoning(effort="none"), {"thinking": {"type": "adaptive"}}, "low", True),
        (
            LEVEL,
            Reasoning(effort="xhigh"),
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
            None,
            False,
        ),
        (LEVEL, Reasoning(effort="none"), {"reasoningConfig": {"type": "disabled"}}, None, False),
        (EFFORT, Reasoning(effort="minimal"), {"reasoning_effort": "low"}, None, False),
        (EFFORT, Reasoning(budget=20000), {"reasoning_effort": "high"}, None, False),
        (EFFORT, Reasoning(effort="none"), {}, None, False),
        (Capabilities(), Reasoning(effort="high"), {}, None, True),
        (Capabilities(), Reasoning(effort="none"), {}, None, False),
    ],
)
def test_reasoning_is_asked_for_in_the_models_own_words(
    capabilities: Capabilities, reasoning: Reasoning, fields: Json, effort: str | None, is_dropped: bool
) -> None:
    outgoing = write(asked(reasoning=reasoning), capabilities)
    assert outgoing.body.get("additionalModelRequestFields", {}) == fields
    assert outgoing.body.get("outputConfig", {}).get("effort") == effort
    assert outgoing.dropped == (["reasoning"] if is_dropped else [])


def test_a_budget_stays_below_the_limit_of_the_answer() -> None:
    wish = Reasoning(effort="high")
    outgoing = write(asked(reasoning=wish, max_output_tokens=3000))
    assert outgoing.body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2999
    outgoing = write(asked(reasoning=wish, max_output_tokens=1000))
    assert outgoing.body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert outgoing.dropped == ["reasoning"]


def test_amid_calls_a_budget_needs_the_reasoning_that_they_began_with() -> None:
    history = [user(Text(text="Hi")), assistant(CALL), user(RESULT)]
    fields: Json = {"tools": [TOOL], "reasoning": Reasoning(effort="high")}
    lost = write(asked(*history, **fields))
    assert lost.body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert lost.dropped == ["reasoning"]
    assert write(asked(*history, **fields), ADAPTIVE).dropped == []
    own = State(format="bedrock_converse", kind="signature", value="c2ln", provider="bedrock", model="model")
    history[1] = assistant(Thinking(text="Hm.", state=own), CALL)
    kept = write(asked(*history, **fields))
    assert kept.dropped == []
    assert kept.body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        CALL_BLOCK,
    ]


def test_a_callers_own_words_for_thinking_win() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1500}
    outgoing = write(asked(extras={"thinking": thinking, "container": "c"}, temperature=0.5))
    assert outgoing.body["additionalModelRequestFields"] == {"thinking": thinking}
    assert outgoing.dropped == ["temperature", "container"]
    assert write(asked(extras={"thinking": thinking}), Capabilities()).dropped == ["thinking"]


# Parameters.


def test_parameters() -> None:
    outgoing = write(
        asked(max_output_tokens=10, temperature=1.5, top_p=0.9, top_k=4, stop=["END", " "], service_tier="flex")
    )
    assert outgoing.body["inferenceConfig"] == {
        "maxTokens": 10,
        "temperature": 1,
        "topP": 0.9,
        "stopSequences": ["END"],
    }
    assert outgoing.body["additionalModelRequestFields"] == {"top_k": 4}
    assert outgoing.body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert outgoing.body["serviceTier"] == {"type": "flex"}
    assert outgoing.dropped == []


@pytest.mark.parametrize(
    ("capabilities", "fields", "written", "dropped"),
    [
        ({"sampling": "never"}, {"temperature": 0.5, "top_p": 0.5}, {}, ["temperature", "top_p"]),
        ({"sampling": "never"}, {"temperature": 1, "top_p": 1}, {}, []),
        ({"both_samplings": False}, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}, ["top_p"]),
        ({"both_samplings": False}, {"top_p": 0.5}, {"topP": 0.5}, []),
        (
            {},
            {"reasoning": Reasoning(effort="low"), "temperature": 0.5, "top_p": 0.97},
            {"topP": 0.97},
            ["temperature"],
        ),
        ({}, {"reasoning": Reasoning(effort="low"), "top_k": 5}, {}, ["top_k"]),
        ({"top_k": False}, {"top_k": 5}, {}, ["top_k"]),
        ({"max_stop": 0}, {"stop": ["END"]}, {}, []),
        ({"max_stop": 0}, {"stop": [" "]}, {}, []),
    ],
)
def test_parameters_that_a_model_does_not_take(
    capabilities: Json, fields: Json, written: Json, dropped: list[str]
) -> None:
    outgoing = write(asked(**fields), msgspec.structs.replace(CLAUDE, **capabilities))
    assert outgoing.body.get("inferenceConfig", {}) == written
    assert outgoing.dropped == dropped


@pytest.mark.parametrize(
    ("taken", "sent", "kept"),
    [(0, [], ("a", " ", "b", "c")), (2, ["a", "b"], (" ", "c")), (9, ["a", "b", "c"], (" ",))],
)
def test_stop_sequences_that_cannot_be_sent_are_looked_for_in_the_answer(
    taken: int, sent: list[str], kept: tuple[str, ...]
) -> None:
    outgoing = write(asked(stop=["a", " ", "b", "", "c"]), msgspec.structs.replace(CLAUDE, max_stop=taken))
    assert outgoing.body.get("inferenceConfig", {}).get("stopSequences", []) == sent
    assert outgoing.emulation == Emulation(stop=kept)
    assert outgoing.dropped == []


@pytest.mark.parametrize(
    ("given", "written"),
    [(None, None), ("auto", None), ("default", "default"), ("standard_only", "default"), ("priority", "priority")],
)
def test_the_tier(given: str | None, written: str | None) -> None:
    outgoing = write(asked(service_tier=given))
    assert outgoing.body.get("serviceTier", {}).get("type") == written
    assert outgoing.dropped == []


def test_metadata_goes_to_the_log_if_it_fits() -> None:
    assert write(asked(metadata={"team": "a-b"})).body["requestMetadata"] == {"team": "a-b"}
    assert write(asked(metadata={"team": "é"})).dropped == ["metadata"]
    assert write(asked(metadata={"x" * number: "" for number in range(1, 18)})).dropped == ["metadata"]


def test_what_has_no_member_is_left_out_and_told_by_the_callers_name() -> None:
    outgoing = write(
        asked(
            seed=1,
            user="u",
            session="s",
            verbosity="low",
            frequency_penalty=0.5,
            presence_penalty=0,
            parallel_tool_calls=False,
            tools=[TOOL],
            service_tier="scale",
            hints={"store": True, "prediction": None},
            names={"session": "prompt_cache_key"},
        ),
        OLD_CLAUDE,
    )
    assert outgoing.dropped == [
        "service_tier",
        "seed",
        "user",
        "prompt_cache_key",
        "verbosity",
        "frequency_penalty",
        "parallel_tool_calls",
        "store",
    ]


ONE_CALL = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}


@pytest.mark.parametrize("uses_functions", [False, True])
def test_claude_is_asked_for_one_call_at_a_time_in_its_own_words(uses_functions: bool) -> None:
    wish: Json = {"parallel_tool_calls": False, "uses_functions": uses_functions}
    outgoing = write(asked(**wish, tools=[TOOL]), NEW_CLAUDE)
    assert (outgoing.body["additionalModelRequestFields"], outgoing.dropped) == (ONE_CALL, [])
    assert "additionalModelRequestFields" not in write(asked(**wish), NEW_CLAUDE).body
    assert "additionalModelRequestFields" not in write(asked(tools=[TOOL]), NEW_CLAUDE).body


@pytest.mark.parametrize(
    ("members", "capabilities"),
    [
        ({"tool_choice": ToolChoice(mode="required")}, NEW_CLAUDE),  # Two choices would contradict each other.
        ({"extras": {"toolConfig": {"toolChoice": {"any": {}}}}}, NEW_CLAUDE),
        ({}, OLD_CLAUDE),
        ({}, msgspec.structs.replace(OTHERS, parallel_flag=True)),  # Another model does not know Anthropic's words.
    ],
)
def test_one_call_at_a_time_is_not_asked_for_where_that_would_be_refused(
    members: Json, capabilities: Capabilities
) -> None:
    wish: Json = {"parallel_tool_calls": False, "tools": [TOOL], **members}
    outgoing = write(asked(**wish), capabilities)
    assert "additionalModelRequestFields" not in outgoing.body
    assert outgoing.dropped == ["parallel_tool_calls"]
    assert write(asked(**wish, uses_functions=True), capabilities).dropped == []


def test_what_says_nothing_is_not_told() -> None:
    neutral: Json = {"count": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "top_logprobs": 0}
    assert write(asked(**neutral, parallel_tool_calls=True)).dropped == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"count": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_tokens"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_the_callers_name(fields: Json, param: str) -> None:
    names = {"count": "n", "max_output_tokens": "max_tokens"}
    assert refusal(asked(**fields, names=names)).param == param


def test_members_of_converse_in_a_body_of_another_format_are_taken_as_they_are() -> None:
    guardrail = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    outgoing = write(
        asked(
            top_k=3,
            extras={
                "guardrailConfig": guardrail,
                "additionalModelRequestFields": {"top_k": 9, "other": 1},
                "performanceConfig": {"latency": "optimized"},
            },
        )
    )
    assert outgoing.body["guardrailConfig"] == guardrail
    assert outgoing.body["additionalModelRequestFields"] == {"top_k": 9, "other": 1}
    assert outgoing.body["performanceConfig"] == {"latency": "optimized"}
    assert outgoing.dropped == []
