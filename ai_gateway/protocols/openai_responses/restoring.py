"""A body of Responses on its way to a provider that speaks them, too: what the gateway sealed is opened again."""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier, belongs_to, is_carrier


def restore(body: dict[str, Any], carrier: Carrier, destination: Destination) -> dict[str, Any]:
    """Copy a body with carriers replaced by the states that they hold. A reasoning item whose state is another
    provider's, or was changed on the way, is taken out: it would be refused."""
    items = body.get("input")
    if not isinstance(items, list):
        return body
    restored = [kept for item in items if (kept := _restored(item, carrier, destination)) is not None]
    return {**body, "input": restored}


def _restored(item: Any, carrier: Carrier, destination: Destination) -> Any:
    sealed = item.get("encrypted_content") if isinstance(item, dict) else None
    if not isinstance(sealed, str) or not is_carrier(sealed):
        return item
    state = carrier.open(sealed)
    if state is None or not belongs_to(state, destination):
        return None
    kept = {name: value for name, value in item.items() if name != "id"}
    return {**kept, "encrypted_content": state.value}
