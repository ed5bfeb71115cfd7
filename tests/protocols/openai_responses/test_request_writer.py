"""What is written for Responses."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    OutputFormat,
    Reasoning,
    Refusal,
    Request,
    State,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.protocols.protocol import Emulation
from tests.protocols.openai_responses.requests import assistant, request, user
from tests.protocols.openai_responses.wire import CARRIER, OPENAI, SEALING, asked, destination, sent


def test_nothing_is_stored_and_reasoning_comes_back_encrypted() -> None:
    assert sent(request(stream=True)).body == {
        "model": "thinker-1",
        "input": [{"role": "user", "content": "Hi"}],
        "include": ["reasoning.encrypted_content"],
        "stream": True,
        "store": False,
    }


def test_instructions_stand_where_they_stood() -> None:
    system = Message(role="system", parts=[Text(text="Now in French.")])
    body = sent(request(system, user(Text(text="Hi")), system, user(Text(text="Ho")))).body
    assert [item["role"] for item in body["input"]] == ["developer", "user", "developer", "user"]


def test_a_turn_of_the_model() -> None:
    turn = assistant(
        Text(text="One. ", phase="commentary"),
        Text(text="Two.", phase="commentary"),
        Text(text="Three."),
        Text(text=""),
        Refusal(text="No."),
        ToolCall(id="call_1", name="add", arguments=""),
        ToolCall(id="call_2", name="say", arguments="hello", is_custom=True),
    )
    assert sent(request(turn)).body["input"] == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "One. "}, {"type": "output_text", "text": "Two."}],
            "phase": "commentary",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Three."}, {"type": "refusal", "refusal": "No."}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "say", "input": "hello"},
    ]


ENCRYPTED = State(
    format="openai_responses", kind="encrypted", value="gAAA", id="rs_1", provider="acme", model="thinker-1"
)


def test_reasoning_goes_back_to_who_made_it_in_front_of_what_followed() -> None:
    turn = assistant(Thinking(text="Hm.", state=ENCRYPTED), ToolCall(id="a", name="add", arguments="{}"))
    items = sent(request(turn)).body["input"]
    assert items[0] == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA",
    }
    assert items[1]["type"] == "function_call"


def test_reasoning_that_nothing_followed_from_is_left_out() -> None:
    turns = [assistant(Thinking(state=ENCRYPTED)), user(Text(text="Go on."))]
    assert [item.get("type") for item in sent(request(*turns)).body["input"]] == [None]


@pytest.mark.parametrize("field", ["provider", "model", "format"])
def test_reasoning_of_others_is_left_out(field: str) -> None:
    foreign = msgspec.structs.replace(ENCRYPTED, **{field: "other"})
    items = sent(request(assistant(Thinking(text="Hm.", state=foreign), Text(text="So.")))).body["input"]
    assert [item["type"] for item in items] == ["message"]


def test_reasoning_in_words_goes_to_who_wants_it() -> None:
    capabilities = msgspec.structs.replace(OPENAI, reasoning_history="reasoning_content")
    items = sent(request(assistant(Thinking(text="Hm."), Text(text="So."))), capabilities).body["input"]
    assert items[0] == {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}


RESULT = user(
    Text(text="Look."),
    ToolResult(
        call_id="a", parts=[Text(text="One"), Text(text="two"), Image(data="iVBORw0KGgo=", media_type="image/png")]
    ),
)
IMAGE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw0KGgo="}


def test_results_come_first_and_may_hold_images() -> None:
    items = sent(request(assistant(ToolCall(id="a", name="see")), RESULT)).body["input"]
    output = [{"type": "input_text", "text": "One\ntwo"}, IMAGE]
    assert items[1:] == [
        {"type": "function_call_output", "call_id": "a", "output": output},
        {"role": "user", "content": "Look."},
    ]


def test_images_of_results_stand_below_where_a_result_is_text() -> None:
    capabilities = msgspec.structs.replace(OPENAI, result_media=False)
    items = sent(request(assistant(ToolCall(id="a", name="see")), RESULT), capabilities).body["input"]
    assert items[1]["output"] == "One\ntwo"
    assert [part["type"] for part in items[2]["content"]] == ["input_text", "input_image", "input_text"]


@pytest.mark.parametrize(("text", "output"), [("404", "Error: 404"), ("Error 404", "Error 404"), ("", "Error: ")])
def test_a_failed_result_says_so(text: str, output: str) -> None:
    result = user(ToolResult(call_id="a", parts=[Text(text=text)], is_error=True))
    assert sent(request(assistant(ToolCall(id="a", name="see")), result)).body["input"][1]["output"] == output


def test_a_user_who_said_nothing_did_so() -> None:
    assert sent(request(user(Text(text="")))).body["input"] == [{"role": "user", "content": ""}]


def test_a_schema_that_is_none_is_not_strict() -> None:
    tool = FunctionTool(
        name="a", schema={"type": "object", "properties": [{}], "additionalProperties": False}, strict=True
    )
    assert sent(request(tools=[tool])).body["tools"][0]["strict"] is False


def test_ids_and_names_that_are_not_allowed_are_changed_alike() -> None:
    turns = [
        assistant(ToolCall(id="functions.add:0", name="math.add", arguments="{}")),
        user(ToolResult(call_id="functions.add:0")),
    ]
    outgoing = sent(request(*turns, tools=[FunctionTool(name="math.add")]))
    call, output = outgoing.body["input"]
    assert call["call_id"] == output["call_id"] != "functions.add:0"
    assert call["name"] == outgoing.body["tools"][0]["name"]
    assert outgoing.emulation is not None
    assert outgoing.emulation.names == {call["name"]: "math.add"}


def test_strict_is_always_said() -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    tools: list[Tool] = [
        FunctionTool(name="a"),
        FunctionTool(name="b", schema=closed, strict=True),
        FunctionTool(name="c", schema={"type": "object", "properties": {"x": {}}}, strict=True, at="tools[2]"),
    ]
    outgoing = sent(request(tools=tools))
    assert [tool["strict"] for tool in outgoing.body["tools"]] == [False, True, False]
    assert outgoing.dropped == ["tools[2].strict"]
    assert outgoing.body["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_a_tool_with_free_text_is_a_function_where_there_is_none() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    turn = assistant(ToolCall(id="a", name="patch", arguments="+ x", is_custom=True))
    result = user(ToolResult(call_id="a", is_custom=True, parts=[Text(text="ok")]))
    capabilities = msgspec.structs.replace(OPENAI, custom_tools=False)
    tools: list[Tool] = [CustomTool(name="patch", description="Patches.", grammar=grammar)]
    outgoing = sent(
        request(turn, result, tools=tools, tool_choice=ToolChoice(mode="named", name="patch")), capabilities
    )
    assert outgoing.emulation is not None
    assert outgoing.emulation.custom_tools == {"patch"}
    assert outgoing.body["tools"][0]["parameters"]["required"] == ["input"]
    assert "start: /.+/" in outgoing.body["tools"][0]["description"]
    assert outgoing.body["tool_choice"] == {"type": "function", "name": "patch"}
    assert outgoing.body["input"][0]["arguments"] == '{"input":"+ x"}'
    assert outgoing.body["input"][1]["type"] == "function_call_output"


def test_a_search_of_the_web_is_openais_own() -> None:
    value = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.test"], "max_uses": 3}
    tool = HostedTool(format="anthropic_messages", type="web_search_20250305", value=value, at="tools[0]")
    search = {"type": "web_search", "filters": {"allowed_domains": ["a.test"]}}
    assert sent(request(tools=[tool])).body["tools"] == [search]


SAMPLING = [
    ("any", None, {"temperature": 0.5, "top_p": 0.9}, []),
    ("without_reasoning", None, {}, ["temperature", "top_p"]),
    ("without_reasoning", "none", {"temperature": 0.5, "top_p": 0.9}, []),
    ("never", "none", {}, ["temperature", "top_p"]),
]


@pytest.mark.parametrize(("rule", "effort", "expected", "dropped"), SAMPLING)
def test_sampling(rule: str, effort: str | None, expected: dict[str, float], dropped: list[str]) -> None:
    capabilities = msgspec.structs.replace(OPENAI, sampling=rule)
    outgoing = sent(request(temperature=0.5, top_p=0.9, reasoning=Reasoning(effort=effort)), capabilities)
    assert {name: outgoing.body[name] for name in ("temperature", "top_p") if name in outgoing.body} == expected
    assert outgoing.dropped == dropped


EFFORTS: list[tuple[Reasoning, dict[str, str] | None]] = [
    (Reasoning(effort="low"), {"effort": "low"}),
    (Reasoning(effort="max", is_shown=True), {"effort": "high", "summary": "auto"}),
    (Reasoning(effort="none", is_shown=True), {"effort": "none"}),
    (Reasoning(mode="disabled"), {"effort": "none"}),
    (Reasoning(mode="adaptive", is_shown=True), {"summary": "auto"}),
    (Reasoning(mode="adaptive"), None),
    (Reasoning(mode="enabled", budget=1024), {"effort": "minimal"}),
    (Reasoning(mode="enabled", budget=4000), {"effort": "low"}),
    (Reasoning(mode="enabled", budget=10000), {"effort": "medium"}),
    (Reasoning(mode="enabled", budget=32000), {"effort": "high"}),
]


@pytest.mark.parametrize(("reasoning", "expected"), EFFORTS)
def test_reasoning(reasoning: Reasoning, expected: dict[str, str] | None) -> None:
    assert sent(request(reasoning=reasoning)).body.get("reasoning") == expected


def test_reasoning_that_cannot_be_switched_off_is_as_weak_as_it_can_be() -> None:
    capabilities = msgspec.structs.replace(OPENAI, efforts=("low", "high"))
    outgoing = sent(request(reasoning=Reasoning(effort="none")), capabilities)
    assert (outgoing.body["reasoning"], outgoing.dropped) == ({"effort": "low"}, ["reasoning"])


def test_a_schema() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    written = sent(request(output=OutputFormat(kind="json_schema", schema=closed))).body["text"]
    assert written == {"format": {"type": "json_schema", "name": "output", "schema": closed, "strict": True}}


def test_json_is_asked_for_in_words_where_it_must_be() -> None:
    instruction, first = sent(request(output=OutputFormat(kind="json_object"))).body["input"]
    assert (instruction["role"], first["role"]) == ("developer", "user")
    spoken = sent(request(user(Text(text="As JSON, please.")), output=OutputFormat(kind="json_object")))
    assert [item["role"] for item in spoken.body["input"]] == ["user"]
    without = msgspec.structs.replace(OPENAI, structured_outputs=False)
    asked_for = sent(request(output=OutputFormat(kind="json_schema", schema={"type": "object"})), without)
    assert "text" not in asked_for.body
    assert '{"type": "object"}' in asked_for.body["input"][0]["content"]


def test_users_and_sessions() -> None:
    body = sent(request(user="someone@x.test", session="s" * 80, metadata={"a": "b"}, service_tier="flex")).body
    assert len(body["safety_identifier"]) == len(body["prompt_cache_key"]) == 64
    assert "someone" not in body["safety_identifier"]
    assert (body["metadata"], body["service_tier"]) == ({"a": "b"}, "flex")


def test_hints_that_only_openai_knows_are_not_sent_to_others() -> None:
    fields: dict[str, Any] = {
        "user": "u",
        "session": "s",
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "verbosity": "low",
    }
    outgoing = sent(request(**fields), Capabilities())
    assert set(outgoing.body) == {"model", "input", "user", "stream", "store"}
    assert set(outgoing.dropped) == {"session", "metadata", "service_tier", "verbosity"}


def test_what_is_dropped_is_reported_as_the_caller_calls_it() -> None:
    outgoing = sent(
        request(
            top_k=5,
            seed=1,
            frequency_penalty=0,
            presence_penalty=0.5,
            count=1,
            max_output_tokens=5,
            hints={"logit_bias": {"1": 2}, "prompt_cache_retention": "24h"},
            extras={"container": "c", "truncation": "auto"},
            names={"top_k": "topK", "max_output_tokens": "max_tokens"},
        )
    )
    assert set(outgoing.dropped) == {"topK", "seed", "presence_penalty", "max_tokens", "logit_bias", "container"}
    assert outgoing.body["max_output_tokens"] == 16
    assert (outgoing.body["prompt_cache_retention"], outgoing.body["truncation"]) == ("24h", "auto")


UNSUPPORTED: list[tuple[Request, str]] = [
    (request(count=2, names={"count": "n"}), "n"),
    (request(user(Image(file_id="f", at="messages[0].content[0]"))), "messages[0].content[0]"),
    (request(tools=[HostedTool(format="gemini", type="codeExecution", value={}, at="tools[0]")]), "tools[0].type"),
]


@pytest.mark.parametrize(("given", "param"), UNSUPPORTED, ids=[param for _, param in UNSUPPORTED])
def test_what_would_change_the_answer_is_refused(given: Request, param: str) -> None:
    with pytest.raises(Unsupported) as caught:
        sent(given)
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["images", "files", "audio"])
def test_what_a_model_does_not_take_is_refused(name: str) -> None:
    content = {
        "images": {"type": "input_image", "image_url": "https://x.test/a.png"},
        "files": {"type": "input_file", "file_url": "https://x.test/a.pdf"},
        "audio": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    }[name]
    capabilities = msgspec.structs.replace(OPENAI, **{name: False})
    with pytest.raises(Unsupported) as caught:
        sent(asked(input=[{"role": "user", "content": [content]}]), capabilities)
    assert caught.value.param == "input[0].content[0]"


def test_the_path() -> None:
    assert PROTOCOL.target("thinker-1", True) == ("/v1/responses", b"")


# The native way back.


def test_states_are_put_back_for_who_made_them_and_taken_out_for_others() -> None:
    own = SEALING.seal(State(format="openai_responses", kind="encrypted", value="gAAA"))
    foreign = CARRIER.bound("acme", "other").seal(State(format="openai_responses", kind="encrypted", value="gBBB"))
    reasoning: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
    items = [
        {**reasoning, "encrypted_content": own},
        {**reasoning, "encrypted_content": foreign},
        {**reasoning, "encrypted_content": own + "x"},
        {**reasoning, "encrypted_content": "gCCC"},
        {"role": "user", "content": "gw1. is no word"},
    ]
    body = {"model": "thinker-1", "input": items, "unknown": 1}
    before = copy.deepcopy(body)
    restored = PROTOCOL.restore(body, CARRIER, destination())
    assert restored["input"] == [
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {**reasoning, "encrypted_content": "gCCC"},
        {"role": "user", "content": "gw1. is no word"},
    ]
    assert restored["unknown"] == 1
    assert body == before


def test_stop_sequences_are_kept_here_because_responses_have_none() -> None:
    outgoing = sent(request(stop=["END", ""], names={"stop": "stop_sequences"}))
    assert "stop" not in outgoing.body
    assert outgoing.emulation == Emulation(stop=("END",))
    assert "stop_sequences" not in outgoing.dropped


def test_sound_and_films_are_no_files_of_others() -> None:
    film = File(url="https://x.test/a.mp4", media_type="video/mp4", at="contents[0].parts[0]")
    with pytest.raises(Unsupported, match="films") as raised:
        sent(Request(format="gemini", model="m", messages=[user(film)]))
    assert raised.value.param == "contents[0].parts[0]"


def test_a_file_that_is_an_image_keeps_its_address() -> None:
    image = File(url="https://x.test/a.png", media_type="image/png")
    [item] = sent(Request(format="gemini", model="m", messages=[user(image)])).body["input"]
    assert item["content"] == [{"type": "input_image", "detail": "auto", "image_url": "https://x.test/a.png"}]
