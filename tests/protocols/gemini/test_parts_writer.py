"""Writing signatures and media for Google."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.conversation import (
    Audio,
    File,
    Image,
    Part,
    Refusal,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.gemini.states import BYPASS
from tests.protocols.gemini.turns import BUDGET, LEVEL, TWO_CALLS, USER, contents, turn

OWN = State(format="gemini", kind="signature", value="c2ln", provider="google", model="gemini-x")
FOREIGN = State(format="gemini", kind="signature", value="eA==", provider="google", model="another")


def test_states_go_back_where_they_came_from() -> None:
    model = contents(
        USER,
        turn(
            "assistant",
            Thinking(text="hm", state=OWN),
            Thinking(state=OWN),
            Text(text="Hi", state=OWN),
            Refusal(text="no"),
            ToolCall(id="c", name="f", arguments="{}", state=OWN),
        ),
    )[1]
    assert model["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
        {"text": "Hi", "thoughtSignature": "c2ln"},
        {"text": "no"},
        {"functionCall": {"name": "f", "args": {}, "id": "c"}, "thoughtSignature": "c2ln"},
    ]


def test_states_of_others_do_not() -> None:
    call = ToolCall(id="c", name="f", arguments="{}", state=FOREIGN)
    thought = Thinking(text="hm", state=FOREIGN)
    assert contents(USER, turn("assistant", thought, call))[1]["parts"] == [
        {"functionCall": {"name": "f", "args": {}, "id": "c"}}
    ]


def test_the_stand_in_is_only_where_it_is_needed() -> None:
    """On the first call of each of the model's turns since the user last said something, if it has no signature."""
    history = [
        USER,
        TWO_CALLS,
        turn("user", ToolResult(call_id="c1"), ToolResult(call_id="c2")),
        turn("assistant", Text(text="Sunny.")),
        turn("user", Text(text="And there?")),
        turn("assistant", ToolCall(id="c3", name="weather", state=OWN), ToolCall(id="c4", name="weather")),
        turn("user", ToolResult(call_id="c3"), ToolResult(call_id="c4")),
        turn("assistant", Text(text="Hm."), ToolCall(id="c5", name="weather"), ToolCall(id="c6", name="weather")),
        turn("user", ToolResult(call_id="c5"), ToolResult(call_id="c6")),
    ]
    made = contents(*history, **LEVEL)
    signatures = {
        part["functionCall"]["id"]: part.get("thoughtSignature")
        for content in made
        for part in content["parts"]
        if "functionCall" in part
    }
    assert signatures == {"c1": None, "c2": None, "c3": "c2ln", "c4": None, "c5": BYPASS, "c6": None}
    assert BYPASS not in str(contents(*history, **BUDGET))


# Media.


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            Image(data="iVBORw0KGgo=", media_type="image/jpeg"),
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        ),
        (
            Image(url="https://example.com/a.webp?x=1"),
            {"fileData": {"fileUri": "https://example.com/a.webp?x=1", "mimeType": "image/webp"}},
        ),
        (Image(url="gs://bucket/a"), {"fileData": {"fileUri": "gs://bucket/a"}}),
        (File(data="JVBERi0=", name="a"), {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}}),
        (File(text="plain"), {"text": "plain"}),
        (
            File(file_id="files/abc", media_type="text/csv"),
            {"fileData": {"fileUri": "files/abc", "mimeType": "text/csv"}},
        ),
        (Audio(data="AAAA", format="wav"), {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}),
    ],
)
def test_media(part: Part, expected: dict[str, Any]) -> None:
    assert contents(turn("user", part), audio=True)[0]["parts"] == [expected]


@pytest.mark.parametrize(
    ("part", "capabilities"),
    [
        (Image(data="iVBORw0KGgo=", at="here"), {"images": False}),
        (Image(url="https://example.com/a.png", at="here"), {"image_urls": False}),
        (Image(url="http://example.com/a.png", at="here"), {}),
        (Image(file_id="file-1", at="here"), {}),
        (File(data="AAAA", at="here"), {"files": False}),
        (Audio(data="AAAA", format="wav", at="here"), {}),
    ],
)
def test_media_that_the_model_does_not_take(part: Part, capabilities: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as raised:
        contents(turn("user", part), **capabilities)
    assert raised.value.param == "here"
