"""Reasoning blocks, and the states of other providers that travel in them.

Anthropic's clients send thinking blocks back unchanged, signature included. So the state of any provider can travel as
the signature of a thinking block, sealed (`carrier.py`):

- The state of reasoning is the signature of its block.
- The state of a call (Gemini signs calls, not thoughts) is the signature of a block of its own without text, and names
  its call by `CALL` and the call's id: a tool_use block has no member for it that a client would return.
- Reasoning without any state is signed with `FOREIGN`: it must never reach Anthropic, which would refuse it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.anthropic_messages.citations import FOREIGN, FORMAT
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Part, State, Thinking, ToolCall

CALL = "call\n"
"""What the id of a call's state begins with on its way: the call's id and the state's own follow, each in a line."""


def read_thinking(block: dict[str, Any], carrier: Carrier, at: str) -> Thinking:
    """Read a thinking or redacted_thinking block of a caller. A signature that is no carrier is another provider's and
    gives no state."""
    is_redacted = block.get("type") == "redacted_thinking"
    sealed = block.get("data" if is_redacted else "signature")
    state = carrier.open(sealed) if isinstance(sealed, str) else None
    if state is not None and state.kind == FOREIGN.kind:
        state = None
    text = block.get("thinking")
    return Thinking(text=text if isinstance(text, str) else "", state=state, is_redacted=is_redacted, at=at)


def reunited(parts: list[Part]) -> list[Part]:
    """Give calls their states back, which stood beside them in blocks of their own."""
    states: dict[str, State] = {}
    others: list[Part] = []
    for part in parts:
        if isinstance(part, Thinking) and part.state is not None and part.state.id.startswith(CALL):
            call, _, own = part.state.id.removeprefix(CALL).partition("\n")
            states[call] = msgspec.structs.replace(part.state, id=own)
        else:
            others.append(part)
    return [_with_state(part, states) for part in others] if states else parts


def _with_state(part: Part, states: dict[str, State]) -> Part:
    if not isinstance(part, ToolCall) or part.id not in states:
        return part
    return msgspec.structs.replace(part, state=states[part.id])


def sealed_state(state: State | None, carrier: Carrier) -> str:
    """Write the signature of a thinking block for a caller."""
    return carrier.seal(state or FOREIGN)


def sealed_call_state(call_id: str, state: State, carrier: Carrier) -> str:
    """Write the signature of the block that carries the state of a call."""
    return carrier.seal(msgspec.structs.replace(state, id=f"{CALL}{call_id}\n{state.id}"))


def is_redacted(state: State) -> bool:
    """Whether a state is one of Anthropic's own that goes with thinking which nobody may see."""
    return state.format == FORMAT and state.kind == "redacted"


def write_thinking(part: Thinking, carrier: Carrier) -> dict[str, Any] | None:
    """Write a block for a caller; None if there is neither text nor state."""
    if part.state is not None and is_redacted(part.state):
        return {"type": "redacted_thinking", "data": carrier.seal(part.state)}
    if part.state is None and not part.text:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": sealed_state(part.state, carrier)}


def write_call_state(call_id: str, state: State, carrier: Carrier) -> dict[str, Any]:
    """Write the block that carries the state of a call."""
    return {"type": "thinking", "thinking": "", "signature": sealed_call_state(call_id, state, carrier)}
