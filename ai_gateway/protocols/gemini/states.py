"""Google's `thoughtSignature`, and what the gateway puts there for its own callers.

A signature of Google's is base64 of bytes that nobody reads. What a caller gets from the gateway is base64 of a
carrier, which may hold another provider's state, too.

A caller must give thoughts back, whether it wants to see them or not: Anthropic's models refuse a signature without
the words it is for, and DeepSeek's a call without the thought before it. So a thought, words and state, goes with the
part behind it. The signature then has several lines: a carrier alone is the state of the part itself, one
with a JSON string behind it is a thought before the part.

Source: "Thought signatures" of the Gemini API's documentation, also for `BYPASS`: a value that Google takes in place of
a signature for a call that a model of its own did not make.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier, belongs_to, is_carrier
from ai_gateway.protocols.conversation import State, Thinking
from ai_gateway.protocols.jsontext import dumps_text, loads

FORMAT = "gemini"
KIND = "signature"

BYPASS = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

UNSIGNED = "unsigned"
"""The kind of the state that stands for none, where a thought without a state must travel."""

Thought = tuple[str, State | None]
"""A thought that is not shown: its words and its state."""


def read_signature(value: object) -> State | None:
    """Give the state that a provider's signature is."""
    return State(format=FORMAT, kind=KIND, value=value) if isinstance(value, str) and value else None


def write_carried(state: State | None, carrier: Carrier, thoughts: Iterable[Thought] = ()) -> str | None:
    """Write the signature of a part for a caller: its state, and the thoughts before it. None for nothing."""
    lines = [carrier.seal(state)] if state is not None else []
    for words, of_thought in thoughts:
        sealed = carrier.seal(of_thought or State(format=FORMAT, kind=UNSIGNED, value=""))
        lines.append(f"{sealed} {dumps_text(words)}")
    return base64.b64encode("\n".join(lines).encode()).decode() if lines else None


def carried(value: object) -> str | None:
    """Give the lines that a caller's signature is; None for a signature that is no carrier."""
    if not isinstance(value, str):
        return None
    standard = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except (ValueError, binascii.Error):
        return None
    return text if is_carrier(text) else None


def read_carried(value: object, carrier: Carrier) -> tuple[State | None, list[Thinking]]:
    """Read a caller's signature: the state of its part, and the thoughts before the part."""
    own: State | None = None
    thoughts: list[Thinking] = []
    for line in (carried(value) or "").split("\n"):
        sealed, _, words = line.partition(" ")
        state = carrier.open(sealed)
        if state is not None and words:
            thoughts.append(read_thought(_words(words), state))
        elif state is not None:
            own = state
    return own, thoughts


def read_thought(words: str, state: State | None, at: str = "") -> Thinking:
    """Make a thought of its words and its state."""
    if state is not None and state.kind == UNSIGNED:
        state = None
    return Thinking(text=words, state=state, is_redacted=state is not None and state.kind == "redacted", at=at)


def _words(text: str) -> str:
    try:
        words = loads(text)
    except ValueError:
        words = ""
    return words if isinstance(words, str) else ""


def restored(state: State | None, destination: Destination) -> str | None:
    """Give the signature to send to a provider, None if there is none that is the provider's own."""
    if state is None or not destination.capabilities.thinking_signature or not belongs_to(state, destination):
        return None
    return state.value


def needs_signatures(destination: Destination) -> bool:
    """Whether the model refuses a call of the current turn that has no signature. Those are the models that take a
    thinking level (Gemini 3): "Function call is missing a thought_signature in functionCall parts"."""
    return destination.capabilities.reasoning == "level" and destination.capabilities.thinking_signature
