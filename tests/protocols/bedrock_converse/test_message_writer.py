"""Conversations of callers of other formats, written for Converse."""

from __future__ import annotations

import base64

import msgspec
import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    File,
    FunctionTool,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from tests.protocols.bedrock_converse.samples import CLAUDE, OTHERS, PDF, PNG, asked
from tests.protocols.bedrock_converse.translating import (
    CALL,
    FILLED,
    RESULT,
    RESULT_BLOCK,
    TEXT,
    TOOL,
    Json,
    assistant,
    refusal,
    system,
    turns,
    user,
    write,
)

# Turns.


def test_a_short_conversation() -> None:
    outgoing = write(asked(system(Text(text="Be brief.")), user(Text(text="Hi"))))
    assert outgoing.body == {
        "messages": [{"role": "user", "content": [TEXT]}],
        "system": [{"text": "Be brief."}],
    }
    assert (outgoing.dropped, outgoing.emulation, outgoing.headers) == ([], None, ())


def test_turns_of_one_role_are_merged() -> None:
    assert turns(
        user(Text(text="Hi")), user(Text(text="there")), assistant(Text(text="a")), assistant(Text(text="b"))
    ) == [
        {"role": "user", "content": [TEXT, {"text": "there"}]},
        {"role": "assistant", "content": [{"text": "a"}, {"text": "b"}]},
    ]


def test_results_of_parallel_calls_stand_first_in_one_turn() -> None:
    second = msgspec.structs.replace(CALL, id="call_2")
    assert turns(
        user(Text(text="Hi")),
        assistant(CALL, second),
        user(RESULT),
        user(Text(text="and"), ToolResult(call_id="call_2", is_error=True)),
    )[2:] == [
        {
            "role": "user",
            "content": [
                RESULT_BLOCK,
                {"toolResult": {"toolUseId": "call_2", "content": [], "status": "error"}},
                {"text": "and"},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("capabilities", "part", "is_split"),
    [
        (CLAUDE, Text(text="and"), False),
        (CLAUDE, Image(data=PNG, media_type="image/png"), False),
        (CLAUDE, File(data=PDF, media_type="application/pdf"), True),
        (OTHERS, Text(text="and"), True),
        (OTHERS, Image(data=PNG, media_type="image/png"), True),
    ],
)
def test_what_may_not_stand_beside_a_result_gets_a_turn_of_its_own(
    capabilities: Capabilities, part: Part, is_split: bool
) -> None:
    written = turns(user(Text(text="Hi")), assistant(CALL), user(part, RESULT), capabilities=capabilities)[2:]
    assert len(written) == (3 if is_split else 1)
    assert written[0]["content"][0] == RESULT_BLOCK
    if is_split:
        assert written[0]["content"] == [RESULT_BLOCK]
        assert written[1] == FILLED
        assert written[2]["role"] == "user"


def test_files_in_a_result_stay_there_or_follow_it() -> None:
    result = ToolResult(call_id="call_1", parts=[Text(text="ok"), Image(data=PNG, media_type="image/png")])
    image = {"image": {"format": "png", "source": {"bytes": PNG}}}
    inside = turns(user(Text(text="Hi")), assistant(CALL), user(result))[2]["content"]
    assert inside == [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "ok"}, image]}}]
    outside = turns(user(Text(text="Hi")), assistant(CALL), user(result), capabilities=OTHERS)[2:]
    assert [message["role"] for message in outside] == ["user", "assistant", "user"]
    assert outside[2]["content"] == [image]
    assert outside[0]["content"][0]["toolResult"]["content"] == [{"text": "ok"}, {"text": "The file follows below."}]


def test_a_result_that_says_nothing_is_empty() -> None:
    result = ToolResult(call_id="call_1", parts=[Text(text=" ")], is_error=False)
    written = turns(user(Text(text="Hi")), assistant(CALL), user(result))[2]["content"]
    assert written == [{"toolResult": {"toolUseId": "call_1", "content": []}}]


def test_sound_never_stands_in_a_result() -> None:
    hearing = msgspec.structs.replace(CLAUDE, audio=True)
    result = ToolResult(call_id="call_1", parts=[Audio(data="AAAA", format="wav")])
    written = turns(user(Text(text="Hi")), assistant(CALL), user(result), capabilities=hearing)[2]["content"]
    assert written[1] == {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}}


def test_a_conversation_begins_with_the_user_where_it_must() -> None:
    messages = [assistant(Text(text="Hello!")), user(Text(text="Hi"))]
    assert [each["role"] for each in turns(*messages)] == ["assistant", "user"]
    assert turns(*messages, capabilities=OTHERS)[0] == {"role": "user", "content": [{"text": "."}]}


def test_instructions_in_the_middle_stay_there_where_they_may() -> None:
    messages = [user(Text(text="Hi")), system(Text(text="Now in French.")), assistant(Text(text="Salut"))]
    assert write(asked(*messages)).body["system"] == [{"text": "Now in French."}]
    able = msgspec.structs.replace(CLAUDE, mid_system=True)
    body = write(asked(*messages), able).body
    assert "system" not in body
    assert body["messages"][1] == {"role": "system", "content": [{"text": "Now in French."}]}


def test_blank_texts_are_left_out() -> None:
    written = turns(user(Text(text="Hi"), Text(text="  ")), assistant(Text(text="\n")), user(Text(text="there")))
    assert written == [{"role": "user", "content": [TEXT, {"text": "there"}]}]


def test_a_beginning_of_the_answer_does_not_end_with_blanks() -> None:
    assert turns(user(Text(text="Hi")), assistant(Text(text="{ \n")))[1]["content"] == [{"text": "{"}]


@pytest.mark.parametrize("messages", [[user(Text(text=" "))], [system(Text(text="Be brief."))], [user()]])
def test_a_conversation_without_content_is_refused(messages: list[Message]) -> None:
    assert refusal(asked(*messages)).param == ("messages" if messages[0].role == "system" else "messages[0]")


def test_a_refusal_is_a_text_and_unsigned_reasoning_is_left_out() -> None:
    foreign = State(format="openai_responses", kind="encrypted", value="x", provider="openai", model="o")
    parts = [Thinking(text="Hm."), Thinking(text="Hm.", state=foreign), Refusal(text="No.")]
    assert turns(user(Text(text="Hi")), assistant(*parts))[1]["content"] == [{"text": "No."}]


def test_ids_and_names_of_calls_are_made_to_fit_and_the_caller_gets_its_names_back() -> None:
    call = ToolCall(id="functions.get:0", name="mcp.get it", arguments="{}")
    tool = FunctionTool(name="mcp.get it")
    clash = FunctionTool(name="mcp_get_it")
    request = asked(
        user(Text(text="Hi")),
        assistant(call),
        user(ToolResult(call_id="functions.get:0")),
        tools=[tool, clash],
        tool_choice=ToolChoice(mode="named", name="mcp.get it"),
    )
    outgoing = write(request)
    use = outgoing.body["messages"][1]["content"][0]["toolUse"]
    assert outgoing.body["messages"][2]["content"][0]["toolResult"]["toolUseId"] == use["toolUseId"]
    assert outgoing.emulation is not None
    assert outgoing.emulation.names == {use["name"]: "mcp.get it"}
    assert outgoing.body["toolConfig"]["toolChoice"] == {"tool": {"name": use["name"]}}
    assert [each["toolSpec"]["name"] for each in outgoing.body["toolConfig"]["tools"]] == [use["name"], "mcp_get_it"]


def test_arguments_that_are_no_json_do_not_spoil_the_conversation() -> None:
    call = msgspec.structs.replace(CALL, arguments='{"a":')
    written = turns(user(Text(text="Hi")), assistant(call), user(RESULT))
    assert written[1]["content"][0]["toolUse"]["input"] == {"INVALID_JSON": '{"a":'}


# Files.


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(data=PNG, media_type="image/jpeg"),
            {"image": {"format": "png", "source": {"bytes": PNG}}},
        ),
        (Image(url="s3://b/k.webp"), {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://b/k.webp"}}}}),
        (File(data=PNG, media_type="image/png"), {"image": {"format": "png", "source": {"bytes": PNG}}}),
        (
            File(data=PDF, media_type="application/pdf", name="a_b/c.pdf"),
            {"document": {"format": "pdf", "name": "a b c pdf", "source": {"bytes": PDF}}},
        ),
        (
            File(text="x", cites=True),
            {
                "document": {
                    "format": "txt",
                    "name": "document",
                    "source": {"bytes": base64.b64encode(b"x").decode()},
                    "citations": {"enabled": True},
                }
            },
        ),
        (
            File(data="AAAA", media_type="text/x-python", name="é"),
            {"document": {"format": "txt", "name": "document", "source": {"bytes": "AAAA"}}},
        ),
        (
            File(url="s3://b/k.docx"),
            {"document": {"format": "docx", "name": "document", "source": {"s3Location": {"uri": "s3://b/k.docx"}}}},
        ),
    ],
)
def test_a_file(part: Part, block: Json) -> None:
    assert turns(user(part, Text(text="?")))[0]["content"] == [block, {"text": "?"}]


def test_documents_have_names_of_their_own_and_a_text_beside_them() -> None:
    pdf = File(data=PDF, media_type="application/pdf", name="a")
    content = turns(user(pdf, pdf))[0]["content"]
    assert [block["document"]["name"] for block in content[:2]] == ["a", "a 2"]
    assert content[2] == {"text": "."}


@pytest.mark.parametrize(
    "part",
    [
        Image(at="here", url="https://a.example/b.png"),
        Image(at="here", file_id="file_1"),
        Image(at="here", data="AAAA", media_type="image/tiff"),
        File(at="here", url="https://a.example/b.pdf", media_type="application/pdf"),
        File(at="here", file_id="file_1", media_type="application/pdf"),
        File(at="here", data="AAAA", media_type="application/zip"),
        Audio(at="here", data="AAAA", format="wav"),
        Opaque(at="here", format="anthropic_messages", value={"type": "container_upload"}),
    ],
)
def test_what_the_model_cannot_take_in_is_refused_by_its_place(part: Part) -> None:
    error = refusal(asked(user(Text(text="Hi"), part)))
    assert isinstance(error, Unsupported)
    assert error.param == "here"


@pytest.mark.parametrize(
    ("part", "column"),
    [(Image(at="here", data=PNG, media_type="image/png"), "images"), (File(at="here", text="x"), "files")],
)
def test_a_model_without_eyes_is_shown_nothing(part: Part, column: str) -> None:
    assert refusal(asked(user(part)), msgspec.structs.replace(CLAUDE, **{column: False})).param == "here"


def test_what_an_assistant_did_with_tools_of_another_provider_is_left_out_and_told() -> None:
    own = Opaque(at="messages[1].content[0]", format="anthropic_messages", value={"type": "server_tool_use"})
    outgoing = write(asked(user(Text(text="Hi")), assistant(own, Text(text="4"))))
    assert outgoing.dropped == ["messages[1].content[0]"]


# Cache points.


def test_cache_marks_become_cache_points() -> None:
    mark, hour = CacheMark(), CacheMark(ttl="1h")
    request = asked(
        system(Text(text="Be brief.", cache=hour)),
        user(Text(text="Hi", cache=mark), Text(text="there")),
        assistant(CALL),
        user(msgspec.structs.replace(RESULT, cache=mark), Text(text="and")),
        tools=[msgspec.structs.replace(TOOL, cache=hour)],
    )
    outgoing = write(request)
    body = outgoing.body
    point, hours = {"cachePoint": {"type": "default"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert body["system"] == [{"text": "Be brief."}, hours]
    assert body["toolConfig"]["tools"][1] == hours
    assert body["messages"][0]["content"] == [TEXT, point, {"text": "there"}]
    assert body["messages"][2]["content"] == [RESULT_BLOCK, point, {"text": "and"}]
    assert outgoing.dropped == []


def test_an_hour_behind_five_minutes_is_shortened() -> None:
    short, hour = CacheMark(), CacheMark(ttl="1h")
    content = turns(user(Text(text="a", cache=hour), Text(text="b", cache=short), Text(text="c", cache=hour)))[0]
    ttls = [block["cachePoint"].get("ttl") for block in content["content"] if "cachePoint" in block]
    assert ttls == ["1h", None, None]


def test_a_cache_point_stands_before_documents() -> None:
    pdf = File(data=PDF, media_type="application/pdf", cache=CacheMark())
    content = turns(user(Text(text="Hi"), pdf))[0]["content"]
    assert [next(iter(block)) for block in content] == ["text", "cachePoint", "document"]


def test_a_mark_inside_a_result_stands_behind_it() -> None:
    result = ToolResult(call_id="call_1", parts=[Text(text="ok", cache=CacheMark())], cache=CacheMark())
    content = turns(user(Text(text="Hi")), assistant(CALL), user(result))[2]["content"]
    assert content == [RESULT_BLOCK, {"cachePoint": {"type": "default"}}]


def test_only_the_last_four_cache_points_are_kept() -> None:
    marked = [Text(text=str(number), cache=CacheMark()) for number in range(4)]
    request = asked(system(Text(text="s", cache=CacheMark())), user(*marked), names={"cache": "cache_control"})
    outgoing = write(request)
    assert outgoing.body["system"] == [{"text": "s"}]
    assert sum("cachePoint" in block for block in outgoing.body["messages"][0]["content"]) == 4
    assert outgoing.dropped == ["cache_control"]


def test_a_mark_of_the_whole_request_stands_behind_the_last_turn_of_the_user() -> None:
    outgoing = write(asked(user(Text(text="Hi")), assistant(Text(text="x")), cache=CacheMark(ttl="1h")))
    assert outgoing.body["messages"][0]["content"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
