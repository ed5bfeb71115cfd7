"""A body of Messages on its way to a provider that speaks them, too: what the gateway sealed is opened again."""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.anthropic_messages.citations import is_foreign
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier, belongs_to, is_carrier

SIGNED = {"thinking": "signature", "redacted_thinking": "data"}
"""The members that hold a state, by the type of their block."""


def restore(body: dict[str, Any], carrier: Carrier, destination: Destination) -> dict[str, Any]:
    """Copy a body with carriers replaced by the states that they hold, if those are the destination's.

    A block whose state is another's is left out, as Anthropic refuses a signature that is not its own; so is a
    citation that this gateway made of another provider's. A turn of which nothing is left goes with its blocks.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    restored = [_message(message, carrier, destination) for message in messages]
    return {**body, "messages": [message for message in restored if message is not None]}


def _message(message: Any, carrier: Carrier, destination: Destination) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not content:
        return message
    blocks = [_block(block, carrier, destination) for block in content]
    kept = [block for block in blocks if block is not None]
    return {**message, "content": kept} if kept else None


def _block(block: Any, carrier: Carrier, destination: Destination) -> Any:
    if not isinstance(block, dict):
        return block
    member = SIGNED.get(str(block.get("type")), "")
    sealed = block.get(member)
    if isinstance(sealed, str) and is_carrier(sealed):
        return _restored(block, sealed, carrier, destination)
    citations = block.get("citations")
    return _without_foreign(block, citations) if isinstance(citations, list) else block


def _restored(block: dict[str, Any], sealed: str, carrier: Carrier, destination: Destination) -> dict[str, Any] | None:
    state = carrier.open(sealed)
    if state is None or not belongs_to(state, destination):
        return None
    if state.kind == "redacted":
        return {"type": "redacted_thinking", "data": state.value}
    return {**block, "signature": state.value}


def _without_foreign(block: dict[str, Any], citations: list[Any]) -> dict[str, Any]:
    kept = [citation for citation in citations if not is_foreign(citation)]
    if len(kept) == len(citations):
        return block
    rest = {name: value for name, value in block.items() if name != "citations"}
    return {**rest, "citations": kept} if kept else rest
