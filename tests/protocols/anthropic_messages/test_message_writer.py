"""Requests of Messages: how a conversation is written."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Request,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from tests.protocols.anthropic_messages.building import (
    HI,
    PNG,
    body,
    conversation,
    outgoing,
    refused,
    request,
    signed,
    turn,
)
from tests.protocols.anthropic_messages.helpers import DESTINATION, FORMAT, destination

# The conversation.


def test_instructions_stand_apart_block_by_block() -> None:
    given = request(turn("system", "One.", "Two."), turn("system", "Three."), HI)
    assert body(given)["system"] == [{"type": "text", "text": text} for text in ("One.", "Two.", "Three.")]
    assert body(request(turn("system", "One."), HI))["system"] == "One."


def test_instructions_in_the_middle_stay_there_if_the_model_takes_them() -> None:
    messages = (HI, turn("system", "Now in French."), turn("assistant", "Oui."), turn("user", "Go on."))
    assert [role for role, _ in conversation(*messages)] == ["user", "system", "assistant", "user"]
    hoisted = body(request(*messages), destination(mid_system=False))
    assert hoisted["system"] == "Now in French."
    assert [each["role"] for each in hoisted["messages"]] == ["user", "assistant", "user"]


def test_instructions_wait_for_a_users_turn_to_stand_behind() -> None:
    call = ToolCall(id="1", name="f")
    messages = (HI, turn("assistant", call), turn("system", "Quick."), turn("user", ToolResult(call_id="1")))
    assert [role for role, _ in conversation(*messages)] == ["user", "assistant", "user", "system"]
    assert body(request(HI, turn("assistant", "Hello."), turn("system", "Late.")))["system"] == "Late."


def test_turns_of_one_role_become_one() -> None:
    given = conversation(turn("user", "a"), turn("user", "b"), turn("assistant", "c"), turn("assistant", "d"))
    assert [(role, [block["text"] for block in blocks]) for role, blocks in given] == [
        ("user", ["a", "b"]),
        ("assistant", ["c", "d"]),
    ]


def test_results_come_first_and_together() -> None:
    given = conversation(
        HI,
        turn("assistant", ToolCall(id="1", name="f"), ToolCall(id="2", name="g")),
        turn("user", ToolResult(call_id="1", parts=[Text(text="one")])),
        turn("user", ToolResult(call_id="2", parts=[Text(text="two")]), "And?"),
    )
    assert [block["type"] for block in given[2][1]] == ["tool_result", "tool_result", "text"]
    assert [block["content"] for block in given[2][1][:2]] == ["one", "two"]


def test_results_may_come_before_and_after_other_words() -> None:
    given = conversation(
        HI,
        turn("assistant", ToolCall(id="1", name="f"), ToolCall(id="2", name="g")),
        turn("user", ToolResult(call_id="2")),
        turn("user", "Meanwhile."),
        turn("user", ToolResult(call_id="1")),
    )
    assert [block.get("tool_use_id") for block in given[2][1]] == ["2", "1", None]


@pytest.mark.parametrize(
    "messages",
    [
        [turn("user", "hi"), turn("assistant", ToolCall(id="1", name="f", at="here"))],
        [turn("user", "hi"), turn("assistant", ToolCall(id="1", name="f", at="here")), turn("user", "Well?")],
        [
            turn("user", "hi"),
            turn("assistant", ToolCall(id="1", name="f", at="here"), ToolCall(id="2", name="f")),
            turn("user", ToolResult(call_id="2")),
            turn("assistant", "Done."),
        ],
        [turn("user", ToolResult(call_id="1", at="here"))],
        [turn("user", "hi"), turn("assistant", "Hello."), turn("user", ToolResult(call_id="1", at="here"))],
    ],
)
def test_a_call_without_its_result_and_a_result_without_its_call_are_refused(messages: list[Message]) -> None:
    assert refused(request(*messages)) == "here"


def test_empty_texts_are_left_out() -> None:
    given = conversation(turn("user", "", " \n", "hi"), turn("assistant", ""), turn("user", "there"))
    assert given == [("user", [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}])]


def test_an_empty_turn_of_the_user_is_refused() -> None:
    assert refused(request(turn("user", " ", at="messages[0]"))) == "messages[0]"


def test_instructions_alone_are_refused() -> None:
    assert refused(request(turn("system", "Be brief."))) == "messages"


def test_the_beginning_of_an_answer_does_not_end_with_blanks() -> None:
    assert conversation(HI, turn("assistant", "The answer is \n"))[-1] == ("assistant", "The answer is")


def test_a_user_comes_first_where_one_must() -> None:
    messages = (turn("assistant", "Welcome."), HI)
    assert conversation(*messages)[0][0] == "assistant"
    assert conversation(*messages, where=destination(user_first=True))[0] == ("user", ".")


def test_ids_that_anthropic_refuses_are_changed_on_both_sides() -> None:
    messages = (
        HI,
        turn("assistant", ToolCall(id="functions.f:0", name="f"), ToolCall(id="", name="f")),
        turn("user", ToolResult(call_id="functions.f:0"), ToolResult(call_id="")),
    )
    first, second = conversation(*messages)[1:]
    ids = [block["id"] for block in first[1]]
    assert [block["tool_use_id"] for block in second[1]] == ids
    assert all(id.startswith("toolu_gw_") for id in ids)
    assert len(set(ids)) == 2


# The parts.


def parts(*given: Part, where: Destination = DESTINATION, format: str = "openai_chat") -> list[Any]:
    message = Message(role="user", parts=[*given, Text(text="see")])
    written = body(Request(format=format, model="m", messages=[message]), where)["messages"][0]["content"]
    return [] if isinstance(written, str) else list(written[:-1])


def test_an_image_is_what_it_looks_like() -> None:
    (block,) = parts(Image(data=PNG, media_type="image/jpeg"))
    assert block == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def test_an_image_may_be_elsewhere() -> None:
    assert parts(Image(url="https://a/b.png")) == [
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
    ]


@pytest.mark.parametrize(
    ("part", "where"),
    [
        (Image(url="http://a/b.png", at="here"), DESTINATION),
        (Image(url="https://a/b.png", at="here"), destination(image_urls=False)),
        (Image(data=PNG, at="here"), destination(images=False)),
        (Image(data="QUJDRA==", media_type="image/tiff", at="here"), DESTINATION),
        (Image(file_id="file-1", at="here"), DESTINATION),
        (File(file_id="file-1", at="here"), DESTINATION),
        (File(url="https://x.test/a.mp4", media_type="video/mp4", at="here"), DESTINATION),
        (File(data="QUJDRA==", media_type="application/zip", at="here"), DESTINATION),
        (File(data="JVBERi0xLjQK", media_type="application/pdf", at="here"), destination(files=False)),
        (Audio(data="QUJDRA==", format="wav", at="here"), DESTINATION),
    ],
)
def test_what_the_model_cannot_take_is_refused(part: Part, where: Destination) -> None:
    assert refused(request(turn("user", part)), where) == "here"


@pytest.mark.parametrize(
    ("part", "source"),
    [
        (
            File(data="JVBERi0xLjQK", name="a.pdf"),
            {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"},
        ),
        (
            File(data="aGk=", media_type="text/csv", name="a.pdf"),
            {"type": "text", "media_type": "text/plain", "data": "hi"},
        ),
        (File(text="hi", name="a.pdf"), {"type": "text", "media_type": "text/plain", "data": "hi"}),
        (File(url="https://a/b.pdf", name="a.pdf"), {"type": "url", "url": "https://a/b.pdf"}),
    ],
)
def test_a_document_has_its_source_and_its_title(part: File, source: dict[str, Any]) -> None:
    assert parts(part) == [{"type": "document", "source": source, "title": "a.pdf"}]


def test_a_picture_in_a_file_is_a_picture() -> None:
    assert parts(File(data=PNG, media_type="image/png"))[0]["type"] == "image"


def test_anthropics_own_files_need_a_beta() -> None:
    message = Message(role="user", parts=[Image(file_id="file_1")])
    written = outgoing(Request(format=FORMAT, model="m", messages=[message]))
    assert written.headers == ((b"anthropic-beta", b"files-api-2025-04-14"),)


def test_results_hold_pictures_and_say_whether_they_are_errors() -> None:
    image = Image(data=PNG)
    (_, _, (_, blocks)) = conversation(
        HI,
        turn("assistant", *(ToolCall(id=id, name="f") for id in "123")),
        turn(
            "user",
            ToolResult(call_id="1", parts=[Text(text="see"), image], is_error=False),
            ToolResult(call_id="2", is_error=True),
            ToolResult(call_id="3", parts=[Text(text="")]),
        ),
    )
    assert [block["type"] for block in blocks[0]["content"]] == ["text", "image"]
    assert [block.get("is_error") for block in blocks] == [False, True, None]
    assert ["content" in block for block in blocks] == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ('{"a":1}', {"a": 1}), ('{"a":', {"INVALID_JSON": '{"a":'}), ("[]", {"INVALID_JSON": "[]"})],
)
def test_arguments_are_an_object_whatever_they_were(arguments: str, expected: dict[str, Any]) -> None:
    call, result = ToolCall(id="1", name="f", arguments=arguments), ToolResult(call_id="1")
    assert conversation(HI, turn("assistant", call), turn("user", result))[1][1][0]["input"] == expected


def test_a_refusal_is_text_and_what_only_others_know_is_left_out() -> None:
    foreign = Opaque(format="gemini", value={"executableCode": {}})
    own = Opaque(format=FORMAT, value={"type": "container_upload", "file_id": "file_1"})
    assert conversation(HI, turn("assistant", foreign, Refusal(text="No.")))[1] == ("assistant", "No.")
    assert parts(foreign, own) == [own.value]


# The thinking of earlier turns.


def thought(part: Thinking, where: Destination = DESTINATION) -> Any:
    messages = conversation(HI, turn("assistant", part, "Hello."), turn("user", "And?"), where=where)
    blocks = messages[1][1]
    return blocks[0] if isinstance(blocks, list) else None


def test_thinking_goes_back_to_whom_it_came_from() -> None:
    assert thought(Thinking(text="Hm.", state=signed())) == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    assert thought(Thinking(state=signed())) == {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert thought(Thinking(is_redacted=True, state=signed("redacted"))) == {
        "type": "redacted_thinking",
        "data": "c2ln",
    }


@pytest.mark.parametrize(
    "state", [None, signed(provider="other"), signed(model="other"), signed(format="gemini"), signed(provider="")]
)
def test_and_to_nobody_else(state: State | None) -> None:
    assert thought(Thinking(text="Hm.", state=state)) is None


def test_nor_where_signatures_are_not_taken() -> None:
    assert thought(Thinking(text="Hm.", state=signed()), destination(thinking_signature=False)) is None
