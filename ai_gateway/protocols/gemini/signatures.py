"""Google's `thoughtSignature`, and what the gateway puts there for its own callers.

A signature of Google's is base64 of bytes that nobody reads. What a caller gets from the gateway is the base64 of a
carrier: a string that begins with the carrier's prefix, of another provider's state, too. Where the caller does not
want to see the thought that a state belongs to, the state goes with the next part, and a mark behind the carrier says
so.

Source: "Thought signatures" of the Gemini API's documentation, also for `BYPASS`: a value that Google takes in place of
a signature for a call that a model of its own did not make.
"""

from __future__ import annotations

import base64
import binascii

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier, belongs_to, is_carrier
from ai_gateway.protocols.conversation import State

FORMAT = "gemini"
KIND = "signature"

BYPASS = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

OF_THOUGHT = "#thought"
"""Stands behind a carrier whose state belongs to a thought that is not shown, and not to the part it comes with."""


def read_signature(value: object) -> State | None:
    """Give the state that a provider's signature is."""
    return State(format=FORMAT, kind=KIND, value=value) if isinstance(value, str) and value else None


def write_carried(state: State | None, carrier: Carrier, mark: str = "") -> str | None:
    """Write a state for a caller: base64, as it expects."""
    if state is None:
        return None
    return base64.b64encode((carrier.seal(state) + mark).encode("ascii")).decode()


def carried(value: object) -> str | None:
    """Give the carrier, with its mark, that a caller's signature is; None for a signature that is no carrier."""
    if not isinstance(value, str):
        return None
    standard = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        return None
    return text if is_carrier(text) else None


def read_carried(value: object, carrier: Carrier) -> tuple[State | None, bool]:
    """Read a caller's signature: the state, and whether it belongs to a thought that is not shown."""
    text = carried(value)
    if text is None:
        return None, False
    return carrier.open(text.removesuffix(OF_THOUGHT)), text.endswith(OF_THOUGHT)


def restored(state: State | None, destination: Destination) -> str | None:
    """Give the signature to send to a provider, None if there is none that is the provider's own."""
    if state is None or not destination.capabilities.thinking_signature or not belongs_to(state, destination):
        return None
    return state.value


def needs_signatures(destination: Destination) -> bool:
    """Whether the model refuses a call of the current turn that has no signature. Those are the models that take a
    thinking level (Gemini 3): "Function call is missing a thought_signature in functionCall parts"."""
    return destination.capabilities.reasoning == "level" and destination.capabilities.thinking_signature
