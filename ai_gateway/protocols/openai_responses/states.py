"""Where the states of other providers travel in Responses: in `encrypted_content` of reasoning items.

A state of reasoning stands in the item of that reasoning. Gemini signs calls and texts, too; Responses have no place
for that, so a reasoning item of its own, with nothing to show, carries it. The `id` of the sealed state says what it
belongs to: `call:<call id>` or `text`, while a provider's own ids of reasoning begin otherwise (`rs_`).
"""

from __future__ import annotations

import msgspec

from ai_gateway.protocols.conversation import State

FORMAT = "openai_responses"
ENCRYPTED = "encrypted"
"""The kind of state that a reasoning item of this format holds."""

UNSIGNED = "unsigned"
"""The kind of the state that stands for none. Clients that let nothing be stored drop reasoning without encrypted
content (Vercel's AI SDK), though its words may be wanted back (DeepSeek)."""

_CALL = "call:"
_TEXT = "text"


def of_words() -> State:
    """Make the state of reasoning that has none."""
    return State(format=FORMAT, kind=UNSIGNED, value="")


def of_call(state: State, call_id: str) -> State:
    """Mark a state as that of a call."""
    return msgspec.structs.replace(state, id=_CALL + call_id)


def of_text(state: State) -> State:
    """Mark a state as that of the text before it."""
    return msgspec.structs.replace(state, id=_TEXT)


def is_of_text(state: State) -> bool:
    """Whether a state belongs to a text."""
    return state.id == _TEXT


def call_of(state: State) -> str:
    """Tell the id of the call that a state belongs to; "" if it is none's."""
    return state.id[len(_CALL) :] if state.id.startswith(_CALL) else ""
