"""Which names of providers and models become labels of metrics? As few as can be: each makes a series.

A model is known if a route leads to it, or if its provider has answered for it. Names that callers make up, and
everything beyond MAX_MODELS, are `other`. What is known is known to this process.
"""

from __future__ import annotations

from ai_gateway import registry
from ai_gateway.meter import Entry
from ai_gateway.registry import Snapshot
from ai_gateway.telemetry.retelling import OTHER

MAX_MODELS = 500
"""Pairs of a provider and a model that become labels."""

Pair = tuple[str, str]


class Names:
    """The pairs of providers and models that have become labels."""

    def __init__(self) -> None:
        self._known: set[Pair] = set()
        self._snapshot: Snapshot | None = None
        self._routed: frozenset[Pair] = frozenset()

    def of_call(self, entry: Entry) -> Pair:
        """Give the labels of who served a call."""
        has_answered = entry.first_byte_ms is not None and 200 <= entry.status < 400
        return self.of(entry.provider, entry.served_model, has_answered=has_answered)

    def of(self, provider: str, model: str, *, has_answered: bool = False) -> Pair:
        """Give the labels of a provider and a model, both empty for a call that came to none."""
        snapshot = registry.snapshot()
        if snapshot is not self._snapshot:
            self._snapshot, self._routed = snapshot, _routed(snapshot)
        if provider not in snapshot.providers:
            return (OTHER, OTHER) if provider else ("", "")
        pair = provider, model
        if pair in self._known:
            return pair
        is_one = not model or has_answered or pair in self._routed
        if not is_one or len(self._known) >= MAX_MODELS:
            return provider, OTHER
        self._known.add(pair)
        return pair


def _routed(snapshot: Snapshot) -> frozenset[Pair]:
    """List the targets that routes lead to."""
    found = (target for targets in snapshot.routes.values() for target in targets)
    return frozenset((target.provider, target.model or "") for target in found)
