"""A body of Google's format on its way to Google: what the gateway sealed is opened again."""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.gemini.states import BYPASS, carried, needs_signatures, read_carried, restored

SPELLINGS = ("thoughtSignature", "thought_signature")
CALLS = ("functionCall", "function_call")


def restore(body: dict[str, Any], carrier: Carrier, destination: Destination) -> dict[str, Any]:
    """Copy a body with each carrier replaced by the signature in it, if that is the destination's own.

    Any other carrier is taken out, and a thought with it. A call stays: for a model that wants a signature it gets the
    stand-in that Google documents for calls that its own model did not make.
    """
    contents = body.get("contents")
    if not isinstance(contents, list):
        return body
    restored_contents = [_content(content, carrier, destination) for content in contents]
    return {**body, "contents": [content for content in restored_contents if content is not None]}


def _content(content: Any, carrier: Carrier, destination: Destination) -> Any:
    """Copy one content, None if nothing is left of it. What holds no carrier stays as it is."""
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list) or not any(_spelling(part) for part in parts):
        return content
    kept = [each for part in parts if (each := _part(part, carrier, destination)) is not None]
    return {**content, "parts": kept} if kept else None


def _spelling(part: Any) -> str | None:
    """Tell the name of the member that holds a carrier, None if there is none."""
    if not isinstance(part, dict):
        return None
    return next((name for name in SPELLINGS if carried(part.get(name)) is not None), None)


def _part(part: Any, carrier: Carrier, destination: Destination) -> Any:
    name = _spelling(part)
    if name is None:
        return part
    state, _ = read_carried(part[name], carrier)
    signature = restored(state, destination)
    others = {member: value for member, value in part.items() if member != name}
    if signature is not None:
        return {**others, name: signature}
    if any(call in part for call in CALLS):
        return {**others, name: BYPASS} if needs_signatures(destination) else others
    return None if part.get("thought") or part.get("text") == "" else others
