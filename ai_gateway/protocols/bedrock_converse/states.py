"""Where the states of providers travel in Converse: in `reasoningContent`.

Converse's own states are the `signature` of a `reasoningText` and a `redactedContent`. A state of another format goes
to the caller as the `signature` of a `reasoningText`, sealed: as a string, and not as the bytes of a `redactedContent`,
so that it is found in a body that comes back. Other formats also have states of texts and calls, for which Converse has
no place. Such a state gets a block of its own behind the text or call, and the kind that is sealed says so.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier, belongs_to, is_carrier
from ai_gateway.protocols.conversation import Part, State, Text, Thinking, ToolCall

SIGNATURE, REDACTED = "signature", "redacted"
"""The kinds of Converse's own states."""

OF_PREVIOUS = "previous:"
"""How the sealed kind of a state begins that belongs to the part before it."""


def write_reasoning(text: str, signature: str | None) -> dict[str, Any]:
    """Write a block of reasoning."""
    inner = {"text": text} if signature is None else {"text": text, "signature": signature}
    return {"reasoningContent": {"reasoningText": inner}}


def write_attached(state: State, carrier: Carrier) -> dict[str, Any]:
    """Write the block that holds the state of the text or call before it."""
    return write_reasoning("", seal_attached(state, carrier))


def seal_attached(state: State, carrier: Carrier) -> str:
    """Seal the state of a text or call."""
    return carrier.seal(msgspec.structs.replace(state, kind=OF_PREVIOUS + state.kind))


def read_carried(content: dict[str, Any], carrier: Carrier) -> State | None:
    """Open the carrier in a `reasoningContent`; None if there is none, or a provider's own signature."""
    signature = carried_text(content)
    return carrier.open(signature) if signature is not None else None


def carried_text(content: dict[str, Any]) -> str | None:
    """Find the string in a `reasoningContent` that is meant to be a carrier."""
    reasoning, redacted = content.get("reasoningText"), content.get("redactedContent")
    text = reasoning.get("signature") if isinstance(reasoning, dict) else None
    if isinstance(redacted, str):
        text = decoded(redacted)
    return text if isinstance(text, str) and is_carrier(text) else None


def decoded(data: str) -> str:
    """Decode base64 of ASCII; "" for anything else."""
    try:
        return base64.b64decode(data, validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        return ""


def attached(parts: list[Part]) -> list[Part]:
    """Copy parts with the states of texts and calls put where they belong, and their own blocks gone."""
    changed: list[Part] = []
    for part in parts:
        state = part.state if isinstance(part, Thinking) else None
        if state is None or not state.kind.startswith(OF_PREVIOUS):
            changed.append(part)
        elif changed and isinstance(changed[-1], Text | ToolCall):
            freed = msgspec.structs.replace(state, kind=state.kind.removeprefix(OF_PREVIOUS))
            changed[-1] = msgspec.structs.replace(changed[-1], state=freed)
    return changed


def write_own(thinking: Thinking, destination: Destination) -> dict[str, Any] | None:
    """Write reasoning back to the provider that made it; None for what it would refuse: what is unsigned, or signed by
    somebody else."""
    state = thinking.state
    if state is None or not destination.capabilities.thinking_signature or not belongs_to(state, destination):
        return None
    if state.kind == REDACTED:
        return {"reasoningContent": {"redactedContent": state.value}}
    return write_reasoning(thinking.text, state.value)
