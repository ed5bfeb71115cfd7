"""A body of Converse on its way to a provider that speaks it, too: what the gateway sealed is opened again."""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.bedrock_converse.states import carried_text, read_carried, write_own
from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Thinking


def restore(body: dict[str, Any], carrier: Carrier, destination: Destination) -> dict[str, Any]:
    """Copy a request body for a provider that speaks Converse itself, with carriers replaced by what they hold."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return dict(body)
    changed = [_restored(message, carrier, destination) for message in messages]
    return body | {"messages": [message for message in changed if message is not None]}


def _restored(message: Any, carrier: Carrier, destination: Destination) -> Any:
    """Copy a message; None if nothing is left of it."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    changed = [_restored_block(block, carrier, destination) for block in content]
    left = [block for block in changed if block is not None]
    return None if content and not left else message | {"content": left}


def _restored_block(block: Any, carrier: Carrier, destination: Destination) -> Any:
    reasoning = block.get("reasoningContent") if isinstance(block, dict) else None
    if not isinstance(reasoning, dict) or carried_text(reasoning) is None:
        return block
    state = read_carried(reasoning, carrier)
    if state is None or state.format != NAME:
        return None
    inner = reasoning.get("reasoningText")
    text = inner.get("text") if isinstance(inner, dict) else None
    return write_own(Thinking(text=text if isinstance(text, str) else "", state=state), destination)
