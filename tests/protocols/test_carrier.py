"""A state comes back as it was given out, to nobody but whom it belongs to."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import MARKS, PREFIX, Carrier, belongs_to, is_carrier
from ai_gateway.protocols.conversation import State

KEYS = [b"new key", b"old key"]
CARRIER = Carrier(KEYS).bound("anthropic", "model-1")
STATE = State(format="anthropic_messages", kind="signature", value="EpYBCkYI+/=", id="rs_1")


@given(value=st.text(), id=st.text(max_size=20), kind=st.sampled_from(["signature", "redacted", "encrypted"]))
def test_a_state_comes_back_with_whose_it_is(value: str, id: str, kind: str) -> None:
    sealed = CARRIER.seal(State(format="gemini", kind=kind, value=value, id=id))
    opened = Carrier(KEYS).open(sealed)
    assert opened == State(format="gemini", kind=kind, value=value, id=id, provider="anthropic", model="model-1")
    assert is_carrier(sealed)
    assert set(sealed) <= {*string.ascii_letters, *string.digits, "_", "-", "."}


def test_the_same_state_is_sealed_alike_so_that_caches_stay_warm() -> None:
    assert CARRIER.seal(STATE) == CARRIER.seal(STATE)


def test_a_key_that_was_replaced_still_opens() -> None:
    sealed = Carrier([b"old key"]).seal(STATE)
    assert Carrier(KEYS).open(sealed) is not None
    assert Carrier([b"another key"]).open(sealed) is None


@pytest.mark.parametrize("place", range(len(PREFIX), 80, 7))
def test_a_changed_carrier_is_not_opened(place: int) -> None:
    sealed = CARRIER.seal(STATE)
    changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
    assert CARRIER.open(changed) is None


@pytest.mark.parametrize(
    "text", ["", "gw1.", "gw1.x.y", "gw1.é.é", "gw1..", "EpYBCkYI", "gAAAAABk", PREFIX + "A" * 400]
)
def test_what_is_no_carrier_is_none(text: str) -> None:
    assert CARRIER.open(text) is None


def test_a_state_belongs_to_the_provider_model_and_format_that_made_it() -> None:
    opened = CARRIER.open(CARRIER.seal(STATE))
    assert belongs_to(opened, Destination(provider="anthropic", model="model-1", format="anthropic_messages"))
    assert not belongs_to(opened, Destination(provider="bedrock", model="model-1", format="anthropic_messages"))
    assert not belongs_to(opened, Destination(provider="anthropic", model="model-2", format="anthropic_messages"))
    assert not belongs_to(opened, Destination(provider="anthropic", model="model-1", format="openai_chat"))
    assert not belongs_to(None, Destination(provider="", model="", format=""))


def test_a_body_that_holds_a_carrier_shows_one_of_the_marks() -> None:
    sealed = CARRIER.seal(STATE).encode()
    assert any(mark in sealed for mark in MARKS)
    assert any(mark in base64.b64encode(sealed) for mark in MARKS)
