"""Bodies that go to a provider of Messages as they are, but for the states in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.conversation import Answer, Citation, State, Stop, Text, Thinking, ToolCall
from tests.protocols.anthropic_messages.helpers import ASKED, CARRIER, DESTINATION, FORMAT

OWN = State(format=FORMAT, kind="signature", value="c2ln")
FOREIGN = State(format="openai_responses", kind="encrypted", value="gAAAA")
HI = {"role": "user", "content": "hi"}


def restored(*blocks: dict[str, Any]) -> list[Any]:
    body = {"model": "m", "max_tokens": 9, "messages": [HI, {"role": "assistant", "content": list(blocks)}, HI]}
    before = copy.deepcopy(body)
    given = PROTOCOL.restore(body, CARRIER, DESTINATION)
    assert body == before
    assert {**given, "messages": None} == {**body, "messages": None}
    return list(given["messages"])


def thinking(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


def test_a_state_goes_back_to_whom_it_came_from() -> None:
    redacted = {
        "type": "redacted_thinking",
        "data": CARRIER.seal(State(format=FORMAT, kind="redacted", value="ZGF0YQ")),
    }
    text = {"type": "text", "text": "Hello."}
    assert restored(thinking(CARRIER.seal(OWN)), redacted, text)[1]["content"] == [
        thinking("c2ln"),
        {"type": "redacted_thinking", "data": "ZGF0YQ"},
        text,
    ]


@pytest.mark.parametrize(
    "sealed", [CARRIER.seal(FOREIGN), CARRIER.bound("upstream", "another").seal(OWN), "gw1.forged.AAAA"]
)
def test_a_state_of_somebody_else_goes_with_what_it_signs(sealed: str) -> None:
    text = {"type": "text", "text": "Hello."}
    assert restored(thinking(sealed), text)[1]["content"] == [text]
    assert restored(thinking(sealed)) == [HI, HI]


def test_everything_else_stays_as_it_is() -> None:
    blocks = [thinking("native"), {"type": "invented_tomorrow", "signature": "x"}, {"type": "text", "citations": []}]
    assert restored(*blocks)[1]["content"] == blocks


def test_nothing_that_this_gateway_made_of_another_providers_answer_reaches_anthropic() -> None:
    parts = [
        Thinking(text="Unsigned."),
        Thinking(text="Signed.", state=FOREIGN),
        ToolCall(id="1", name="f", state=State(format="gemini", kind="signature", value="c2ln")),
        Text(text="Cited.", citations=[Citation(url="https://a.example", title="A")]),
    ]
    content = PROTOCOL.write_answer(Answer(id="1", model="m", parts=list(parts), stop=Stop.END), ASKED, CARRIER)[
        "content"
    ]
    assert restored(*content)[1]["content"] == [
        {"type": "tool_use", "id": "1", "name": "f", "input": {}},
        {"type": "text", "text": "Cited."},
    ]


def test_a_body_without_messages_is_left_alone() -> None:
    assert PROTOCOL.restore({"messages": "x"}, CARRIER, DESTINATION) == {"messages": "x"}
