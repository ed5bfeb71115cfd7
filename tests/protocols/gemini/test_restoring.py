"""A body of Google's format on its way to Google again."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ai_gateway.protocols.carrier import MARKS
from ai_gateway.protocols.conversation import State
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.gemini.states import BYPASS, write_carried
from ai_gateway.protocols.jsontext import dumps
from tests.protocols.gemini.samples import CARRIER, REQUESTS, destination
from tests.protocols.vectors import Vector

OWN = write_carried(State(format="gemini", kind="signature", value="c2ln"), CARRIER)
OTHERS = write_carried(State(format="anthropic_messages", kind="signature", value="U0lH"), CARRIER)
ENCRYPTED = State(format="openai_responses", kind="encrypted", value="gAAAA")
HIDDEN = write_carried(None, CARRIER, [("Hm.", ENCRYPTED)])
BOTH = write_carried(State(format="gemini", kind="signature", value="c2ln"), CARRIER, [("Hm.", ENCRYPTED)])
CALL = {"functionCall": {"name": "f", "args": {}}}


def restored(*parts: dict[str, Any], **capabilities: Any) -> list[dict[str, Any]]:
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": list(parts)}], "x": 1}
    before = copy.deepcopy(body)
    after = PROTOCOL.restore(body, CARRIER, destination(**capabilities))
    assert body == before
    assert after["x"] == 1
    return after["contents"][1]["parts"] if len(after["contents"]) > 1 else []


@pytest.mark.parametrize("name", ["thoughtSignature", "thought_signature"])
def test_a_signature_of_this_very_model_is_opened(name: str) -> None:
    assert restored({**CALL, name: OWN}, {**CALL, name: BOTH}, {"text": "a", name: OWN}) == [
        {**CALL, name: "c2ln"},
        {**CALL, name: "c2ln"},
        {"text": "a", name: "c2ln"},
    ]


@pytest.mark.parametrize("carried", [OTHERS, HIDDEN])
def test_a_state_of_another_is_taken_out_with_its_thought(carried: str) -> None:
    parts: list[dict[str, Any]] = [
        {"text": "hm", "thought": True},
        {"text": "", "thought": True},
        {"text": ""},
        {"text": "a"},
        CALL,
    ]
    assert restored(*({**part, "thoughtSignature": carried} for part in parts)) == [{"text": "a"}, CALL]


def test_a_call_gets_the_stand_in_where_a_signature_is_needed() -> None:
    part = {**CALL, "thoughtSignature": OTHERS}
    assert restored(part, reasoning="level") == [{**CALL, "thoughtSignature": BYPASS}]


def test_a_turn_of_which_nothing_is_left_is_left_out() -> None:
    assert restored({"text": "", "thought": True, "thoughtSignature": OTHERS}) == []


@pytest.mark.parametrize("case", REQUESTS, ids=str)
def test_what_the_gateway_did_not_seal_stays_as_it_is(case: Vector) -> None:
    assert PROTOCOL.restore(case.request, CARRIER, destination()) == case.request


def test_the_gateway_knows_a_body_that_holds_a_carrier() -> None:
    assert all(any(mark in dumps({"s": carried}) for mark in MARKS) for carried in (OWN, OTHERS, HIDDEN))
