"""Reading the requests of callers of Google's format."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.conversation import (
    Audio,
    File,
    FunctionTool,
    HostedTool,
    Image,
    OutputFormat,
    Reasoning,
    State,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.gemini.schemas import json_schema
from ai_gateway.protocols.gemini.states import write_carried
from ai_gateway.protocols.protocol import Head
from tests.protocols.gemini.samples import CARRIER, REQUESTS, read, vector
from tests.protocols.vectors import Vector

SIGNED = State(format="gemini", kind="signature", value="c2ln")
SEALED = State(format="gemini", kind="signature", value="c2ln", provider="google", model="gemini-x")


def says(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts) or [{"text": "hi"}]}], **members}


def configured(**config: Any) -> dict[str, Any]:
    return says(generationConfig=config)


def snake(value: Any) -> Any:
    """Spell the names of a body in snake_case, but for what is inside of schemas, arguments and responses."""
    if isinstance(value, list):
        return [snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    spelled = {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): member for name, member in value.items()}
    opaque = ("parameters_json_schema", "args", "response", "response_json_schema")
    return {name: member if name in opaque else snake(member) for name, member in spelled.items()}


def schema_of(tool: Tool) -> object:
    return tool.schema if isinstance(tool, FunctionTool) else type(tool)


@pytest.mark.parametrize("case", REQUESTS, ids=str)
def test_every_recorded_request_is_read(case: Vector) -> None:
    before = copy.deepcopy(case.request)
    if "cachedContent" in case.request:
        with pytest.raises(Unsupported) as raised:
            read(case.request)
        assert raised.value.param == "cachedContent"
        return
    request = read(case.request)
    texts = [part["text"] for content in case.request["contents"] for part in content["parts"] if part.get("text")]
    found = [part.text for message in request.messages for part in message.parts if isinstance(part, Text)]
    assert [text for text in found if text in texts] == texts
    assert case.request == before
    assert request.source == case.request


@pytest.mark.parametrize("case", [case for case in REQUESTS if "cachedContent" not in case.request], ids=str)
def test_both_spellings_mean_the_same(case: Vector) -> None:
    one, other = read(case.request), read(snake(case.request))
    for field in ("tool_choice", "output", "reasoning", "stop", "temperature", "max_output_tokens"):
        assert getattr(one, field) == getattr(other, field)
    assert [schema_of(tool) for tool in one.tools] == [schema_of(tool) for tool in other.tools]
    assert [message.parts for message in one.messages if message.role != "system"] == [
        message.parts for message in other.messages if message.role != "system"
    ]


def test_the_numbers_of_the_configuration() -> None:
    request = read(vector("google-vertex-generate-content-extra-params-0").request)
    assert (request.temperature, request.top_p, request.top_k, request.seed) == (0.2, 0.95, 2, 12345)
    assert (request.presence_penalty, request.frequency_penalty) == (-1.5, 1.0)
    assert (request.max_output_tokens, request.stop) == (5, ["\n\n\n"])
    assert request.name_of("top_p") == "generationConfig.topP"


@pytest.mark.parametrize("parts", [{"text": "Be brief."}, [{"text": "Be brief."}]])
def test_the_instruction_may_be_one_part_or_many(parts: Any) -> None:
    request = read(says(system_instruction={"parts": parts}))
    assert [(message.role, [part.text for part in message.parts]) for message in request.messages[:1]] == [  # type: ignore[attr-defined]
        ("system", ["Be brief."])
    ]


def test_an_empty_instruction_is_none() -> None:
    assert [message.role for message in read(says(systemInstruction={"parts": {"text": ""}})).messages] == ["user"]


def test_pieces_of_a_streamed_turn_are_put_together() -> None:
    signature = write_carried(SIGNED, CARRIER)
    answer: list[dict[str, Any]] = [
        {"text": "Let me ", "thought": True},
        {"text": "see.", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": signature},
        {"text": "He"},
        {"text": "llo"},
        {"text": ""},
    ]
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    contents += [{"role": "model", "parts": [part]} for part in answer]
    _, model = read({"contents": contents}).messages
    thought, text = model.parts
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.state) == ("Let me see.", SEALED)
    assert isinstance(text, Text)
    assert text.text == "Hello"


def test_two_signed_thoughts_stay_two() -> None:
    signature = write_carried(SIGNED, CARRIER)
    parts = [{"text": text, "thought": True, "thoughtSignature": signature} for text in ("one", "two")]
    (model,) = read({"contents": [{"role": "model", "parts": parts}]}).messages
    assert [part.text for part in model.parts if isinstance(part, Thinking)] == ["one", "two"]


@pytest.mark.parametrize("alphabet", ["standard", "urlsafe"])
def test_a_carrier_is_opened_in_either_alphabet(alphabet: str) -> None:
    signature = str(write_carried(SIGNED, CARRIER))
    if alphabet == "urlsafe":
        signature = signature.replace("+", "-").replace("/", "_").rstrip("=")
    part = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": signature}
    (model,) = read({"contents": [{"role": "model", "parts": [part]}]}).messages
    assert isinstance(model.parts[0], ToolCall)
    assert model.parts[0].state == SEALED


def test_the_state_of_a_thought_that_was_not_shown_becomes_that_thought_again() -> None:
    state = State(format="openai_responses", kind="encrypted", value="gAAAA", id="rs_1")
    thoughts = [("Hm,\nso.", state), ("unsigned \u00fc", None)]
    part = {"functionCall": {"name": "f"}, "thoughtSignature": write_carried(SIGNED, CARRIER, thoughts)}
    (model,) = read({"contents": [{"role": "model", "parts": [part]}]}).messages
    thought, unsigned, call = model.parts
    assert isinstance(thought, Thinking)
    assert thought.state is not None
    assert (thought.text, thought.state.value, thought.state.id) == ("Hm,\nso.", "gAAAA", "rs_1")
    assert unsigned == Thinking(text="unsigned \u00fc")
    assert isinstance(call, ToolCall)
    assert call.state == SEALED


@pytest.mark.parametrize("signature", ["Et0BCtoB", "!", "", base64.b64encode(b"gw1.forged.mac").decode(), 5])
def test_a_signature_that_is_no_carrier_gives_no_state(signature: Any) -> None:
    part = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": signature}
    (model,) = read({"contents": [{"role": "model", "parts": [part]}]}).messages
    assert isinstance(model.parts[0], ToolCall)
    assert (model.parts[0].state, model.parts[0].arguments) == (None, '{"a":1}')


def calls_and_results(calls: list[Any], results: list[Any]) -> tuple[list[ToolCall], list[ToolResult]]:
    contents = [
        {"role": "model", "parts": [{"functionCall": call} for call in calls]},
        {"role": "user", "parts": [{"functionResponse": result} for result in results]},
    ]
    model, user = read({"contents": contents}).messages
    found = [part for part in model.parts if isinstance(part, ToolCall)]
    return found, [part for part in user.parts if isinstance(part, ToolResult)]


def test_calls_without_ids_get_the_same_ones_every_time() -> None:
    calls = [{"name": "a"}, {"name": "b"}, {"name": "a"}]
    results = [{"name": "a", "response": {"n": 1}}, {"name": "a", "response": {"n": 2}}, {"name": "b", "response": {}}]
    made, answered = calls_and_results(calls, results)
    assert len({call.id for call in made}) == 3
    assert [result.call_id for result in answered] == [made[0].id, made[2].id, made[1].id]
    assert (made, answered) == calls_and_results(calls, results)


def test_ids_win_over_names_and_order() -> None:
    calls = [{"name": "a", "id": "x"}, {"name": "a", "id": "y"}]
    results = [{"name": "a", "id": "y", "response": {}}, {"name": "a", "response": {}}]
    _, answered = calls_and_results(calls, results)
    assert [result.call_id for result in answered] == ["y", "x"]


def test_a_result_of_no_call_is_refused() -> None:
    with pytest.raises(BadRequest) as raised:
        read(says({"functionResponse": {"name": "f", "response": {}}}))
    assert raised.value.param == "contents[0].parts[0].functionResponse"


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"result": "sunny"}, "sunny", None),
        ({"output": "15"}, "15", None),
        ({"error": "no such city"}, "no such city", True),
        ({"error": {"code": 5}}, '{"code":5}', True),
        ({"result": "a", "more": 1}, '{"result":"a","more":1}', None),
        ({"error": "x", "data": 1}, '{"error":"x","data":1}', None),
    ],
)
def test_what_a_function_gave_back(response: dict[str, Any], text: str, is_error: bool | None) -> None:
    _, (result,) = calls_and_results([{"name": "f"}], [{"name": "f", "response": response}])
    assert [part.text for part in result.parts if isinstance(part, Text)] == [text]
    assert result.is_error is is_error


def test_media() -> None:
    _, png, sound, pdf, film = (
        read(
            says(
                {"text": "look"},
                {"inlineData": {"mimeType": "image/PNG", "data": "iVBO-_8"}},
                {"inline_data": {"mime_type": "audio/mpeg", "data": "AAAA"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "a.pdf"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.com/a.mp4"}},
            )
        )
        .messages[0]
        .parts
    )
    assert isinstance(png, Image)
    assert (png.media_type, png.data) == ("image/png", "iVBO+/8=")
    assert isinstance(sound, Audio)
    assert sound.format == "mp3"
    assert isinstance(pdf, File)
    assert (pdf.media_type, pdf.name) == ("application/pdf", "a.pdf")
    assert isinstance(film, File)
    assert film.url == "https://example.com/a.mp4"


@pytest.mark.parametrize(
    "address", ["https://generativelanguage.googleapis.com/v1beta/files/abc", "gs://bucket/a", "https://example.com/a"]
)
@pytest.mark.parametrize(("media_type", "kind"), [("image/png", Image), ("application/pdf", File)])
def test_what_is_stored_at_google_has_no_address_for_others(
    address: str, media_type: str, kind: type[Image | File]
) -> None:
    (part,) = read(says({"fileData": {"mimeType": media_type, "fileUri": address}})).messages[0].parts
    assert isinstance(part, kind)
    is_anybodys = "example.com" in address
    assert (part.url, part.file_id) == ((address, "") if is_anybodys else ("", address))


def test_a_schema_of_googles_becomes_a_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "propertyOrdering": ["a"],
        "properties": {
            "a": {"type": "STRING", "nullable": True, "description": "A."},
            "type": {"type": "INTEGER", "format": "int32"},
            "day": {"type": "STRING", "format": "date", "enum": ["x"]},
            "many": {"type": "ARRAY", "min_items": "1", "items": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}]}},
        },
        "required": ["a"],
    }
    assert json_schema(schema, "at") == {
        "type": "object",
        "properties": {
            "a": {"description": "A.", "anyOf": [{"type": "string"}, {"type": "null"}]},
            "type": {"type": "integer"},
            "day": {"type": "string", "format": "date", "enum": ["x"]},
            "many": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "number"}, {"type": "boolean"}]}},
        },
        "required": ["a"],
    }


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(500):
        schema = {"type": "ARRAY", "items": schema}
    with pytest.raises(BadRequest, match="nested"):
        read(says(tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}]))


def test_tools() -> None:
    declared = {"name": "f", "description": "F.", "parameters": {"type": "OBJECT", "properties": {}}}
    request = read(says(tools=[{"functionDeclarations": [declared], "googleSearch": {}}, {"code_execution": {}}]))
    function, search, code = request.tools
    assert isinstance(function, FunctionTool)
    assert (function.name, function.schema) == ("f", {"type": "object", "properties": {}})
    assert function.at == "tools[0].functionDeclarations[0]"
    assert isinstance(search, HostedTool)
    assert (search.type, search.value) == ("googleSearch", {"googleSearch": {}})
    assert isinstance(code, HostedTool)
    assert code.type == "codeExecution"


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({}, None),
        ({"mode": "AUTO"}, ToolChoice(mode="auto")),
        ({"mode": "VALIDATED"}, ToolChoice(mode="auto")),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["a"]}, ToolChoice(mode="auto", allowed=["a"])),
        ({"mode": "NONE"}, ToolChoice(mode="none")),
        ({"mode": "any"}, ToolChoice(mode="required")),
        ({"mode": "ANY", "allowedFunctionNames": ["a"]}, ToolChoice(mode="named", name="a")),
        ({"mode": "ANY", "allowed_function_names": ["a", "b"]}, ToolChoice(mode="required", allowed=["a", "b"])),
    ],
)
def test_which_tool_must_be_called(config: dict[str, Any], choice: ToolChoice | None) -> None:
    assert read(says(toolConfig={"functionCallingConfig": config})).tool_choice == choice


@pytest.mark.parametrize(
    ("config", "reasoning"),
    [
        ({"thinkingLevel": "LOW"}, Reasoning(effort="low", is_shown=False)),
        ({"thinkingBudget": 0}, Reasoning(effort="none", is_shown=False)),
        ({"thinkingBudget": -1, "includeThoughts": True}, Reasoning(is_shown=True)),
        ({"thinking_budget": 2048, "include_thoughts": True}, Reasoning(budget=2048, is_shown=True)),
    ],
)
def test_how_much_is_thought(config: dict[str, Any], reasoning: Reasoning) -> None:
    assert read(configured(thinkingConfig=config)).reasoning == reasoning


@pytest.mark.parametrize(
    ("config", "output"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, OutputFormat(kind="json_object")),
        (
            {"response_mime_type": "application/json", "response_schema": {"type": "OBJECT"}},
            OutputFormat(kind="json_schema", schema={"type": "object"}),
        ),
        (
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "$defs": {}}},
            OutputFormat(kind="json_schema", schema={"type": "object", "$defs": {}}),
        ),
    ],
)
def test_the_form_of_the_answer(config: dict[str, Any], output: OutputFormat | None) -> None:
    assert read(configured(**config)).output == output


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (configured(responseModalities=["TEXT", "IMAGE"]), "generationConfig.responseModalities[1]"),
        (configured(responseMimeType="text/x.enum"), "generationConfig.responseMimeType"),
        (says(cached_content="cachedContents/1"), "cached_content"),
    ],
)
def test_what_only_google_can_do_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as raised:
        read(body)
    assert raised.value.param == param


@pytest.mark.parametrize(("query", "is_refused"), [(b"alt=proto", True), (b"$alt=media", True), (b"$alt=json", False)])
def test_a_form_of_the_answer_that_only_google_writes_is_refused(query: bytes, is_refused: bool) -> None:
    head = Head(model="gemini-x", stream=False, query=query)
    if not is_refused:
        assert PROTOCOL.read_request(says(), head, CARRIER).messages
        return
    with pytest.raises(Unsupported) as raised:
        PROTOCOL.read_request(says(), head, CARRIER)
    assert raised.value.param == "alt"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": 5}, "contents"),
        ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": "user", "parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"role": "user", "parts": [7]}]}, "contents[0].parts[0]"),
        (says(tools=[{"functionDeclarations": [{}]}]), "tools[0].functionDeclarations[0].name"),
        (configured(temperature="hot"), "generationConfig.temperature"),
        (configured(topK=1.5), "generationConfig.topK"),
        (says(generationConfig=[1]), "generationConfig"),
        (says({"inlineData": {"data": "AAAA"}}), "contents[0].parts[0].inlineData.mimeType"),
    ],
)
def test_what_is_malformed_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read(body)
    assert raised.value.param == param


def test_what_is_not_known_is_a_hint_by_the_callers_name() -> None:
    body = says(
        safety_settings=[{"category": "X"}],
        generation_config={"media_resolution": "LOW", "temperature": 1},
        toolConfig={"retrievalConfig": {}},
    )
    assert read(body).hints == {
        "safety_settings": [{"category": "X"}],
        "generation_config.media_resolution": "LOW",
        "toolConfig.retrievalConfig": {},
    }
