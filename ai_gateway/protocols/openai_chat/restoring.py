"""A body of chat completions on its way to a provider that speaks them, too: what the gateway sealed is opened again.

A conversation that began with a provider of another format may go on with one that is spoken to natively: the body is
passed on as it is, but a sealed state must not be. Those of the destination are put back; all others are taken out,
with the reasoning that they are the proof of.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier, belongs_to, is_carrier
from ai_gateway.protocols.conversation import State, Thinking
from ai_gateway.protocols.openai_chat.states import (
    DETAILS,
    SIGNATURE,
    detail_text,
    google_extra,
    google_signature,
    restored_details,
)

PLAIN = ("reasoning_content", "reasoning")


def restore(body: dict[str, Any], carrier: Carrier, destination: Destination) -> dict[str, Any]:
    """Copy a body with the destination's own states restored and all others taken out."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    restoring = _Restoring(carrier, destination)
    return body | {"messages": [restoring.message(each) if isinstance(each, dict) else each for each in messages]}


class _Restoring:
    def __init__(self, carrier: Carrier, destination: Destination) -> None:
        self._carrier = carrier
        self._destination = destination

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Copy a message."""
        message = self._signed(message)
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message = message | {
                "tool_calls": [self._signed(call) if isinstance(call, dict) else call for call in calls]
            }
        return self._reasoned(message)

    def _signed(self, value: dict[str, Any]) -> dict[str, Any]:
        """Copy a message or a call without a foreign signature."""
        signature = google_signature(value)
        if not is_carrier(signature):
            return value
        state = self._own(signature, SIGNATURE)
        rest = {name: each for name, each in value.items() if name != "extra_content"}
        return rest if state is None else {**rest, "extra_content": google_extra(state.value)}

    def _reasoned(self, message: dict[str, Any]) -> dict[str, Any]:
        details = message.get("reasoning_details")
        if not isinstance(details, list) or not any(map(_is_sealed, details)):
            return message
        kept: list[Any] = []
        is_lost = False
        for detail in details:
            restored = self._detail(detail)
            is_lost = is_lost or not restored
            kept += restored
        is_plain_wanted = self._destination.capabilities.reasoning_history == "reasoning_content"
        without = {"reasoning_details", *(PLAIN if is_lost and not is_plain_wanted else ())}
        rest = {name: value for name, value in message.items() if name not in without}
        return rest | {"reasoning_details": kept} if kept else rest

    def _detail(self, detail: Any) -> list[Any]:
        if not _is_sealed(detail):
            return [detail]
        state = self._own(detail.get("signature") or detail.get("data"), DETAILS)
        return [] if state is None else restored_details(Thinking(text=detail_text(detail)), state)

    def _own(self, sealed: str, kind: str) -> State | None:
        """Open a state; None if it is another's, or no state of this kind."""
        state = self._carrier.open(sealed)
        return state if state is not None and state.kind == kind and belongs_to(state, self._destination) else None


def _is_sealed(detail: Any) -> bool:
    values = (detail.get("signature"), detail.get("data")) if isinstance(detail, dict) else ()
    return any(isinstance(value, str) and is_carrier(value) for value in values)
