"""Writing requests for Google."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.genai import types

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.conversation import (
    FunctionTool,
    Image,
    Message,
    OutputFormat,
    Reasoning,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.protocol import Emulation
from tests.protocols.gemini.samples import REQUESTS, asked, destination, read, written
from tests.protocols.gemini.turns import BUDGET, LEVEL, SCHEMA, TWO_CALLS, USER, WEATHER, contents, turn
from tests.protocols.vectors import Vector


def said(contents: list[types.Content]) -> list[Any]:
    """The texts and the arguments of calls, as google-genai reads them."""
    parts = [part for content in contents for part in content.parts or ()]
    return [part.text for part in parts if part.text] + [
        part.function_call.args for part in parts if part.function_call
    ]


def names_and_ids(messages: list[Message]) -> list[tuple[str, str]]:
    parts = [part for message in messages for part in message.parts]
    return [(part.id, part.name) for part in parts if isinstance(part, ToolCall)] + [
        (part.call_id, part.name) for part in parts if isinstance(part, ToolResult)
    ]


@pytest.mark.parametrize("case", [case for case in REQUESTS if "cachedContent" not in case.request], ids=str)
def test_a_recorded_request_comes_back_as_the_sdk_takes_it(case: Vector) -> None:
    request = read(case.request)
    outgoing = written(request, audio=True, top_k=True, result_media=True, reasoning="level")
    contents = [types.Content.model_validate(content) for content in outgoing.body["contents"]]
    for tool in outgoing.body.get("tools", ()):
        types.Tool.model_validate(tool)
    types.GenerationConfig.model_validate(outgoing.body.get("generationConfig", {}))
    types.ToolConfig.model_validate(outgoing.body.get("toolConfig", {}))
    given = [types.Content.model_validate(content) for content in case.request["contents"]]
    assert said(contents) == said(given)
    again = read(outgoing.body)
    assert names_and_ids(again.messages) == names_and_ids(request.messages)
    assert [tool.name for tool in again.tools if isinstance(tool, FunctionTool)] == [
        tool.name for tool in request.tools if isinstance(tool, FunctionTool)
    ]
    assert dumps(written(request, audio=True).body) == dumps(written(request, audio=True).body)


def test_all_results_of_a_turn_stand_alone_in_one_content_in_the_order_of_the_calls() -> None:
    _, model, results, rest = contents(
        USER,
        TWO_CALLS,
        turn("user", ToolResult(call_id="c2", parts=[Text(text="noon")])),
        turn("user", ToolResult(call_id="c1", parts=[Text(text='{"t": 20}')]), Text(text="Thanks.")),
    )
    assert [part["functionCall"] for part in model["parts"]] == [
        {"name": "weather", "args": {"city": "A"}, "id": "c1"},
        {"name": "time", "args": {}, "id": "c2"},
    ]
    assert results == {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "weather", "response": {"t": 20}, "id": "c1"}},
            {"functionResponse": {"name": "time", "response": {"result": "noon"}, "id": "c2"}},
        ],
    }
    assert rest == {"role": "user", "parts": [{"text": "Thanks."}]}


@pytest.mark.parametrize("id", ["", "call_0"])
def test_results_of_calls_that_have_one_id_are_of_the_function_in_their_place(id: str) -> None:
    """Google's own OpenAI-compatible endpoint gives calls no ids."""
    _, model, results = contents(
        USER,
        turn("assistant", ToolCall(id=id, name="get_a"), ToolCall(id=id, name="get_b")),
        turn("user", ToolResult(call_id=id, parts=[Text(text="of a")])),
        turn("user", ToolResult(call_id=id, parts=[Text(text="of b")])),
    )
    called = [part["functionCall"] for part in model["parts"]]
    answered = [part["functionResponse"] for part in results["parts"]]
    assert [(each["name"], each["response"]) for each in answered] == [
        ("get_a", {"result": "of a"}),
        ("get_b", {"result": "of b"}),
    ]
    ids = [each.get("id") for each in called]
    assert ids == [each.get("id") for each in answered]
    assert ids == [None, None] if not id else ids[0] == id and len(set(ids)) == 2


@pytest.mark.parametrize(
    ("text", "is_error", "response"),
    [
        ("sunny", None, {"result": "sunny"}),
        ('{"a": [1]}', None, {"a": [1]}),
        ("[1, 2]", None, {"result": "[1, 2]"}),
        ('{"result": "x"}', None, {"result": '{"result": "x"}'}),
        ('{"error": "x"}', None, {"result": '{"error": "x"}'}),
        ("{broken", None, {"result": "{broken"}),
        ("", None, {}),
        ("no such city", True, {"error": "no such city"}),
    ],
)
def test_a_result_is_an_object(text: str, is_error: bool | None, response: dict[str, Any]) -> None:
    result = ToolResult(call_id="c1", parts=[Text(text=text)], is_error=is_error)
    body = written(asked(USER, TWO_CALLS, turn("user", result))).body
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == response
    again = read(body).messages[2].parts[0]
    assert isinstance(again, ToolResult)
    assert again.is_error is is_error
    assert "".join(part.text for part in again.parts if isinstance(part, Text)).replace(" ", "") == text.replace(
        " ", ""
    )


def test_a_result_of_no_call_is_refused() -> None:
    with pytest.raises(BadRequest) as raised:
        contents(USER, turn("user", ToolResult(call_id="c9", at="messages[1]")))
    assert raised.value.param == "messages[1]"


@pytest.mark.parametrize("result_media", [True, False])
def test_media_of_a_result(result_media: bool) -> None:
    picture = Image(data="iVBORw0KGgo=", media_type="image/png")
    result = ToolResult(call_id="c1", parts=[Text(text="here"), picture])
    made = contents(USER, TWO_CALLS, turn("user", result), result_media=result_media)
    inline = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    response = made[2]["parts"][0]["functionResponse"]
    assert response.get("parts") == ([inline] if result_media else None)
    assert [content["parts"][-1] for content in made[3:]] == ([] if result_media else [inline])


def test_broken_arguments_do_not_break_the_conversation() -> None:
    call = ToolCall(id="c1", name="weather", arguments='{"city": "Par')
    _, model = contents(USER, turn("assistant", call))
    assert model["parts"][0]["functionCall"]["args"] == {"INVALID_JSON": '{"city": "Par'}


def test_what_is_empty_is_left_out() -> None:
    made = contents(USER, turn("assistant", Text(text=""), Thinking(text="hm")), turn("user", Text(text="Well?")))
    assert [content["role"] for content in made] == ["user", "user"]
    with pytest.raises(BadRequest):
        written(asked(turn("system", Text(text="Be brief."))))


def test_the_operators_words_are_hoisted_in_their_order() -> None:
    request = asked(
        turn("system", Text(text="One."), Text(text=" ")), USER, turn("system", Text(text="Two.")), turn("user")
    )
    body = written(request).body
    assert body["systemInstruction"] == {"parts": [{"text": "One."}, {"text": "Two."}]}
    assert len(body["contents"]) == 1


# The form of the answer.

JSON = OutputFormat(kind="json_schema", schema=SCHEMA)


def test_a_schema_for_the_answer() -> None:
    config = written(asked(output=JSON)).body["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert written(asked(output=OutputFormat(kind="json_object"))).body["generationConfig"] == {
        "responseMimeType": "application/json"
    }


def test_a_schema_beside_functions_is_a_function_where_the_model_refuses_both() -> None:
    outgoing = written(asked(tools=[WEATHER], output=JSON), json_with_tools=False)
    assert outgoing.emulation is not None
    assert outgoing.emulation.json_tool == "json_output"
    names = [declared["name"] for declared in outgoing.body["tools"][0]["functionDeclarations"]]
    assert names == ["weather", "json_output"]
    assert outgoing.body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert "generationConfig" not in outgoing.body
    assert written(asked(tools=[WEATHER], output=JSON)).emulation is None


def test_functions_that_may_not_be_called_do_not_stand_in_the_way_of_json() -> None:
    request = asked(tools=[WEATHER], output=JSON, tool_choice=ToolChoice(mode="none"))
    body = written(request, json_with_tools=False).body
    assert "tools" not in body
    assert "toolConfig" not in body
    assert body["generationConfig"]["responseJsonSchema"] == SCHEMA


def test_json_that_nothing_can_promise_is_asked_for_in_words() -> None:
    request = asked(tools=[WEATHER], output=OutputFormat(kind="json_object"))
    (part,) = written(request, json_with_tools=False).body["systemInstruction"]["parts"]
    assert "JSON object" in part["text"]


# Reasoning.


@pytest.mark.parametrize(
    ("reasoning", "capabilities", "config"),
    [
        (Reasoning(effort="medium"), LEVEL, {"thinkingLevel": "MEDIUM"}),
        (Reasoning(effort="minimal"), LEVEL, {"thinkingLevel": "LOW"}),
        (Reasoning(effort="minimal"), {**LEVEL, "efforts": ("minimal", "low")}, {"thinkingLevel": "MINIMAL"}),
        (Reasoning(effort="max"), LEVEL, {"thinkingLevel": "HIGH"}),
        (Reasoning(effort="xhigh"), {**LEVEL, "efforts": ("low", "xhigh")}, {"thinkingLevel": "XHIGH"}),
        (Reasoning(budget=9000), LEVEL, {"thinkingLevel": "MEDIUM"}),
        (Reasoning(mode="adaptive"), LEVEL, {"includeThoughts": True}),
        (Reasoning(effort="high", is_shown=True), LEVEL, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (Reasoning(effort="none", is_shown=True), BUDGET, {"thinkingBudget": 0}),
        (Reasoning(mode="disabled"), BUDGET, {"thinkingBudget": 0}),
        (Reasoning(effort="low"), BUDGET, {"thinkingBudget": 1024}),
        (Reasoning(effort="high"), BUDGET, {"thinkingBudget": 24576}),
        (Reasoning(effort="max"), BUDGET, {"thinkingBudget": 32768}),
        (Reasoning(budget=100000, mode="enabled"), BUDGET, {"thinkingBudget": 32768, "includeThoughts": True}),
        (Reasoning(budget=5, mode="enabled", is_shown=False), BUDGET, {"thinkingBudget": 128}),
        (Reasoning(is_shown=False), BUDGET, None),
        (Reasoning(effort="none"), {}, None),
    ],
)
def test_how_much_is_thought(reasoning: Reasoning, capabilities: dict[str, Any], config: dict[str, Any] | None) -> None:
    outgoing = written(asked(reasoning=reasoning), **capabilities)
    assert outgoing.body.get("generationConfig", {}).get("thinkingConfig") == config
    assert outgoing.dropped == []


@pytest.mark.parametrize(
    ("effort", "capabilities", "config"),
    [
        ("none", LEVEL, {"thinkingLevel": "LOW"}),
        ("none", {**BUDGET, "can_disable_reasoning": False}, {"thinkingBudget": 128}),
        ("high", {}, None),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_is_told(
    effort: str, capabilities: dict[str, Any], config: dict[str, Any] | None
) -> None:
    request = asked(reasoning=Reasoning(effort=effort), names={"reasoning": "reasoning_effort"})
    outgoing = written(request, **capabilities)
    assert outgoing.body.get("generationConfig", {}).get("thinkingConfig") == config
    assert outgoing.dropped == ["reasoning_effort"]


# Everything else.


def test_numbers() -> None:
    request = asked(
        temperature=0.5, top_p=0.9, top_k=3, seed=2**40 + 7, max_output_tokens=9, stop=["", "END"], presence_penalty=1.0
    )
    assert written(request, top_k=True).body["generationConfig"] == {
        "maxOutputTokens": 9,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "presencePenalty": 1.0,
        "seed": 7,
        "stopSequences": ["END"],
    }


def test_what_is_left_out_is_told_by_the_callers_names() -> None:
    request = asked(
        temperature=0.5,
        top_k=3,
        frequency_penalty=1.0,
        presence_penalty=0,
        seed=1,
        stop=list("abcde"),
        count=1,
        parallel_tool_calls=False,
        user="u",
        session="s",
        metadata={"a": "b"},
        verbosity="low",
        service_tier="scale",
        hints={"logit_bias": {"1": 2}},
        names={"session": "prompt_cache_key"},
    )
    outgoing = written(request, sampling="never", penalties=False, seed=False)
    assert sorted(outgoing.dropped) == [
        "frequency_penalty",
        "logit_bias",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "seed",
        "service_tier",
        "temperature",
        "top_k",
        "user",
        "verbosity",
    ]
    assert outgoing.body["generationConfig"] == {"stopSequences": list("abcd")}


def test_stop_sequences_that_are_too_many_are_looked_for_in_the_answer() -> None:
    outgoing = written(asked(stop=["a", "b", "", "\n\n", "d"]), max_stop=2)
    assert outgoing.body["generationConfig"] == {"stopSequences": ["a", "b"]}
    assert outgoing.emulation == Emulation(stop=("\n\n", "d"))
    assert outgoing.dropped == []


def test_values_that_ask_for_nothing_are_not_told() -> None:
    request = asked(
        frequency_penalty=0, presence_penalty=0, count=1, parallel_tool_calls=True, logprobs=False, top_logprobs=0,
        service_tier="auto",
    )  # fmt: skip
    outgoing = written(request, penalties=False, logprobs=False)
    assert (outgoing.dropped, list(outgoing.body)) == ([], ["contents"])


@pytest.mark.parametrize(
    ("fields", "capabilities", "param"),
    [
        ({"count": 2}, {}, "n"),
        ({"logprobs": True}, {"logprobs": False}, "logprobs"),
        ({"top_logprobs": 3}, {"logprobs": False}, "top_logprobs"),
        ({"tools": [WEATHER]}, {"tools": False}, "tools"),
        (
            {"tools": [WEATHER], "tool_choice": ToolChoice(mode="required")},
            {"forced_tool_choice": "never"},
            "tool_choice",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused(
    fields: dict[str, Any], capabilities: dict[str, Any], param: str
) -> None:
    with pytest.raises(Unsupported) as raised:
        written(asked(names={"count": "n"}, **fields), **capabilities)
    assert raised.value.param == param


def test_probabilities() -> None:
    config = written(asked(logprobs=True, top_logprobs=2)).body["generationConfig"]
    assert config == {"responseLogprobs": True, "logprobs": 2}


def test_members_of_googles_that_others_put_in_on_purpose() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    request = asked(extras={"safetySettings": settings, "cachedContent": "cachedContents/1", "thinking": {}})
    body = written(request).body
    assert (body["safetySettings"], body["cachedContent"]) == (settings, "cachedContents/1")
    assert "thinking" not in body


@pytest.mark.parametrize(("tier", "sent"), [("flex", "flex"), ("priority", "priority"), ("default", None)])
def test_the_service_tier(tier: str, sent: str | None) -> None:
    assert written(asked(service_tier=tier)).body.get("serviceTier") == sent


def test_nothing_that_is_given_is_changed() -> None:
    request = asked(USER, TWO_CALLS, tools=[WEATHER], output=JSON, extras={"labels": {"a": "b"}})
    before = copy.deepcopy(request)
    first = dumps(written(request, json_with_tools=False).body)
    assert request == before
    assert dumps(PROTOCOL.write_request(request, destination(json_with_tools=False)).body) == first


def test_where_a_request_goes() -> None:
    assert PROTOCOL.target("gemini-x", False) == ("/v1beta/models/gemini-x:generateContent", b"")
    assert PROTOCOL.target("gemini-x", True) == ("/v1beta/models/gemini-x:streamGenerateContent", b"alt=sse")


@pytest.mark.parametrize(
    ("facts", "reasoning", "is_taken"),
    [
        ({"reasoning": "none"}, None, True),
        ({"reasoning": "level"}, None, True),
        ({"reasoning": "level", "reasons_by_default": True}, None, False),
        ({"reasoning": "level", "reasons_by_default": True}, Reasoning(effort="none"), True),
        ({"reasoning": "level", "can_disable_reasoning": False}, Reasoning(mode="disabled"), False),
        ({"reasoning": "budget"}, Reasoning(budget=2000), False),
    ],
)
def test_a_model_that_samples_only_without_thinking_is_asked_to_if_it_will_not_think(
    facts: dict[str, Any], reasoning: Reasoning | None, is_taken: bool
) -> None:
    outgoing = written(asked(temperature=0.5, reasoning=reasoning), sampling="without_reasoning", **facts)
    assert ("temperature" in outgoing.body.get("generationConfig", {})) is is_taken
