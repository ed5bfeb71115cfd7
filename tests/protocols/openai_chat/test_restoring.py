"""Sealed states in a body that goes to a provider of chat completions natively."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    State,
)
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_chat import PROTOCOL
from tests.protocols.openai_chat.helpers import (
    CALL,
    CARRIER,
    HELLO,
    signature,
    to,
)


class TestRestoring:
    """A body that goes to a provider of this format with what another turn of it was given."""

    FOREIGN = CARRIER.seal(signature())
    MINE = Carrier([b"a secret of thirty-two bytes....."], "p", "upstream")

    def restored(self, message: dict[str, Any], **capabilities: Any) -> dict[str, Any]:
        body = {"model": "m", "messages": [*HELLO, message], "x": 1}
        before = copy.deepcopy(body)
        restored = PROTOCOL.restore(body, CARRIER, to(Capabilities(**capabilities)))
        assert body == before
        assert restored["x"] == 1
        assert restored["messages"][0] == HELLO[0]
        found: dict[str, Any] = restored["messages"][1]
        return found

    def detail(self, sealed: str, **members: Any) -> dict[str, Any]:
        return {"index": 0, "type": "reasoning.text", "text": "Hm", "signature": sealed, **members}

    def test_a_foreign_state_goes_with_what_it_signs(self) -> None:
        turn = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}
        turn["reasoning_details"] = [self.detail(self.FOREIGN)]  # type: ignore[assignment]
        assert self.restored(turn) == {"role": "assistant", "content": "Hi"}
        kept = self.restored(turn, reasoning_history="reasoning_content")
        assert kept == {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}

    def test_a_state_of_its_own_is_put_back(self) -> None:
        value = '[{"type":"reasoning.text","signature":"S","index":0}]'
        sealed = self.MINE.seal(State(format="openai_chat", kind="reasoning_details", value=value))
        found = self.restored({"role": "assistant", "reasoning_details": [self.detail(sealed)]})
        assert found["reasoning_details"] == [{"type": "reasoning.text", "signature": "S", "index": 0, "text": "Hm"}]

    def test_what_is_not_sealed_stays(self) -> None:
        turn = {"role": "assistant", "reasoning_content": "Hm", "reasoning_details": [self.detail("native")]}
        assert self.restored(turn) == turn

    def test_signatures_of_calls(self) -> None:
        mine = self.MINE.seal(State(format="openai_chat", kind="signature", value="S"))
        calls = [
            {**CALL, "extra_content": {"google": {"thought_signature": each}}}
            for each in (mine, self.FOREIGN, "native")
        ]
        found = self.restored({"role": "assistant", "tool_calls": calls})["tool_calls"]
        assert [call.get("extra_content") for call in found] == [
            {"google": {"thought_signature": "S"}},
            None,
            {"google": {"thought_signature": "native"}},
        ]

    def test_nothing_of_a_carrier_is_left(self) -> None:
        turn = {
            "role": "assistant",
            "content": "Hi",
            "extra_content": {"google": {"thought_signature": self.FOREIGN}},
            "reasoning_details": [self.detail(self.FOREIGN), {"type": "reasoning.encrypted", "data": self.FOREIGN}],
        }
        assert b"gw1." not in dumps(self.restored(turn))

    @pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": [3]}, {"messages": [{"tool_calls": [3]}]}])
    def test_what_is_malformed_stays_as_it_is(self, body: dict[str, Any]) -> None:
        assert PROTOCOL.restore(body, CARRIER, to()) == body


def test_where_it_is_asked_for() -> None:
    assert PROTOCOL.target("gpt", True) == ("/v1/chat/completions", b"")
